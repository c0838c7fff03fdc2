// Row 20 in its short form: every attack twice.

import { expect, it } from 'vitest'
import { run } from './hostile-frames.ts'

it('a broker with a heap of 512 MB bears every attack, and serves others meanwhile', async () => {
  const result = await run({ form: 'short', seed: 1 })
  expect(result).toMatchObject({ passed: true, counts: { failed: 0, othersRefused: 0 } })
  expect(result.counts['othersPings']).toBeGreaterThan(0)
}, 180_000)
