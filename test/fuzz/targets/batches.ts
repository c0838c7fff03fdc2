// Record batches: what the broker checks of them, what a reader opens, and the builder (wire/batch.ts, batch-body.ts, batch-builder.ts).
//
// Rules: only the four codes; a second decoder takes and refuses the same batches and sees the same records; what was decoded, encoded and
// decoded again is the same. `batches-gzip` is the same behind compressed bodies, where decompressing is bounded by what the header says.

import { gzipSync } from 'node:zlib'
import {
  type BatchRecord,
  checkBatch,
  decodeBatch,
  decodeBatchSync,
  encodeBatch,
  readBatchHeader,
} from '../../../wire/batch.ts'
import { batchHeaderBytes } from '../../../wire/batch-builder.ts'
import { crc32 } from '../../../wire/crc32.ts'
import { wireLimits } from '../../../wire/limits.ts'
import { MsgpackMaker } from '../msgpack-maker.ts'
import type { FuzzRandom } from '../random.ts'
import { type PlainRecord, referenceBatch } from '../reference-batch.ts'
import { must, refusedWith, type Target } from '../target.ts'

const codes = new Set(['BATCH_CORRUPT', 'UNSUPPORTED_CODEC', 'MESSAGE_TOO_LARGE'])
const limit = { bytesMax: wireLimits.batchBytesMax }
let turn = 0
let maker: MsgpackMaker | undefined

export const batches: Target = {
  name: 'batches',
  bytesMax: 8192,
  seeds,
  generate: generateBatch,
  reseal,
  run: input => {
    const expected = turn++ % 4 === 0 ? referenceBatch(input) : null
    let records: readonly BatchRecord[]
    try {
      checkBatch(input, limit)
      records = decodeBatchSync(input)
    } catch (error) {
      must(
        expected === null || expected === undefined,
        `a second decoder takes what was refused: ${(error as Error).message}`,
      )
      return refusedWith(error, codes)
    }
    must(expected !== undefined, 'a second decoder refuses it')
    if (expected !== null) same(expected, records)
    if (turn % 4 === 2) roundTrip(input, records)
    return true
  },
}

export const batchesGzip: Target = {
  name: 'batches-gzip',
  bytesMax: 8192,
  seeds: () => seeds().map(compressed),
  generate: random => compressed(generateBatch(random)),
  reseal: (input, random) => {
    if (input.length < batchHeaderBytes) return
    input[8] = random.oneIn(50) ? random.below(4) : 1
    reseal(input, random)
  },
  run: async input => {
    try {
      checkBatch(input, limit)
      const records = await decodeBatch(input)
      must(records.length === readBatchHeader(input).count, 'another count than the header says')
      return true
    } catch (error) {
      return refusedWith(error, codes)
    }
  },
}

/** Writes the lengths, most of the time, and the CRC that the bytes after it need. */
export function reseal(batch: Uint8Array, random: FuzzRandom): void {
  if (batch.length < batchHeaderBytes) return
  const view = new DataView(batch.buffer, batch.byteOffset, batch.length)
  if (!random.oneIn(8)) {
    view.setUint32(12, batch.length - batchHeaderBytes)
    if (batch[8] === 0) view.setUint32(24, batch.length - batchHeaderBytes)
  }
  view.setUint32(4, crc32(batch.subarray(8)))
}

export function seeds(): Uint8Array[] {
  const now = 1_700_000_000_000
  return [
    encodeBatch([{ value: 'v' }], { now }),
    encodeBatch([{ key: 'k', value: null, headers: { h: 'x' } }, { value: 'w' }], { now }),
    encodeBatch(Array.from({ length: 40 }, (_, i) => ({ key: `k${i}`, value: 'x'.repeat(i) })), { now }),
    encodeBatch([{ value: 'a', timestamp: 5 }, { value: 'b', timestamp: 2 ** 40 }], { now, offsetDeltas: [3, 9], span: 12 }),
    encodeBatch([{ value: 'p' }], { now, producer: { producerId: 7, producerEpoch: 2, baseSequence: 9 } }),
    encodeBatch([{ value: new Uint8Array(3000) }], { now }),
    encodeBatch([{ key: '', value: '', headers: [['a', ''], ['a', '1'], ['ü', '2']] }], { now }),
  ] // biome-ignore format: one batch a line
}

/** A batch as the grammar has it: header fields that agree with the body but for one in eight, the CRC right. */
export function generateBatch(random: FuzzRandom): Uint8Array {
  if (maker?.random !== random) maker = new MsgpackMaker(random)
  const count = 1 + random.size(random.oneIn(20) ? 200 : 6)
  const isSparse = random.oneIn(4)
  maker.begin()
  for (let i = 0; i < batchHeaderBytes; i++) maker.u8(0)
  maker.array(count)
  let offset = -1
  for (let i = 0; i < count; i++) {
    maker.array(isSparse ? 5 : 4)
    bytesOrNil(maker, random)
    bytesOrNil(maker, random)
    headers(maker, random)
    maker.uint(random.size(random.oneIn(30) ? 2 ** 31 : 100_000))
    offset += 1 + (random.oneIn(3) ? random.size(100) : 0)
    if (isSparse) maker.uint(offset)
  }
  const batch = maker.end()
  const view = new DataView(batch.buffer, batch.byteOffset, batch.length)
  view.setUint16(0, 0xb101)
  batch[9] = (isSparse ? 1 : 0) | (random.oneIn(2) ? 2 : 0)
  view.setUint32(12, batch.length - batchHeaderBytes)
  view.setUint32(16, count)
  view.setUint32(20, isSparse ? offset + 1 + random.size(50) : count)
  view.setUint32(24, batch.length - batchHeaderBytes)
  view.setUint32(28, random.size(1000))
  view.setUint32(36, random.u32())
  view.setUint32(40, 1)
  if (random.oneIn(8))
    view.setUint32(8 + 4 * random.below(14), random.oneIn(2) ? random.u32() : random.size(300))
  view.setUint32(4, crc32(batch.subarray(8)))
  return batch
}

function bytesOrNil(to: MsgpackMaker, random: FuzzRandom): void {
  if (random.oneIn(5)) to.u8(0xc0)
  else if (random.oneIn(100)) to.value(2)
  else to.binary(new Uint8Array(random.size(random.oneIn(20) ? 2000 : 60)).fill(random.u32()))
}

function headers(to: MsgpackMaker, random: FuzzRandom): void {
  if (!random.oneIn(3)) return to.u8(0xc0)
  const pairs = random.size(random.oneIn(20) ? 40 : 4)
  to.array(pairs * 2 + (random.oneIn(60) ? 1 : 0))
  for (let i = 0; i < pairs; i++) {
    to.key()
    to.binary(new Uint8Array(random.size(20)))
  }
}

/** The same batch with its body gzipped, smaller or not. */
function compressed(batch: Uint8Array): Uint8Array {
  const body = gzipSync(batch.subarray(batchHeaderBytes))
  const result = new Uint8Array(batchHeaderBytes + body.length)
  result.set(batch.subarray(0, batchHeaderBytes))
  result.set(body, batchHeaderBytes)
  const view = new DataView(result.buffer)
  view.setUint8(8, 1)
  view.setUint32(12, body.length)
  view.setUint32(4, crc32(result.subarray(8)))
  return result
}

function same(expected: readonly PlainRecord[], records: readonly BatchRecord[]): void {
  must(expected.length === records.length, 'a second decoder sees another number of records')
  records.forEach((record, i) => {
    const other = expected[i] as PlainRecord
    const headersSame =
      record.headers.length * 2 === other.headers.length &&
      record.headers.every(
        ([name, value], n) =>
          name === other.headers[n * 2] &&
          Buffer.compare(value, other.headers[n * 2 + 1] as Uint8Array) === 0,
      )
    const isSame =
      record.timestamp === other.timestamp &&
      record.offsetDelta === other.offsetDelta &&
      sameBytes(record.key, other.key) &&
      sameBytes(record.value, other.value) &&
      headersSame
    must(isSame, `a second decoder sees another record ${i}`)
  })
}

function sameBytes(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0
}

function roundTrip(input: Uint8Array, records: readonly BatchRecord[]): void {
  const { sparse, span, producerId, producerEpoch, baseSequence } = readBatchHeader(input)
  const again = encodeBatch(records, {
    now: 0,
    producer: { producerId, producerEpoch, baseSequence },
    ...(sparse ? { offsetDeltas: records.map(each => each.offsetDelta), span } : {}),
  })
  const decoded = decodeBatchSync(again)
  must(decoded.length === records.length, 'encoding what was decoded loses records')
  decoded.forEach((record, i) => {
    const before = records[i] as BatchRecord
    const isSame =
      record.timestamp === before.timestamp &&
      record.offsetDelta === before.offsetDelta &&
      sameBytes(record.key, before.key) &&
      sameBytes(record.value, before.value) &&
      record.headers.length === before.headers.length &&
      record.headers.every(
        ([name, value], n) =>
          name === before.headers[n]?.[0] && sameBytes(value, before.headers[n]?.[1] ?? null),
      )
    must(isSame, `encoding what was decoded changes record ${i}`)
  })
}
