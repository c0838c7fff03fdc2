// Runs scenarios one after the other and writes down what each found out.
//
// Guarantees: one that fails or hangs does not keep the others from running, its processes are killed and its data is removed, and earlier figures
// of it are kept beside the failure.

import { rmSync } from 'node:fs'
import { makeRunDirectory, withContext } from './context.ts'
import { killAll } from './processes.ts'
import { Progress } from './progress.ts'
import { type Outcome, readResults, type Run, type StoredResult, writeResult } from './results.ts'
import { type Mode, NotRunError, type Scenario } from './scenario.ts'

export interface RunOptions {
  readonly mode: Mode
  readonly run: Run
  /** Directory of the results. */
  readonly results: string
  /** Who is told how it goes. */
  readonly stream: { write(text: string): unknown; readonly isTTY?: boolean }
  /** A scenario is given up after so many times its estimate, and `graceSeconds`. */
  readonly patience?: number
  readonly graceSeconds?: number
}

/** @returns how many failed */
export async function runScenarios(
  scenarios: readonly Scenario[],
  options: RunOptions,
): Promise<number> {
  if (scenarios.length === 0) return 0
  const { mode, results, stream } = options
  const known = readResults(results)
  const directory = makeRunDirectory()
  const cleanUp = (): void => {
    // What was just killed may still be writing.
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
  // Also when this process ends early; its children are killed then, too (processes.ts).
  process.once('exit', cleanUp)
  const progress = new Progress(
    scenarios.map(s => s.seconds(s.params[mode])),
    stream,
  )
  let failures = 0
  for (const scenario of scenarios) {
    const before = known.get(scenario.name)?.measured
    const { outcome, measured = before } = await runOne(scenario, options, directory, progress)
    if (outcome.kind === 'failed') failures++
    writeResult(results, {
      scenario: scenario.name,
      outcome,
      ...(measured === undefined ? {} : { measured }),
    })
  }
  cleanUp()
  process.off('exit', cleanUp)
  return failures
}

async function runOne(
  scenario: Scenario,
  { mode, run, stream, patience = 2, graceSeconds = 30 }: RunOptions,
  directory: string,
  progress: Progress,
): Promise<{ readonly outcome: Outcome; readonly measured?: StoredResult['measured'] & {} }> {
  const params = scenario.params[mode]
  const estimate = scenario.seconds(params)
  progress.begin(scenario.name, estimate)
  const begun = performance.now()
  try {
    const work = withContext(
      directory,
      what => progress.tick(what),
      context => scenario.run(params, context),
    )
    const result = await inTime(work, patience * estimate + graceSeconds)
    const seconds = (performance.now() - begun) / 1000
    // As it will be read again; and a section that cannot be made is a failure of its scenario, not of the page.
    const stored = JSON.parse(JSON.stringify(result)) as unknown
    scenario.section(stored, params)
    progress.end('done')
    return { outcome: { kind: 'ok' }, measured: { run, mode, seconds, params, result: stored } }
  } catch (error) {
    const reason = (error as Error).message
    const kind = error instanceof NotRunError ? 'not run' : 'failed'
    progress.end(`${kind}: ${reason}`)
    if (kind === 'failed') stream.write(`${(error as Error).stack}\n`)
    return { outcome: { kind, reason, run } }
  } finally {
    // Of one that was given up: the next is to have the machine for itself.
    killAll()
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
