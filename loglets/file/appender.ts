// The one writer of a file loglet: group commit into the newest segment file (DESIGN 4.4 "file").
//
//   queue ──► write of group n+1, n+2 …  ──► one fdatasync for all that is written ──► acks, in order
//                (while the sync of group n runs)
//
// Writing overlaps with syncing: a sync covers every group whose write was finished when it began, and only those are acked by it. A full
// disk refuses its group and leaves no trace of it; any other write error and every sync error is the end: nothing un-synced may be
// trusted any more, so nothing is ever acked again in this process.

import {
  type Entry,
  LogletFailedError,
  LogletRefusedError,
  LogletSealedError,
  type Position,
} from '../contract.ts'
import type { Clock, Disk, DiskFile } from '../ports.ts'
import { fileHeaderBytes, recordHeaderBytes, recordType } from './format.ts'
import { type Cursor, type Group, layOut, type Queued } from './group.ts'
import {
  createSegmentFile,
  discardSegmentFile,
  finishSegmentFile,
  isNoSpace,
  segmentName,
  type Watermark,
  writeWatermark,
} from './segment-create.ts'
import { SegmentFile } from './segment-file.ts'
import { SparseIndex } from './sparse-index.ts'

/** Larger groups made every sync slower than they saved calls. */
const groupBytesMax = 4 << 20
const groupEntriesMax = 512
const idleMs = 200
/** What a queued entry costs besides its bytes; without it a backlog of tiny entries would be bounded in name only. */
const entryOverheadBytes = 256

/** One sync that covered a number of entries. */
export interface SyncReport {
  readonly kind: 'sync'
  readonly ms: number
  readonly bytes: number
  readonly entries: number
}

export interface AppenderOptions {
  readonly disk: Disk
  readonly clock: Clock
  readonly directory: string
  readonly id: string
  readonly segmentBytes: number
  readonly backlogBytesMax: number
  /** Entries are durable: the tail has moved, before any of their acks. */
  readonly onDurable: (next: number, sealed: boolean) => void
  /** A new segment file took over. */
  readonly onRoll: (file: SegmentFile) => void
  readonly onFatal: (error: LogletFailedError) => void
  readonly onSync: ((report: SyncReport) => void) | undefined
}

/** Where appending goes on: the newest file, cut to what is certain. */
export interface AppendPoint {
  readonly segment: SegmentFile
  readonly end: number
  readonly next: number
  readonly lastCrc: number
  /** Whether a watermark record vouches for everything below `end`. */
  readonly vouched: boolean
  readonly index: SparseIndex
}

/** An append at a position that is the caller's choice: what a log server of a replicated loglet does. */
export interface Placement {
  readonly at: number
  /** Written although the loglet is sealed: the repair of a replica. */
  readonly repair?: boolean
}

export class Appender {
  private readonly options: AppenderOptions
  private segment: SegmentFile
  private file: DiskFile | undefined
  /** Written and synced. */
  private durable: Cursor
  /** Written; at or past `durable`. */
  private written: Cursor
  /** Groups between the two, in order. */
  private unsynced: Group[] = []
  /** Offset that the newest watermark record vouches for. */
  private vouched: number
  private index: SparseIndex
  private queue: Queued[] = []
  private queueBytes = 0
  private writing: Promise<void> | undefined
  private syncing: Promise<void> | undefined
  private failure: LogletFailedError | undefined
  private sealing: boolean
  private readonly idle = new AbortController()
  private idleLoop: Promise<void> | undefined
  private groups = 0
  /** Files that take no more get their trailers, one after the other. */
  private finishing: Promise<void> = Promise.resolve()

  constructor(options: AppenderOptions, point: AppendPoint, sealed: boolean) {
    this.options = options
    this.segment = point.segment
    this.durable = { end: point.end, next: point.next, crc: point.lastCrc, sealed }
    this.written = this.durable
    this.vouched = point.vouched ? point.end : 0
    this.index = point.index
    this.sealing = sealed
    point.segment.useIndex(point.index)
  }

  /** Synced bytes of the newest file. */
  get syncedEnd(): number {
    return this.durable.end
  }

  get failed(): LogletFailedError | undefined {
    return this.failure
  }

  /** With a placement: refused when the position is not the next one by then. */
  append(entry: Entry, bytes: number, placement?: Placement): Promise<Position> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    if (this.sealing && placement?.repair !== true)
      return Promise.reject(new LogletSealedError(`loglet ${this.options.id} is sealed`, 'refused'))
    const limit = this.options.backlogBytesMax
    if (this.queueBytes + bytes + entryOverheadBytes > limit)
      return Promise.reject(
        new LogletRefusedError(
          'backlog',
          `loglet ${this.options.id} has ${this.queueBytes} bytes queued (each entry counts ${entryOverheadBytes} more), the limit is ${limit}`,
        ),
      )
    return this.enqueue(recordType.data, entry, bytes, placement?.at)
  }

  /** Moves the next position up to `to`: what lies between is not here. */
  skip(to: number): Promise<Position> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    return this.enqueue(recordType.skip, [], 0, to)
  }

  /** Drains what is queued, then makes the seal durable. */
  async seal(): Promise<void> {
    if (this.failure !== undefined) throw this.failure
    this.sealing = true
    try {
      await this.enqueue(recordType.seal, [], 0, undefined)
    } catch (error) {
      if (error instanceof LogletRefusedError) this.sealing = false
      throw error
    }
  }

  /** Waits for what is queued and leaves a file that a later open can trust to its last byte. */
  async close(): Promise<void> {
    this.idle.abort()
    await this.idleLoop
    while (this.writing !== undefined || this.syncing !== undefined)
      await Promise.all([this.writing, this.syncing])
    await this.finishing
    if (this.failure !== undefined) return
    try {
      await this.vouch()
    } catch (error) {
      this.fail(error)
    }
  }

  private enqueue(
    type: Queued['type'],
    entry: Entry,
    bytes: number,
    at: number | undefined,
  ): Promise<Position> {
    return new Promise((resolve, reject) => {
      this.queue.push({ type, entry, bytes, at, resolve, reject })
      this.queueBytes += bytes + entryOverheadBytes
      this.writing ??= this.startWriting()
    })
  }

  private startWriting(): Promise<void> {
    return Promise.resolve().then(() => this.writeAll())
  }

  /** Writes what is queued, group after group, whether or not a sync runs. */
  private async writeAll(): Promise<void> {
    try {
      while (this.queue.length > 0 && this.failure === undefined) {
        // A seal stays in the newest file: that is where a later open looks for it.
        if (this.written.end >= this.options.segmentBytes && !this.written.sealed) {
          await this.syncing
          if (this.failure !== undefined) break
          await this.roll()
        }
        const items = this.misplaced(this.takeGroup())
        if (items.length > 0) await this.write(items)
      }
    } catch (error) {
      this.fail(error)
    }
    this.writing = undefined
  }

  private takeGroup(): Queued[] {
    let bytes = 0
    let count = 0
    for (const item of this.queue) {
      if (count > 0 && (bytes + item.bytes > groupBytesMax || count >= groupEntriesMax)) break
      bytes += item.bytes
      count++
    }
    this.queueBytes -= bytes + count * entryOverheadBytes
    return this.queue.splice(0, count)
  }

  /** Refuses what cannot go where it was to go: one before it was refused. Returns the rest. */
  private misplaced(items: readonly Queued[]): readonly Queued[] {
    let { next } = this.written
    return items.filter(item => {
      const { type, at } = item
      const fits = at === undefined || (type === recordType.skip ? at >= next : at === next)
      if (!fits) {
        item.reject(
          new LogletRefusedError(
            'out-of-order',
            `loglet ${this.options.id}: position ${at} cannot follow, the next one is ${next}`,
          ),
        )
      } else if (type === recordType.data) next++
      else if (at !== undefined) next = at
      return fits
    })
  }

  private async write(items: readonly Queued[]): Promise<void> {
    this.groups++
    const group = layOut(items, this.written, this.durable.end, this.segment.salt)
    let file: DiskFile
    try {
      file = this.file ??= await this.segment.file()
      await file.write(group.buffers, this.written.end)
    } catch (error) {
      if (!isNoSpace(error)) throw this.failGroup(items, error)
      await this.undo(items, error)
      return
    }
    this.written = group.after
    this.unsynced.push(group)
    this.syncing ??= this.syncAll(file)
  }

  /** Syncs what is written until nothing un-synced is left. */
  private async syncAll(file: DiskFile): Promise<void> {
    const { clock, onSync } = this.options
    for (let covered = this.takeUnsynced(); covered.length > 0; covered = this.takeUnsynced()) {
      const start = clock.now()
      try {
        await file.datasync()
        // A write that failed meanwhile ended everything: an ack now would speak for a file that nobody trusts.
        if (this.failure !== undefined) throw this.failure
      } catch (error) {
        for (const { items } of covered) this.failGroup(items, error)
        break
      }
      onSync?.({ kind: 'sync', ms: clock.now() - start, ...sizeOf(covered) })
      this.settle(covered)
    }
    this.syncing = undefined
    this.idleLoop ??= this.watchIdle()
  }

  private takeUnsynced(): readonly Group[] {
    const covered = this.unsynced
    this.unsynced = []
    return covered
  }

  private settle(covered: readonly Group[]): void {
    for (const { items, positions, offsets } of covered)
      items.forEach((item, i) => {
        if (item.type === recordType.data)
          this.index.add(positions[i] as number, offsets[i] as number)
      })
    this.durable = (covered.at(-1) as Group).after
    // The tail moves before anyone is told: whoever holds an ack finds it below the tail.
    this.options.onDurable(this.durable.next, this.durable.sealed)
    for (const { items, positions } of covered)
      items.forEach((item, i) => item.resolve(positions[i] as Position))
  }

  /**
   * The disk is full: takes back what may have been written and refuses the group. Synced, because whole records of the group may be on
   * the disk already: a power cut must not bring a refused entry back.
   */
  private async undo(items: readonly Queued[], cause: unknown): Promise<void> {
    await this.syncing
    if (this.failure !== undefined) throw this.failGroup(items, this.failure)
    try {
      await this.file?.truncate(this.durable.end)
      await this.file?.datasync()
    } catch (error) {
      throw this.failGroup(items, error)
    }
    const refused = new LogletRefusedError(
      'no-space',
      `the disk below ${this.options.directory} is full`,
      cause,
    )
    for (const item of items) item.reject(refused)
  }

  private failGroup(items: readonly Queued[], cause: unknown): LogletFailedError {
    const error = this.fail(cause)
    for (const item of items) item.reject(error)
    return error
  }

  private fail(cause: unknown): LogletFailedError {
    if (this.failure !== undefined) return this.failure
    const reason = cause instanceof Error ? cause.message : String(cause)
    this.failure = new LogletFailedError(
      `loglet ${this.options.id}: storage failed: ${reason}`,
      'unknown',
      cause,
    )
    for (const { items } of this.takeUnsynced()) for (const item of items) item.reject(this.failure)
    for (const item of this.queue) item.reject(this.failure)
    this.queue = []
    this.queueBytes = 0
    this.options.onFatal(this.failure)
    return this.failure
  }

  /**
   * Starts a new segment file. It is durable before the old one gets its trailer, so a trailer proves that a successor existed: if it is
   * missing later, it is lost, not absent. Nothing waits for the trailer: appends go on meanwhile.
   */
  private async roll(): Promise<void> {
    const { disk, directory, id, onRoll } = this.options
    const { end, next: first, crc: lastCrc } = this.durable
    try {
      await createSegmentFile(disk, directory, id, first)
    } catch (error) {
      if (!isNoSpace(error)) throw error
      // Goes on in the old file, and the next group tries again. What was made so far may be whole, and would hide what comes.
      await discardSegmentFile(disk, directory, first)
      return
    }
    const old = this.segment
    this.finish(old, { end, next: first, lastCrc, salt: old.salt }, this.index.points)
    const segment = new SegmentFile(disk, `${directory}/${segmentName(first)}`, id, first)
    this.file = await segment.file()
    this.segment = segment
    this.durable = { end: fileHeaderBytes, next: first, crc: segment.salt, sealed: false }
    this.written = this.durable
    this.vouched = fileHeaderBytes
    this.index = new SparseIndex()
    segment.useIndex(this.index)
    onRoll(segment)
  }

  private finish(segment: SegmentFile, mark: Watermark, points: readonly number[]): void {
    this.finishing = this.finishing
      .then(() => segment.use(file => finishSegmentFile(file, mark, points)))
      .catch(error => {
        this.fail(error)
      })
  }

  /** Makes sure that a later open need not doubt what is synced. Nothing else is written meanwhile. */
  private async vouch(): Promise<void> {
    if (this.durable.end === this.vouched) return
    this.file ??= await this.segment.file()
    const { end, next, crc: lastCrc } = this.durable
    const { salt } = this.segment
    const crc = await writeWatermark(this.file, { end, next, lastCrc, salt })
    if (crc === undefined) return
    this.durable = { ...this.durable, end: end + recordHeaderBytes, crc }
    this.written = this.durable
    this.vouched = this.durable.end
  }

  private async watchIdle(): Promise<void> {
    const { clock } = this.options
    try {
      for (let seen = -1; !this.idle.signal.aborted && this.failure === undefined; ) {
        await clock.sleep(idleMs, this.idle.signal)
        if (this.writing !== undefined || this.syncing !== undefined) continue
        if (seen !== this.groups) {
          seen = this.groups
          continue
        }
        // Nothing came for a while. The writer's turn is taken so that no group starts meanwhile.
        this.writing = this.vouch().catch(error => {
          this.fail(error)
        })
        await this.writing
        this.writing = this.queue.length > 0 ? this.startWriting() : undefined
        if (this.writing === undefined) break
      }
    } catch {
      // Closed.
    }
    this.idleLoop = undefined
  }
}

function sizeOf(groups: readonly Group[]): { bytes: number; entries: number } {
  let bytes = 0
  let entries = 0
  for (const group of groups) {
    bytes += group.bytes
    entries += group.items.length
  }
  return { bytes, entries }
}
