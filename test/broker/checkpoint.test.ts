// Checkpoints of the state: written whole whatever the number of rows, and read in time and memory that fit their size, whatever is in them.

import { describe, expect, it } from 'vitest'
import {
  checkpointName,
  isCheckpoint,
  restoreCheckpoint,
  writeCheckpoint,
} from '../../broker/state/checkpoint.ts'
import { restoreEmptyStore } from '../../broker/engine/load-state.ts'
import { allKeys, metaKey } from '../../broker/state/keys.ts'
import type { BrokerOptions } from '../../broker/broker-options.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import type { DiskFile } from '../../loglets/ports.ts'
import { crc32 } from '../../wire/crc32.ts'
import { SimDisk } from '../simulation/sim-disk.ts'

async function storeOf(rows: number): Promise<MemoryStore> {
  const store = new MemoryStore()
  const ops = Array.from({ length: rows }, (_, i) => ({
    type: 'put' as const,
    key: Uint8Array.of(2, i >>> 8, i & 255),
    value: Uint8Array.of(i & 255),
  }))
  await store.commit(ops)
  return store
}

/** A disk with one checkpoint of these bytes, at position 7, and what was read of it. */
async function diskWith(content: Uint8Array): Promise<{ disk: SimDisk; bytesRead: () => number }> {
  const disk = new SimDisk()
  await disk.mkdir('c')
  const file = await disk.open(`c/${checkpointName(7)}`, { create: true })
  await file.write([content], 0)
  await file.datasync()
  await file.close()
  let read = 0
  const open = disk.open.bind(disk)
  disk.open = async (path, options) => {
    const inner = await open(path, options)
    const counting: DiskFile = Object.create(inner, {
      read: {
        value: async (at: number, length: number) => {
          const bytes = await inner.read(at, length)
          read += bytes.length
          return bytes
        },
      },
    })
    return counting
  }
  return { disk, bytesRead: () => read }
}

function sealed(content: Uint8Array): Uint8Array {
  const view = new DataView(content.buffer)
  view.setUint32(content.length - 8, 0)
  view.setUint32(content.length - 4, crc32(content.subarray(0, content.length - 8)))
  return content
}

describe('a checkpoint', () => {
  it.each([0, 1, 2047, 2048, 2049, 4096])('of %d rows reads back', async rows => {
    const disk = new SimDisk()
    const store = await storeOf(rows)
    await writeCheckpoint(disk, 'c', store, 7)
    const restored = new MemoryStore()
    expect(await restoreCheckpoint(disk, 'c', restored)).toBe(7)
    const all = { low: Uint8Array.of(0), high: Uint8Array.of(255), limit: 10_000 }
    expect(restored.range(all)).toEqual(store.range(all))
  })

  it('is none when a row claims more bytes than follow, which is seen without reading on', async () => {
    const disk = new SimDisk()
    await writeCheckpoint(disk, 'c', await storeOf(0), 7)
    const content = new Uint8Array(64 << 20)
    content.set(disk.content(`c/${checkpointName(7)}`).subarray(0, 16))
    new DataView(content.buffer).setUint32(20, 0xffff_ffff)
    const damaged = await diskWith(sealed(content))
    expect(await isCheckpoint(damaged.disk, `c/${checkpointName(7)}`, 7)).toBe(false)
    expect(damaged.bytesRead()).toBeLessThan(4 << 20)
  })

  it('makes a state only when all of it is there: a restore that breaks off leaves none, and can be made again', async () => {
    const disk = new SimDisk()
    const whole = await storeOf(5000)
    await whole.commit([{ type: 'put', key: metaKey, value: Uint8Array.of(9) }])
    await writeCheckpoint(disk, 'c', whole, 7)
    for (const breaksAt of [0, 1, 2]) {
      const store = await storeOf(3)
      await store.commit([{ type: 'put', key: metaKey, value: Uint8Array.of(8) }])
      const commit = store.commit.bind(store)
      let commits = 0
      store.commit = ops =>
        commits++ === breaksAt ? Promise.reject(new Error('killed')) : commit(ops)
      await expect(restoreCheckpoint(disk, 'c', store)).rejects.toThrow('killed')
      expect(store.get(metaKey)).toBeUndefined()
      store.commit = commit
      expect(await restoreCheckpoint(disk, 'c', store)).toBe(7)
      expect(store.range(allKeys)).toEqual(whole.range(allKeys))
    }
  })

  it('that was restored in part and is gone leaves nothing behind for a start without one', async () => {
    const disk = new SimDisk()
    const store = await storeOf(3)
    const options = { store, disk, checkpointsDir: 'c' } as unknown as BrokerOptions
    await restoreEmptyStore(options)
    expect(store.range(allKeys)).toEqual([])
  })

  it('with a row of many megabytes is read once', async () => {
    const store = new MemoryStore()
    const value = new Uint8Array(24 << 20).fill(7)
    await store.commit([{ type: 'put', key: Uint8Array.of(2), value }])
    const disk = new SimDisk()
    const size = await writeCheckpoint(disk, 'c', store, 7)
    const { disk: counting, bytesRead } = await diskWith(disk.content(`c/${checkpointName(7)}`))
    expect(await isCheckpoint(counting, `c/${checkpointName(7)}`, 7)).toBe(true)
    expect(bytesRead()).toBe(size)
  })
})
