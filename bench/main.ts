// `npm run bench`: runs scenarios one after the other, writes what each found out to bench/results, and makes docs/benchmarks.md of all results.
//
// Guarantees: a scenario that fails does not keep the others from running; the page says so and the exit code is 1. Nothing is left behind, no
// process and no data, however it ends.

import { rmSync } from 'node:fs'
import { ArgumentError, argumentsOf, type BenchArguments, usage } from './arguments.ts'
import { makeRunDirectory, withContext } from './context.ts'
import { commit, machine } from './machine.ts'
import { Progress } from './progress.ts'
import { killAll } from './processes.ts'
import { readResults, type Run, type StoredResult, writeResult } from './results.ts'
import { type Mode, NotRunError, type Scenario } from './scenario.ts'
import { scenarios } from './scenarios.ts'
import { writePage } from './report/write-page.ts'

/** What nodes and brokers say about each other is not the result. */
process.env.LOGLOOM_LOG_LEVEL ??= 'fatal'
/** No scenario takes longer than its estimate by more than this, and a minute: one that hangs is given up. */
const patience = 4

try {
  const options = argumentsOf(process.argv.slice(2), scenarios)
  if (options.list) list(options)
  else process.exitCode = await main(options)
} catch (error) {
  if (!(error instanceof ArgumentError)) throw error
  process.stderr.write(`${error.message}\n\n${usage}\n`)
  process.exitCode = 2
}

function list({ chosen, mode }: BenchArguments): void {
  for (const scenario of chosen) {
    const { name, group, title, params } = scenario
    const estimate = `${Math.round(scenario.seconds(params[mode]))} s`
    process.stdout.write(
      `${name.padEnd(18)} ${group.padEnd(7)} ${estimate.padStart(7)}  ${title}\n`,
    )
  }
}

async function main(options: BenchArguments): Promise<number> {
  const { mode, results, docs } = options
  const run: Run = {
    begun: new Date().toISOString(),
    command: commandOf(process.argv.slice(2)),
    commit: commit(),
    machine: machine(),
  }
  const known = readResults(results)
  const todo = options.page
    ? []
    : options.chosen.filter(s => !(options.resume && isDone(known.get(s.name), run, mode)))
  let failures = 0
  if (todo.length > 0) {
    const directory = makeRunDirectory()
    const cleanUp = (): void => rmSync(directory, { recursive: true, force: true })
    // Processes are killed on 'exit' too (processes.ts), before or after.
    process.once('exit', cleanUp)
    for (const [signal, code] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const)
      process.once(signal, () => process.exit(code))
    const progress = new Progress(
      todo.map(s => s.seconds(s.params[mode])),
      process.stderr,
    )
    for (const scenario of todo) {
      const before = known.get(scenario.name)
      const stored = await runScenario(scenario, mode, run, before, directory, progress)
      if (stored.outcome.kind === 'failed') failures++
      writeResult(results, stored)
    }
    cleanUp()
  }
  writePage(scenarios, readResults(results), docs)
  process.stderr.write(`${docs}/benchmarks.md is made of ${results}\n`)
  // What a scenario that was given up left open must not keep this process.
  process.exitCode = failures === 0 ? 0 : 1
  if (todo.length > 0) process.exit()
  return 0
}

async function runScenario(
  scenario: Scenario,
  mode: Mode,
  run: Run,
  before: StoredResult | undefined,
  directory: string,
  progress: Progress,
): Promise<StoredResult> {
  const { name } = scenario
  const params = scenario.params[mode]
  const estimate = scenario.seconds(params)
  progress.begin(name, estimate)
  const begun = performance.now()
  try {
    const work = withContext(
      directory,
      what => progress.tick(what),
      context => scenario.run(params, context),
    )
    const result = await inTime(work, patience * estimate + 60)
    const seconds = (performance.now() - begun) / 1000
    // A section that cannot be made is a failure of its scenario, not of the page.
    const stored = JSON.parse(JSON.stringify(result)) as unknown
    scenario.section(stored, params)
    progress.end('done')
    return {
      scenario: name,
      outcome: { kind: 'ok' },
      measured: { run, mode, seconds, params, result: stored },
    }
  } catch (error) {
    // Of one that was given up; the next is to have the machine for itself.
    killAll()
    const reason = (error as Error).message
    const kind = error instanceof NotRunError ? 'not run' : 'failed'
    progress.end(`${kind}: ${reason}`)
    if (kind === 'failed') process.stderr.write(`${(error as Error).stack}\n`)
    return {
      scenario: name,
      outcome: { kind, reason, run },
      ...(before?.measured === undefined ? {} : { measured: before.measured }),
    }
  }
}

async function inTime<T>(work: Promise<T>, seconds: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`given up after ${Math.round(seconds)} s`)),
      seconds * 1000,
    )
  })
  try {
    return await Promise.race([work, over])
  } finally {
    clearTimeout(timer)
  }
}

function isDone(stored: StoredResult | undefined, run: Run, mode: Mode): boolean {
  const { outcome, measured } = stored ?? {}
  return outcome?.kind === 'ok' && measured?.run.commit === run.commit && measured.mode === mode
}

function commandOf(words: readonly string[]): string {
  const rest = words.filter(word => word !== '--full')
  const command = words.includes('--full') ? 'npm run bench:full' : 'npm run bench'
  return rest.length === 0 ? command : `${command} -- ${rest.join(' ')}`
}
