// Builds an uncompressed batch record by record into one growing buffer (protocol.md 4.1): a msgpack writer for exactly this shape, without
// an object per record.
//
// Guarantees: what was accepted is in the batch as it was given; what was refused left no trace. It does not know when a batch is full
// enough, only when it is full.

import { crc32 } from './crc32.ts'
import { LogloomError } from './errors.ts'
import { setU64 } from './u64.ts'

/** Text is stored as its UTF-8 bytes. Pairs keep repeated names. */
export type HeadersInput =
  | Readonly<Record<string, string | Uint8Array>>
  | readonly (readonly [string, string | Uint8Array])[]

/** A record as the user gives it; text is stored as its UTF-8 bytes. */
export interface RecordInput {
  readonly key?: Uint8Array | string | null
  /** null is a tombstone. */
  readonly value?: Uint8Array | string | null
  readonly headers?: HeadersInput
  /** ms since 1970; default: the builder's `now`. */
  readonly timestamp?: number
}

/** Who sent a batch, and which one it is (protocol.md 5). */
export interface BatchProducer {
  readonly producerId: number
  readonly producerEpoch: number
  /** 0 … 2^31 − 1 */
  readonly baseSequence: number
}

export interface BatchBuilderOptions {
  /** Limit of the whole batch, header included. */
  readonly bytesMax: number
  /** Timestamp of records that have none, ms. */
  readonly now: number
  /** Deltas are counted from here: no record may be older. Default: the first record's, or a day before it if that is its own. */
  readonly baseTimestamp?: number
}

/** The body begins here. */
export const batchHeaderBytes = 64
/** Room for the array header of the records, written when their number is known. */
const bodyStart = batchHeaderBytes + 5
/** Records with timestamps of their own come out of order; four bytes more for each keep them in one batch. */
const timestampSlackMs = 86_400_000
const recordOverheadMax = 64
const utf8 = new TextEncoder()
const noProducer: BatchProducer = { producerId: 0, producerEpoch: 0, baseSequence: 0 }

/** One batch while it fills. `tryAppend` until it says no, then `build` once. */
export class BatchBuilder {
  private readonly options: BatchBuilderOptions
  private buffer: Uint8Array<ArrayBuffer>
  private view: DataView
  private at = bodyStart
  private records = 0
  private baseTimestamp = 0
  private maxTimestamp = 0
  private sparse = false
  private keyed = true
  private lastDelta = 0

  constructor(options: BatchBuilderOptions) {
    this.options = options
    this.buffer = new Uint8Array(Math.min(options.bytesMax, 4096) + bodyStart)
    this.view = new DataView(this.buffer.buffer)
  }

  get count(): number {
    return this.records
  }

  /** Bytes of the batch if it were built now, at most. */
  get bytes(): number {
    return this.at
  }

  /**
   * Adds a record; false = it does not fit, or is older than this batch's timestamps reach: it begins the next one. Refusals leave no trace.
   * @throws MESSAGE_TOO_LARGE when the record fits no batch of this size; INVALID_REQUEST, NUMBER_OUT_OF_RANGE
   */
  tryAppend(record: RecordInput, offsetDelta?: number): boolean {
    const { bytesMax, now } = this.options
    const timestamp = record.timestamp ?? now
    if (!Number.isSafeInteger(timestamp) || timestamp < 0)
      outOfRange('timestamp', timestamp, Number.MAX_SAFE_INTEGER)
    if (this.records === 0) this.begin(timestamp, record.timestamp !== undefined, offsetDelta)
    if (timestamp < this.baseTimestamp) return false
    this.reserve(record)
    const start = this.at
    this.buffer[this.at++] = this.sparse ? 0x95 : 0x94
    this.bytesField(record.key)
    this.bytesField(record.value)
    this.headersField(record.headers)
    this.uint(timestamp - this.baseTimestamp)
    if (this.sparse) this.uint(offsetDelta ?? this.records)
    if (this.at > bytesMax) {
      const actual = this.at - start + bodyStart
      this.at = start
      if (this.records > 0) return false
      throw new LogloomError(
        'MESSAGE_TOO_LARGE',
        `the record takes ${actual} bytes in a batch, the limit is ${bytesMax} (batchBytesMax)`,
        { limit: bytesMax, actual },
      )
    }
    this.records++
    if (record.key === null || record.key === undefined) this.keyed = false
    if (offsetDelta !== undefined) this.lastDelta = offsetDelta
    if (timestamp > this.maxTimestamp) this.maxTimestamp = timestamp
    return true
  }

  private begin(timestamp: number, isOwn: boolean, offsetDelta: number | undefined): void {
    const slackMs = isOwn ? timestampSlackMs : 0
    this.baseTimestamp = this.options.baseTimestamp ?? Math.max(0, timestamp - slackMs)
    this.sparse = offsetDelta !== undefined
  }

  /**
   * The finished batch; the builder must not be used afterwards. `span` is for sparse ones; default: up to the last record.
   * @throws INVALID_REQUEST when there are no records; NUMBER_OUT_OF_RANGE
   */
  build(producer: BatchProducer = noProducer, span?: number): Uint8Array {
    const { view, records } = this
    if (records === 0) throw new LogloomError('INVALID_REQUEST', 'a batch has at least one record')
    // The shortest array header, right before the first record.
    const headerSize = records < 16 ? 1 : records < 65_536 ? 3 : 5
    const start = 5 - headerSize
    const arrayAt = batchHeaderBytes + start
    if (headerSize === 1) view.setUint8(arrayAt, 0x90 | records)
    else if (headerSize === 3) {
      view.setUint8(arrayAt, 0xdc)
      view.setUint16(arrayAt + 1, records)
    } else {
      view.setUint8(arrayAt, 0xdd)
      view.setUint32(arrayAt + 1, records)
    }
    const bodyLength = this.at - arrayAt
    this.buffer.fill(0, start, start + batchHeaderBytes)
    view.setUint8(start, 0xb1)
    view.setUint8(start + 1, 1)
    view.setUint8(start + 9, (this.sparse ? 1 : 0) | (this.keyed ? 2 : 0))
    view.setUint32(start + 12, bodyLength)
    view.setUint32(start + 16, records)
    view.setUint32(start + 20, this.sparse ? (span ?? this.lastDelta + 1) : records)
    view.setUint32(start + 24, bodyLength)
    writeProducer(view, start, producer)
    setU64(view, start + 32, this.baseTimestamp)
    setU64(view, start + 40, this.maxTimestamp)
    view.setUint32(start + 4, crc32(this.buffer.subarray(start + 8, this.at)))
    return this.buffer.subarray(start, this.at)
  }

  /** Grows the buffer for what this record can take at most. */
  private reserve(record: RecordInput): void {
    let need = recordOverheadMax + sizeMax(record.key) + sizeMax(record.value)
    if (record.headers !== undefined)
      for (const [name, value] of entries(record.headers)) need += headerSizeMax(name, value)
    if (this.at + need <= this.buffer.length) return
    const grown = new Uint8Array(Math.max(this.buffer.length * 2, this.at + need))
    grown.set(this.buffer.subarray(0, this.at))
    this.buffer = grown
    this.view = new DataView(grown.buffer)
  }

  private bytesField(value: Uint8Array | string | null | undefined): void {
    if (value === null || value === undefined) {
      this.buffer[this.at++] = 0xc0
      return
    }
    if (typeof value === 'string') this.text(value, 0xc4)
    else {
      this.lengthHeader(value.length, 0xc4)
      this.buffer.set(value, this.at)
      this.at += value.length
    }
  }

  /** UTF-8 behind a header of the type whose 8-, 16- and 32-bit forms are `type`, `type + 1`, `type + 2`. */
  private text(value: string, type: 0xc4 | 0xd9): void {
    if (value.length < 64 && this.ascii(value, type)) return
    const headerSize = value.length * 3 < 256 ? 2 : value.length * 3 < 65_536 ? 3 : 5
    const { written } = utf8.encodeInto(value, this.buffer.subarray(this.at + headerSize))
    this.buffer[this.at] = type + (headerSize === 2 ? 0 : headerSize === 3 ? 1 : 2)
    if (headerSize === 2) this.buffer[this.at + 1] = written
    else if (headerSize === 3) this.view.setUint16(this.at + 1, written)
    else this.view.setUint32(this.at + 1, written)
    this.at += headerSize + written
  }

  /** Short plain text without a call out of JavaScript; false = not plain. */
  private ascii(value: string, type: number): boolean {
    const { buffer } = this
    const start = this.at + 2
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i)
      if (code > 0x7f) return false
      buffer[start + i] = code
    }
    buffer[this.at] = type
    buffer[this.at + 1] = value.length
    this.at = start + value.length
    return true
  }

  private headersField(headers: HeadersInput | undefined): void {
    const pairs = headers === undefined ? [] : entries(headers)
    if (pairs.length === 0) {
      this.buffer[this.at++] = 0xc0
      return
    }
    const items = pairs.length * 2
    if (items < 16) this.buffer[this.at++] = 0x90 | items
    else {
      this.buffer[this.at] = 0xdd
      this.view.setUint32(this.at + 1, items)
      this.at += 5
    }
    for (const [name, value] of pairs) {
      this.text(name, 0xd9)
      this.bytesField(value)
    }
  }

  private lengthHeader(length: number, type: number): void {
    if (length < 256) {
      this.buffer[this.at++] = type
      this.buffer[this.at++] = length
    } else if (length < 65_536) {
      this.buffer[this.at++] = type + 1
      this.view.setUint16(this.at, length)
      this.at += 2
    } else {
      this.buffer[this.at++] = type + 2
      this.view.setUint32(this.at, length)
      this.at += 4
    }
  }

  private uint(value: number): void {
    if (value < 128) this.buffer[this.at++] = value
    else if (value < 65_536) {
      this.buffer[this.at] = 0xcd
      this.view.setUint16(this.at + 1, value)
      this.at += 3
    } else if (value < 2 ** 32) {
      this.buffer[this.at] = 0xce
      this.view.setUint32(this.at + 1, value)
      this.at += 5
    } else {
      this.buffer[this.at] = 0xcf
      setU64(this.view, this.at + 1, value)
      this.at += 9
    }
  }
}

/** Writes the producer's fields into the header at `start`. @throws NUMBER_OUT_OF_RANGE */
export function writeProducer(view: DataView, start: number, producer: BatchProducer): void {
  const { producerId, producerEpoch, baseSequence } = producer
  checkRange('producerId', producerId, Number.MAX_SAFE_INTEGER)
  checkRange('producerEpoch', producerEpoch, 2 ** 32 - 1)
  checkRange('baseSequence', baseSequence, 2 ** 31 - 1)
  view.setUint32(start + 28, baseSequence)
  setU64(view, start + 48, producerId)
  view.setUint32(start + 56, producerEpoch)
}

function checkRange(field: string, value: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value > max) outOfRange(field, value, max)
}

function outOfRange(field: string, actual: number, limit: number): never {
  throw new LogloomError(
    'NUMBER_OUT_OF_RANGE',
    `${field} must be an integer from 0 to ${limit}, got ${actual}`,
    { field, limit, actual },
  )
}

/** Most bytes that the value takes behind its header. Types are checked here because JavaScript callers have no compiler. */
function sizeMax(value: unknown): number {
  if (typeof value === 'string') return value.length * 3 + 5
  if (value instanceof Uint8Array) return value.length + 5
  if (value === null || value === undefined) return 1
  throw new LogloomError(
    'INVALID_REQUEST',
    `keys, values and header values are strings or byte arrays, got a ${typeof value}`,
    { actual: typeof value },
  )
}

function headerSizeMax(name: unknown, value: unknown): number {
  if (typeof name === 'string' && value !== null && value !== undefined)
    return sizeMax(name) + sizeMax(value)
  throw new LogloomError(
    'INVALID_REQUEST',
    `header names are strings and header values strings or byte arrays, got ${String(name)}`,
    { actual: String(name) },
  )
}

function entries(headers: HeadersInput): readonly (readonly [string, string | Uint8Array])[] {
  return Array.isArray(headers)
    ? (headers as readonly (readonly [string, string | Uint8Array])[])
    : Object.entries(headers as Readonly<Record<string, string | Uint8Array>>)
}
