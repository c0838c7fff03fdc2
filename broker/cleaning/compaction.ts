// Key compaction of one partition (Kafka's log cleaner, KIP-58, KIP-354): of each key only the last record stays, with its offset. Works beside the apply
// path: reads batches, makes smaller ones of the same offsets, and proposes to put these in their places; a batch that is not where it was
// expected is left for the next pass.
//
//   offsets   start        compacted to              end        next
//             |---- clean -----|------- dirty -------|-- tail --|
//                              keys → newest offset
//   pass      what has a newer record of its key in the dirty part goes, and of tombstones those that were kept for long enough
//
// A tombstone goes only in a later pass than the one that removed what it hides, and only when that was complete: nothing can come back. Deciding takes
// the log time of the proposer; what is installed is conditional on places, not on time.

import type { Clock } from '../../loglets/ports.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import {
  type BatchRecord,
  compressBatch,
  decodeBatch,
  encodeBatch,
  readBatchHeader,
} from '../../wire/batch.ts'
import { LogloomError } from '../../wire/errors.ts'
import { isMissing, type Missing, readBatches } from '../batch-reads.ts'
import type { Move } from '../state/commands.ts'
import type { StateMachine } from '../state/state-machine.ts'
import {
  cleanupPolicy,
  deleteRetentionMs,
  minCleanableDirtyRatio,
  minCompactionLagMs,
} from '../state/topic-policy.ts'
import type { IndexEntry, PartitionState, TopicState } from '../state/topics.ts'
import { bytesForKeys, KeyMap } from './key-map.ts'
import { type MoverOptions, Portion, proposeMoves } from './mover.ts'
import type { Pace } from './pace.ts'

export interface CompactionOptions extends MoverOptions {
  readonly machine: StateMachine
  readonly log: VirtualLog
  readonly clock: Clock
  readonly pace: Pace
  /** Log time, or the wall clock where that is believed and ahead, ms: log time stands still while nobody writes. */
  readonly now: () => number
  /** Memory for keys. */
  readonly keyBytesMax: number
  /** The newest bytes of a partition that are left alone. */
  readonly tailBytes: number
  readonly isActing: () => boolean
  readonly ran: (removedRecords: number) => void
}

interface Opened {
  readonly entry: IndexEntry
  readonly batch: Uint8Array
  readonly records: readonly BatchRecord[]
}

interface Pass {
  readonly partition: PartitionState
  readonly keys: KeyMap
  /** Tombstones below this offset go. */
  readonly sweepBelow: number
}

/** Batches read at once. */
const readBytesMax = 1 << 20
const readBatchesMax = 256

export class Compaction {
  private readonly options: CompactionOptions

  constructor(options: CompactionOptions) {
    this.options = options
  }

  /** Partitions with enough to do, the dirtiest first. */
  due(): readonly (readonly [TopicState, PartitionState])[] {
    const found: { readonly ratio: number; readonly is: readonly [TopicState, PartitionState] }[] =
      []
    const { restores, topics } = this.options.machine
    // Nothing that it wrote would be taken.
    if (restores.holds.lasts(this.time)) return []
    for (const topic of topics.byName.values()) {
      if (!cleanupPolicy(topic).compact) continue
      for (const partition of topic.partitions) {
        const { bytes, compaction } = partition
        const ratio = bytes === 0 ? 0 : (bytes - compaction.bytes) / bytes
        const isDirty =
          bytes - compaction.bytes > this.options.tailBytes &&
          ratio >= minCleanableDirtyRatio(topic)
        const isDue = isDirty ? this.endOf(topic, partition) > compaction.to : false
        const hasOld = compaction.tombstones > 0 && this.canSweep(topic, partition)
        if (isDue || hasOld) found.push({ ratio, is: [topic, partition] })
      }
    }
    return found.sort((a, b) => b.ratio - a.ratio).map(({ is }) => is)
  }

  /** One pass over a partition, or as many as its keys need. */
  async run(topic: TopicState, partition: PartitionState, signal: AbortSignal): Promise<void> {
    const end = this.endOf(topic, partition)
    let records = 0
    for (const entry of this.options.machine.topics.entriesFrom(partition, partition.compaction.to))
      if (entry.base < end) records += entry.count
      else break
    const keys = new KeyMap(Math.min(this.options.keyBytesMax, bytesForKeys(records)))
    do {
      const { to } = partition.compaction
      keys.clear()
      if (!(await this.pass(topic, partition, keys, end, signal))) return
      if (partition.compaction.to === to) return
    } while (partition.compaction.to < end)
  }

  /** @returns whether it was complete and is written down */
  private async pass(
    topic: TopicState,
    partition: PartitionState,
    keys: KeyMap,
    end: number,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { isActing, machine, propose, ran } = this.options
    const from = partition.compaction.to
    const to = await this.learn(partition, keys, end, signal)
    const swept = this.canSweep(topic, partition)
    const pass = { partition, keys, sweepBelow: swept ? partition.compaction.horizon : 0 }
    const portion = new Portion<Move>()
    const install = async (): Promise<boolean> => {
      const moves = portion.take()
      return moves.length === 0 || (await proposeMoves(this.options, moves)) === moves.length
    }
    let bytes = 0
    let tombstones = 0
    let removed = 0
    for await (const opened of this.batches(partition, partition.start, to, signal)) {
      if (!isActing() || !isCompacted(machine, topic)) return false
      if (!('records' in opened)) {
        bytes += opened.entry.length
        continue
      }
      const { entry, batch, records } = opened
      const kept = records.filter(record => isKept(pass, entry.base + record.offsetDelta, record))
      tombstones += kept.filter(({ value }) => value === null).length
      if (kept.length === records.length) {
        bytes += entry.length
        continue
      }
      removed += records.length - kept.length
      const less = kept.length === 0 ? new Uint8Array() : await rewrite(batch, kept)
      bytes += less.length
      if (portion.add(moveOf(partition, entry, less), less.length) && !(await install()))
        return false
    }
    if (!(await install())) return false
    const { topicId, partition: number } = partition
    const decision = await propose({
      type: 'compacted',
      topicId,
      partition: number,
      from,
      to,
      bytes,
      tombstones,
      swept,
    })
    ran(removed)
    return decision.ok && decision.result?.installed === true
  }

  /** Fills the map with the keys of the dirty part. @returns where the part ends that it has room for, or that can be read */
  private async learn(
    partition: PartitionState,
    keys: KeyMap,
    end: number,
    signal: AbortSignal,
  ): Promise<number> {
    const { to } = partition.compaction
    let reached = to
    for await (const opened of this.batches(partition, to, end, signal)) {
      const { entry } = opened
      if ('records' in opened) {
        if (!keys.fits(opened.records.length)) {
          if (keys.size > 0) return reached
          const { keyBytesMax } = this.options
          throw new LogloomError(
            'LIMIT_EXCEEDED',
            `a batch of ${opened.records.length} records does not fit ${keyBytesMax} bytes of keys (logCleanerDedupeBufferSize)`,
            { limit: keyBytesMax, actual: opened.records.length },
          )
        }
        for (const { key, offsetDelta } of opened.records)
          if (key !== null) keys.set(key, entry.base + offsetDelta)
      }
      reached = Math.max(reached, entry.base + entry.span)
    }
    return Math.max(reached, Math.min(end, partition.next))
  }

  /** The partition's batches in order; one that is damaged comes without records and stays as it is. */
  private async *batches(
    partition: PartitionState,
    from: number,
    to: number,
    signal: AbortSignal,
  ): AsyncGenerator<Opened | { readonly entry: IndexEntry }> {
    const { clock, log, machine, pace } = this.options
    for (let at = from; at < to; ) {
      const entries: IndexEntry[] = []
      let bytes = 0
      for (const entry of machine.topics.entriesFrom(partition, at)) {
        if (entry.base >= to || bytes >= readBytesMax || entries.length >= readBatchesMax) break
        entries.push(entry)
        bytes += entry.length
      }
      const last = entries.at(-1)
      if (last === undefined) return
      at = last.base + last.span
      await pace.spend(bytes, signal)
      const stored = entries.filter(({ length }) => length > 0)
      const found = await readBatches(log, stored)
      for (const [i, entry] of stored.entries()) {
        await clock.sleep(0, signal)
        yield await open(entry, found[i] as Uint8Array | Missing)
      }
    }
  }

  /** Where the part ends that may be compacted: before the newest bytes, and before what is too young. */
  private endOf(topic: TopicState, partition: PartitionState): number {
    const { machine, tailBytes } = this.options
    const { compaction, bytes } = partition
    const lagMs = minCompactionLagMs(topic)
    const time = this.time
    let left = bytes - compaction.bytes
    let end = compaction.to
    for (const entry of machine.topics.entriesFrom(partition, compaction.to)) {
      left -= entry.length
      // The last batch stays: its records say where the partition ends.
      if (left < tailBytes || left <= 0 || entry.timestamp + lagMs > time) break
      end = entry.base + entry.span
    }
    return end
  }

  private canSweep(topic: TopicState, partition: PartitionState): boolean {
    const { horizonTime } = partition.compaction
    return horizonTime + deleteRetentionMs(topic) <= this.time
  }

  private get time(): number {
    return this.options.now()
  }
}

/** The last record of its key, and no tombstone that was kept for long enough. A record without key is the last of nothing. */
function isKept(pass: Pass, offset: number, { key, value }: BatchRecord): boolean {
  if (key === null) return false
  if (value === null && offset < pass.sweepBelow) return false
  const newest = pass.keys.get(key)
  return newest === undefined || newest <= offset
}

/** Still, after all the waiting. */
function isCompacted(machine: StateMachine, { id }: TopicState): boolean {
  const topic = machine.topics.byId.get(id)
  return topic !== undefined && cleanupPolicy(topic).compact
}

/** @throws UNSUPPORTED_CODEC: what this runtime cannot open may hold any key */
async function open(
  entry: IndexEntry,
  found: Uint8Array | Missing,
): Promise<Opened | { readonly entry: IndexEntry }> {
  if (isMissing(found)) {
    // It was put elsewhere meanwhile: the pass would not be complete.
    if (found.trimmed) throw new LogloomError('THROTTLED', `offset ${entry.base} moved meanwhile`)
    return { entry }
  }
  try {
    return { entry, batch: found, records: await decodeBatch(found) }
  } catch (error) {
    if (error instanceof LogloomError && error.code === 'BATCH_CORRUPT') return { entry }
    throw error
  }
}

function moveOf(partition: PartitionState, entry: IndexEntry, batch: Uint8Array): Move {
  const { topicId, partition: number } = partition
  const { base, lsn, start } = entry
  const move = { topicId, partition: number, base, lsn, start, batch }
  return batch.length === 0 ? move : { ...move, header: readBatchHeader(batch) }
}

/** A batch of the same offsets, times, identity and codec with fewer records. */
async function rewrite(batch: Uint8Array, kept: readonly BatchRecord[]): Promise<Uint8Array> {
  const { baseSequence, codec, producerEpoch, producerId, span } = readBatchHeader(batch)
  const less = encodeBatch(kept, {
    now: 0,
    span,
    offsetDeltas: kept.map(({ offsetDelta }) => offsetDelta),
    producer: { producerId, producerEpoch, baseSequence },
  })
  return compressBatch(less, codec)
}
