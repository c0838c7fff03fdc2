// Reads the body of a batch: array of `[key, value, headers, timestampDelta, offsetDelta?]` (protocol.md 4.1).
//
// One pass for exactly this shape in place of a general decoder and a check behind it: lengths are compared with what is left before they
// are believed, nothing is allocated but the records, and what the shape does not allow (extensions, deeper nesting, another count) has no
// code path. Keys and values are views of the body. It does not know the header beyond what it is told.

import { LogloomError } from './errors.ts'
import { wireLimits } from './limits.ts'

export interface BatchRecord {
  /** Offset of the record minus the batch's base offset. */
  readonly offsetDelta: number
  /** ms since 1970 */
  readonly timestamp: number
  readonly key: Uint8Array | null
  /** null is a tombstone. */
  readonly value: Uint8Array | null
  /** In the producer's order; names may repeat. */
  readonly headers: readonly (readonly [string, Uint8Array])[]
}

/** What the header says about the body. */
export interface BodyShape {
  readonly count: number
  readonly span: number
  readonly sparse: boolean
  readonly baseTimestamp: number
}

export const noHeaders: BatchRecord['headers'] = Object.freeze([])
/** A byte order mark at the beginning of a name belongs to the name. */
export const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

/** @throws BATCH_CORRUPT naming record and byte */
export function readBody(body: Uint8Array, shape: BodyShape): readonly BatchRecord[] {
  const { count, span, sparse, baseTimestamp } = shape
  const reader = new BodyReader(body)
  const declared = reader.arrayLength('records')
  if (declared !== count) corrupt(`the body has ${declared} records, the header says ${count}`)
  let elements = mustFit(count)
  const fields = sparse ? 5 : 4
  const records: BatchRecord[] = []
  let last = -1
  for (let i = 0; i < count; i++) {
    const found = reader.arrayLength('a record')
    if (found !== fields) corrupt(`record ${i} has ${found} fields, not ${fields}`)
    const key = reader.bytesOrNil('a key')
    const value = reader.bytesOrNil('a value')
    const headers = readHeaders(reader, i, elements)
    elements += headers.length
    const timestamp = baseTimestamp + reader.uint('a timestamp delta')
    if (!Number.isSafeInteger(timestamp)) corrupt(`record ${i}: timestamp beyond 2^53 - 1`)
    const offsetDelta = sparse ? reader.uint('an offset delta') : i
    if (offsetDelta <= last || offsetDelta >= span)
      corrupt(`record ${i}: offset delta ${offsetDelta} after ${last}, the span is ${span}`)
    last = offsetDelta
    records.push({ offsetDelta, timestamp, key, value, headers })
  }
  if (reader.left > 0) corrupt(`${reader.left} bytes after the last record`)
  return records
}

function readHeaders(reader: BodyReader, record: number, elements: number): BatchRecord['headers'] {
  if (reader.takeNil()) return noHeaders
  const items = reader.arrayLength('headers')
  mustFit(elements + items / 2)
  if (items % 2 !== 0) corrupt(`record ${record}: ${items} header names and values are no pairs`)
  const headers: (readonly [string, Uint8Array])[] = []
  for (let i = 0; i < items; i += 2) {
    const name = utf8.decode(reader.text('a header name'))
    const value = reader.bytesOrNil('a header value')
    if (value === null) corrupt(`record ${record}: header ${name} has no value`)
    headers.push([name, value])
  }
  return headers
}

/** Records and headers so far. @returns the same @throws BATCH_CORRUPT */
export function mustFit(elements: number): number {
  const limit = wireLimits.batchElementsMax
  if (elements <= limit) return elements
  throw new LogloomError(
    'BATCH_CORRUPT',
    `${Math.ceil(elements)} records and headers or more, the limit is ${limit} (batchElementsMax)`,
    { limit, actual: Math.ceil(elements) },
  )
}

class BodyReader {
  private readonly bytes: Uint8Array
  private readonly view: DataView
  private at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get left(): number {
    return this.bytes.length - this.at
  }

  takeNil(): boolean {
    const isNil = this.bytes[this.at] === 0xc0
    if (isNil) this.at++
    return isNil
  }

  arrayLength(what: string): number {
    const token = this.token(what)
    if (token >= 0x90 && token < 0xa0) return token & 0x0f
    if (token === 0xdc) return this.number(2, what)
    if (token === 0xdd) return this.number(4, what)
    return this.wrong(what, token)
  }

  bytesOrNil(what: string): Uint8Array | null {
    const token = this.token(what)
    if (token === 0xc0) return null
    if (token === 0xc4) return this.take(this.number(1, what), what)
    if (token === 0xc5) return this.take(this.number(2, what), what)
    if (token === 0xc6) return this.take(this.number(4, what), what)
    return this.wrong(what, token)
  }

  /** UTF-8 bytes of a str. */
  text(what: string): Uint8Array {
    const token = this.token(what)
    if (token >= 0xa0 && token < 0xc0) return this.take(token & 0x1f, what)
    if (token === 0xd9) return this.take(this.number(1, what), what)
    if (token === 0xda) return this.take(this.number(2, what), what)
    if (token === 0xdb) return this.take(this.number(4, what), what)
    return this.wrong(what, token)
  }

  /** An integer from 0 in any width, signed or not, or as an integral float64. */
  uint(what: string): number {
    const token = this.token(what)
    if (token < 0x80) return token
    const value = this.wideNumber(token, what)
    return Number.isSafeInteger(value) && value >= 0
      ? value
      : corrupt(`${what} is ${value}, not an integer from 0`)
  }

  private wideNumber(token: number, what: string): number {
    switch (token) {
      case 0xcc:
        return this.number(1, what)
      case 0xcd:
        return this.number(2, what)
      case 0xce:
        return this.number(4, what)
      case 0xcf:
        return this.number(4, what) * 2 ** 32 + this.number(4, what)
      case 0xd0:
        return (this.number(1, what) << 24) >> 24
      case 0xd1:
        return (this.number(2, what) << 16) >> 16
      case 0xd2:
        return this.number(4, what) | 0
      case 0xd3:
        return (this.number(4, what) | 0) * 2 ** 32 + this.number(4, what)
      case 0xcb:
        this.need(8, what)
        this.at += 8
        return this.view.getFloat64(this.at - 8)
      default:
        return token >= 0xe0 ? token - 0x100 : this.wrong(what, token)
    }
  }

  private token(what: string): number {
    const token = this.bytes[this.at]
    if (token === undefined) corrupt(`the body ends where ${what} is due`)
    this.at++
    return token
  }

  private number(size: 1 | 2 | 4, what: string): number {
    this.need(size, what)
    const at = this.at
    this.at += size
    if (size === 1) return this.bytes[at] as number
    return size === 2 ? this.view.getUint16(at) : this.view.getUint32(at)
  }

  private take(length: number, what: string): Uint8Array {
    this.need(length, what)
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  private need(length: number, what: string): void {
    if (length > this.left) corrupt(`${what} needs ${length} bytes, ${this.left} are left`)
  }

  private wrong(what: string, token: number): never {
    return corrupt(`byte ${this.at - 1}: 0x${token.toString(16)} where ${what} is due`)
  }
}

function corrupt(reason: string): never {
  throw new LogloomError('BATCH_CORRUPT', reason)
}
