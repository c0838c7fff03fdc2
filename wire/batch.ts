// The record batch: a fixed header and a msgpack array of records, one opaque block from producer to consumer (protocol.md 4.1, where the
// bytes are drawn).
//
// Guarantees: the header is read without touching the body, which only readers open; opening allocates no more than the header promises.
// It knows neither topics nor offsets: records are numbered from 0 within their batch.

import { compress, decompress, decompressPieces, platformCodecs } from '#platform'
import { ByteTurns } from './byte-turns.ts'
import { combineCrc, crc32, rememberCrc } from './crc32.ts'
import { LogloomError } from './errors.ts'
import { type BatchRecord, noHeaders, readBody } from './batch-body.ts'
import { BodyScan, type RecordWalk } from './body-scan.ts'
import {
  BatchBuilder,
  type BatchProducer,
  batchHeaderBytes,
  type RecordInput,
  writeProducer,
} from './batch-builder.ts'
import { wireLimits } from './limits.ts'
import { walkInTurns } from './scan-turns.ts'
import { getU64 } from './u64.ts'

export type { BatchRecord } from './batch-body.ts'
export type { RecordWalk } from './body-scan.ts'
export { type BatchProducer, batchHeaderBytes } from './batch-builder.ts'

const magic = 0xb1
const version = 1
const flagSparse = 1
const flagKeyed = 2
const codecs = ['none', 'gzip', 'zstd'] as const

/** How the body is compressed. */
export type Codec = (typeof codecs)[number]

/** Codecs that this runtime can read and write. */
export const supportedCodecs: readonly Codec[] = ['none', ...platformCodecs]

/** The header's fields as numbers; sizes in bytes, times in ms since 1970. */
export interface BatchHeader {
  readonly codec: Codec
  readonly sparse: boolean
  /** Who made it says that every record has a key; false says nothing. */
  readonly keyed: boolean
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

export interface EncodeBatchOptions {
  /** Timestamp of records that have none, ms. */
  readonly now: number
  readonly producer?: BatchProducer
  /** One per record, strictly rising: makes the batch sparse. */
  readonly offsetDeltas?: readonly number[]
  readonly span?: number
}

/**
 * Encodes records, in any order of timestamps, without compression.
 * @throws INVALID_REQUEST for no records, wrong types, or offset deltas that do not rise below `span`; NUMBER_OUT_OF_RANGE
 */
export function encodeBatch(
  records: readonly RecordInput[],
  options: EncodeBatchOptions,
): Uint8Array {
  const { now, producer, offsetDeltas } = options
  const isSparse = offsetDeltas !== undefined || options.span !== undefined
  const deltas = offsetDeltas ?? [...records.keys()]
  const span = options.span ?? (deltas.at(-1) ?? 0) + 1
  const rises = deltas.every((delta, i) => delta > (deltas[i - 1] ?? -1))
  if (deltas.length !== records.length || !rises || (deltas.at(-1) ?? 0) >= span)
    throw new LogloomError(
      'INVALID_REQUEST',
      `offset deltas must be one per record, rise strictly and stay below the span ${span}`,
      { field: 'offsetDeltas' },
    )
  const baseTimestamp = records.reduce(
    (least, { timestamp = now }) => Math.min(least, timestamp),
    Number.POSITIVE_INFINITY,
  )
  const builder = new BatchBuilder({ bytesMax: Number.MAX_SAFE_INTEGER, now, baseTimestamp })
  records.forEach((record, i) => builder.tryAppend(record, isSparse ? deltas[i] : undefined))
  return builder.build(producer, isSparse ? span : undefined)
}

/** Rewrites the producer's fields and the CRC in place. @throws NUMBER_OUT_OF_RANGE */
export function stampProducer(batch: Uint8Array, producer: BatchProducer): void {
  const view = viewOf(batch)
  writeProducer(view, 0, producer)
  view.setUint32(4, crc32(batch.subarray(8)))
}

/** A batch with the same records and identity in another codec; the input itself when that is not smaller. */
export async function compressBatch(batch: Uint8Array, codec: Codec): Promise<Uint8Array> {
  if (codec === 'none' || readBatchHeader(batch).codec !== 'none') return batch
  requireCodec(codec)
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
    throw new LogloomError('UNSUPPORTED_CODEC', `codec ${view.getUint8(8)} is not known`, {
      codec: view.getUint8(8),
    })
  const flags = view.getUint8(9)
  if (
    view.getUint16(2) !== 0 ||
    view.getUint16(10) !== 0 ||
    view.getUint32(60) !== 0 ||
    (flags & ~(flagSparse | flagKeyed)) !== 0
  )
    corrupt('a reserved field is not zero')
  const header: BatchHeader = {
    codec,
    sparse: (flags & flagSparse) !== 0,
    keyed: (flags & flagKeyed) !== 0,
    bodyLength: view.getUint32(12),
    count: view.getUint32(16),
    span: view.getUint32(20),
    rawLength: view.getUint32(24),
    baseSequence: view.getUint32(28),
    baseTimestamp: safeU64(view, 32),
    maxTimestamp: safeU64(view, 40),
    producerId: safeU64(view, 48),
    producerEpoch: view.getUint32(56),
  }
  const { bodyLength, count, span, rawLength } = header
  if (bodyLength !== batch.length - batchHeaderBytes)
    corrupt(`bodyLength is ${bodyLength}, the body has ${batch.length - batchHeaderBytes} bytes`)
  if (count < 1) corrupt('count is 0')
  if (header.sparse ? span < count : span !== count) corrupt(`span is ${span} for ${count} records`)
  if (codec === 'none' && rawLength !== bodyLength)
    corrupt(`rawLength is ${rawLength}, bodyLength ${bodyLength}`)
  if (header.maxTimestamp < header.baseTimestamp)
    corrupt(`maxTimestamp ${header.maxTimestamp} is before baseTimestamp ${header.baseTimestamp}`)
  if (header.baseSequence >= 2 ** 31)
    corrupt(`baseSequence ${header.baseSequence} is not below 2^31`)
  return header
}

/**
 * Everything that the broker checks of a batch it never opens.
 * @throws BATCH_CORRUPT, UNSUPPORTED_CODEC, MESSAGE_TOO_LARGE, also for a body of more than `batchRawBytesMax` when decompressed
 */
export function checkBatch(batch: Uint8Array, options: { readonly bytesMax: number }): BatchHeader {
  const { bytesMax } = options
  if (batch.length > bytesMax)
    tooLarge(`the batch has ${batch.length} bytes`, bytesMax, batch.length, 'max.message.bytes')
  const header = checkCrc(batch)
  // The log's record of it has a CRC over all its bytes: the body is looked at once.
  const stored = viewOf(batch).getUint32(4)
  rememberCrc(batch, combineCrc(crc32(batch.subarray(0, 8)), stored, batch.length - 8))
  const { rawLength } = header
  const rawMax = wireLimits.batchRawBytesMax
  if (rawLength > rawMax)
    tooLarge(`the body has ${rawLength} bytes uncompressed`, rawMax, rawLength, 'batchRawBytesMax')
  const { batchElementsMax } = wireLimits
  if (header.count > batchElementsMax)
    tooLarge(
      `the batch has ${header.count} records`,
      batchElementsMax,
      header.count,
      'batchElementsMax',
    )
  return header
}

/** Opens a batch; keys and values are views of it, or of its decompressed body. @throws BATCH_CORRUPT, UNSUPPORTED_CODEC */
export async function decodeBatch(batch: Uint8Array): Promise<readonly BatchRecord[]> {
  return openWhole(batch, checkCrc(batch))
}

async function openWhole(batch: Uint8Array, header: BatchHeader): Promise<readonly BatchRecord[]> {
  const body = batch.subarray(batchHeaderBytes)
  const { codec } = header
  if (codec === 'none') return readBody(body, header)
  const rawLength = mayOpen(codec, header)
  return openings.run(rawLength, async () =>
    readBody(await readCompressed(codec, body, header), header),
  )
}

/**
 * Hands out records of a batch: what {@link decodeBatch} would have, within `walk`'s bounds. Whatever the batch decompresses to, the memory that
 * it takes is small: what is large is never there as a whole. Keys, values and headers are valid while `visit` runs.
 * @throws BATCH_CORRUPT, maybe after records were visited, and UNSUPPORTED_CODEC
 */
export async function walkBatch(batch: Uint8Array, walk: RecordWalk): Promise<void> {
  const header = checkCrc(batch)
  const { codec, count } = header
  const body = batch.subarray(batchHeaderBytes)
  const isSmall = header.rawLength <= wholeBytesMax && count <= wholeRecordsMax
  if (codec === 'none' && isSmall) return visitAll(readBody(body, header), walk)
  const scan = new BodyScan(header, walk)
  if (codec === 'none') await walkInTurns(body, piece => scan.add(piece))
  else {
    const rawLength = mayOpen(codec, header)
    if (isSmall) return visitAll(await openWhole(batch, header), walk)
    await openings.run(Math.min(rawLength, scanBytes + walk.recordBytesMax), () =>
      scanCompressed(codec, body, header, scan),
    )
  }
  scan.end()
}

/** Of a body that is opened as a whole for a walk: that is faster, and takes about a millisecond. */
const wholeBytesMax = 1 << 20
const wholeRecordsMax = 4096

function visitAll(records: readonly BatchRecord[], walk: RecordWalk): void {
  const { from, recordBytesMax, visit } = walk
  for (const record of records) {
    if (record.offsetDelta < from) continue
    const bytes = bytesOf(record)
    const isWhole = bytes <= recordBytesMax
    const shown = isWhole ? record : { ...record, key: null, value: null, headers: noHeaders }
    if (!visit(shown, bytes)) return
  }
}

function bytesOf({ key, value, headers }: BatchRecord): number {
  let bytes = (key?.length ?? 0) + (value?.length ?? 0)
  for (const [name, held] of headers) bytes += utf8.encode(name).length + held.length
  return bytes
}

const utf8 = new TextEncoder()

/**
 * Looks for a record without a key; the batch's header was checked. Needs little memory, whatever the body decompresses to.
 * @returns its index, or -1 @throws BATCH_CORRUPT for what {@link decodeBatch} would refuse, UNSUPPORTED_CODEC
 */
export async function findKeyless(batch: Uint8Array, header: BatchHeader): Promise<number> {
  const body = batch.subarray(batchHeaderBytes)
  const { codec, rawLength } = header
  const scan = new BodyScan(header)
  if (codec === 'none') {
    if (header.count <= wholeRecordsMax) scan.add(body)
    else await walkInTurns(body, piece => scan.add(piece))
  } else {
    mayOpen(codec, header)
    await openings.run(Math.min(rawLength, scanBytes), () =>
      scanCompressed(codec, body, header, scan),
    )
  }
  scan.end()
  return scan.keyless
}

/** Of memory that a scan needs, about. */
const scanBytes = 1 << 20

async function scanCompressed(
  codec: 'gzip' | 'zstd',
  body: Uint8Array,
  { rawLength }: BatchHeader,
  scan: BodyScan,
): Promise<void> {
  let size = 0
  try {
    for await (const piece of decompressPieces(codec, body, rawLength)) {
      size += piece.length
      if (size > rawLength) break
      await walkInTurns(piece, part => scan.add(part))
    }
  } catch (error) {
    if (error instanceof LogloomError) throw error
    notDecompressed(codec, rawLength, error as Error)
  }
  if (size !== rawLength)
    corrupt(`the body decompresses to ${size} bytes or more, rawLength is ${rawLength}`)
}

/** What a batch claims to decompress to is allocated for so much in all, whoever asks. */
const openings = new ByteTurns(wireLimits.batchRawBytesMax)

async function readCompressed(
  codec: 'gzip' | 'zstd',
  body: Uint8Array,
  { rawLength }: BatchHeader,
): Promise<Uint8Array> {
  let raw: Uint8Array
  try {
    raw = await decompress(codec, body, rawLength)
  } catch (error) {
    notDecompressed(codec, rawLength, error as Error)
  }
  if (raw.length !== rawLength)
    corrupt(`the body decompresses to ${raw.length} bytes, rawLength is ${rawLength}`)
  return raw
}

/** Opens an uncompressed batch. @throws BATCH_CORRUPT, and UNSUPPORTED_CODEC for a compressed one */
export function decodeBatchSync(batch: Uint8Array): readonly BatchRecord[] {
  const header = checkCrc(batch)
  if (header.codec !== 'none')
    throw new LogloomError('UNSUPPORTED_CODEC', `a ${header.codec} batch needs decodeBatch`, {
      codec: header.codec,
    })
  return readBody(batch.subarray(batchHeaderBytes), header)
}

function checkCrc(batch: Uint8Array): BatchHeader {
  const header = readBatchHeader(batch)
  const stored = viewOf(batch).getUint32(4)
  const actual = crc32(batch.subarray(8))
  if (stored !== actual) corrupt(`CRC-32 is ${hex(actual)}, the header says ${hex(stored)}`)
  return header
}

function notDecompressed(codec: Codec, rawLength: number, cause: Error): never {
  throw new LogloomError(
    'BATCH_CORRUPT',
    `${codec} body does not decompress to ${rawLength} bytes: ${cause.message}`,
    {},
    { cause },
  )
}

/** Also of a batch that comes from elsewhere than a broker that checked it. @returns bytes that it says it decompresses to */
function mayOpen(codec: Codec, { rawLength }: BatchHeader): number {
  requireCodec(codec)
  if (rawLength > wireLimits.batchRawBytesMax)
    corrupt(`rawLength is ${rawLength}, the limit is ${wireLimits.batchRawBytesMax}`)
  return rawLength
}

function requireCodec(codec: Codec): void {
  if (!supportedCodecs.includes(codec))
    throw new LogloomError('UNSUPPORTED_CODEC', `this runtime has no ${codec}`, { codec })
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function safeU64(view: DataView, at: number): number {
  const value = getU64(view, at)
  if (!Number.isSafeInteger(value)) corrupt(`the number at byte ${at} is beyond 2^53 - 1`)
  return value
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`
}

function corrupt(reason: string): never {
  throw new LogloomError('BATCH_CORRUPT', reason)
}

function tooLarge(what: string, limit: number, actual: number, name: string): never {
  throw new LogloomError('MESSAGE_TOO_LARGE', `${what}, the limit is ${limit} (${name})`, {
    limit,
    actual,
  })
}
