// Reads batches of one partition: index → tail cache, or scattered slices of the log for what is cold (DESIGN 5.2). A reader of one
// topic never pays for the others' bytes.
//
// Bytes that came from the disk are checked against the batch's own CRC; what fails is a typed gap `lost`, never skipped silently.

import type { Lsn } from '../loglets/contract.ts'
import type { VirtualLog } from '../loglets/virtual-log/virtual-log.ts'
import { checkBatch, decodeBatch } from '../wire/batch.ts'
import { LogloomError } from '../wire/errors.ts'
import { readMoved } from './engine/moved-log.ts'
import type { TailCache } from './engine/tail-cache.ts'
import type { IndexEntry, PartitionState, TopicState, Topics } from './state/topics.ts'

export type ReadItem =
  | {
      readonly kind: 'batch'
      /** Offset of the batch's first record; may lie below the offset asked for. */
      readonly offset: number
      readonly span: number
      readonly count: number
      /** Effect LSN. */
      readonly lsn: number
      /** Log append time, ms. */
      readonly timestamp: number
      readonly batch: Uint8Array
    }
  | {
      readonly kind: 'gap'
      readonly gap: 'trimmed' | 'compacted' | 'lost'
      readonly offset: number
      readonly next: number
    }

export interface ReadResult {
  readonly items: readonly ReadItem[]
  /** Where to continue. */
  readonly next: number
  readonly start: number
  readonly end: number
  /** Batch bytes in `items`. */
  readonly bytes: number
}

/** Where to start: protocol.md 6.1. */
export type OffsetSpec =
  | 'beginning'
  | 'end'
  | number
  | { readonly timestamp: number }
  | { readonly last: number }

export interface ReaderOptions {
  readonly log: VirtualLog
  readonly topics: Topics
  readonly cache: TailCache
  readonly onDamage: (lsn: number, detail: string) => void
  /** Resolves when everything that any broker was answered by now is applied here. */
  readonly sync: () => Promise<void>
}

/** What a read from the log found; an entry in neither is damaged. */
interface Found {
  readonly batches: Map<IndexEntry, Uint8Array>
  readonly trimmed: Set<IndexEntry>
}

/** Batches in one result, however small they are. */
const batchesPerReadMax = 512

export class Reader {
  private readonly options: ReaderOptions

  constructor(options: ReaderOptions) {
    this.options = options
  }

  /** The partition, or UNKNOWN_TOPIC, UNKNOWN_PARTITION. */
  partition(topicId: number, partition: number): PartitionState {
    const topic = this.options.topics.byId.get(topicId)
    if (topic === undefined)
      throw new LogloomError('UNKNOWN_TOPIC', `topic ${topicId} does not exist`)
    return partitionOf(topic, partition)
  }

  /**
   * Items from `from`, about `maxBytes` of batches, at least one item when there is one. Synchronous when the tail cache has
   * everything; the batches are then valid in this turn of the event loop only. @throws OFFSET_OUT_OF_RANGE, OFFSET_TRIMMED with `start` and `end`.
   */
  read(
    topicId: number,
    partition: number,
    from: number,
    maxBytes: number,
  ): ReadResult | Promise<ReadResult> {
    const state = this.partition(topicId, partition)
    checkRange(state, from)
    const entries: IndexEntry[] = []
    let bytes = 0
    if (from < state.next)
      for (const entry of this.options.topics.entriesFrom(state, from)) {
        if (entries.length > 0 && bytes + entry.length > maxBytes) break
        entries.push(entry)
        bytes += entry.length
        if (bytes >= maxBytes || entries.length >= batchesPerReadMax) break
      }
    const slices = entries.map(e => this.cached(e))
    const cold = entries.filter((e, i) => slices[i] === undefined && e.length > 0)
    if (cold.length === 0) return result(state, from, entries, slices, new Set())
    // Views of the cache do not outlive the wait.
    slices.forEach((slice, i) => {
      slices[i] = slice?.slice()
    })
    return this.readCold(state, cold).then(({ batches, trimmed }) =>
      result(
        state,
        from,
        entries,
        entries.map((e, i) => slices[i] ?? batches.get(e)),
        trimmed,
      ),
    )
  }

  /** @throws OFFSET_OUT_OF_RANGE, OFFSET_TRIMMED for an explicit offset outside the partition. */
  offsetAt(topicId: number, partition: number, at: OffsetSpec): number | Promise<number> {
    const state = this.partition(topicId, partition)
    if (at === 'beginning') return state.start
    if (at === 'end') return state.next
    if (typeof at === 'number') {
      checkRange(state, at)
      return at
    }
    if ('last' in at) return Math.max(state.start, state.next - at.last)
    return this.offsetAtTime(state, at.timestamp)
  }

  /** The first batch whose running maximum reaches the time has the first such record; binary search over offsets. */
  private async offsetAtTime(state: PartitionState, timestamp: number): Promise<number> {
    const { topics } = this.options
    if (state.next === state.start || state.maxTimestamp < timestamp) return state.next
    let low = state.start
    let high = state.next
    while (low < high) {
      const mid = Math.floor((low + high) / 2)
      const entry = topics.floor(state, mid)
      if (entry === undefined) break
      if (entry.maxTimestamp >= timestamp) high = Math.min(high, Math.max(entry.base, state.start))
      else low = entry.base + entry.span
      if (high <= low) break
    }
    const entry = topics.floor(state, low)
    if (entry === undefined || entry.length === 0) return low
    const bytes =
      this.cached(entry)?.slice() ?? (await this.readCold(state, [entry])).batches.get(entry)
    if (bytes === undefined) return low
    try {
      const record = (await decodeBatch(bytes)).find(
        r => r.timestamp >= timestamp && entry.base + r.offsetDelta >= state.start,
      )
      return record === undefined ? Math.max(low, entry.base) : entry.base + record.offsetDelta
    } catch {
      return Math.max(low, entry.base)
    }
  }

  private cached(entry: IndexEntry): Uint8Array | undefined {
    if (entry.length === 0) return undefined
    return this.options.cache.slice(entry.lsn, entry.start, entry.length)
  }

  private async readCold(state: PartitionState, entries: readonly IndexEntry[]): Promise<Found> {
    const { log, onDamage, sync } = this.options
    const slices = entries.map(e => ({ lsn: e.lsn as Lsn, start: e.start, length: e.length }))
    const results = await readMoved(log, () => log.readSlices(slices))
    const batches = new Map<IndexEntry, Uint8Array>()
    const gone: IndexEntry[] = []
    entries.forEach((entry, i) => {
      const slice = results[i]
      if (!(slice instanceof Uint8Array)) {
        if (slice?.gap === 'trimmed') gone.push(entry)
        else onDamage(entry.lsn, `bytes are ${slice?.gap ?? 'missing'}`)
        return
      }
      try {
        checkBatch(slice, { bytesMax: Number.MAX_SAFE_INTEGER })
        batches.set(entry, slice)
      } catch (error) {
        onDamage(entry.lsn, `batch at byte ${entry.start}: ${(error as Error).message}`)
      }
    })
    if (gone.length === 0) return { batches, trimmed: new Set() }
    // The log is trimmed after the command that allows it took effect, on the broker that trims: here it may not have yet.
    await sync()
    const trimmed = new Set(gone.filter(entry => !this.isLive(state, entry)))
    for (const entry of gone) if (!trimmed.has(entry)) onDamage(entry.lsn, 'bytes are trimmed')
    return { batches, trimmed }
  }

  private isLive(state: PartitionState, { base, span }: IndexEntry): boolean {
    return this.options.topics.byId.has(state.topicId) && base + span > state.start
  }
}

/** UNKNOWN_PARTITION names the limit and the value. */
export function partitionOf(topic: TopicState, partition: number): PartitionState {
  const state = topic.partitions[partition]
  if (state === undefined)
    throw new LogloomError(
      'UNKNOWN_PARTITION',
      `${topic.name} has ${topic.partitions.length} partitions, asked for ${partition}`,
      { topic: topic.name, limit: topic.partitions.length, actual: partition },
    )
  return state
}

function checkRange(state: PartitionState, offset: number): void {
  const { start, next: end } = state
  const facts = { start, end, actual: offset }
  if (offset > end)
    throw new LogloomError(
      'OFFSET_OUT_OF_RANGE',
      `offset ${offset} lies beyond the end ${end}`,
      facts,
    )
  if (offset < start)
    throw new LogloomError(
      'OFFSET_TRIMMED',
      `offset ${offset} lies before the start ${start}`,
      facts,
    )
}

function result(
  state: PartitionState,
  from: number,
  entries: readonly IndexEntry[],
  slices: readonly (Uint8Array | undefined)[],
  trimmed: ReadonlySet<IndexEntry>,
): ReadResult {
  const items: ReadItem[] = []
  let next = from
  let bytes = 0
  entries.forEach((entry, i) => {
    const batch = slices[i]
    const { base, span, count } = entry
    // A trim may have overtaken the read; offsets between batches are never skipped silently.
    if (base > next) items.push({ kind: 'gap', gap: 'trimmed', offset: next, next: base })
    next = base + span
    if (batch === undefined) {
      const gap = trimmed.has(entry) ? 'trimmed' : 'lost'
      items.push({ kind: 'gap', gap, offset: Math.max(base, from), next })
      return
    }
    bytes += batch.length
    items.push({
      kind: 'batch',
      offset: base,
      span,
      count,
      lsn: entry.effectLsn,
      timestamp: entry.timestamp,
      batch,
    })
  })
  return { items, next, start: state.start, end: state.next, bytes }
}
