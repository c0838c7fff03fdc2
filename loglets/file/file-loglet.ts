// The file loglet: append-only segment files in one directory, one writer, many readers (DESIGN 4.4). The contract is said in
// contract.ts; the bytes in format.ts; what is trusted after a crash in recovery.ts.

import {
  type Entry,
  entryBytesMax,
  type Loglet,
  LogletClosedError,
  LogletRefusedError,
  type LogItem,
  type Position,
  type Slice,
  type SliceResult,
  type TailState,
} from '../contract.ts'
import type { Disk } from '../ports.ts'
import { TailWatch } from '../tail-watch.ts'
import type { Appender } from './appender.ts'
import type { Damage } from './recovery.ts'
import type { SegmentFile } from './segment-file.ts'
import { writeTrimPoint } from './trim-point.ts'

export interface FileLogletParts {
  readonly disk: Disk
  readonly directory: string
  readonly id: string
  readonly segments: SegmentFile[]
  readonly trimPoint: number
  readonly damage: readonly Damage[]
  readonly watch: TailWatch
  readonly appender: Appender
}

export class FileLoglet implements Loglet {
  readonly kind = 'file'
  private readonly parts: FileLogletParts
  private trimmed: number
  private sealing: Promise<void> | undefined
  private closing: Promise<void> | undefined
  private trimming: Promise<unknown> = Promise.resolve()

  constructor(parts: FileLogletParts) {
    this.parts = parts
    this.trimmed = parts.trimPoint
  }

  /** Ranges found damaged when the loglet was opened. */
  damage(): readonly Damage[] {
    return this.parts.damage
  }

  append(entry: Entry): Promise<Position> {
    if (this.closing !== undefined) return Promise.reject(this.closed())
    let bytes = 0
    for (const buffer of entry) bytes += buffer.length
    if (bytes === 0)
      return Promise.reject(
        new LogletRefusedError('empty', 'an empty entry is the filler and cannot be appended'),
      )
    if (bytes > entryBytesMax)
      return Promise.reject(
        new LogletRefusedError(
          'too-large',
          `the entry has ${bytes} bytes, the limit is ${entryBytesMax} (entryBytesMax)`,
        ),
      )
    return this.parts.appender.append(entry, bytes)
  }

  async checkTail(signal?: AbortSignal): Promise<TailState> {
    signal?.throwIfAborted()
    if (this.closing !== undefined) throw this.closed()
    const { failed } = this.parts.appender
    if (failed !== undefined) throw failed
    return this.parts.watch.state
  }

  async readNext(
    from: Position,
    to: Position,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<readonly LogItem[]> {
    signal?.throwIfAborted()
    if (this.closing !== undefined) throw this.closed()
    if (to > this.parts.watch.tail)
      throw new RangeError(`read up to ${to} is beyond the tail ${this.parts.watch.tail}`)
    if (from >= to) return []
    if (from < this.trimmed) return [gapItem('trimmed', from, Math.min(to, this.trimmed))]
    const at = this.segmentOf(from)
    const segment = this.parts.segments[at]
    const next = this.parts.segments[at + 1]
    if (segment === undefined || from < segment.first)
      return [gapItem('lost', from, Math.min(to, segment?.first ?? to))]
    const end =
      next === undefined ? this.parts.appender.syncedEnd : await (await segment.file()).size()
    try {
      return await segment.read(from, Math.min(to, next?.first ?? to), maxBytes, end)
    } catch (error) {
      if (!isMissing(error)) throw error
      return [gapItem('lost', from, Math.min(to, next?.first ?? to))]
    }
  }

  async readSlices(
    slices: readonly Slice[],
    signal?: AbortSignal,
  ): Promise<readonly SliceResult[]> {
    signal?.throwIfAborted()
    if (this.closing !== undefined) throw this.closed()
    const results: SliceResult[] = []
    for (const slice of slices) results.push(await this.readSlice(slice))
    return results
  }

  waitTail(beyond: Position, signal?: AbortSignal): Promise<TailState> {
    return this.parts.watch.wait(beyond, signal)
  }

  prefixTrim(before: Position): Promise<Position> {
    if (this.closing !== undefined) return Promise.reject(this.closed())
    const done = this.trimming.then(() => this.trimTo(Math.min(before, this.parts.watch.tail)))
    this.trimming = done.catch(() => {})
    return done
  }

  seal(): Promise<void> {
    if (this.closing !== undefined) return Promise.reject(this.closed())
    if (this.parts.watch.sealed) return Promise.resolve()
    this.sealing ??= this.parts.appender.seal().finally(() => {
      this.sealing = undefined
    })
    return this.sealing
  }

  close(): Promise<void> {
    this.closing ??= this.shutDown()
    return this.closing
  }

  private async shutDown(): Promise<void> {
    await this.trimming
    await this.parts.appender.close()
    this.parts.watch.end(this.closed())
    for (const segment of this.parts.segments) await segment.close().catch(() => {})
  }

  private closed(): LogletClosedError {
    return new LogletClosedError(`loglet ${this.parts.id} is closed`, 'refused')
  }

  /** Index of the last segment file that begins at or before the position. */
  private segmentOf(position: number): number {
    const { segments } = this.parts
    let low = 0
    let high = segments.length
    while (low < high) {
      const mid = (low + high) >>> 1
      if ((segments[mid] as SegmentFile).first <= position) low = mid + 1
      else high = mid
    }
    return Math.max(0, low - 1)
  }

  private async readSlice(slice: Slice): Promise<SliceResult> {
    const { position, start, length } = slice
    if (position >= this.parts.watch.tail)
      throw new RangeError(
        `slice of position ${position} is beyond the tail ${this.parts.watch.tail}`,
      )
    if (position < this.trimmed) return { gap: 'trimmed' }
    const at = this.segmentOf(position)
    const segment = this.parts.segments[at]
    if (segment === undefined || position < segment.first)
      return { gap: 'lost', detail: 'no segment file' }
    const isLast = at === this.parts.segments.length - 1
    try {
      const file = await segment.file()
      const end = isLast ? this.parts.appender.syncedEnd : await file.size()
      const found = await segment.locate(position, end)
      if (found === undefined) return { gap: 'lost', detail: `no record in ${segment.path}` }
      if (start < 0 || length < 0 || start + length > found.length)
        throw new RangeError(
          `slice [${start}, ${start + length}) is outside entry ${position} of ${found.length} bytes`,
        )
      const bytes = await file.read(found.at + start, length)
      return bytes.length === length
        ? bytes
        : { gap: 'lost', detail: `${segment.path} is too short` }
    } catch (error) {
      if (isMissing(error)) return { gap: 'lost', detail: `${segment.path} is missing` }
      throw error
    }
  }

  /** The point is durable before anything is deleted, so a crash never makes trimmed positions look lost. */
  private async trimTo(before: number): Promise<Position> {
    const { disk, directory, segments } = this.parts
    if (before > this.trimmed) {
      await writeTrimPoint(disk, directory, before)
      this.trimmed = before
      let removed = 0
      while ((segments[1]?.first ?? Number.POSITIVE_INFINITY) <= before) {
        const segment = segments.shift() as SegmentFile
        await segment.close()
        await disk.remove(segment.path)
        removed++
      }
      if (removed > 0) await disk.syncDir(directory)
    }
    return this.trimmed as Position
  }
}

function gapItem(kind: 'trimmed' | 'lost', from: number, to: number): LogItem {
  return { kind: 'gap', gap: kind, from: from as Position, to: to as Position }
}

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === 'ENOENT'
}
