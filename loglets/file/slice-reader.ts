// Scattered reads in one segment file: one walk for all slices of a call, so that neighbours share what was read.
//
// Bytes of a slice are not checked against the CRC of their entry: that would mean to read all of it. Whoever stores something in an entry
// that must be checked gives it a CRC of its own, as batches have.

import type { DiskFile } from '../ports.ts'
import { decodeRecordHeader, fileHeaderBytes, recordHeaderBytes, recordType } from './format.ts'
import { scanRecords } from './scan.ts'
import { pointBytes, type SparseIndex } from './sparse-index.ts'

export interface SliceRequest {
  readonly position: number
  readonly start: number
  readonly length: number
}

/** A copy that the reader owns; or why not. */
export type SliceAnswer =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'lost' }
  | { readonly kind: 'outside'; readonly entryBytes: number }

export interface SliceSource {
  readonly file: DiskFile
  readonly salt: number
  readonly index: SparseIndex
  /** File offset at which the records end. */
  readonly end: number
}

/** Slices that end within this many bytes of their entry are read together with the header before it. */
const wholeBytesMax = 256 * 1024

/** Answers in the order of the requests, whose positions must not fall. */
export async function readSlicesOf(
  source: SliceSource,
  requests: readonly SliceRequest[],
): Promise<readonly SliceAnswer[]> {
  const walk = new Walk(source)
  const answers: SliceAnswer[] = []
  for (const request of requests) answers.push(await walk.answer(request))
  return answers
}

class Walk {
  private readonly source: SliceSource
  /** File offset of a record header at or before the next one that is wanted. */
  private at = fileHeaderBytes
  private chunk: Uint8Array = new Uint8Array(0)
  private start = 0

  constructor(source: SliceSource) {
    this.source = source
  }

  async answer({ position, start, length }: SliceRequest): Promise<SliceAnswer> {
    const { file, index, end } = this.source
    const point = index.before(position)
    if (point !== undefined && point.at > this.at) this.at = point.at
    // At the point itself the record is known to begin; else it lies within the distance of two points.
    const ahead =
      point?.position === position
        ? recordHeaderBytes + (start + length <= wholeBytesMax ? Math.max(0, start + length) : 0)
        : pointBytes
    while (this.at < end) {
      const header = await this.header(ahead)
      if (header === undefined) {
        if (!(await this.skipDamage(position))) return { kind: 'lost' }
        continue
      }
      const size = recordHeaderBytes + header.length
      if (header.type !== recordType.data || header.position < position) {
        this.at += size
        continue
      }
      if (header.position > position || this.at + size > end) return { kind: 'lost' }
      if (start < 0 || length < 0 || start + length > header.length)
        return { kind: 'outside', entryBytes: header.length }
      const bytes = await this.bytes(file, this.at + recordHeaderBytes + start, length)
      return bytes.length === length ? { kind: 'bytes', bytes } : { kind: 'lost' }
    }
    return { kind: 'lost' }
  }

  /** The header at the place where the walk is. */
  private async header(ahead: number): Promise<ReturnType<typeof decodeRecordHeader>> {
    const { file, salt, end } = this.source
    if (!this.holds(this.at, recordHeaderBytes)) {
      this.chunk = await file.read(this.at, Math.min(ahead, end - this.at))
      this.start = this.at
    }
    return decodeRecordHeader(this.chunk, this.at - this.start, salt)
  }

  /** Goes to the next record whose header is whole; false when that lies past the position. */
  private async skipDamage(position: number): Promise<boolean> {
    const { file, salt, end } = this.source
    for await (const item of scanRecords(file, this.at + 1, end, salt)) {
      if (item.kind !== 'record' || item.header.type !== recordType.data) continue
      this.at = item.at
      return item.header.position <= position
    }
    this.at = end
    return false
  }

  private async bytes(file: DiskFile, at: number, length: number): Promise<Uint8Array> {
    if (!this.holds(at, length)) return file.read(at, length)
    // A copy: a few bytes should not keep the whole chunk alive.
    return this.chunk.slice(at - this.start, at - this.start + length)
  }

  private holds(at: number, length: number): boolean {
    return at >= this.start && at + length <= this.start + this.chunk.length
  }
}
