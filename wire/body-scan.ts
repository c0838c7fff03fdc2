// Walks through the body of a batch (batch-body.ts has its grammar) piece by piece: finds records without a key, and hands out records.
//
// Guarantees: accepts and refuses what `readBody` does, in whatever pieces the body comes, and holds none of them: a small batch that
// decompresses to much costs time, not memory. Of keys, values and headers it copies those of one record at a time, if they are wanted and
// not too many bytes; the rest is skipped.

import { type BatchRecord, type BodyShape, mustFit, noHeaders, utf8 } from './batch-body.ts'
import { LogloomError } from './errors.ts'

/** Bytes of the longest token with its number. */
const longestTokenBytes = 9
/** What the next token is. */
const due = {
  records: 0,
  record: 1,
  key: 2,
  value: 3,
  headers: 4,
  headerName: 5,
  headerValue: 6,
  timestamp: 7,
  offset: 8,
  end: 9,
} as const
type Due = (typeof due)[keyof typeof due]

/** Which records somebody wants. */
export interface RecordWalk {
  /** Offset delta of the first one. */
  readonly from: number
  /** Bytes of key, value and headers together; a record of more comes without them. */
  readonly recordBytesMax: number
  /**
   * Takes a record and how many bytes its key, value and headers have. Comes before what follows is checked: what was taken counts only when
   * the walk ends without an error.
   * @returns whether the next one is wanted
   */
  readonly visit: (record: BatchRecord, bytes: number) => boolean
}

export class BodyScan {
  /** Of the first record without a key; -1: none so far. */
  keyless = -1
  private next: Due = due.records
  private record = 0
  private lastOffset = -1
  private headerItems = 0
  /** Records and headers. */
  private elements: number
  /** Bytes of a key, a value or a header that are still to come. */
  private skip = 0
  /** The beginning of a token whose end is in the next piece. */
  private carried: Uint8Array = new Uint8Array(0)
  private readonly shape: BodyShape
  /** Undefined: no record is wanted, or none any more. */
  private wanted: RecordWalk | undefined
  private recordBytes = 0
  private key: Uint8Array | null = null
  private value: Uint8Array | null = null
  private headers: [string, Uint8Array][] | undefined
  private headerName: Uint8Array | null = null
  private timestamp = 0
  /** What the bytes to skip are copied to. */
  private copy: Uint8Array | null = null
  private copied = 0

  constructor(shape: BodyShape, wanted?: RecordWalk) {
    this.shape = shape
    this.elements = shape.count
    this.wanted = wanted
  }

  /** Takes the next piece; it is not kept. @throws BATCH_CORRUPT */
  add(piece: Uint8Array): void {
    let rest = piece
    if (this.carried.length > 0) {
      const head = Uint8Array.from([...this.carried, ...piece.subarray(0, longestTokenBytes)])
      const had = this.carried.length
      this.carried = new Uint8Array(0)
      const used = this.walk(head, true)
      if (used === 0) {
        this.carried = head
        return
      }
      rest = piece.subarray(used - had)
    }
    const used = this.walk(rest, false)
    // A token is cut off: what there is of it is copied (`slice` of a Buffer would be a view).
    if (used < rest.length) this.carried = new Uint8Array(rest.subarray(used))
  }

  /** There are no more pieces. @throws BATCH_CORRUPT */
  end(): void {
    if (this.next !== due.end || this.skip > 0 || this.carried.length > 0)
      corrupt(`the body ends in record ${this.record} of ${this.shape.count}`)
  }

  /** @returns how many bytes were used: all, or up to a token that is cut off; with `once` one token */
  private walk(bytes: Uint8Array, once: boolean): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let at = 0
    for (;;) {
      const skipped = Math.min(this.skip, bytes.length - at)
      if (this.copy !== null && skipped > 0) {
        this.copy.set(bytes.subarray(at, at + skipped), this.copied)
        this.copied += skipped
      }
      this.skip -= skipped
      at += skipped
      if (at === bytes.length) return at
      const token = bytes[at] as number
      const size = numberBytesOf(token)
      if (at + 1 + size > bytes.length) return at
      this.take(token, valueOf(token, view, at + 1))
      at += 1 + size
      if (once) return at
    }
  }

  private take(token: number, value: number): void {
    const { count, sparse } = this.shape
    switch (this.next) {
      case due.records:
        if (arrayOf(token, value) !== count)
          corrupt(`the body does not hold ${count} records, as the header says`)
        mustFit(count)
        this.next = due.record
        return
      case due.record:
        if (arrayOf(token, value) !== (sparse ? 5 : 4))
          corrupt(`record ${this.record} does not have ${sparse ? 5 : 4} fields`)
        this.next = due.key
        return
      case due.key:
        if (token === 0xc0 && this.keyless < 0) this.keyless = this.record
        this.key = this.bin(token, value, true)
        this.next = due.value
        return
      case due.value:
        this.value = this.bin(token, value, true)
        this.next = due.headers
        return
      case due.headers:
        this.headerItems = token === 0xc0 ? 0 : arrayOf(token, value)
        if (this.headerItems % 2 !== 0) corrupt(`record ${this.record}: headers are no pairs`)
        this.elements = mustFit(this.elements + this.headerItems / 2)
        this.next = this.headerItems > 0 ? due.headerName : due.timestamp
        return
      case due.headerName:
        if (!isText(token)) this.wrong(token)
        this.headerName = this.skipOver(value)
        this.next = due.headerValue
        return
      case due.headerValue:
        this.headerValue(this.bin(token, value, false))
        this.headerItems -= 2
        this.next = this.headerItems > 0 ? due.headerName : due.timestamp
        return
      case due.timestamp:
        this.checkUint(token, value)
        if (!Number.isSafeInteger(this.shape.baseTimestamp + value))
          corrupt(`record ${this.record}: timestamp beyond 2^53 - 1`)
        this.timestamp = this.shape.baseTimestamp + value
        if (sparse) this.next = due.offset
        else this.endRecord(this.record)
        return
      case due.offset:
        this.checkUint(token, value)
        this.endRecord(value)
        return
      case due.end:
        corrupt(`bytes after the last of ${count} records`)
    }
  }

  private endRecord(offset: number): void {
    const { count, span } = this.shape
    if (offset <= this.lastOffset || offset >= span)
      corrupt(`record ${this.record}: offset delta ${offset}, the span is ${span}`)
    this.lastOffset = offset
    if (this.wanted !== undefined) this.handOut(this.wanted, offset)
    this.next = ++this.record === count ? due.end : due.record
  }

  private handOut({ from, recordBytesMax, visit }: RecordWalk, offsetDelta: number): void {
    const { recordBytes, timestamp } = this
    const isWhole = recordBytes <= recordBytesMax
    const key = isWhole ? this.key : null
    const value = isWhole ? this.value : null
    const headers = isWhole ? (this.headers ?? noHeaders) : noHeaders
    this.recordBytes = 0
    this.key = null
    this.value = null
    this.headers = undefined
    if (offsetDelta < from) return
    if (!visit({ offsetDelta, timestamp, key, value, headers }, recordBytes))
      this.wanted = undefined
  }

  private headerValue(value: Uint8Array | null): void {
    if (this.headerName !== null && value !== null)
      (this.headers ??= []).push([utf8.decode(this.headerName), value])
    this.headerName = null
  }

  private bin(token: number, value: number, mayBeNil: boolean): Uint8Array | null {
    if (token === 0xc0 && mayBeNil) return null
    if (token < 0xc4 || token > 0xc6) this.wrong(token)
    return this.skipOver(value)
  }

  /** @returns what the bytes that are skipped will be in, if they are wanted */
  private skipOver(length: number): Uint8Array | null {
    const { record, shape, wanted } = this
    this.skip = length
    this.copy = null
    if (wanted === undefined) return null
    this.recordBytes += length
    // The offset of a record in a sparse body stands at its end.
    if (!shape.sparse && record < wanted.from) return null
    if (this.recordBytes > wanted.recordBytesMax) {
      // It will not be whole: what there is of it need not wait for its end.
      this.key = null
      this.value = null
      this.headers = undefined
      return null
    }
    this.copy = new Uint8Array(length)
    this.copied = 0
    return this.copy
  }

  private checkUint(token: number, value: number): void {
    const isNumber = token < 0x80 || token >= 0xe0 || (token >= 0xcb && token <= 0xd3)
    if (!isNumber) this.wrong(token)
    if (!Number.isSafeInteger(value) || value < 0)
      corrupt(`record ${this.record}: ${value} is not an integer from 0`)
  }

  private wrong(token: number): never {
    return corrupt(`record ${this.record}: 0x${token.toString(16)} is not what is due`)
  }
}

/** Bytes of the number behind a token. */
function numberBytesOf(token: number): 0 | 1 | 2 | 4 | 8 {
  switch (token) {
    case 0xc4:
    case 0xcc:
    case 0xd0:
    case 0xd9:
      return 1
    case 0xc5:
    case 0xcd:
    case 0xd1:
    case 0xda:
    case 0xdc:
      return 2
    case 0xc6:
    case 0xce:
    case 0xd2:
    case 0xdb:
    case 0xdd:
      return 4
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return 8
    default:
      return 0
  }
}

/** The number, length or count that a token has, in itself or behind it. */
function valueOf(token: number, view: DataView, at: number): number {
  if (token < 0x80) return token
  if (token < 0xa0) return token & 0x0f
  if (token < 0xc0) return token & 0x1f
  if (token >= 0xe0) return token - 0x100
  switch (token) {
    case 0xcb:
      return view.getFloat64(at)
    case 0xcf:
      return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4)
    case 0xd0:
      return view.getInt8(at)
    case 0xd1:
      return view.getInt16(at)
    case 0xd2:
      return view.getInt32(at)
    case 0xd3:
      return view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4)
    default:
      break
  }
  const size = numberBytesOf(token)
  if (size === 1) return view.getUint8(at)
  if (size === 2) return view.getUint16(at)
  return size === 4 ? view.getUint32(at) : 0
}

/** Items of an array; -1 for anything else. */
function arrayOf(token: number, value: number): number {
  return (token >= 0x90 && token < 0xa0) || token === 0xdc || token === 0xdd ? value : -1
}

function isText(token: number): boolean {
  return (token >= 0xa0 && token < 0xc0) || (token >= 0xd9 && token <= 0xdb)
}

function corrupt(reason: string): never {
  throw new LogloomError('BATCH_CORRUPT', reason)
}
