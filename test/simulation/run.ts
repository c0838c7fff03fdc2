// Runs seeds of the simulation and says what they met. Usage: node run.js [--scenario log|broker|brokers|cluster|register|all] [--from 1] [--seeds N | --seconds S]
// Ends with exit code 1 at the first failing seed, which it names.

import { pathToFileURL } from 'node:url'
import { brokerScenario } from './broker-scenario.ts'
import { brokersScenario } from './brokers-scenario.ts'
import { clusterScenario } from './cluster-scenario.ts'
import { logScenario, type RunResult } from './log-scenario.ts'
import { registerScenario } from './register-scenario.ts'

export const scenarios: Readonly<Record<string, (seed: number) => Promise<RunResult>>> = {
  log: logScenario,
  broker: brokerScenario,
  brokers: brokersScenario,
  cluster: clusterScenario,
  register: registerScenario,
}

export interface SeedsReport {
  readonly scenario: string
  readonly ran: number
  readonly seconds: number
  readonly events: number
  readonly states: ReadonlyMap<string, number>
  readonly failure?: { readonly seed: number; readonly error: Error }
}

/** Runs seeds from `from` until the number or the time is used up, or one fails. */
export async function runSeeds(
  scenario: string,
  from: number,
  limit: { readonly seeds?: number; readonly seconds?: number },
): Promise<SeedsReport> {
  const run = scenarios[scenario]
  if (run === undefined)
    throw new Error(`no scenario ${scenario}: use ${Object.keys(scenarios).join(', ')}`)
  const started = performance.now()
  const elapsed = (): number => (performance.now() - started) / 1000
  const states = new Map<string, number>()
  let events = 0
  let ran = 0
  for (
    let seed = from;
    ran < (limit.seeds ?? Number.POSITIVE_INFINITY) &&
    elapsed() < (limit.seconds ?? Number.POSITIVE_INFINITY);
    seed++
  ) {
    try {
      const result = await run(seed)
      events += result.events
      for (const [state, count] of result.states)
        states.set(state, (states.get(state) ?? 0) + count)
    } catch (error) {
      return {
        scenario,
        ran,
        seconds: elapsed(),
        events,
        states,
        failure: { seed, error: error as Error },
      }
    }
    ran++
  }
  return { scenario, ran, seconds: elapsed(), events, states }
}

function option(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}

if (
  import.meta.url === pathToFileURL(process.argv[1] ?? '').href ||
  process.env.SIMULATION_MAIN === '1'
) {
  const names = option('scenario') ?? 'all'
  const seeds = option('seeds')
  const limit =
    seeds === undefined ? { seconds: Number(option('seconds') ?? 60) } : { seeds: Number(seeds) }
  for (const name of names === 'all' ? Object.keys(scenarios) : [names]) {
    const report = await runSeeds(name, Number(option('from') ?? 1), limit)
    console.log(
      `${name}: ${report.ran} seeds in ${report.seconds.toFixed(1)} s (${(report.ran / report.seconds).toFixed(1)} seeds/s, ${report.events} events)`,
    )
    for (const [state, count] of [...report.states].sort((a, b) => (a[0] < b[0] ? -1 : 1)))
      console.log(`  ${state}: ${count}`)
    if (report.failure === undefined) continue
    console.log(`FAILED seed ${report.failure.seed}: ${report.failure.error.stack}`)
    process.exit(1)
  }
  process.exit(0)
}
