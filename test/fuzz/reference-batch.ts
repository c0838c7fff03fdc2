// A second, tiny decoder of record batches, written from docs/protocol.md 4.1 only, to compare with. Bodies are general msgpack to it.

import { crc32 } from 'node:zlib'
import { type Plain, referenceDecode } from './reference-msgpack.ts'

/** Key, value and headers as bytes; the timestamp and the offset within the batch. */
export interface PlainRecord {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly Plain[]
  readonly timestamp: number
  readonly offsetDelta: number
}

/** Records of an uncompressed batch; undefined for what is none, or breaks a rule. */
export function referenceBatch(batch: Uint8Array): readonly PlainRecord[] | undefined {
  const bytes = Buffer.from(batch.buffer, batch.byteOffset, batch.length)
  if (bytes.length < 64 || bytes[0] !== 0xb1 || bytes[1] !== 1) return undefined
  if (bytes.readUInt32BE(4) !== crc32(bytes.subarray(8))) return undefined
  const [codec, flags] = [bytes[8] as number, bytes[9] as number]
  const reserved = bytes.readUInt16BE(2) + bytes.readUInt16BE(10) + bytes.readUInt32BE(60)
  if (codec !== 0 || flags > 3 || reserved !== 0) return undefined
  const [length, count, span, raw, sequence] = [12, 16, 20, 24, 28].map(at =>
    bytes.readUInt32BE(at),
  ) as [number, number, number, number, number]
  const [base, newest, producer] = [32, 40, 48].map(at => bytes.readBigUInt64BE(at)) as [
    bigint,
    bigint,
    bigint,
  ]
  const isSparse = (flags & 1) !== 0
  const isWrong =
    length !== bytes.length - 64 ||
    raw !== length ||
    count === 0 ||
    (isSparse ? span < count : span !== count) ||
    sequence >= 2 ** 31 ||
    newest < base ||
    [base, newest, producer].some(value => value >= 2n ** 53n)
  if (isWrong) return undefined
  let records: Plain
  try {
    records = referenceDecode(batch.subarray(64))
  } catch {
    return undefined
  }
  if (!Array.isArray(records) || records.length !== count) return undefined
  let last = -1
  const found: PlainRecord[] = []
  for (const record of records) {
    if (!Array.isArray(record) || record.length !== (isSparse ? 5 : 4)) return undefined
    const [key, value, headers, delta, offset = last + 1] = record as [
      Plain,
      Plain,
      Plain,
      Plain,
      Plain?,
    ]
    const list = headers === null ? [] : headers
    const areHeaders =
      Array.isArray(list) &&
      list.length % 2 === 0 &&
      list.every((part, i) => (i % 2 === 0 ? typeof part === 'string' : part instanceof Uint8Array))
    if (!isBytes(key) || !isBytes(value) || !areHeaders || !isCount(delta) || !isCount(offset))
      return undefined
    const timestamp = Number(base) + delta
    if (!Number.isSafeInteger(timestamp) || offset <= last || offset >= span) return undefined
    last = offset
    found.push({ key, value, headers: list, timestamp, offsetDelta: offset })
  }
  return found
}

function isBytes(value: Plain): value is Uint8Array | null {
  return value === null || value instanceof Uint8Array
}

function isCount(value: Plain): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
