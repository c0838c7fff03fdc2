// A suite: a program that shows one row of the scoreboard (docs/reliability.md), counts what it did and judges itself.
//
// Each suite is a module of this folder that exports `run: Suite` and ends with `await suiteMain(import.meta.url, run)`. It runs three ways:
// from vitest in its short form, by itself (`node dist/test/reliability/NAME.js [--short] [--seed N] [--seconds N] [--json]`), and from soak.ts
// in its long form, which stores what it counted.

import { pathToFileURL } from 'node:url'

export interface SuiteOptions {
  /** `short`: as CI runs it, seconds. `long`: as `npm run test:soak` does, minutes. */
  readonly form: 'short' | 'long'
  readonly seed: number
  /** Of the load or the attack; default: the suite's own choice for its form. */
  readonly seconds?: number
}

export interface SuiteResult {
  /** Of the scoreboard, 1 to 24. */
  readonly row: number
  /** The name of the suite's module. */
  readonly name: string
  /** What to type to run the same again. */
  readonly command: string
  readonly seconds: number
  /** What was done and seen, in whole numbers: attempted, acked, read, lost, duplicate, unseen, refused, … */
  readonly counts: Readonly<Record<string, number>>
  /** Measurements, units last: `p99Ms`, `rssGrowthMiB`. */
  readonly figures: Readonly<Record<string, number>>
  readonly passed: boolean
  /** Where this run falls short of what the row demands, and what went wrong when it did not pass. */
  readonly notes?: string
}

export type Suite = (options: SuiteOptions) => Promise<SuiteResult>

/** Runs the suite when its module is the program: prints the result, one JSON line with `--json`; exit code 1 when it did not pass. */
export async function suiteMain(moduleUrl: string, run: Suite): Promise<void> {
  if (moduleUrl !== pathToFileURL(process.argv[1] ?? '').href) return
  const seconds = option('seconds')
  const result = await run({
    form: process.argv.includes('--short') ? 'short' : 'long',
    seed: Number(option('seed') ?? 1),
    ...(seconds === undefined ? {} : { seconds: Number(seconds) }),
  })
  const isLine = process.argv.includes('--json')
  process.stdout.write(`${JSON.stringify(result, undefined, isLine ? undefined : 1)}\n`, () =>
    // What a suite left open must not keep its runner waiting.
    process.exit(result.passed ? 0 : 1),
  )
}

function option(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}
