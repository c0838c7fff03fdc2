// The record batch: a fixed header and a msgpack array of records, one opaque block from producer to consumer (protocol.md 4.1, where the
// bytes are drawn). The header is read without touching the body; the body is opened by readers only.

import { compress, decompress, platformCodecs } from '#platform'
import { crc32 } from './crc32.ts'
import { LogloomError } from './errors.ts'
import { unpackChecked } from './frame.ts'
import { checkMsgpack } from './guard.ts'
import { BatchBuilder, type RecordInput } from './batch-builder.ts'

export const batchHeaderBytes = 64
const magic = 0xb1
const version = 1
const flagSparse = 1
const codecs = ['none', 'gzip', 'zstd'] as const

export type Codec = (typeof codecs)[number]

/** Codecs that this runtime can read and write. */
export const supportedCodecs: readonly Codec[] = ['none', ...platformCodecs]

export interface BatchHeader {
  readonly codec: Codec
  readonly sparse: boolean
  /** Bytes of the body as stored. */
  readonly bodyLength: number
  readonly count: number
  /** Offsets the batch takes: count, or more when sparse. */
  readonly span: number
  /** Bytes of the body before compression. */
  readonly rawLength: number
  readonly baseSequence: number
  /** ms since 1970 */
  readonly baseTimestamp: number
  readonly maxTimestamp: number
  /** 0 = none */
  readonly producerId: number
  readonly producerEpoch: number
}

export interface BatchRecord {
  /** Offset of the record minus the batch's base offset. */
  readonly offsetDelta: number
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly (readonly [string, Uint8Array])[]
}

export interface BatchProducer {
  readonly producerId: number
  readonly producerEpoch: number
  readonly baseSequence: number
}

export interface EncodeBatchOptions {
  /** Timestamp of records that have none, ms. */
  readonly now: number
  readonly producer?: BatchProducer
  /** One per record, strictly rising: makes the batch sparse. */
  readonly offsetDeltas?: readonly number[]
  readonly span?: number
}

/** Encodes records without compression. */
export function encodeBatch(records: readonly RecordInput[], options: EncodeBatchOptions): Uint8Array {
  const { now, producer, offsetDeltas, span } = options
  const builder = new BatchBuilder({ bytesMax: Number.MAX_SAFE_INTEGER, now })
  records.forEach((record, i) => builder.tryAppend(record, offsetDeltas?.[i]))
  return builder.build(producer, offsetDeltas === undefined ? undefined : (span ?? (offsetDeltas.at(-1) ?? 0) + 1))
}

/** Rewrites the producer's fields and the CRC in place. */
export function stampProducer(batch: Uint8Array, producer: BatchProducer): void {
  const view = viewOf(batch)
  view.setUint32(28, producer.baseSequence)
  setU64(view, 48, producer.producerId)
  view.setUint32(56, producer.producerEpoch)
  view.setUint32(4, crc32(batch.subarray(8)))
}

/** A batch with the same records and identity in another codec; the input itself when that is not smaller. */
export async function compressBatch(batch: Uint8Array, codec: Codec): Promise<Uint8Array> {
  if (codec === 'none' || readBatchHeader(batch).codec !== 'none') return batch
  if (!supportedCodecs.includes(codec))
    throw new LogloomError('UNSUPPORTED_CODEC', `this runtime has no ${codec}`, { codec })
  const body = await compress(codec, batch.subarray(batchHeaderBytes))
  if (body.length >= batch.length - batchHeaderBytes) return batch
  const result = new Uint8Array(batchHeaderBytes + body.length)
  result.set(batch.subarray(0, batchHeaderBytes))
  result.set(body, batchHeaderBytes)
  const view = viewOf(result)
  view.setUint8(8, codecs.indexOf(codec))
  view.setUint32(12, body.length)
  view.setUint32(4, crc32(result.subarray(8)))
  return result
}

/** Reads the header and checks its structure; neither CRC nor body. @throws BATCH_CORRUPT, UNSUPPORTED_CODEC */
export function readBatchHeader(batch: Uint8Array): BatchHeader {
  if (batch.length < batchHeaderBytes)
    corrupt(`${batch.length} bytes are less than a header (${batchHeaderBytes})`)
  const view = viewOf(batch)
  if (view.getUint8(0) !== magic) corrupt(`magic is 0x${view.getUint8(0).toString(16)}, not 0xb1`)
  if (view.getUint8(1) !== version) corrupt(`batch version ${view.getUint8(1)} is not ${version}`)
  const codec = codecs[view.getUint8(8)]
  if (codec === undefined)
    throw new LogloomError('UNSUPPORTED_CODEC', `codec ${view.getUint8(8)} is not known`, { codec: view.getUint8(8) })
  const flags = view.getUint8(9)
  if (view.getUint16(2) !== 0 || view.getUint16(10) !== 0 || view.getUint32(60) !== 0 || (flags & ~flagSparse) !== 0)
    corrupt('a reserved field is not zero')
  const header: BatchHeader = {
    codec,
    sparse: (flags & flagSparse) !== 0,
    bodyLength: view.getUint32(12),
    count: view.getUint32(16),
    span: view.getUint32(20),
    rawLength: view.getUint32(24),
    baseSequence: view.getUint32(28),
    baseTimestamp: getU64(view, 32),
    maxTimestamp: getU64(view, 40),
    producerId: getU64(view, 48),
    producerEpoch: view.getUint32(56),
  }
  const { bodyLength, count, span, rawLength } = header
  if (bodyLength !== batch.length - batchHeaderBytes)
    corrupt(`bodyLength is ${bodyLength}, the body has ${batch.length - batchHeaderBytes} bytes`)
  if (count < 1) corrupt('count is 0')
  if (header.sparse ? span < count : span !== count) corrupt(`span is ${span} for ${count} records`)
  if (codec === 'none' && rawLength !== bodyLength) corrupt(`rawLength is ${rawLength}, bodyLength ${bodyLength}`)
  if (header.baseSequence >= 2 ** 31) corrupt(`baseSequence ${header.baseSequence} is not below 2^31`)
  return header
}

/** Everything that the broker checks of a batch it never opens. @throws BATCH_CORRUPT, UNSUPPORTED_CODEC, MESSAGE_TOO_LARGE */
export function checkBatch(batch: Uint8Array, options: { readonly bytesMax: number }): BatchHeader {
  if (batch.length > options.bytesMax)
    throw new LogloomError('MESSAGE_TOO_LARGE', `the batch has ${batch.length} bytes, the limit is ${options.bytesMax} (max.message.bytes)`, {
      limit: options.bytesMax,
      actual: batch.length,
    })
  const header = readBatchHeader(batch)
  const stored = viewOf(batch).getUint32(4)
  const actual = crc32(batch.subarray(8))
  if (stored !== actual) corrupt(`CRC-32 is ${hex(actual)}, the header says ${hex(stored)}`)
  return header
}

/** Opens a batch. @throws BATCH_CORRUPT, UNSUPPORTED_CODEC */
export async function decodeBatch(batch: Uint8Array): Promise<readonly BatchRecord[]> {
  const header = checkBatch(batch, { bytesMax: Number.MAX_SAFE_INTEGER })
  const body = batch.subarray(batchHeaderBytes)
  const { codec } = header
  if (codec === 'none') return decodeBody(header, body)
  if (!supportedCodecs.includes(codec))
    throw new LogloomError('UNSUPPORTED_CODEC', `this runtime has no ${codec}`, { codec })
  let raw: Uint8Array
  try {
    raw = await decompress(codec, body, header.rawLength)
  } catch (error) {
    throw new LogloomError('BATCH_CORRUPT', `${codec} body does not decompress: ${(error as Error).message}`, {}, { cause: error })
  }
  return decodeBody(header, raw)
}

/** Opens an uncompressed batch. @throws BATCH_CORRUPT, and UNSUPPORTED_CODEC for a compressed one */
export function decodeBatchSync(batch: Uint8Array): readonly BatchRecord[] {
  const header = checkBatch(batch, { bytesMax: Number.MAX_SAFE_INTEGER })
  if (header.codec !== 'none')
    throw new LogloomError('UNSUPPORTED_CODEC', `a ${header.codec} batch needs decodeBatch`, { codec: header.codec })
  return decodeBody(header, batch.subarray(batchHeaderBytes))
}

function decodeBody(header: BatchHeader, body: Uint8Array): readonly BatchRecord[] {
  if (body.length !== header.rawLength) corrupt(`the body has ${body.length} bytes, rawLength is ${header.rawLength}`)
  let rows: unknown
  try {
    // array of records, record, headers: three levels; every element takes a byte at least.
    checkMsgpack(body, { depthMax: 3, elementsMax: body.length })
    rows = unpackChecked(body)
  } catch (error) {
    throw new LogloomError('BATCH_CORRUPT', `body: ${(error as Error).message}`, {}, { cause: error })
  }
  if (!Array.isArray(rows) || rows.length !== header.count)
    corrupt(`the body has ${Array.isArray(rows) ? rows.length : 'no'} records, the header says ${header.count}`)
  let last = -1
  return (rows as unknown[]).map((row, i) => {
    const record = decodeRecord(header, row, i)
    if (record.offsetDelta <= last || record.offsetDelta >= header.span) corrupt(`record ${i}: offset delta ${record.offsetDelta}`)
    last = record.offsetDelta
    return record
  })
}

function decodeRecord(header: BatchHeader, row: unknown, index: number): BatchRecord {
  if (!Array.isArray(row) || row.length !== (header.sparse ? 5 : 4)) corrupt(`record ${index} has the wrong shape`)
  const [key, value, headers, timestampDelta, offsetDelta = index] = row as unknown[]
  if (!isBytes(key) || !isBytes(value)) corrupt(`record ${index}: key and value are binary or nil`)
  if (!Number.isSafeInteger(timestampDelta) || (timestampDelta as number) < 0) corrupt(`record ${index}: timestamp delta`)
  if (!Number.isSafeInteger(offsetDelta)) corrupt(`record ${index}: offset delta`)
  return {
    offsetDelta: offsetDelta as number,
    timestamp: header.baseTimestamp + (timestampDelta as number),
    key: key as Uint8Array | null,
    value: value as Uint8Array | null,
    headers: decodeHeaders(headers, index),
  }
}

function decodeHeaders(headers: unknown, index: number): readonly (readonly [string, Uint8Array])[] {
  if (headers === null) return []
  if (!Array.isArray(headers) || headers.length % 2 !== 0) corrupt(`record ${index}: headers are pairs`)
  const flat = headers as unknown[]
  const pairs: (readonly [string, Uint8Array])[] = []
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i]
    const value = flat[i + 1]
    if (typeof name !== 'string' || !(value instanceof Uint8Array)) corrupt(`record ${index}: header ${i / 2}`)
    pairs.push([name as string, value as Uint8Array])
  }
  return pairs
}

function isBytes(value: unknown): boolean {
  return value === null || value instanceof Uint8Array
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function getU64(view: DataView, at: number): number {
  const value = view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4)
  if (!Number.isSafeInteger(value)) corrupt(`the number at byte ${at} is beyond 2^53 - 1`)
  return value
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32))
  view.setUint32(at + 4, value >>> 0)
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}

function corrupt(reason: string): never {
  throw new LogloomError('BATCH_CORRUPT', reason)
}
