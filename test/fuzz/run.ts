// Fuzzes decoders and says how often, how fast, and what was found. Usage:
//   node dist/test/fuzz/run.js --target NAME|all [--executions N | --core-minutes M | --seconds S] [--seed N] [--json]
// What is found is written to test/fuzz/corpus/NAME/ and printed; exit code 1 then.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { fuzz, type FuzzOptions, type FuzzReport } from './fuzz.ts'
import { keepInput, keptInputs } from './corpus.ts'
import { targets } from './targets/index.ts'

const name = option('target') ?? 'all'
const amount = amountWanted()
// Stacks of errors that are thrown and caught a hundred thousand times a second; whoever replays a finding sees them.
Error.stackTraceLimit = 0
setFlagsFromString('--expose-gc')
globalThis.gc = runInNewContext('gc') as NodeJS.GCFunction
const chosen = targets.filter(target => name === 'all' || target.name === name)
if (chosen.length === 0)
  throw new Error(`no target ${name}: use ${targets.map(target => target.name).join(', ')}`)

let found = 0
for (const target of chosen) {
  const report = await fuzz(target, {
    seed: Number(option('seed') ?? 1),
    corpus: keptInputs(target.name).map(({ bytes }) => bytes),
    ...amount,
    onProgress: each => console.error(lineOf(each)),
  })
  const { findings, ...counts } = report
  found += findings.length
  console.log(
    process.argv.includes('--json')
      ? JSON.stringify({ ...counts, findings: findings.length })
      : lineOf(report),
  )
  for (const { input, error } of findings) {
    console.log(`FOUND ${error.name}: ${error.message}\n  ${keepInput(target.name, input)}`)
    if (process.argv.includes('--hex'))
      console.log(`  ${Buffer.from(input).toString('hex').slice(0, 400)}`)
  }
}
process.exit(found === 0 ? 0 : 1)

function lineOf(report: FuzzReport): string {
  const {
    target,
    executions: ran,
    perSecond,
    accepted,
    refused,
    findings,
    slowestMsPerMiB,
    keptBytes,
  } = report
  return `${target}: ${ran} executions in ${report.seconds} s and ${report.coreMinutes} core-minutes (${perSecond}/s), ${accepted} accepted, ${refused} refused, ${findings.length} findings; slowest ${slowestMsPerMiB} ms/MiB, ${keptBytes} bytes kept, seed ${report.seed}`
}

function amountWanted(): Pick<FuzzOptions, 'executions' | 'coreMinutes' | 'seconds'> {
  const executions = option('executions')
  if (executions !== undefined) return { executions: Number(executions) }
  const coreMinutes = option('core-minutes')
  if (coreMinutes !== undefined) return { coreMinutes: Number(coreMinutes) }
  return { seconds: Number(option('seconds') ?? 60) }
}

function option(wanted: string): string | undefined {
  const at = process.argv.indexOf(`--${wanted}`)
  return at < 0 ? undefined : process.argv[at + 1]
}
