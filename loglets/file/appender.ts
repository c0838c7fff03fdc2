// The one writer of a file loglet: group commit into the newest segment file (DESIGN 4.4 "file").
//
//   queue ──► [header, entry buffers …] × group ──► one writev ──► one fdatasync ──► acks, in order
//
// What arrives while a sync runs joins the next group. A full disk refuses its group and leaves no trace of it; any other write error and
// every sync error is the end: nothing un-synced may be trusted any more, so nothing is ever acked again in this process.

import {
  type Entry,
  LogletFailedError,
  LogletRefusedError,
  LogletSealedError,
  type Position,
} from '../contract.ts'
import type { Clock, Disk, DiskFile } from '../ports.ts'
import {
  encodeIndex,
  encodeRecordHeader,
  encodeTrailer,
  fileHeaderBytes,
  recordHeaderBytes,
  recordType,
} from './format.ts'
import {
  createSegmentFile,
  discardSegmentFile,
  isNoSpace,
  segmentName,
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

/** One sync that covered a group of entries. */
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
  /** A group is durable: the tail has moved, before any of its acks. */
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

interface Queued {
  readonly type: typeof recordType.data | typeof recordType.seal
  readonly entry: Entry
  readonly bytes: number
  readonly resolve: (position: Position) => void
  readonly reject: (error: Error) => void
}

export class Appender {
  private readonly options: AppenderOptions
  private segment: SegmentFile
  private file: DiskFile | undefined
  /** Offset up to which the newest file is written and synced. */
  private end: number
  /** Offset that the newest watermark record vouches for. */
  private vouched: number
  private nextPosition: number
  private lastCrc: number
  private index: SparseIndex
  private queue: Queued[] = []
  private queueBytes = 0
  private running: Promise<void> | undefined
  private failure: LogletFailedError | undefined
  private sealing = false
  private sealed: boolean
  private readonly idle = new AbortController()
  private idleLoop: Promise<void> | undefined
  private groups = 0

  constructor(options: AppenderOptions, point: AppendPoint, sealed: boolean) {
    this.options = options
    this.segment = point.segment
    this.end = point.end
    this.vouched = point.vouched ? point.end : 0
    this.nextPosition = point.next
    this.lastCrc = point.lastCrc
    this.index = point.index
    this.sealing = sealed
    this.sealed = sealed
    point.segment.useIndex(point.index)
  }

  get next(): number {
    return this.nextPosition
  }

  /** Synced bytes of the newest file. */
  get syncedEnd(): number {
    return this.end
  }

  get failed(): LogletFailedError | undefined {
    return this.failure
  }

  append(entry: Entry, bytes: number): Promise<Position> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    if (this.sealing)
      return Promise.reject(new LogletSealedError(`loglet ${this.options.id} is sealed`, 'refused'))
    const limit = this.options.backlogBytesMax
    if (this.queueBytes + bytes + entryOverheadBytes > limit)
      return Promise.reject(
        new LogletRefusedError(
          'backlog',
          `loglet ${this.options.id} has ${this.queueBytes} bytes queued (each entry counts ${entryOverheadBytes} more), the limit is ${limit}`,
        ),
      )
    return this.enqueue(recordType.data, entry, bytes)
  }

  /** Drains what is queued, then makes the seal durable. */
  async seal(): Promise<void> {
    if (this.failure !== undefined) throw this.failure
    this.sealing = true
    try {
      await this.enqueue(recordType.seal, [], 0)
    } catch (error) {
      if (error instanceof LogletRefusedError) this.sealing = false
      throw error
    }
  }

  /** Waits for what is queued and leaves a file that a later open can trust to its last byte. */
  async close(): Promise<void> {
    this.idle.abort()
    await this.idleLoop
    await this.running
    if (this.failure !== undefined) return
    try {
      await this.vouch()
    } catch (error) {
      this.fail(error)
    }
  }

  private enqueue(type: Queued['type'], entry: Entry, bytes: number): Promise<Position> {
    return new Promise((resolve, reject) => {
      this.queue.push({ type, entry, bytes, resolve, reject })
      this.queueBytes += bytes + entryOverheadBytes
      this.running ??= Promise.resolve().then(() => this.run())
    })
  }

  private async run(): Promise<void> {
    try {
      while (this.queue.length > 0 && this.failure === undefined) {
        await this.commit(this.takeGroup())
        // A seal stays in the newest file: that is where a later open looks for it.
        if (this.end >= this.options.segmentBytes && !this.sealed) await this.roll()
      }
    } catch (error) {
      this.fail(error)
    }
    this.running = undefined
    this.idleLoop ??= this.watchIdle()
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

  private async commit(group: readonly Queued[]): Promise<void> {
    const { clock, onDurable, onSync } = this.options
    this.groups++
    const { buffers, bytes, positions, offsets, crc, next, sealed } = this.encode(group)
    this.file ??= await this.segment.file()
    try {
      await this.file.write(buffers, this.end)
    } catch (error) {
      if (!isNoSpace(error)) throw this.failGroup(group, error)
      await this.undo(group, error)
      return
    }
    const start = clock.now()
    try {
      await this.file.datasync()
    } catch (error) {
      throw this.failGroup(group, error)
    }
    onSync?.({ kind: 'sync', ms: clock.now() - start, bytes, entries: group.length })
    group.forEach((item, i) => {
      if (item.type === recordType.data)
        this.index.add(positions[i] as number, offsets[i] as number)
    })
    this.end += bytes
    this.lastCrc = crc
    this.nextPosition = next
    this.sealed ||= sealed
    // The tail moves before anyone is told: whoever holds an ack finds it below the tail.
    onDurable(next, sealed)
    group.forEach((item, i) => item.resolve(positions[i] as Position))
  }

  /** Lays a group out behind the end. Entry buffers are used as they are. */
  private encode(group: readonly Queued[]): {
    buffers: Uint8Array[]
    bytes: number
    positions: number[]
    offsets: number[]
    crc: number
    next: number
    sealed: boolean
  } {
    const headers = new Uint8Array(group.length * recordHeaderBytes)
    const buffers: Uint8Array[] = []
    const positions: number[] = []
    const offsets: number[] = []
    let at = this.end
    let crc = this.lastCrc
    let next = this.nextPosition
    let sealed = false
    group.forEach((item, i) => {
      const headerAt = i * recordHeaderBytes
      crc = encodeRecordHeader(
        headers,
        headerAt,
        {
          type: item.type,
          position: next,
          watermark: this.end,
          length: item.bytes,
          previousCrc: crc,
        },
        item.entry,
        this.segment.salt,
      )
      buffers.push(headers.subarray(headerAt, headerAt + recordHeaderBytes))
      for (const buffer of item.entry) if (buffer.length > 0) buffers.push(buffer)
      positions.push(next)
      offsets.push(at)
      at += recordHeaderBytes + item.bytes
      if (item.type === recordType.data) next++
      else sealed = true
    })
    return { buffers, bytes: at - this.end, positions, offsets, crc, next, sealed }
  }

  /**
   * The disk is full: takes back what may have been written and refuses the group. Synced, because whole records of the group may be on
   * the disk already: a power cut must not bring a refused entry back.
   */
  private async undo(group: readonly Queued[], cause: unknown): Promise<void> {
    try {
      await this.file?.truncate(this.end)
      await this.file?.datasync()
    } catch (error) {
      throw this.failGroup(group, error)
    }
    const refused = new LogletRefusedError(
      'no-space',
      `the disk below ${this.options.directory} is full`,
      cause,
    )
    for (const item of group) item.reject(refused)
  }

  private failGroup(group: readonly Queued[], cause: unknown): LogletFailedError {
    const error = this.fail(cause)
    for (const item of group) item.reject(error)
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
    for (const item of this.queue) item.reject(this.failure)
    this.queue = []
    this.queueBytes = 0
    this.options.onFatal(this.failure)
    return this.failure
  }

  /**
   * Starts a new segment file. The new file is durable before the old one gets its trailer, so a trailer proves that a successor
   * existed: if it is missing later, it is lost, not absent.
   */
  private async roll(): Promise<void> {
    const { disk, directory, id, onRoll } = this.options
    const first = this.nextPosition
    try {
      await createSegmentFile(disk, directory, id, first)
    } catch (error) {
      if (!isNoSpace(error)) throw error
      // Goes on in the old file, and the next group tries again. What was made so far may be whole, and would hide what comes.
      await discardSegmentFile(disk, directory, first)
      return
    }
    try {
      await this.finish()
    } catch (error) {
      if (!isNoSpace(error)) throw error
      await this.file?.truncate(this.end)
    }
    const segment = new SegmentFile(disk, `${directory}/${segmentName(first)}`, id, first)
    this.file = await segment.file()
    this.segment = segment
    this.end = fileHeaderBytes
    this.vouched = this.end
    this.lastCrc = segment.salt
    this.index = new SparseIndex()
    segment.useIndex(this.index)
    onRoll(segment)
  }

  /** Index record and trailer of a file that takes no more. */
  private async finish(): Promise<void> {
    const body = encodeIndex(this.index.points)
    const header = new Uint8Array(recordHeaderBytes)
    encodeRecordHeader(
      header,
      0,
      {
        type: recordType.index,
        position: this.nextPosition,
        watermark: this.end,
        length: body.length,
        previousCrc: this.lastCrc,
      },
      [body],
      this.segment.salt,
    )
    await this.file?.write([header, body, encodeTrailer(this.end)], this.end)
    await this.file?.datasync()
  }

  /** Makes sure that a later open need not doubt what is synced. */
  async vouch(): Promise<void> {
    if (this.end === this.vouched) return
    this.file ??= await this.segment.file()
    const { end, nextPosition: next, lastCrc } = this
    const { salt } = this.segment
    const crc = await writeWatermark(this.file, { end, next, lastCrc, salt })
    if (crc === undefined) return
    this.end += recordHeaderBytes
    this.vouched = this.end
    this.lastCrc = crc
  }

  private async watchIdle(): Promise<void> {
    const { clock } = this.options
    try {
      for (let seen = -1; !this.idle.signal.aborted && this.failure === undefined; ) {
        await clock.sleep(idleMs, this.idle.signal)
        if (this.running !== undefined || this.queue.length > 0) continue
        if (seen !== this.groups) {
          seen = this.groups
          continue
        }
        // Nothing came for a while. The writer's turn is taken so that no group starts meanwhile.
        this.running = this.vouch().catch(error => {
          this.fail(error)
        })
        await this.running
        this.running = this.queue.length > 0 ? Promise.resolve().then(() => this.run()) : undefined
        if (this.running === undefined) break
      }
    } catch {
      // Closed.
    }
    this.idleLoop = undefined
  }
}
