// One segment file for readers: finds records by position with a sparse index, reads them in as few calls as possible, checks them.

import type { GapKind, LogItem, Position } from '../contract.ts'
import type { Disk, DiskFile } from '../ports.ts'
import {
  bodyMatches,
  decodeIndex,
  decodeRecordHeader,
  decodeTrailer,
  fileHeaderBytes,
  recordHeaderBytes,
  recordType,
  trailerBytes,
} from './format.ts'
import { PointMaker } from './recovery.ts'
import { scanRecords } from './scan.ts'

const readAheadBytes = 64 * 1024
const walkBytes = 128 * 1024

export class SegmentFile {
  readonly path: string
  readonly first: number
  private readonly disk: Disk
  private handle: Promise<DiskFile> | undefined
  private index: Promise<PointMaker> | undefined

  constructor(disk: Disk, path: string, first: number) {
    this.disk = disk
    this.path = path
    this.first = first
  }

  /** The handle, opened at the first use. */
  file(): Promise<DiskFile> {
    this.handle ??= this.disk.open(this.path)
    return this.handle
  }

  /** The writer knows the index already. */
  useIndex(points: PointMaker): void {
    this.index = Promise.resolve(points)
  }

  async close(): Promise<void> {
    const { handle } = this
    this.handle = undefined
    if (handle !== undefined) await (await handle).close()
  }

  /**
   * Items of `[from, to)`, at least one, at most about `maxBytes`; `to` is not beyond this file. What cannot be read whole is a `lost`
   * gap up to the next record that can.
   */
  async read(from: number, to: number, maxBytes: number, end: number): Promise<LogItem[]> {
    const file = await this.file()
    const items: LogItem[] = []
    let at = await this.offsetNear(from)
    let expected = from
    let bytes = 0
    let chunk: Uint8Array = new Uint8Array(0)
    let start = at
    const fill = async (length: number): Promise<boolean> => {
      if (at - start + length <= chunk.length) return true
      const ahead = Math.max(length, Math.min(maxBytes - bytes, 4 << 20) + readAheadBytes)
      chunk = await file.read(at, Math.min(ahead, Math.max(0, end - at)))
      start = at
      return length <= chunk.length
    }
    while (expected < to && (items.length === 0 || bytes < maxBytes)) {
      const header = (await fill(recordHeaderBytes))
        ? decodeRecordHeader(chunk, at - start)
        : undefined
      const size = recordHeaderBytes + (header?.length ?? 0)
      if (header === undefined || at + size > end) {
        const resumed = await this.resume(file, at + 1, end, expected)
        const next = Math.min(resumed.position, to)
        items.push(gap('lost', expected, next))
        expected = next
        at = resumed.at
        continue
      }
      if (header.type !== recordType.data || header.position < expected) {
        at += size
        continue
      }
      if (items.length > 0 && bytes + header.length > maxBytes) break
      if (header.position > expected) {
        const next = Math.min(header.position, to)
        items.push(gap('lost', expected, next))
        expected = next
        continue
      }
      await fill(size)
      const body = at - start + recordHeaderBytes
      if (bodyMatches(chunk, at - start, header))
        items.push({
          kind: 'entry',
          position: expected as Position,
          bytes: chunk.subarray(body, body + header.length),
        })
      else items.push(gap('lost', expected, expected + 1))
      bytes += header.length
      expected++
      at += size
    }
    return items
  }

  /** Where the record of a position lies; undefined when it cannot be found. Positions SHOULD rise from call to call. */
  async locate(position: number, end: number): Promise<{ at: number; length: number } | undefined> {
    const file = await this.file()
    let at = await this.offsetNear(position)
    let chunk: Uint8Array = new Uint8Array(0)
    let start = at
    while (at < end) {
      if (at - start + recordHeaderBytes > chunk.length) {
        chunk = await file.read(at, Math.min(walkBytes, end - at))
        start = at
      }
      const header = decodeRecordHeader(chunk, at - start)
      if (header === undefined) {
        const resumed = await this.resume(file, at + 1, end, position)
        if (resumed.position > position) return undefined
        at = resumed.at
        continue
      }
      if (header.type === recordType.data && header.position >= position)
        return header.position === position
          ? { at: at + recordHeaderBytes, length: header.length }
          : undefined
      at += recordHeaderBytes + header.length
    }
    return undefined
  }

  /** The next data record at or past `at` whose position is not below `expected`. */
  private async resume(
    file: DiskFile,
    at: number,
    end: number,
    expected: number,
  ): Promise<{ at: number; position: number }> {
    for await (const item of scanRecords(file, at, end))
      if (
        item.kind === 'record' &&
        item.header.type === recordType.data &&
        item.header.position >= expected
      )
        return { at: item.at, position: item.header.position }
    return { at: end, position: Number.MAX_SAFE_INTEGER }
  }

  /** File offset of a record at or before the position. */
  private async offsetNear(position: number): Promise<number> {
    this.index ??= this.loadIndex()
    const { points } = await this.index
    let low = 0
    let high = points.length / 2
    while (low < high) {
      const mid = (low + high) >>> 1
      if ((points[mid * 2] as number) <= position) low = mid + 1
      else high = mid
    }
    return low === 0 ? fileHeaderBytes : (points[low * 2 - 1] as number)
  }

  /** From the index record of a closed file; by a walk over the records when there is none that is whole. */
  private async loadIndex(): Promise<PointMaker> {
    const file = await this.file()
    const size = await file.size()
    const at = decodeTrailer(await file.read(Math.max(0, size - trailerBytes), trailerBytes))
    if (at !== undefined) {
      const record = await file.read(at, size - trailerBytes - at)
      const header = decodeRecordHeader(record, 0)
      if (header?.type === recordType.index && bodyMatches(record, 0, header))
        return new PointMaker(
          decodeIndex(record.subarray(recordHeaderBytes, recordHeaderBytes + header.length)),
        )
    }
    const points = new PointMaker()
    for await (const item of scanRecords(file, fileHeaderBytes, size))
      if (item.kind === 'record' && item.header.type === recordType.data)
        points.add(item.header.position, item.at)
    return points
  }
}

function gap(kind: GapKind, from: number, to: number): LogItem {
  return { kind: 'gap', gap: kind, from: from as Position, to: to as Position }
}
