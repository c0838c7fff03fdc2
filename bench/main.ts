// `npm run bench`: runs scenarios, writes what each found out to bench/results, and makes docs/benchmarks.md of all results there are.
//
// Exits with 0, 1 when a scenario failed (the page says so), 2 on wrong arguments. Nothing is left behind, no process and no data, however it ends.

import { ArgumentError, argumentsOf, type BenchArguments, usage } from './arguments.ts'
import { commit, machine } from './machine.ts'
import { writePage } from './report/write-page.ts'
import { readResults, type Run, type StoredResult } from './results.ts'
import { runScenarios } from './run.ts'
import type { Mode } from './scenario.ts'
import { scenarios } from './scenarios.ts'

/** Change what is measured; see arguments.ts. */
const programs = ['NATS_SERVER', 'REDIS_SERVER', 'KAFKA_BOOTSTRAP'] as const

/** What nodes and brokers say about each other is not the result. */
process.env.LOGLOOM_LOG_LEVEL ??= 'fatal'

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)
  process.once(signal, () => process.exit(code))

try {
  const options = argumentsOf(process.argv.slice(2), scenarios)
  if (options.list) list(options)
  else if (options.page) makePage(options)
  else process.exit(await measure(options))
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

async function measure(options: BenchArguments): Promise<number> {
  const { mode, results } = options
  const run: Run = {
    begun: new Date().toISOString(),
    command: commandOf(process.argv.slice(2)),
    commit: commit(),
    machine: machine(),
  }
  const known = readResults(results)
  const todo = options.chosen.filter(
    s => !(options.resume && isDone(known.get(s.name), run.commit, mode)),
  )
  const failures = await runScenarios(todo, { mode, run, results, stream: process.stderr })
  makePage(options)
  return failures === 0 ? 0 : 1
}

function makePage({ results, docs }: BenchArguments): void {
  writePage(scenarios, readResults(results), docs)
  process.stderr.write(`${docs}/benchmarks.md is made of ${results}\n`)
}

function isDone(stored: StoredResult | undefined, commitNow: string, mode: Mode): boolean {
  const { outcome, measured } = stored ?? {}
  return outcome?.kind === 'ok' && measured?.run.commit === commitNow && measured.mode === mode
}

function commandOf(words: readonly string[]): string {
  const rest = words.filter(word => word !== '--full')
  const command = words.includes('--full') ? 'npm run bench:full' : 'npm run bench'
  // Where they are is this machine's business; that they were given is not.
  const given = programs.filter(name => (process.env[name] ?? '') !== '').map(name => `${name}=… `)
  return `${given.join('')}${command}${rest.length === 0 ? '' : ` -- ${rest.join(' ')}`}`
}
