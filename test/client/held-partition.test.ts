// How far a member may read a partition where partitions are added.

import { describe, expect, it } from 'vitest'
import { HeldPartition } from '../../client/consumer/held-partition.ts'

const place = { topic: 't', partition: 0, generation: 1, offset: 0 }

describe('a partition that a member holds', () => {
  it('is read no further once its topic has partitions of which the group has not spoken', () => {
    const held = new HeldPartition({ ...place, until: Infinity, partitions: 3 }, 0, () => {})
    held.told(3)
    expect(held.limit).toBe(Infinity)
    held.told(12)
    expect(held.limit).toBe(0)
    held.allow({ ...place, until: 40, partitions: 12 })
    expect(held.limit).toBe(40)
    held.allow({ ...place, until: Infinity, partitions: 12 })
    expect(held.limit).toBe(Infinity)
  })

  it('is to be committed where the group waits for it, with what holds no record, but not for an application that commits', () => {
    let calls = 0
    const held = new HeldPartition({ ...place, until: 40, partitions: 3 }, 0, () => calls++)
    expect(held.ended(false)).toBeUndefined()
    held.passed(40)
    expect(calls).toBe(1)
    expect(held.ended(false)).toBe(40)
    expect(held.ended(true)).toBe(40)
    held.committed = 40
    expect(held.ended(false)).toBeUndefined()
  })
})
