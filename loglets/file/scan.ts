// Walks the records of a segment file in order, in bounded windows, and says where they stop making sense. Judges nothing: whether a bad
// stretch is a torn tail or damage is recovery's decision.

import type { DiskFile } from '../ports.ts'
import {
  bodyMatches,
  decodeRecordHeader,
  fileHeaderBytes,
  findRecord,
  recordHeaderBytes,
  type RecordHeader,
} from './format.ts'

export type Scanned =
  | {
      readonly kind: 'record'
      /** File offset of the record header. */
      readonly at: number
      readonly header: RecordHeader
      /** False: the body is not the one that was written. */
      readonly whole: boolean
      /** File offset at which the record ends, as far as its length can be believed. */
      readonly end: number
      /** The body; a view that is valid until the next step. */
      readonly body: Uint8Array
    }
  /** No record begins at `from`; the next one that can be found begins at `to`, or the file ends there. */
  | { readonly kind: 'bad'; readonly from: number; readonly to: number }

const windowBytes = 1 << 20

/**
 * Records of the file with that salt, from file offset `from` up to `size`. A header that does not follow the record before may be a copy that
 * strayed: unless its body is whole, its length is not believed, and what lies behind the header is looked at.
 */
export async function* scanRecords(
  file: DiskFile,
  from: number,
  size: number,
  salt: number,
): AsyncGenerator<Scanned> {
  const window = new Window(file, size, salt)
  let at = from
  /** CRC of the record before; undefined where that is not known. */
  let previous = from === fileHeaderBytes ? salt : undefined
  while (at < size) {
    const head = await window.get(at, recordHeaderBytes)
    const header = decodeRecordHeader(head, 0, salt)
    if (header === undefined) {
      const next = await window.find(at + 1)
      yield { kind: 'bad', from: at, to: next }
      at = next
      previous = undefined
      continue
    }
    const end = at + recordHeaderBytes + header.length
    // Shorter when the file ends first; such a record is not whole, but what its header says still counts.
    const record = await window.get(at, end - at)
    const whole = bodyMatches(record, 0, header)
    const isInPlace = whole || header.previousCrc === previous
    yield {
      kind: 'record',
      at,
      header,
      whole,
      end: isInPlace ? end : at + recordHeaderBytes,
      body: record.subarray(recordHeaderBytes),
    }
    previous = isInPlace ? header.crc : undefined
    if (isInPlace) at = end
    else {
      const next = await window.find(at + 1)
      yield { kind: 'bad', from: at + recordHeaderBytes, to: next }
      at = next
    }
  }
}

class Window {
  private readonly file: DiskFile
  private readonly size: number
  private readonly salt: number
  private start = 0
  private bytes: Uint8Array = new Uint8Array(0)

  constructor(file: DiskFile, size: number, salt: number) {
    this.file = file
    this.size = size
    this.salt = salt
  }

  /** Up to `length` bytes at `at`; fewer at the end of the file. */
  async get(at: number, length: number): Promise<Uint8Array> {
    const wanted = Math.min(length, this.size - at)
    if (at < this.start || at + wanted > this.start + this.bytes.length) {
      this.bytes = await this.file.read(at, Math.min(Math.max(windowBytes, wanted), this.size - at))
      this.start = at
    }
    return this.bytes.subarray(at - this.start, at - this.start + wanted)
  }

  /** Offset of the next whole record header at or past `from`, or the size. */
  async find(from: number): Promise<number> {
    for (let at = from; at < this.size; at += windowBytes) {
      const bytes = await this.get(at, windowBytes + recordHeaderBytes)
      const found = findRecord(bytes, 0, this.salt)
      if (found >= 0) return at + found
    }
    return this.size
  }
}
