// Reads batches of one partition: index → tail cache, or scattered slices of the log for what is cold (DESIGN 5.2). A reader of one
// topic never pays for the others' bytes.
//
// Bytes that came from the disk are checked against the batch's own CRC; what fails is a typed gap `lost`, never skipped silently.

import type { VirtualLog } from '../loglets/virtual-log/virtual-log.ts'
import { walkBatch } from '../wire/batch.ts'
import { LogloomError } from '../wire/errors.ts'
import { isMissing, type Missing, readBatches } from './batch-reads.ts'
import type { TailCache } from './engine/tail-cache.ts'
import { type PastRange, pastRange } from './state/past.ts'
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
  /** Why there is nothing to read any more. */
  readonly gone: Map<IndexEntry, 'trimmed' | 'compacted'>
}

/** A batch that is put elsewhere again and again while it is read: more often than cleaning could in the time. */
const movesMax = 10
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
   * everything; the batches are then valid in this turn of the event loop only. With `until` as if the partition ended there, which MUST be the end
   * of a batch. @throws OFFSET_OUT_OF_RANGE, OFFSET_TRIMMED with `start` and `end`.
   */
  read(
    topicId: number,
    partition: number,
    from: number,
    maxBytes: number,
    until?: number,
  ): ReadResult | Promise<ReadResult> {
    const state = this.partition(topicId, partition)
    const range = { start: state.start, end: until ?? state.next }
    checkRange(range, from)
    const entries: IndexEntry[] = []
    let bytes = 0
    // Where a hole at the end of the past ends: no batch follows that would show it.
    let holeTo = until
    if (from < range.end)
      for (const entry of this.options.topics.entriesFrom(state, from)) {
        if (entry.base >= range.end) break
        if (entries.length > 0 && bytes + entry.length > maxBytes) {
          holeTo = undefined
          break
        }
        entries.push(entry)
        bytes += entry.length
        if (bytes >= maxBytes || entries.length >= batchesPerReadMax) {
          holeTo = undefined
          break
        }
      }
    const slices = entries.map(e => this.cached(e))
    const cold = entries.filter((e, i) => slices[i] === undefined && e.length > 0)
    if (cold.length === 0) return result(range, from, entries, slices, new Map(), holeTo)
    // Views of the cache do not outlive the wait.
    slices.forEach((slice, i) => {
      slices[i] = slice?.slice()
    })
    return this.readCold(state, cold).then(({ batches, gone }) =>
      result(
        { start: state.start, end: until ?? state.next },
        from,
        entries,
        entries.map((e, i) => slices[i] ?? batches.get(e)),
        gone,
        holeTo,
      ),
    )
  }

  /** The partition as of a position that was applied. @throws UNKNOWN_TOPIC, UNKNOWN_PARTITION when it was not there then */
  past(topicId: number, partition: number, position: number): PastRange {
    const { topics } = this.options
    const state = this.partition(topicId, partition)
    return pastRange(topics, topics.byId.get(topicId) as TopicState, state, position)
  }

  /**
   * In the partition as it is, or as it was: then what is not an explicit offset may name one that is gone.
   * @throws OFFSET_OUT_OF_RANGE, OFFSET_TRIMMED for an explicit offset outside the partition.
   */
  offsetAt(
    topicId: number,
    partition: number,
    at: OffsetSpec,
    past?: PastRange,
  ): number | Promise<number> {
    const state = this.partition(topicId, partition)
    const { start, end } = past ?? { start: state.start, end: state.next }
    if (at === 'beginning') return start
    if (at === 'end') return end
    if (typeof at === 'number') {
      checkRange({ start: Math.min(state.start, end), end }, at)
      return at
    }
    if ('last' in at) return Math.max(start, end - at.last)
    if (past === undefined) return this.offsetAtTime(state, at.timestamp)
    return this.offsetAtTimePast(state, at.timestamp, past)
  }

  private async offsetAtTimePast(
    state: PartitionState,
    timestamp: number,
    { start, end }: PastRange,
  ): Promise<number> {
    const found = await this.offsetAtTime(state, timestamp)
    // What is gone by now may have held an earlier one.
    return found <= state.start ? Math.min(start, end) : Math.min(found, end)
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
      if (entry !== undefined && entry.maxTimestamp >= timestamp)
        high = Math.min(high, Math.max(entry.base, state.start))
      // The entry may lie below a hole that `mid` is in.
      else low = Math.max(mid + 1, entry === undefined ? 0 : entry.base + entry.span)
      if (high <= low) break
    }
    const [entry] = topics.entriesFrom(state, low)
    if (entry === undefined || entry.length === 0) return low
    const bytes =
      this.cached(entry)?.slice() ?? (await this.readCold(state, [entry])).batches.get(entry)
    if (bytes === undefined) return low
    try {
      let delta: number | undefined
      await walkBatch(bytes, {
        from: state.start - entry.base,
        recordBytesMax: -1,
        visit: record => {
          if (record.timestamp >= timestamp) delta = record.offsetDelta
          return delta === undefined
        },
      })
      return delta === undefined ? Math.max(low, entry.base) : entry.base + delta
    } catch {
      return Math.max(low, entry.base)
    }
  }

  private cached(entry: IndexEntry): Uint8Array | undefined {
    if (entry.length === 0) return undefined
    return this.options.cache.slice(entry.lsn, entry.start, entry.length)
  }

  /** Reads what is not cached. A batch that was put elsewhere meanwhile is read there. */
  private async readCold(state: PartitionState, entries: readonly IndexEntry[]): Promise<Found> {
    const { onDamage, sync } = this.options
    const found: Found = { batches: new Map(), gone: new Map() }
    let wanted = entries.map(entry => ({ asked: entry, now: entry }))
    for (let moves = 0; wanted.length > 0; moves++) {
      const slices = await readBatches(
        this.options.log,
        wanted.map(({ now }) => now),
      )
      // The log is trimmed after what allows it took effect, on the broker that trims: here it may not have yet.
      if (slices.some(slice => isMissing(slice) && slice.trimmed)) await sync()
      wanted = wanted.flatMap(({ asked, now }, i) => {
        const slice = slices[i] as Uint8Array | Missing
        if (!isMissing(slice)) {
          found.batches.set(asked, slice)
          return []
        }
        const { topicId, start } = state
        const isTrimmed = !this.options.topics.byId.has(topicId) || asked.base + asked.span <= start
        const there = isTrimmed ? undefined : this.options.topics.at(state, asked.base)
        if (there === undefined) found.gone.set(asked, isTrimmed ? 'trimmed' : 'compacted')
        else if (moves < movesMax && (there.lsn !== now.lsn || there.start !== now.start))
          return [{ asked, now: there }]
        else onDamage(now.lsn, slice.detail)
        return []
      })
    }
    return found
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

/** Offsets `[start, end)`, as they are asked for. */
interface Range {
  readonly start: number
  readonly end: number
}

function checkRange({ start, end }: Range, offset: number): void {
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
  { start, end }: Range,
  from: number,
  entries: readonly IndexEntry[],
  slices: readonly (Uint8Array | undefined)[],
  gone: ReadonlyMap<IndexEntry, 'trimmed' | 'compacted'>,
  holeTo = from,
): ReadResult {
  const items: ReadItem[] = []
  let next = from
  let bytes = 0
  entries.forEach((entry, i) => {
    const batch = slices[i]
    const { base, span, count } = entry
    // Offsets that no batch has any more: only compaction leaves such holes.
    if (base > next) items.push({ kind: 'gap', gap: 'compacted', offset: next, next: base })
    next = base + span
    if (batch === undefined) {
      const gap = gone.get(entry) ?? 'lost'
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
  if (next < holeTo) {
    items.push({ kind: 'gap', gap: 'compacted', offset: next, next: holeTo })
    next = holeTo
  }
  return { items, next, start, end, bytes }
}
