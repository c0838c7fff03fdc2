// The stores below the state machine: LMDB and its twin in memory keep one contract.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openLmdbStore } from '../../broker/state/lmdb-store.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import type { StateStore, StoreOp } from '../../broker/state/store.ts'

const key = (n: number): Uint8Array => Uint8Array.of(1, n)
const put = (n: number, value: number): StoreOp => ({
  type: 'put',
  key: key(n),
  value: Uint8Array.of(value),
})
const range = { type: 'deleteRange', low: key(2), high: key(4) } as const

describe.each(['lmdb', 'memory'] as const)('the %s store', kind => {
  let directory: string
  let store: StateStore

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'logloom-store-'))
    store = kind === 'lmdb' ? openLmdbStore(join(directory, 'state')) : new MemoryStore()
  })

  afterEach(async () => {
    await store.close()
    rmSync(directory, { recursive: true, force: true })
  })

  const content = (): readonly (readonly number[])[] =>
    store.range({ low: key(0), high: key(255) }).map(([k, v]) => [k[1] as number, v[0] as number])

  it('deletes a range of what was there, and keeps what the commit itself puts', async () => {
    await store.commit([1, 2, 3, 4, 5].map(n => put(n, n)))
    await store.commit([put(3, 30), range, put(4, 40), { type: 'delete', key: key(5) }])
    expect(content()).toEqual([
      [1, 1],
      [3, 30],
      [4, 40],
    ])
  })

  it('applies what is no range in order', async () => {
    await store.commit([put(1, 1), { type: 'delete', key: key(1) }, put(2, 1), put(2, 2)])
    expect(content()).toEqual([[2, 2]])
  })

  it('takes many operations at once, and gives them back both ways', async () => {
    const count = 20_000
    const wide = (n: number): Uint8Array => Uint8Array.of(2, n >> 8, n & 255)
    const ops = Array.from(
      { length: count },
      (_, n): StoreOp => ({ type: 'put', key: wide(n), value: Uint8Array.of(n & 255) }),
    )
    await store.commit(ops)
    const all = { low: wide(0), high: wide(0xffff) }
    const forward = store.range(all).map(([k]) => Buffer.from(k).toString('hex'))
    expect(forward.length).toBe(count)
    const backward = store.range({ ...all, reverse: true, limit: 3 })
    expect(backward.map(([k]) => Buffer.from(k).toString('hex'))).toEqual(
      forward.slice(-3).reverse(),
    )
    expect([...(store.get(wide(300)) ?? [])]).toEqual([300 & 255])
  })
})
