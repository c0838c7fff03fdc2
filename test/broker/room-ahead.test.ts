// LMDB never meets a full disk: its file reaches past all that a commit can write, before it writes.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { array, assert, asyncProperty, constantFrom, integer, record } from 'fast-check'
import { open, type RootDatabase } from 'lmdb'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openLmdbStore } from '../../broker/state/lmdb-store.ts'
import { pagesNeeded, type TreePages } from '../../broker/state/room-ahead.ts'
import { canMount } from '../acceptance/can-mount.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'logloom-room-'))
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

const keyOf = (n: number): Buffer => Buffer.from(String(n).padStart(12, 'k'))

describe('the room that a commit needs', () => {
  it('is never less than what LMDB takes', async () => {
    const commits = array(
      record({
        keys: constantFrom(1, 10, 100, 2000),
        among: constantFrom(50, 5000, 1_000_000),
        valueBytes: constantFrom(8, 100, 1500, 2100, 9000),
        deleteEvery: constantFrom(2, 5, 1000),
        factor: integer({ min: 1, max: 10_007 }),
      }),
      { minLength: 1, maxLength: 12 },
    )
    let run = 0
    const property = asyncProperty(commits, async steps => {
      const path = join(directory, String(run++))
      const db: RootDatabase<Uint8Array, Uint8Array> = open({
        path,
        encoding: 'binary',
        keyEncoding: 'binary',
        eventTurnBatching: false,
      })
      const stats = (): TreePages & { lastPageNumber: number } =>
        db.getStats() as TreePages & { lastPageNumber: number }
      for (const { keys, among, valueBytes, deleteEvery, factor } of steps) {
        const puts = Array.from({ length: keys }, (_, i) => keyOf((i * 7919 * factor) % among))
        const bytes = keys * (12 + valueBytes)
        const before = stats()
        const room = pagesNeeded({ keys, bytes }, before)
        await db.batch(() => {
          for (const [i, key] of puts.entries())
            if (i % deleteEvery === 1) void db.remove(key)
            else void db.put(key, Buffer.alloc(valueBytes))
        })
        await db.flushed
        expect(stats().lastPageNumber - before.lastPageNumber).toBeLessThanOrEqual(room)
      }
      await db.close()
      rmSync(path, { recursive: true })
    })
    await assert(property, { numRuns: 40 })
  })
})

describe.skipIf(!canMount)('a store on a full disk (needs root, to mount a small tmpfs)', () => {
  let mount: string

  beforeEach(() => {
    mount = join(directory, 'small')
    mkdirSync(mount)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'tmpfs', mount])
  })

  afterEach(() => {
    execFileSync('umount', ['-l', mount])
  })

  it('is refused by the file system before LMDB writes, and goes on when there is room', async () => {
    const path = join(mount, 'state')
    const store = openLmdbStore(path)
    const ballast = join(mount, 'ballast')
    const put = (n: number, bytes: number) =>
      ({ type: 'put', key: keyOf(n), value: new Uint8Array(bytes).fill(n) }) as const
    await store.commit([put(1, 10)])
    const { bavail, bsize } = statfsSync(mount)
    writeFileSync(ballast, Buffer.alloc(bavail * bsize))
    let stored = 1
    let refused = 0
    while (refused < 20)
      try {
        await store.commit([put(stored + 1, 50_000)])
        stored++
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' })
        refused++
      }
    // What was there before the disk was full is used up first.
    expect(stored).toBeGreaterThan(1)
    await expect(store.clear()).resolves.toBeUndefined()
    await store.commit([put(1, 10)])
    rmSync(ballast)
    await store.commit([put(2, 500_000)])
    await store.close()
    const again = openLmdbStore(path)
    expect(again.get(keyOf(1))).toEqual(Buffer.alloc(10, 1))
    expect(again.get(keyOf(2))?.length).toBe(500_000)
    expect(statSync(join(path, 'data.mdb')).size).toBeGreaterThan(1 << 20)
    await again.close()
  })
})
