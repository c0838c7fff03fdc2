import { describe, expect, it } from 'vitest'
import { runSeeds, scenarios } from './run.ts'

describe.each(Object.entries(scenarios))('the %s scenario', (name, run) => {
  it('does the same twice with one seed, and something else with another', async () => {
    const digests = new Set<string>()
    for (const seed of [3, 4, 5]) {
      const once = await run(seed)
      const again = await run(seed)
      expect(again).toEqual(once)
      digests.add(once.digest)
    }
    expect(digests.size).toBe(3)
  })

  it('keeps every invariant through the first seeds, and meets what makes them hard', async () => {
    const report = await runSeeds(name, 1, { seeds: name === 'log' ? 60 : 30 })
    expect(report.failure).toBeUndefined()
    const rare =
      name === 'log'
        ? [
            'crash: torn',
            'crash: process only',
            'cas mismatch',
            'append unknown LOGLET_FLAKY',
            'reconfigured installed takeover',
            'gap lost',
          ]
        : [
            'crash: torn',
            'produce duplicate',
            'produce unknown',
            'publish conflict',
            'rebuilt',
            'switch',
          ]
    for (const state of rare) expect(report.states.get(state) ?? 0, state).toBeGreaterThan(0)
  })
})
