// Who has to stop when the states of brokers differ (invariant 8).

import { expect, it } from 'vitest'
import { HashChecks, hashCheckEvery } from '../../broker/engine/hash-checks.ts'

/** Sessions 2, 3, … are the others. */
function checks(): HashChecks {
  const made = new HashChecks(0)
  made.note(hashCheckEvery, () => 'mine')
  return made
}
const note = (hash: string): { at: number; hash: string } => ({ at: 1, hash })

it('one of three that differs stops, the two that agree go on, whoever is heard first', () => {
  const good = checks()
  expect(good.hear(note('other'), 3, [2, 3])).toEqual({ same: false, outvoted: false })
  expect(good.hear(note('mine'), 2, [2, 3])).toEqual({ same: true, outvoted: false })
  const bad = checks()
  expect(bad.hear(note('other'), 2, [2, 3])).toEqual({ same: false, outvoted: false })
  expect(bad.hear(note('other'), 3, [2, 3])).toEqual({ same: false, outvoted: true })
})

it('both of two stop: nobody can tell who is right', () => {
  expect(checks().hear(note('other'), 2, [2])).toEqual({ same: false, outvoted: true })
})

it('a tie of four stops all, but not before all have told', () => {
  const four = checks()
  expect(four.hear(note('other'), 2, [2, 3, 4]).outvoted).toBe(false)
  expect(four.hear(note('other'), 3, [2, 3, 4]).outvoted).toBe(false)
  expect(four.hear(note('mine'), 4, [2, 3, 4])).toEqual({ same: true, outvoted: true })
})

it('what a broker said that is gone does not count, nor what cannot be compared', () => {
  const left = checks()
  left.hear(note('other'), 2, [2, 3])
  expect(left.hear(note('mine'), 3, [3])).toEqual({ same: true, outvoted: false })
  expect(left.hear({ at: 7, hash: 'other' }, 3, [3])).toEqual({ same: true, outvoted: false })
})
