// The file loglet: append-only segment files in one directory, one writer, many readers (DESIGN 4.4). The contract is said in
// contract.ts; the bytes in format.ts; what is trusted after a crash in recovery.ts.

import {
  type Entry,
  type Loglet,
  LogletClosedError,
  type LogItem,
  type Position,
  type Slice,
  type SliceResult,
  type TailState,
} from '../contract.ts'
import { bytesOf, refusalOfSize } from '../entry-size.ts'
import type { Disk } from '../ports.ts'
import { TailWatch } from '../tail-watch.ts'
import { upperBound } from '../upper-bound.ts'
import type { Appender, Placement } from './appender.ts'
import type { Damage } from './recovery.ts'
import type { SegmentFile } from './segment-file.ts'
import type { SliceAnswer, SliceRequest } from './slice-reader.ts'
import { writeTrimPoint } from './trim-point.ts'

/** Closed segment files whose handle and index are kept, per loglet. */
const openFilesMax = 32
/** Ranges that reads found damaged and that are remembered. */
const foundDamageMax = 1000

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
  /** Segment files that are likely open, the one used last at the end. */
  private readonly used = new Set<SegmentFile>()
  private readonly found = new Map<number, Damage>()

  constructor(parts: FileLogletParts) {
    this.parts = parts
    this.trimmed = parts.trimPoint
  }

  /** Ranges found damaged when the loglet was opened, and those that reads met since. */
  damage(): readonly Damage[] {
    const known = this.parts.damage
    const isNew = ({ from, to }: Damage): boolean => !known.some(d => d.from <= from && to <= d.to)
    return [...known, ...[...this.found.values()].filter(isNew)]
  }

  append(entry: Entry): Promise<Position> {
    return this.put(entry)
  }

  /** Appends at a position that must be the next one by then; see {@link Placement}. For log servers, who follow another's order. */
  appendAt(entry: Entry, placement: Placement): Promise<Position> {
    return this.put(entry, placement)
  }

  /** Moves the tail up to `to` without content: it was never here, and reads of it are `lost`. */
  async skipTo(to: Position): Promise<void> {
    if (this.closing !== undefined) throw this.closed()
    await this.parts.appender.skip(to)
  }

  get trimPoint(): number {
    return this.trimmed
  }

  private put(entry: Entry, placement?: Placement): Promise<Position> {
    if (this.closing !== undefined) return Promise.reject(this.closed())
    const bytes = bytesOf(entry)
    const refusal = refusalOfSize(bytes)
    if (refusal !== undefined) return Promise.reject(refusal)
    return this.parts.appender.append(entry, bytes, placement)
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
    const { segment, to: last, end } = this.place(from)
    const stop = Math.min(to, last)
    if (segment === undefined) return [this.lost(from, stop, 'no segment file')]
    try {
      const items = await segment.read(from, stop, maxBytes, end)
      for (const item of items)
        if (item.kind === 'gap') this.note(item.from, item.to, `damage in ${segment.path}`)
      await this.limitOpenFiles(segment)
      return items
    } catch (error) {
      // A trim may have overtaken the read.
      if (from < this.trimmed) return [gapItem('trimmed', from, Math.min(to, this.trimmed))]
      return [this.lostOrThrow(error, from, stop, segment)]
    }
  }

  async readSlices(
    slices: readonly Slice[],
    signal?: AbortSignal,
  ): Promise<readonly SliceResult[]> {
    signal?.throwIfAborted()
    if (this.closing !== undefined) throw this.closed()
    const { tail } = this.parts.watch
    const results: SliceResult[] = []
    const wanted: (SliceRequest & { readonly at: number })[] = []
    slices.forEach(({ position, start, length }, at) => {
      if (position >= tail)
        throw new RangeError(`slice of position ${position} is beyond the tail ${tail}`)
      if (position < this.trimmed) results[at] = { gap: 'trimmed' }
      else wanted.push({ position, start, length, at })
    })
    wanted.sort((a, b) => a.position - b.position || a.start - b.start)
    for (let i = 0; i < wanted.length; ) {
      const place = this.place((wanted[i] as SliceRequest).position)
      const next = wanted.findIndex((w, n) => n > i && w.position >= place.to)
      const group = wanted.slice(i, next < 0 ? wanted.length : next)
      const answers = await this.slicesAt(place, group)
      group.forEach((request, n) => {
        results[request.at] = answers[n] as SliceResult
      })
      i += group.length
    }
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
    for (const segment of this.parts.segments) await segment.retire().catch(() => {})
  }

  private closed(): LogletClosedError {
    return new LogletClosedError(`loglet ${this.parts.id} is closed`, 'refused')
  }

  /** Index of the last segment file that begins at or before the position. */
  private segmentOf(position: number): number {
    const { segments } = this.parts
    return Math.max(0, upperBound(segments, position, segment => segment.first) - 1)
  }

  /**
   * The segment file of a position, its range, and where its records end when it is the newest. Read at one moment: a roll in between
   * would pair one file with the end of another.
   */
  private place(position: number): Place {
    const { segments, appender } = this.parts
    const at = this.segmentOf(position)
    const segment = segments[at]
    if (segment === undefined || position < segment.first)
      return { segment: undefined, to: segment?.first ?? Number.POSITIVE_INFINITY, end: 0 }
    const to = segments[at + 1]?.first
    return {
      segment,
      to: to ?? Number.POSITIVE_INFINITY,
      end: to === undefined ? appender.syncedEnd : undefined,
    }
  }

  private async slicesAt(place: Place, group: readonly SliceRequest[]): Promise<SliceResult[]> {
    const { segment, end } = place
    if (segment === undefined) return group.map(() => ({ gap: 'lost', detail: 'no segment file' }))
    try {
      const answers = await segment.readSlices(group, end)
      await this.limitOpenFiles(segment)
      return group.map((request, n) =>
        this.sliceResult(request, answers[n] as SliceAnswer, segment),
      )
    } catch (error) {
      if (error instanceof RangeError) throw error
      // A trim may have overtaken the read.
      const rest = group.filter(w => w.position >= this.trimmed)
      if (rest.length < group.length) {
        const later = rest.length > 0 ? await this.slicesAt(place, rest) : []
        return [...group.slice(rest.length).map((): SliceResult => ({ gap: 'trimmed' })), ...later]
      }
      const { position } = group[0] as SliceRequest
      this.lostOrThrow(error, position, position + 1, segment)
      return group.map(w => this.lostSlice(w, segment))
    }
  }

  private sliceResult(
    request: SliceRequest,
    answer: SliceAnswer,
    segment: SegmentFile,
  ): SliceResult {
    if (answer.kind === 'bytes') return answer.bytes
    if (answer.kind === 'lost') return this.lostSlice(request, segment)
    const { position, start, length } = request
    throw new RangeError(
      `slice [${start}, ${start + length}) is outside entry ${position} of ${answer.entryBytes} bytes`,
    )
  }

  private lostSlice({ position }: SliceRequest, segment: SegmentFile): SliceResult {
    const detail = `position ${position} cannot be read from ${segment.path}`
    this.note(position, position + 1, detail)
    return { gap: 'lost', detail }
  }

  private lostOrThrow(error: unknown, from: number, to: number, segment: SegmentFile): LogItem {
    if (this.closing !== undefined) throw this.closed()
    if (!isMissing(error)) throw error
    return this.lost(from, to, `${segment.path} is missing`)
  }

  private lost(from: number, to: number, detail: string): LogItem {
    this.note(from, to, detail)
    return gapItem('lost', from, to)
  }

  private note(from: number, to: number, detail: string): void {
    if (this.found.size < foundDamageMax) this.found.set(from, { from, to, detail })
  }

  /** Closes the file that nobody used for longest. The newest file stays open: the writer has it. */
  private async limitOpenFiles(segment: SegmentFile): Promise<void> {
    if (segment === this.parts.segments.at(-1)) return
    this.used.delete(segment)
    this.used.add(segment)
    const [oldest] = this.used
    if (this.used.size <= openFilesMax || oldest === undefined) return
    this.used.delete(oldest)
    await oldest.release()
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
        this.used.delete(segment)
        await segment.retire()
        await disk.remove(segment.path)
        removed++
      }
      if (removed > 0) await disk.syncDir(directory)
    }
    return this.trimmed as Position
  }
}

interface Place {
  readonly segment: SegmentFile | undefined
  /** First position that is not in this file. */
  readonly to: number
  /** Undefined: a closed file, which knows by itself. */
  readonly end: number | undefined
}

function gapItem(kind: 'trimmed' | 'lost', from: number, to: number): LogItem {
  return { kind: 'gap', gap: kind, from: from as Position, to: to as Position }
}

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === 'ENOENT'
}
