// The scan agrees with the reader of bodies about every body, in whatever pieces it comes: about keys, and about records that it hands out.

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
import { type BatchRecord, type BodyShape, readBody } from '../../wire/batch-body.ts'
import {
  batchHeaderBytes,
  decodeBatch,
  encodeBatch,
  findKeyless,
  readBatchHeader,
  walkBatch,
} from '../../wire/batch.ts'
import { BodyScan } from '../../wire/body-scan.ts'
import { LogloomError } from '../../wire/errors.ts'
import { decompressPieces } from '../../wire/platform.node.ts'
import { sealBatch } from '../gateway/raw-client.ts'

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

/** Between offsets; none: the batch is dense. */
const gaps = option(array(integer({ min: 1, max: 3 }), { minLength: 8, maxLength: 8 }))

function sparseBy(count: number, spaces: readonly number[] | null) {
  if (spaces === null) return {}
  let last = -1
  return { offsetDeltas: spaces.slice(0, count).map(space => (last += space)), span: last + 3 }
}

function gzipped(batch: Uint8Array): Uint8Array {
  const body = gzipSync(batch.subarray(batchHeaderBytes), { level: 1 })
  const whole = Buffer.concat([batch.subarray(0, batchHeaderBytes), body])
  whole[8] = 1
  whole.writeUInt32BE(body.length, 12)
  return sealBatch(whole)
}

function pieces(body: Uint8Array, lengths: readonly number[]): readonly Uint8Array[] {
  const cut: Uint8Array[] = []
  for (let at = 0, i = 0; at < body.length; i++) {
    const length = i < lengths.length ? (lengths[i] as number) : Math.max(1, lengths.at(-1) ?? 1)
    cut.push(Buffer.from(body.subarray(at, at + length)))
    at += length
  }
  return cut
}

function scanAll(scan: BodyScan, body: Uint8Array, lengths: readonly number[]): void {
  for (const piece of pieces(body, lengths)) {
    scan.add(piece)
    // As the pieces of what is decompressed: gone when the next one comes.
    piece.fill(0xaa)
  }
  scan.end()
}

/** Index of the first record without a key, or the code of the error. */
function scanned(body: Uint8Array, lengths: readonly number[], shape: BodyShape): number | string {
  const scan = new BodyScan(shape)
  return orCode(() => {
    scanAll(scan, body, lengths)
    return scan.keyless
  })
}

interface Wanted {
  readonly from: number
  readonly recordBytesMax: number
  readonly records: number
}

function sizeOf({ key, value, headers }: BatchRecord): number {
  const inHeaders = headers.map(([name, held]) => Buffer.byteLength(name) + held.length)
  return inHeaders.reduce((a, b) => a + b, (key?.length ?? 0) + (value?.length ?? 0))
}

const plain = (bytes: Uint8Array | null): string | null =>
  bytes && Buffer.from(bytes).toString('hex')

/** What is to come of a record. */
function told(record: BatchRecord, recordBytesMax: number): unknown {
  const size = sizeOf(record)
  return shown(
    size > recordBytesMax ? { ...record, key: null, value: null, headers: [] } : record,
    size,
  )
}

function shown(
  { offsetDelta, timestamp, key, value, headers }: BatchRecord,
  size: number,
): unknown {
  return {
    offsetDelta,
    timestamp,
    size,
    key: plain(key),
    value: plain(value),
    headers: headers.map(([name, held]) => [name, plain(held)]),
  }
}

function expectedOf(records: readonly BatchRecord[], wanted: Wanted): readonly unknown[] {
  return records
    .filter(({ offsetDelta }) => offsetDelta >= wanted.from)
    .slice(0, wanted.records)
    .map(each => told(each, wanted.recordBytesMax))
}

/** Takes what comes as `told` would tell it. */
function collector({ from, recordBytesMax, records }: Wanted) {
  const taken: unknown[] = []
  return {
    taken,
    walk: {
      from,
      recordBytesMax,
      visit: (record: BatchRecord, size: number) => {
        taken.push(shown(record, size))
        return taken.length < records
      },
    },
  }
}

const wants = record({
  from: integer({ min: -3, max: 12 }),
  recordBytesMax: constantFrom(-1, 0, 50, 300, 100_000),
  records: integer({ min: 1, max: 10 }),
})

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

describe('records that are handed out', () => {
  it('are those of the whole, and what is refused is the same', () => {
    let [refused, handedOut] = [0, 0]
    assert(
      property(records, gaps, cuts, damage, wants, (list, spaces, lengths, harm, wanted) => {
        const batch = encodeBatch(list, { now: 1_000_000, ...sparseBy(list.length, spaces) })
        const body = batch.slice(batchHeaderBytes)
        for (const [place, byte] of harm) body[Math.floor((place / 1000) * body.length)] = byte
        const shape = readBatchHeader(batch)
        const { taken, walk } = collector(wanted)
        const result = orCode(() => {
          scanAll(new BodyScan(shape, walk), body, lengths)
          return 0
        })
        let expected: readonly BatchRecord[] = []
        const code = orCode(() => {
          expected = readBody(body, shape)
          return 0
        })
        expect(result).toBe(code)
        if (code === 'BATCH_CORRUPT') refused++
        else if (harm.length === 0) {
          expect(taken).toEqual(expectedOf(expected, wanted))
          handedOut += taken.length
        }
      }),
      { numRuns: 3000 },
    )
    expect(refused).toBeGreaterThan(100)
    expect(handedOut).toBeGreaterThan(500)
  })

  it('come out of compressed batches of any size as out of the whole', async () => {
    await assert(
      asyncProperty(
        integer({ min: 1, max: 30_000 }),
        integer({ min: 0, max: 400_000 }),
        integer({ min: 0, max: 1 << 30 }),
        wants,
        async (count, large, seed, some) => {
          const list = Array.from({ length: count }, (_, i) => ({
            key: i % 3 === 0 ? null : `k${i * seed}`,
            value: 'v'.repeat(i % 97 === 5 && i < 1000 ? large : (i * seed) % 130),
            headers: i % 7 === 0 ? ([['näme', `${i}`]] as [string, string][]) : [],
          }))
          const batch = gzipped(encodeBatch(list, { now: 1_000_000 }))
          const wanted = { ...some, from: some.from * 700, records: some.records * 900 }
          const { taken, walk } = collector(wanted)
          await walkBatch(batch, walk)
          expect(taken).toEqual(expectedOf(await decodeBatch(batch), wanted))
        },
      ),
      { numRuns: 25 },
    )
  }, 60_000)
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
