// Plants every bug of the list and says how many seeds it takes to find it. Usage: node dist/test/mutations/run.js [--seeds 1000] [--only WORD]
// Ends with exit code 1 when one is not found.

import { plantedBugs } from './bugs.ts'
import { hunt } from './plant.ts'

function option(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}

const seeds = Number(option('seeds') ?? 1000)
const only = option('only') ?? ''
let missed = 0
for (const bug of plantedBugs.filter(b => b.name.includes(only))) {
  const verdict = await hunt(bug, seeds, 120)
  if (verdict.outcome !== 'found') missed++
  const count = verdict.outcome === 'found' ? `seed ${verdict.seeds}` : verdict.outcome
  console.log(`${count.padEnd(10)} ${bug.scenario.padEnd(6)} ${bug.name}  ${verdict.message}`)
}
process.exit(missed === 0 ? 0 : 1)
