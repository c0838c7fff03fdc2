// Builds an uncompressed batch record by record into one growing buffer: a msgpack writer for exactly this shape, without an object per
// record (protocol.md 4.1).

import { crc32 } from './crc32.ts'
import { LogloomError } from './errors.ts'

export type HeadersInput =
  | Readonly<Record<string, string | Uint8Array>>
  | readonly (readonly [string, string | Uint8Array])[]

export interface RecordInput {
  readonly key?: Uint8Array | string | null
  /** null is a tombstone. */
  readonly value?: Uint8Array | string | null
  readonly headers?: HeadersInput
  /** ms since 1970; default: the builder's `now`. */
  readonly timestamp?: number
}

export interface BatchBuilderOptions {
  /** Limit of the whole batch, header included. */
  readonly bytesMax: number
  readonly now: number
}

const headerBytes = 64
/** Room for the array header of the records, written when their number is known. */
const bodyStart = headerBytes + 5
const recordOverheadMax = 64
const utf8 = new TextEncoder()

export class BatchBuilder {
  private readonly options: BatchBuilderOptions
  private buffer: Uint8Array<ArrayBuffer>
  private view: DataView
  private at = bodyStart
  private records = 0
  private baseTimestamp = 0
  private maxTimestamp = 0
  private sparse = false

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

  /** Adds a record; false = the batch is full. @throws MESSAGE_TOO_LARGE when the record fits no batch of this size */
  tryAppend(record: RecordInput, offsetDelta?: number): boolean {
    const { bytesMax, now } = this.options
    const timestamp = record.timestamp ?? now
    // Deltas are not negative: an older record begins a new batch, unless it is the first.
    if (this.records > 0 && timestamp < this.baseTimestamp) return false
    const start = this.at
    this.reserve(record)
    if (this.records === 0) {
      this.baseTimestamp = timestamp
      this.sparse = offsetDelta !== undefined
    }
    this.buffer[this.at++] = this.sparse ? 0x95 : 0x94
    this.bytesField(record.key)
    this.bytesField(record.value)
    this.headersField(record.headers)
    this.uint(timestamp - this.baseTimestamp)
    if (this.sparse) this.uint(offsetDelta ?? this.records)
    if (this.at > bytesMax) {
      const size = this.at - start
      this.at = start
      if (this.records > 0) return false
      throw new LogloomError('MESSAGE_TOO_LARGE', `the record takes ${size + bodyStart} bytes in a batch, the limit is ${bytesMax} (batchBytesMax)`, {
        limit: bytesMax,
        actual: size + bodyStart,
      })
    }
    this.records++
    if (timestamp > this.maxTimestamp) this.maxTimestamp = timestamp
    return true
  }

  /** The finished batch; the builder must not be used afterwards. `span` makes it sparse. */
  build(
    producer: { producerId: number; producerEpoch: number; baseSequence: number } = {
      producerId: 0,
      producerEpoch: 0,
      baseSequence: 0,
    },
    span?: number,
  ): Uint8Array {
    const { view, records } = this
    // The shortest array header, right before the first record.
    const headerSize = records < 16 ? 1 : records < 65_536 ? 3 : 5
    const start = 5 - headerSize
    const arrayAt = headerBytes + start
    if (headerSize === 1) view.setUint8(arrayAt, 0x90 | records)
    else if (headerSize === 3) {
      view.setUint8(arrayAt, 0xdc)
      view.setUint16(arrayAt + 1, records)
    } else {
      view.setUint8(arrayAt, 0xdd)
      view.setUint32(arrayAt + 1, records)
    }
    const bodyLength = this.at - arrayAt
    this.buffer.fill(0, start, start + headerBytes)
    view.setUint8(start, 0xb1)
    view.setUint8(start + 1, 1)
    view.setUint8(start + 9, span === undefined ? 0 : 1)
    view.setUint32(start + 12, bodyLength)
    view.setUint32(start + 16, records)
    view.setUint32(start + 20, span ?? records)
    view.setUint32(start + 24, bodyLength)
    view.setUint32(start + 28, producer.baseSequence)
    this.u64(start + 32, this.baseTimestamp)
    this.u64(start + 40, this.maxTimestamp)
    this.u64(start + 48, producer.producerId)
    view.setUint32(start + 56, producer.producerEpoch)
    view.setUint32(start + 4, crc32(this.buffer.subarray(start + 8, this.at)))
    return this.buffer.subarray(start, this.at)
  }

  /** Grows the buffer for what this record can take at most. */
  private reserve(record: RecordInput): void {
    let need = recordOverheadMax + sizeMax(record.key) + sizeMax(record.value)
    if (record.headers !== undefined)
      for (const [name, value] of entries(record.headers)) need += 10 + name.length * 3 + sizeMax(value)
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
    else if (value < 2 ** 32) {
      this.buffer[this.at] = 0xce
      this.view.setUint32(this.at + 1, value)
      this.at += 5
    } else {
      this.buffer[this.at] = 0xcf
      this.u64(this.at + 1, value)
      this.at += 9
    }
  }

  private u64(at: number, value: number): void {
    this.view.setUint32(at, Math.floor(value / 2 ** 32))
    this.view.setUint32(at + 4, value >>> 0)
  }
}

function sizeMax(value: Uint8Array | string | null | undefined): number {
  if (value === null || value === undefined) return 1
  return typeof value === 'string' ? value.length * 3 + 5 : value.length + 5
}

function entries(headers: HeadersInput): readonly (readonly [string, string | Uint8Array])[] {
  return Array.isArray(headers)
    ? (headers as readonly (readonly [string, string | Uint8Array])[])
    : Object.entries(headers as Readonly<Record<string, string | Uint8Array>>)
}
