// The scan for keys agrees with the reader of bodies about every body, in whatever pieces it comes.

import {
  array,
  assert,
  asyncProperty,
  constantFrom,
  integer,
  option,
  property,
  record,
  string,
  tuple,
  uint8Array,
} from 'fast-check'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { type BodyShape, readBody } from '../../wire/batch-body.ts'
import { batchHeaderBytes, encodeBatch, findKeyless, readBatchHeader } from '../../wire/batch.ts'
import { LogloomError } from '../../wire/errors.ts'
import { KeyScan } from '../../wire/key-scan.ts'
import { decompressPieces } from '../../wire/platform.node.ts'

const bytes = uint8Array({ maxLength: 300 })
const records = array(
  record({
    key: option(bytes, { freq: 6 }),
    value: option(bytes),
    headers: array(tuple(string(), bytes), { maxLength: 3 }),
    timestamp: integer({ min: 0, max: 2 ** 45 }),
  }),
  { minLength: 1, maxLength: 8 },
)
/** Where to cut, in bytes; the last length is used again. */
const cuts = array(integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 20 })
/** Places that are overwritten, in thousandths of the body. */
const damage = array(
  tuple(
    integer({ min: 0, max: 999 }),
    constantFrom(0, 1, 0x90, 0x94, 0xc0, 0xc4, 0xc6, 0xcf, 0xff),
  ),
  { maxLength: 2 },
)

function pieces(body: Uint8Array, lengths: readonly number[]): readonly Uint8Array[] {
  const cut: Uint8Array[] = []
  for (let at = 0, i = 0; at < body.length; i++) {
    const length = i < lengths.length ? (lengths[i] as number) : Math.max(1, lengths.at(-1) ?? 1)
    cut.push(body.slice(at, at + length))
    at += length
  }
  return cut
}

/** Index of the first record without a key, or the code of the error. */
function scanned(body: Uint8Array, lengths: readonly number[], shape: BodyShape): number | string {
  const scan = new KeyScan(shape)
  return orCode(() => {
    for (const piece of pieces(body, lengths)) scan.add(piece)
    scan.end()
    return scan.keyless
  })
}

function read(body: Uint8Array, shape: BodyShape): number | string {
  return orCode(() => readBody(body, shape).findIndex(({ key }) => key === null))
}

function orCode(work: () => number): number | string {
  try {
    return work()
  } catch (error) {
    if (error instanceof LogloomError) return error.code
    throw error
  }
}

describe('the scan', () => {
  it('finds what the reader finds, and refuses what it refuses', () => {
    let refused = 0
    assert(
      property(records, cuts, damage, (list, lengths, harm) => {
        const batch = encodeBatch(list, { now: 1_000_000 })
        const body = batch.slice(batchHeaderBytes)
        for (const [place, byte] of harm) body[Math.floor((place / 1000) * body.length)] = byte
        const shape = readBatchHeader(batch)
        const expected = read(body, shape)
        if (expected === 'BATCH_CORRUPT') refused++
        expect(scanned(body, lengths, shape)).toBe(expected)
      }),
      { numRuns: 3000 },
    )
    expect(refused).toBeGreaterThan(100)
  })

  it('knows the offsets of sparse bodies', () => {
    const shape = { count: 2, span: 7, sparse: true, baseTimestamp: 5 }
    const body = (...offsets: readonly number[]): Uint8Array =>
      Uint8Array.from([0x92, ...offsets.flatMap(each => [0x95, 0xc4, 0, 0xc0, 0xc0, 0, each])])
    for (const offsets of [
      [0, 6],
      [3, 4],
      [4, 3],
      [3, 3],
      [0, 7],
    ])
      for (const length of [1, 3, 100])
        expect(scanned(body(...offsets), [length], shape)).toBe(read(body(...offsets), shape))
  })

  it('sees a body that ends early or goes on', () => {
    const batch = encodeBatch([{ key: 'k', value: 'a value' }], { now: 1 })
    const body = batch.subarray(batchHeaderBytes)
    const shape = readBatchHeader(batch)
    for (let length = 0; length < body.length; length++)
      expect(scanned(body.slice(0, length), [3], shape)).toBe('BATCH_CORRUPT')
    expect(scanned(Uint8Array.from([...body, 0xc0]), [3], shape)).toBe('BATCH_CORRUPT')
    expect(scanned(body.slice(), [3], shape)).toBe(-1)
  })
})

describe('pieces', () => {
  it('are what the whole is, and those that were used are empty', async () => {
    await assert(
      asyncProperty(integer({ min: 0, max: 3 << 20 }), integer(), async (size, seed) => {
        const raw = Uint8Array.from({ length: size }, (_, i) => ((i >> 9) * seed) & 0xff)
        const copies: Uint8Array[] = []
        const seen: Uint8Array[] = []
        for await (const piece of decompressPieces('gzip', gzipSync(raw), size)) {
          copies.push(Uint8Array.from(piece))
          seen.push(piece)
        }
        expect(Buffer.concat(copies).equals(raw)).toBe(true)
        const full = copies.filter(({ length }) => length === 256 << 10).length
        expect(seen.filter(({ length }) => length === 0).length).toBe(full)
      }),
      { numRuns: 20 },
    )
  })

  it('end soon after as many bytes as are wanted', async () => {
    let size = 0
    for await (const piece of decompressPieces('gzip', gzipSync(Buffer.alloc(8 << 20)), 1000))
      size += piece.length
    expect(size).toBeLessThanOrEqual(256 << 10)
  })
})

describe('a batch', () => {
  it('that decompresses to less or to more than it says is refused', async () => {
    const batch = encodeBatch([{ key: 'k', value: 'x'.repeat(2000) }], { now: 1 })
    const body = gzipSync(batch.subarray(batchHeaderBytes))
    const header = { ...readBatchHeader(batch), codec: 'gzip' as const }
    const whole = Buffer.concat([batch.subarray(0, batchHeaderBytes), body])
    expect(await findKeyless(whole, header)).toBe(-1)
    for (const rawLength of [header.rawLength - 1, header.rawLength + 1])
      await expect(findKeyless(whole, { ...header, rawLength })).rejects.toMatchObject({
        code: 'BATCH_CORRUPT',
      })
    await expect(findKeyless(whole.subarray(0, -9), header)).rejects.toMatchObject({
      code: 'BATCH_CORRUPT',
    })
  })
})
