// Where the time of the broker's main thread goes, beside the bare loop's: the flame graph's first level, as a table.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Profiler } from 'node:inspector'
import { alternate, type BenchContext, sleep } from '../context.ts'
import { type BenchProcess, scriptOf, startProcess } from '../processes.ts'
import { barsSvg } from '../report/bars.ts'
import { number, spread, table } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { type LoadResult, runLoad } from '../speed/options.ts'
import { type Spread, spreadOf } from '../stats.ts'
import { type Part, parts, sharesOf } from './profile-shares.ts'

interface Params {
  readonly rounds: number
  readonly seconds: number
  /** Both servers are profiled once they are this warm. */
  readonly warmSeconds: number
}

interface Side {
  readonly name: string
  /** Main thread, ms for each MB of records. */
  readonly parts: Readonly<Record<Part, Spread>>
  readonly all: Spread
}

interface Result {
  readonly sides: readonly Side[]
}

interface Server {
  readonly name: string
  readonly url: string
  readonly process: BenchProcess
  readonly file: string
  readonly hello: boolean
}

/** Of a version before, measured in the same way: `BENCH_BASELINE` names its checkout, built. */
const baseline = process.env.BENCH_BASELINE
const cli = scriptOf('../../broker/cli/logloom.cjs')
const profiler = new URL('../emulate/profile.js', import.meta.url).href
const shape = { recordBytes: 1024, batchBytes: 65_536, inFlight: 8 } as const

/** Of a checkout. */
function commitOf(directory: string): string {
  return execFileSync('git', ['-C', directory, 'rev-parse', '--short', 'HEAD'], {
    encoding: 'utf8',
  }).trim()
}

export const profile = scenario<Params, Result>({
  name: 'limits-profile',
  group: 'limits',
  title: 'Where the time goes',
  shows:
    "A sampling profile of the main thread of both servers under the same load, summed up by what the time is spent on: a flame graph's widest parts.",
  params: {
    tiny: { rounds: 1, seconds: 0.3, warmSeconds: 0.1 },
    short: { rounds: 5, seconds: 1, warmSeconds: 2 },
    full: { rounds: 15, seconds: 4, warmSeconds: 5 },
  },
  seconds: p => 3 + 2 * p.warmSeconds + p.rounds * 2 * (p.seconds + 0.4),
  run: async (p, context) => {
    const servers = [await start(context, 'bare loop'), await start(context, 'broker', cli)]
    if (baseline !== undefined)
      servers.push(
        await start(
          context,
          `broker at ${commitOf(baseline)}`,
          join(baseline, 'broker/cli/logloom.cjs'),
        ),
      )
    for (const server of servers) await load(server, p.warmSeconds)
    const found = await alternate(context, p.rounds, servers, server => measure(server, p.seconds))
    return {
      sides: servers.map(({ name }, i) => {
        const of = found[i] ?? []
        return {
          name,
          parts: Object.fromEntries(
            parts.map(part => [part, spreadOf(of.map(shares => shares[part]))]),
          ) as Record<Part, Spread>,
          all: spreadOf(of.map(shares => parts.reduce((sum, part) => sum + shares[part], 0))),
        }
      }),
    }
  },
  section: ({ sides }): Section => ({
    body: [
      'Milliseconds of the main thread for each MB of 1 KB records in batches of 64 KB, at full speed; what waits for a processor counts as the call that waits. Threads that write and sync are not in it.',
      table(
        ['', ...sides.map(({ name }) => name)],
        [
          ...parts.map(part => [part, ...sides.map(side => spread(side.parts[part]))]),
          ['all', ...sides.map(({ all }) => spread(all))],
        ],
      ),
      ...(sides.length > 2
        ? [`\`${sides[2]?.name}\` is the version before the work on speed, run in the same rounds.`]
        : []),
      '{plot:parts}',
    ].join('\n\n'),
    plots: [
      {
        name: 'parts',
        alt: 'Time of the main thread for each MB, by part',
        svg: barsSvg({
          title: 'Main thread, for each MB of records',
          axis: 'ms',
          series: sides.map(({ name }) => name),
          groups: parts.map(part => ({ name: part, values: sides.map(side => side.parts[part]) })),
        }),
      },
    ],
    headlines: sides.slice(1, 2).map(({ all }) => ({
      what: "Time of the broker's main thread for each MB",
      value: `${number(all.median)} ms`,
      beside: `the bare loop: ${number(sides[0]?.all.median ?? Number.NaN)} ms`,
    })),
  }),
})

async function start(context: BenchContext, name: string, command?: string): Promise<Server> {
  const data = context.directory('profile')
  const file = `${data}-profile.json`
  const options = { env: { BENCH_PROFILE_FILE: file }, preload: [profiler] }
  const process =
    command === undefined
      ? startProcess(scriptOf('speed/loop-server.js'), [data], options)
      : startProcess(
          command,
          ['start', '--data', data, '--port', '0', '--format', 'json', '--loglet', 'file'],
          options,
        )
  context.defer(() => process.stop())
  const line = await process.line()
  const hello = command !== undefined
  const url = hello ? (JSON.parse(line) as { url: string }).url : (line.split(' ')[1] as string)
  return { name, url, process, file, hello }
}

function load({ url, hello }: Server, seconds: number): Promise<LoadResult> {
  return runLoad({ ...shape, url, hello, topic: 'bench', seconds })
}

/** ms for each MB. */
async function measure(server: Server, seconds: number): Promise<Readonly<Record<Part, number>>> {
  const { process, file } = server
  process.child.kill('SIGUSR2')
  const { bytes } = await load(server, seconds)
  process.child.kill('SIGUSR2')
  while (!existsSync(file)) await sleep(5)
  const seen = sharesOf(JSON.parse(readFileSync(file, 'utf8')) as Profiler.Profile)
  rmSync(file)
  return Object.fromEntries(
    parts.map(part => [part, (seen[part] * 1000) / (bytes / 1e6)]),
  ) as Record<Part, number>
}
