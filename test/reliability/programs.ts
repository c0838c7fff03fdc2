// What `npm run test:soak` runs: for each row of the scoreboard the programs that show it, with the parameters of the long form and the way
// to read what they counted. Suites of this folder print a SuiteResult; older programs are read by an adapter.

import type { SuiteResult } from './suite.ts'

export interface Program {
  /** What to give to `npm run test:soak --` to run it alone; the name of its result file. */
  readonly name: string
  /** Rows that it shows, the main one first. */
  readonly rows: readonly [number, ...number[]]
  /** Below dist/test, and its arguments. */
  readonly command: readonly [string, ...string[]]
  /** Other than a SuiteResult as the last line. */
  readonly read?: (stdout: string) => Reading
  /** What the long form leaves out of what rows demand. What other programs of a row show instead is not left out. */
  readonly short?: Shortfall
}

export interface Shortfall {
  readonly what: string
  /** Of the program's rows those that it matters for; absent: all. */
  readonly rows?: readonly number[]
}

/** What to type to run it. */
export function commandOf(program: Program): string {
  return `node dist/test/${program.command.join(' ')}`
}

export type Reading = Pick<SuiteResult, 'counts' | 'figures'>

/** A module of test/reliability that exports `run`. */
function suite(rows: Program['rows'], name: string): Program {
  return { rows, name, command: [`reliability/${name}.js`, '--json'] }
}

/** Seeds of a scenario of test/simulation. */
function simulation(rows: Program['rows'], scenario: string, seconds: number): Program {
  return {
    rows,
    name: `simulation-${scenario}`,
    command: ['simulation/run.js', '--scenario', scenario, '--seconds', String(seconds)],
    read: readSeeds,
    short: {
      what: 'minutes instead of nights: see the count of seeds',
      rows: rows.filter(row => row !== 14),
    },
  }
}

/** A program of test/acceptance that prints its report as JSON. */
function acceptance(
  rows: Program['rows'],
  name: string,
  args: readonly string[],
  short?: Shortfall,
): Program {
  return {
    rows,
    name,
    command: [`acceptance/${name}.js`, ...args],
    read: readReport,
    ...(short === undefined ? {} : { short }),
  }
}

/** Executions of a fuzzer of test/fuzz, or minutes of processor time. */
function fuzz(target: string, amount: readonly [string, string]): Program {
  return {
    rows: [23],
    name: `fuzz-${target}`,
    command: ['fuzz/run.js', '--json', '--target', target, ...amount],
    read: readFuzz,
  }
}

const minutes = 60

export const programs: readonly Program[] = [
  simulation([1], 'log', 2 * minutes),
  simulation([1], 'register', minutes),
  simulation([1, 5, 14], 'broker', 3 * minutes),
  simulation([1, 5, 6, 12, 13, 15], 'cluster', 3 * minutes),
  simulation([1, 5, 6, 12, 13, 14, 15], 'brokers', 4 * minutes),
  acceptance([4], 'kill-nine', ['50'], { what: 'one node instead of three' }),
  acceptance([4, 6, 9, 10, 11, 12, 14, 15], 'chaos', ['1800', '--seed', '1'], {
    what: 'the longest gap instead of its p99, and beside pauses, cuts and full disks',
    rows: [4, 11],
  }),
  acceptance([14], 'groups-chaos', ['180']),
  acceptance([14], 'queue-chaos', ['120']),
  suite([9], 'sync-error'),
  suite([10], 'disk-full'),
  suite([17], 'stalled-consumers'),
  suite([18], 'overload'),
  suite([18], 'fairness'),
  suite([19], 'sigterm'),
  suite([20], 'hostile-frames'),
  suite([21], 'idle-sockets'),
  suite([22], 'strangers'),
  suite([22], 'acl-cells'),
  suite([24], 'supply-chain'),
  fuzz('frames', ['--executions', '100000000']),
  fuzz('batches', ['--executions', '100000000']),
  fuzz('batches-gzip', ['--core-minutes', '20']),
  fuzz('requests', ['--core-minutes', '20']),
  fuzz('entries', ['--core-minutes', '20']),
  fuzz('checkpoints', ['--core-minutes', '20']),
  fuzz('log-files', ['--core-minutes', '20']),
  fuzz('chains', ['--core-minutes', '20']),
  fuzz('metastore', ['--core-minutes', '20']),
  fuzz('peers', ['--core-minutes', '20']),
  fuzz('settings', ['--core-minutes', '20']),
  fuzz('specs', ['--core-minutes', '20']),
  fuzz('arguments', ['--core-minutes', '20']),
  fuzz('command-lines', ['--core-minutes', '20']),
  fuzz('client', ['--core-minutes', '20']),
  fuzz('tokens', ['--core-minutes', '20']),
  fuzz('acls', ['--core-minutes', '20']),
  fuzz('snapshots', ['--core-minutes', '20']),
]

/** `log: 12 seeds in 3.0 s (4.0 seeds/s, 99 events)` and below it `  state: count`. */
export function readSeeds(stdout: string): Reading {
  const head = /: (\d+) seeds in ([\d.]+) s \(([\d.]+) seeds\/s, (\d+) events\)/.exec(stdout)
  if (head === null) throw new Error(`no count of seeds in: ${stdout.slice(0, 500)}`)
  const [, seeds, , rate, events] = head.map(Number)
  const states: Record<string, number> = {}
  for (const [, state = '', count] of stdout.matchAll(/^ {2}(.+): (\d+)$/gm))
    states[state] = Number(count)
  return {
    counts: { seeds: seeds as number, events: events as number, ...states },
    figures: { seedsPerSecond: rate as number },
  }
}

/** A JSON report: whole numbers are counts, others and those named for a unit are figures; objects in it become `outer.inner`. */
export function readReport(stdout: string): Reading {
  const from = stdout.indexOf('{')
  const counts: Record<string, number> = {}
  const figures: Record<string, number> = {}
  const take = (value: unknown, path: string): void => {
    if (typeof value === 'number') {
      const isFigure =
        !Number.isInteger(value) || /(Ms|Mb|MiB|Seconds|PerSecond|p50|p99|max)$/.test(path)
      ;(isFigure ? figures : counts)[path] = value
    } else if (typeof value === 'object' && value !== null && !Array.isArray(value))
      for (const [key, inner] of Object.entries(value))
        take(inner, path === '' ? key : `${path}.${key}`)
  }
  take(JSON.parse(stdout.slice(from)), '')
  return { counts, figures }
}

/** The last line of a fuzzer is its report as JSON. */
export function readFuzz(stdout: string): Reading {
  const line = stdout.split('\n').findLast(each => each.startsWith('{')) ?? ''
  const report = JSON.parse(line) as Record<string, number>
  const take = (...names: readonly string[]): Record<string, number> =>
    Object.fromEntries(names.map(name => [name, report[name] ?? Number.NaN]))
  return {
    counts: take('executions', 'accepted', 'refused', 'findings', 'seed'),
    figures: take('coreMinutes', 'perSecond', 'slowestMsPerMiB', 'keptBytes'),
  }
}
