// Producers are state of the log that anybody may make who is let in at all. What one principal has of them is bounded, so that it fills neither the brokers'
// memory nor what all share.

import { expect, it } from 'vitest'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import {
  Producers,
  producersPerOwnerMax,
  transactionalIdsMax,
  transactionalIdsPerOwnerMax,
} from '../../broker/state/producers.ts'
import type { StoreOp } from '../../broker/state/store.ts'

const ids = (producers: Producers): number[] => [...producers.all()].map(({ id }) => id)

it('of one owner those that have been idle for longest are forgotten, of others none', () => {
  const producers = new Producers(new MemoryStore())
  const hers = producers.allocate(0, undefined, 'User:alice')
  const named = producers.allocate(0, 'User:mallory t', 'User:mallory')
  const inUse = producers.allocate(0, undefined, 'User:mallory')
  for (let i = 1; i < producersPerOwnerMax; i++) producers.allocate(i, undefined, 'User:mallory')
  producers.touch(inUse, 1e9)
  expect(ids(producers).length).toBe(producersPerOwnerMax + 2)
  for (let i = 0; i < 3 * producersPerOwnerMax; i++) {
    producers.allocate(1e6 + i, undefined, 'User:mallory')
    expect(producers.get(inUse.id)).toBeDefined()
  }
  expect(ids(producers).length).toBeLessThanOrEqual(producersPerOwnerMax + 2)
  expect(producers.get(hers.id)).toBe(hers)
  expect(producers.get(named.id)).toBe(named)
})

it('a broker that has just started forgets the same ones', async () => {
  const store = new MemoryStore()
  const first = new Producers(store)
  // Seen in another order than that of their ids.
  for (let i = 0; i < producersPerOwnerMax; i++) first.allocate(1, undefined, 'User:mallory')
  for (const id of [5, 3, 9_000, 17]) {
    const producer = first.get(id)
    if (producer !== undefined) first.touch(producer, 2)
  }
  const ops: StoreOp[] = []
  first.takeChanges(ops)
  await store.commit(ops)
  const second = new Producers(store)
  second.load()
  second.nextProducerId = first.nextProducerId
  for (const each of [first, second]) each.allocate(3, undefined, 'User:mallory')
  const sorted = (producers: Producers): number[] => ids(producers).sort((a, b) => a - b)
  expect(sorted(second)).toEqual(sorted(first))
  expect(first.get(3)).toBeDefined()
  expect(first.get(1)).toBeUndefined()
})

it('no owner has all transactional ids', () => {
  expect(transactionalIdsPerOwnerMax).toBeLessThan(transactionalIdsMax)
  const producers = new Producers(new MemoryStore())
  const one = producers.allocate(0, 'User:a 1', 'User:a')
  producers.allocate(0, 'User:b 1', 'User:b')
  expect(producers.namedCountOf('User:a')).toBe(1)
  producers.expire([one])
  expect(producers.namedCountOf('User:a')).toBe(0)
})
