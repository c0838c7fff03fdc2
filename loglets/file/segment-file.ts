// One segment file for readers: finds records by position with a sparse index, reads them in as few calls as possible, checks them.
//
// The handle and the index come with the first use and go when the loglet has too many of them open. A file that is being read is never
// closed: descriptors are reused, and a late read would get the bytes of another file.

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
  saltOf,
  trailerBytes,
} from './format.ts'
import { scanRecords } from './scan.ts'
import { SparseIndex } from './sparse-index.ts'
import { readSlicesOf, type SliceRequest, type SliceAnswer } from './slice-reader.ts'

const readAheadBytes = 64 * 1024
const readBytesMax = 4 << 20

export class SegmentFile {
  readonly path: string
  readonly first: number
  /** As of format.ts. */
  readonly salt: number
  private readonly disk: Disk
  private handle: Promise<DiskFile> | undefined
  private index: Promise<SparseIndex> | undefined
  /** Size of a file that grows no more. */
  private closedSize: number | undefined
  private readers = 0
  private idle: (() => void) | undefined
  private retired = false

  constructor(disk: Disk, path: string, id: string, first: number) {
    this.disk = disk
    this.path = path
    this.first = first
    this.salt = saltOf(id, first)
  }

  /** The handle, opened at the first use. Readers use it inside {@link use} only. */
  file(): Promise<DiskFile> {
    if (this.retired) return Promise.reject(new Error(`${this.path} is closed`))
    if (this.handle === undefined) {
      this.handle = this.disk.open(this.path)
      this.handle.catch(() => {
        this.handle = undefined
      })
    }
    return this.handle
  }

  /** The writer knows the index already. */
  useIndex(index: SparseIndex): void {
    this.index = Promise.resolve(index)
  }

  /** Gives handle and index back, unless somebody reads. */
  async release(): Promise<void> {
    if (this.readers > 0) return
    const { handle } = this
    this.handle = undefined
    this.index = undefined
    if (handle !== undefined) await (await handle).close()
  }

  /** Closes for good, when the last reader is done. Later reads reject. */
  async retire(): Promise<void> {
    // Readers of before get their handle, so they settle.
    if (this.readers > 0)
      await new Promise<void>(resolve => {
        this.idle = resolve
      })
    this.retired = true
    await this.release()
  }

  /**
   * Items of `[from, to)`, at least one, at most about `maxBytes`; `to` is not beyond this file, and `end` is where its records end (a
   * closed file knows by itself). What cannot be read whole is a `lost` gap up to the next record that can.
   */
  read(from: number, to: number, maxBytes: number, end: number | undefined): Promise<LogItem[]> {
    return this.use(async file =>
      this.readItems(file, from, to, maxBytes, end ?? (await this.size(file))),
    )
  }

  /** Pieces of entries, in the order of the requests, whose positions must not fall. */
  readSlices(
    requests: readonly SliceRequest[],
    end: number | undefined,
  ): Promise<readonly SliceAnswer[]> {
    return this.use(async file =>
      readSlicesOf(
        {
          file,
          salt: this.salt,
          index: await this.loadedIndex(file),
          end: end ?? (await this.size(file)),
        },
        requests,
      ),
    )
  }

  /** The file stays open, and is not removed, until `work` is done. */
  async use<T>(work: (file: DiskFile) => Promise<T>): Promise<T> {
    this.readers++
    try {
      return await work(await this.file())
    } finally {
      this.readers--
      if (this.readers === 0) this.idle?.()
    }
  }

  private async size(file: DiskFile): Promise<number> {
    this.closedSize ??= await file.size()
    return this.closedSize
  }

  private async readItems(
    file: DiskFile,
    from: number,
    to: number,
    maxBytes: number,
    end: number,
  ): Promise<LogItem[]> {
    const items: LogItem[] = []
    let at = (await this.loadedIndex(file)).before(from)?.at ?? fileHeaderBytes
    let expected = from
    let bytes = 0
    let chunk: Uint8Array = new Uint8Array(0)
    let start = at
    const fill = async (length: number): Promise<boolean> => {
      if (at - start + length <= chunk.length) return true
      const ahead = Math.max(length, Math.min(maxBytes - bytes, readBytesMax) + readAheadBytes)
      chunk = await file.read(at, Math.min(ahead, Math.max(0, end - at)))
      start = at
      return length <= chunk.length
    }
    while (expected < to && (items.length === 0 || bytes < maxBytes)) {
      const header = (await fill(recordHeaderBytes))
        ? decodeRecordHeader(chunk, at - start, this.salt)
        : undefined
      const size = recordHeaderBytes + (header?.length ?? 0)
      if (header === undefined || at + size > end) {
        const resumed = await this.resume(file, at + 1, end, expected)
        const next = Math.min(resumed.position, to)
        if (next > expected) items.push(gap('lost', expected, next))
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

  /** The next data record at or past `at` whose position is not below `expected`. */
  private async resume(
    file: DiskFile,
    at: number,
    end: number,
    expected: number,
  ): Promise<{ at: number; position: number }> {
    for await (const item of scanRecords(file, at, end, this.salt))
      if (
        item.kind === 'record' &&
        item.header.type === recordType.data &&
        item.header.position >= expected
      )
        return { at: item.at, position: item.header.position }
    return { at: end, position: Number.MAX_SAFE_INTEGER }
  }

  private loadedIndex(file: DiskFile): Promise<SparseIndex> {
    if (this.index === undefined) {
      this.index = this.loadIndex(file)
      this.index.catch(() => {
        this.index = undefined
      })
    }
    return this.index
  }

  /** From the index record of a closed file; by a walk over the records when there is none that is whole. */
  private async loadIndex(file: DiskFile): Promise<SparseIndex> {
    const size = await file.size()
    const at = decodeTrailer(await file.read(Math.max(0, size - trailerBytes), trailerBytes))
    if (at !== undefined) {
      const record = await file.read(at, size - trailerBytes - at)
      const header = decodeRecordHeader(record, 0, this.salt)
      if (header?.type === recordType.index && bodyMatches(record, 0, header))
        return new SparseIndex(
          decodeIndex(record.subarray(recordHeaderBytes, recordHeaderBytes + header.length)),
        )
    }
    const index = new SparseIndex()
    for await (const item of scanRecords(file, fileHeaderBytes, size, this.salt))
      if (item.kind === 'record' && item.header.type === recordType.data)
        index.add(item.header.position, item.at)
    return index
  }
}

function gap(kind: GapKind, from: number, to: number): LogItem {
  return { kind: 'gap', gap: kind, from: from as Position, to: to as Position }
}
