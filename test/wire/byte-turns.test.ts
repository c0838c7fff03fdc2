// Turns by bytes, and what they are for: many small batches that decompress to much, opened all at once.

import { describe, expect, it } from 'vitest'
import { ByteTurns } from '../../wire/byte-turns.ts'
import { compressBatch, decodeBatch, encodeBatch } from '../../wire/batch.ts'

describe('turns', () => {
  it('let as much run as fits, the longest waiting first', async () => {
    const turns = new ByteTurns(10)
    const began: string[] = []
    const ends: (() => void)[] = []
    const work = (name: string, bytes: number): Promise<void> =>
      turns.run(bytes, () => {
        began.push(name)
        return new Promise<void>(resolve => ends.push(resolve))
      })
    const all = [work('a', 6), work('b', 4), work('c', 6), work('d', 1), work('e', 50)]
    expect(began).toEqual(['a', 'b'])
    ends[0]?.()
    await all[0]
    await Promise.resolve()
    expect(began).toEqual(['a', 'b', 'c'])
    ends[1]?.()
    await all[1]
    await Promise.resolve()
    expect(began).toEqual(['a', 'b', 'c', 'd'])
    ends[2]?.()
    ends[3]?.()
    await all[3]
    await all[2]
    await Promise.resolve()
    // Larger than all: it runs alone.
    expect(began).toEqual(['a', 'b', 'c', 'd', 'e'])
    ends[4]?.()
    await Promise.all(all)
  })

  it('go on after work that failed', async () => {
    const turns = new ByteTurns(1)
    const failed = turns.run(1, () => Promise.reject(new Error('no')))
    const next = turns.run(1, () => Promise.resolve(7))
    await expect(failed).rejects.toThrow('no')
    expect(await next).toBe(7)
  })
})

describe('batches that decompress to much', () => {
  it('are opened one after the other', async () => {
    const value = new Uint8Array(40 << 20)
    const batch = await compressBatch(encodeBatch([{ value }], { now: 1 }), 'gzip')
    let open = 0
    let most = 0
    const before = process.memoryUsage().rss
    await Promise.all(
      Array.from({ length: 24 }, async () => {
        const [record] = await decodeBatch(batch)
        open++
        most = Math.max(most, process.memoryUsage().rss - before)
        expect(record?.value?.length).toBe(value.length)
      }),
    )
    expect(open).toBe(24)
    // All at once they would take 24 times 40 MiB, and the pieces they are made of as much again.
    expect(most).toBeLessThan(24 * value.length)
  })
})
