import { crc32 as zlibCrc } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkBatch, encodeBatch } from '../../wire/index.ts'
import { combineCrc, crcThrough, rememberCrc } from '../../wire/crc32.ts'

const bytes = fc.uint8Array({ maxLength: 5000, size: 'max' })

describe('the CRC of two pieces', () => {
  it('is combined from theirs as if they had been read together', () => {
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        expect(combineCrc(zlibCrc(a), zlibCrc(b), b.length)).toBe(zlibCrc(Buffer.concat([a, b])))
      }),
    )
  })

  it('is right for lengths up to gigabytes', () => {
    // Zeros: their CRC over 2^k bytes by doubling, beside one that was read.
    let crc = zlibCrc(new Uint8Array(1 << 20))
    for (let length = 1 << 20; length < 1 << 25; length *= 2) crc = combineCrc(crc, crc, length)
    expect(crc).toBe(zlibCrc(new Uint8Array(1 << 25)))
    const half = combineCrc(crc, crc, 1 << 25)
    expect(combineCrc(half, 0, 0)).toBe(half)
    expect(combineCrc(combineCrc(1, 2, 2 ** 33), 3, 2 ** 33)).toBe(
      combineCrc(1, combineCrc(2, 3, 2 ** 33), 2 ** 34),
    )
  })
})

describe('a remembered CRC', () => {
  it('stands for bytes of any length', () => {
    fc.assert(
      fc.property(bytes, fc.integer({ min: 0, max: 2 ** 32 - 1 }), (data, seed) => {
        const wanted = zlibCrc(data, seed)
        expect(crcThrough(data, seed)).toBe(wanted)
        rememberCrc(data, zlibCrc(data))
        expect(crcThrough(data, seed)).toBe(wanted)
      }),
    )
  })

  it('is that of the whole batch once a batch was checked', () => {
    for (const length of [10, 3000, 70_000]) {
      const batch = encodeBatch([{ value: 'x'.repeat(length) }], { now: 1 })
      const wanted = zlibCrc(batch, 77)
      checkBatch(batch, { bytesMax: 1 << 20 })
      expect(crcThrough(batch, 77)).toBe(wanted)
      // What changes behind its back shows: the CRC is that of what was checked.
      batch[60] = 1
      expect(crcThrough(batch, 77) === wanted).toBe(length >= 3000)
    }
  })
})
