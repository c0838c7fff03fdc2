// What the command line asks for.

import { parseArgs } from 'node:util'
import type { Mode, Scenario } from './scenario.ts'

export interface BenchArguments {
  readonly mode: Mode
  readonly chosen: readonly Scenario[]
  /** Leaves out what was measured at this commit in this mode. */
  readonly resume: boolean
  readonly list: boolean
  /** Only makes the page anew. */
  readonly page: boolean
  /** Of the results. */
  readonly results: string
  /** Of docs/benchmarks.md. */
  readonly docs: string
}

/** Something was asked for that there is not. */
export class ArgumentError extends Error {
  override readonly name = 'ArgumentError'
}

export const usage = `npm run bench -- [--only NAME,…] [--full | --tiny] [--resume] [--list] [--page] [--results DIR] [--docs DIR]

  --only     scenarios or groups of them; all by default
  --full     more rounds and larger sizes: takes hours        --tiny  seconds, for trying out: the figures mean nothing
  --resume   leave out what was measured already at this commit and in this mode
  --list     say what there is           --page  only make docs/benchmarks.md anew of the results

Data goes to BENCH_DIR, by default the system's temporary directory. Kafka is measured when KAFKA_BOOTSTRAP names one; NATS_SERVER and REDIS_SERVER
name other programs than nats-server and redis-server.`

/** @throws ArgumentError */
export function argumentsOf(
  words: readonly string[],
  scenarios: readonly Scenario[],
): BenchArguments {
  const values = parsed(words)
  const names = (values.only ?? '').split(',').filter(name => name !== '')
  for (const name of names)
    if (!scenarios.some(s => s.name === name || s.group === name))
      throw new ArgumentError(
        `--only ${name}: there is ${[...new Set(scenarios.map(s => s.group))].join(', ')} (groups), ${scenarios.map(s => s.name).join(', ')}`,
      )
  if (values.full && values.tiny) throw new ArgumentError('--full or --tiny, not both')
  return {
    mode: values.full ? 'full' : values.tiny ? 'tiny' : 'short',
    chosen: scenarios.filter(
      s => names.length === 0 || names.includes(s.name) || names.includes(s.group),
    ),
    resume: values.resume,
    list: values.list,
    page: values.page,
    results: values.results,
    docs: values.docs,
  }
}

function parsed(words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      options: {
        only: { type: 'string' },
        full: { type: 'boolean', default: false },
        tiny: { type: 'boolean', default: false },
        resume: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        page: { type: 'boolean', default: false },
        results: { type: 'string', default: 'bench/results' },
        docs: { type: 'string', default: 'docs' },
      },
    }).values
  } catch (cause) {
    throw new ArgumentError((cause as Error).message, { cause })
  }
}
