// Topics, partitions and the index of their batches. All topics and partitions are in memory (their number is bounded); of the index
// only what is not committed to the store yet: `recent`, in offset order, and entries that lie elsewhere now, `changed`.
//
//   offsets   start                                  next
//             |----- index entries in the store -----|-- recent --|
//                     changed: instead of some of either
//
// Compaction leaves holes between entries: offsets whose records are gone.

import { upperBound } from '../../loglets/upper-bound.ts'
import { packFrame } from '../../wire/frame.ts'
import { baseOfKey, batchKey, partitionKey, prefixRange, topicKey } from './keys.ts'
import { Places } from './places.ts'
import type { StateStore, StoreOp } from './store.ts'
import { getU64, setU64 } from '../../wire/u64.ts'
import { unpackOwn } from './own-frame.ts'

/** Where a batch lies and when it took effect. `length` 0 marks a range of offsets that was lost. */
export interface IndexEntry {
  readonly base: number
  /** Offsets `[base, base + span)`. */
  readonly span: number
  readonly count: number
  /** The entry that holds the bytes, and where in it. */
  readonly lsn: number
  readonly start: number
  readonly length: number
  /** The position at which it took effect; later than `lsn` when the entry was held back. */
  readonly effectLsn: number
  /** Log time of the effect, ms. */
  readonly timestamp: number
  /** Largest record timestamp of this and all earlier batches of the partition: monotonic, so time can be searched. */
  readonly maxTimestamp: number
}

/** How far key compaction has come in a partition. */
export interface CompactionState {
  /** Of each key below this offset only the last record there is left. */
  readonly to: number
  /** Batch bytes below it. */
  readonly bytes: number
  /** Records without value below it. */
  readonly tombstones: number
  /** Tombstones below this offset may go once `delete.retention.ms` have passed since `horizonTime` (log time). */
  readonly horizon: number
  readonly horizonTime: number
}

export interface PartitionState {
  readonly topicId: number
  readonly partition: number
  /** First readable offset. */
  start: number
  /** Offset of the next record. */
  next: number
  /** Stored batch bytes between start and next. */
  bytes: number
  maxTimestamp: number
  /** No batch at or past this offset was ever put elsewhere: from here on places rise with offsets, but for what was held back. */
  movedTo: number
  compaction: CompactionState
  /** Effect LSN of the last rise of `start`; 0: it never rose. */
  trimmedAt: number
  /** Index entries that the store does not have yet. */
  recent: IndexEntry[]
  /** By base offset: what holds in place of an entry in `recent` or the store; undefined: it is gone. */
  readonly changed: Map<number, IndexEntry | undefined>
}

/** How many partitions a topic has from a position of the log on. */
export interface PartitionEpoch {
  readonly partitions: number
  /** Effect LSN of the change: what took effect below it belongs to earlier epochs. */
  readonly lsn: number
  /** Next offset of each partition that there was before, at the change. */
  readonly ends: readonly number[]
}

/** By which restore a topic was made. Until it is done nobody finds the topic by its name. */
export interface TopicRestore {
  readonly id: string
  /** Number of the topic in the archive. */
  readonly index: number
  readonly done: boolean
  /** Start and end that each partition is to have, u64 each; empty once it is done. */
  readonly ranges: Uint8Array
}

export interface TopicState {
  readonly id: number
  readonly name: string
  /** Only ever grows. */
  partitions: readonly PartitionState[]
  /** Oldest first, the creation included; the last one holds now. */
  epochs: readonly PartitionEpoch[]
  config: Readonly<Record<string, string>>
  /** Log time, ms. */
  readonly createdAt: number
  /** Undefined: made by no restore. */
  restore?: TopicRestore
}

/** Whether the topic is being restored: it takes batches of the restore and is not to be seen by anybody. */
export function isHidden({ restore }: TopicState): boolean {
  return restore !== undefined && !restore.done
}

/** What a topic that is being restored is to become. */
export interface HiddenTopic {
  readonly restore: string
  readonly index: number
  readonly topic: string
  readonly config: Readonly<Record<string, string>>
  readonly epochs: readonly (readonly [partitions: number, ends: readonly number[]])[]
  readonly ranges: Uint8Array
}

/** Index entries read from the store at once. */
const pageSize = 64

export class Topics {
  readonly byId = new Map<number, TopicState>()
  /** Without those that are hidden. */
  readonly byName = new Map<string, TopicState>()
  /** Topics that are being restored, by the names that they will have. */
  readonly hidden = new Map<string, TopicState>()
  /** Topics that restores have made, by the restore and by their number in the archive. */
  readonly restores = new Map<string, Map<number, TopicState>>()
  nextTopicId = 1
  partitionCount = 0
  /** Bytes of batches given up since the process began. */
  dropped = 0
  /** Bytes of all batches that there are. */
  bytes = 0
  readonly places: Places
  private readonly dirtyTopics = new Set<number>()
  private readonly dirtyPartitions = new Set<PartitionState>()
  private deletions: StoreOp[] = []
  private readonly store: StateStore

  constructor(store: StateStore) {
    this.store = store
    this.places = new Places(store)
  }

  load(): void {
    for (const [, value] of this.store.range(prefixRange(2))) {
      const row = unpackOwn(value)
      const id = row.id as number
      const partitions = Array.from({ length: row.partitions as number }, (_, p) =>
        newPartition(id, p),
      )
      this.add({
        id,
        name: row.name as string,
        partitions,
        // Not in states from before partitions could be added: since when is not known there.
        epochs: decodeEpochs(row.e as EpochRow[] | undefined) ?? [
          { partitions: partitions.length, lsn: 0, ends: [] },
        ],
        config: row.config as Record<string, string>,
        createdAt: row.createdAt as number,
        ...(row.r === undefined ? {} : { restore: decodeRestore(row.r as RestoreRow) }),
      })
    }
    for (const [, value] of this.store.range(prefixRange(3))) {
      const row = unpackOwn(value)
      const partition = this.partition(row.t as number, row.p as number)
      if (partition === undefined) continue
      partition.start = row.s as number
      partition.next = row.n as number
      partition.bytes = row.b as number
      partition.maxTimestamp = row.m as number
      partition.movedTo = (row.v as number | undefined) ?? 0
      const c = row.c as [number, number, number, number, number] | undefined
      if (c !== undefined) {
        const [to, bytes, tombstones, horizon, horizonTime] = c
        partition.compaction = { to, bytes, tombstones, horizon, horizonTime }
      }
      this.bytes += partition.bytes
      // A state from before this was kept knows that something went, and not when: as if just now.
      const unknown = partition.start > 0 ? Number.MAX_SAFE_INTEGER : 0
      partition.trimmedAt = (row.l as number | undefined) ?? unknown
    }
  }

  partition(topicId: number, partition: number): PartitionState | undefined {
    return this.byId.get(topicId)?.partitions[partition]
  }

  create(
    name: string,
    partitions: number,
    config: Readonly<Record<string, string>>,
    createdAt: number,
    lsn: number,
  ): TopicState {
    const id = this.nextTopicId++
    const topic: TopicState = {
      id,
      name,
      partitions: Array.from({ length: partitions }, (_, p) => newPartition(id, p)),
      epochs: [{ partitions, lsn, ends: [] }],
      config,
      createdAt,
    }
    this.add(topic)
    this.dirtyTopics.add(id)
    for (const partition of topic.partitions) this.dirtyPartitions.add(partition)
    return topic
  }

  /** A topic that has no name yet, `lsn` as for {@link create}. */
  createHidden(made: HiddenTopic, createdAt: number, lsn: number): TopicState {
    const { restore: id, index, ranges, topic: name, config } = made
    const topicId = this.nextTopicId++
    const count = made.epochs.at(-1)?.[0] ?? 0
    const topic: TopicState = {
      id: topicId,
      name,
      partitions: Array.from({ length: count }, (_, p) => newPartition(topicId, p)),
      epochs: made.epochs.map(([partitions, ends]) => ({ partitions, lsn, ends })),
      config,
      createdAt,
      restore: { id, index, done: false, ranges: ranges.slice() },
    }
    this.add(topic)
    this.dirtyTopics.add(topicId)
    for (const partition of topic.partitions) this.dirtyPartitions.add(partition)
    return topic
  }

  /** The restore of the topic is done: it has its name, and its partitions their ranges. `lsn` is the effect LSN: before it the topic was not there. */
  reveal(
    topic: TopicState,
    rangeOf: (partition: number) => { readonly start: number; readonly end: number },
    lsn: number,
  ): void {
    for (const partition of topic.partitions) {
      const { start, end } = rangeOf(partition.partition)
      partition.next = end
      this.trim(partition, start, lsn)
      this.dirtyPartitions.add(partition)
    }
    const { id, index } = topic.restore as TopicRestore
    topic.restore = { id, index, done: true, ranges: new Uint8Array() }
    topic.epochs = topic.epochs.map(epoch => ({ ...epoch, lsn }))
    this.hidden.delete(topic.name)
    this.byName.set(topic.name, topic)
    this.dirtyTopics.add(topic.id)
  }

  delete(topic: TopicState): void {
    const { restore } = topic
    this.byId.delete(topic.id)
    ;(isHidden(topic) ? this.hidden : this.byName).delete(topic.name)
    if (restore !== undefined) {
      const made = this.restores.get(restore.id)
      if (made?.get(restore.index) === topic) made.delete(restore.index)
      if (made?.size === 0) this.restores.delete(restore.id)
    }
    this.partitionCount -= topic.partitions.length
    this.dirtyTopics.delete(topic.id)
    this.deletions.push({ type: 'delete', key: topicKey(topic.id) })
    for (const partition of topic.partitions) {
      this.dirtyPartitions.delete(partition)
      this.dropped += partition.bytes
      this.bytes -= partition.bytes
      this.deletions.push({ type: 'delete', key: partitionKey(topic.id, partition.partition) })
      this.deleteIndex(partition, Number.MAX_SAFE_INTEGER)
    }
  }

  /** Begins a new epoch, of `partitions` in all. */
  addPartitions(topic: TopicState, partitions: number, lsn: number): void {
    const before = topic.partitions
    const added = Array.from({ length: partitions - before.length }, (_, i) =>
      newPartition(topic.id, before.length + i),
    )
    topic.partitions = [...before, ...added]
    topic.epochs = [...topic.epochs, { partitions, lsn, ends: before.map(p => p.next) }]
    this.partitionCount += added.length
    this.dirtyTopics.add(topic.id)
    for (const partition of added) this.dirtyPartitions.add(partition)
  }

  configure(topic: TopicState, config: Readonly<Record<string, string>>): void {
    topic.config = config
    this.dirtyTopics.add(topic.id)
  }

  /** Adds a batch at the partition's end. */
  append(partition: PartitionState, entry: IndexEntry): void {
    partition.recent.push(entry)
    partition.next = entry.base + entry.span
    partition.bytes += entry.length
    this.bytes += entry.length
    this.put(partition, entry)
    partition.maxTimestamp = entry.maxTimestamp
    this.dirtyPartitions.add(partition)
  }

  /** Drops the index entries that lie wholly below `offset` and raises the start to it. `lsn`: effect LSN of what says so. */
  trim(partition: PartitionState, offset: number, lsn: number): void {
    if (offset <= partition.start) return
    const { compaction } = partition
    partition.trimmedAt = lsn
    let dropped = 0
    let compactedBytes = compaction.bytes
    for (const entry of this.entriesFrom(partition, partition.start)) {
      if (entry.base + entry.span > offset) break
      dropped += entry.length
      if (entry.base < compaction.to) compactedBytes -= entry.length
    }
    partition.start = offset
    partition.compaction = {
      ...compaction,
      to: Math.max(compaction.to, offset),
      bytes: offset < compaction.to ? Math.max(0, compactedBytes) : 0,
    }
    this.forget(partition, dropped)
    partition.recent = partition.recent.filter(entry => entry.base + entry.span > offset)
    this.deleteIndex(partition, offset)
  }

  /** The entry that begins at `base`, if it is still there. */
  at(partition: PartitionState, base: number): IndexEntry | undefined {
    const { changed, recent, start, topicId, partition: p } = partition
    let entry: IndexEntry | undefined
    if (changed.has(base)) entry = changed.get(base)
    else if (recent[0] !== undefined && base >= recent[0].base) {
      const found = recent[above(recent, base) - 1]
      entry = found?.base === base ? found : undefined
    } else {
      const key = batchKey(topicId, p, base)
      const value = this.store.get(key)
      entry = value === undefined ? undefined : decodeIndexEntry(key, value)
    }
    // What was trimmed may still be in the store until the next commit.
    return entry !== undefined && entry.base + entry.span > start ? entry : undefined
  }

  /** Puts `now`, of the same offsets, in place of an entry that there is; undefined removes it. */
  replace(partition: PartitionState, entry: IndexEntry, now: IndexEntry | undefined): void {
    const { compaction } = partition
    const gone = entry.length - (now?.length ?? 0)
    partition.changed.set(entry.base, now)
    if (entry.base < compaction.to)
      partition.compaction = { ...compaction, bytes: Math.max(0, compaction.bytes - gone) }
    this.forget(partition, gone)
    partition.movedTo = Math.max(partition.movedTo, entry.base + entry.span)
    if (now !== undefined) this.put(partition, now)
  }

  setCompaction(partition: PartitionState, compaction: CompactionState): void {
    partition.compaction = compaction
    this.dirtyPartitions.add(partition)
  }

  /** Writes down the places of all batches, for a state of before this was done. */
  placeAll(): void {
    for (const topic of this.byId.values())
      for (const partition of topic.partitions)
        for (const entry of this.entriesFrom(partition, partition.start)) this.put(partition, entry)
  }

  private put({ topicId, partition }: PartitionState, entry: IndexEntry): void {
    const { lsn, start, base, length } = entry
    if (length > 0) this.places.add({ lsn, start, topicId, partition, base })
  }

  private forget(partition: PartitionState, bytes: number): void {
    partition.bytes -= bytes
    this.bytes -= bytes
    this.dropped += bytes
    this.dirtyPartitions.add(partition)
  }

  /** The entry that covers `offset`, or the last one below a hole that covers it. */
  floor(partition: PartitionState, offset: number): IndexEntry | undefined {
    const { changed, recent, topicId, partition: p } = partition
    for (let i = above(recent, offset) - 1; i >= 0; i--) {
      const entry = current(changed, recent[i] as IndexEntry)
      if (entry !== undefined) return entry
    }
    const low = batchKey(topicId, p, 0)
    let high = Math.min(offset, (recent[0]?.base ?? Number.MAX_SAFE_INTEGER) - 1)
    for (let limit = 1; high >= 0; limit = pageSize) {
      const page = this.store.range({
        low,
        high: batchKey(topicId, p, high),
        reverse: true,
        limit,
      })
      for (const [key, value] of page) {
        const found = decodeIndexEntry(key, value)
        const entry = current(changed, found)
        if (entry !== undefined) return entry
        high = found.base - 1
      }
      if (page.length < limit) break
    }
    return undefined
  }

  /** Index entries in offset order, from the one that covers `from`. Pages through the store. */
  *entriesFrom(partition: PartitionState, from: number): Generator<IndexEntry> {
    const { changed, topicId, partition: p } = partition
    let at = this.floor(partition, from)?.base ?? from
    for (;;) {
      const stop = partition.recent[0]?.base ?? Number.MAX_SAFE_INTEGER
      if (at >= stop) break
      const page = this.store.range({
        low: batchKey(topicId, p, at),
        high: batchKey(topicId, p, stop - 1),
        limit: pageSize,
      })
      for (const [key, value] of page) {
        const found = decodeIndexEntry(key, value)
        at = found.base + found.span
        const entry = current(changed, found)
        // What was trimmed may still be in the store until the next commit.
        if (at > from && entry !== undefined) yield entry
      }
      if (page.length < pageSize) break
    }
    // `recent` may be shortened by a commit while the generator is suspended; what went is in the store already.
    for (const found of partition.recent.slice(above(partition.recent, at - 1))) {
      const entry = current(changed, found)
      if (entry !== undefined && entry.base + entry.span > from) yield entry
    }
  }

  /** What the store must be told, and what to forget once it knows. */
  takeChanges(ops: StoreOp[]): () => void {
    ops.push(...this.deletions)
    this.deletions = []
    for (const id of this.dirtyTopics) {
      const topic = this.byId.get(id)
      if (topic !== undefined)
        ops.push({ type: 'put', key: topicKey(id), value: encodeTopic(topic) })
    }
    this.dirtyTopics.clear()
    const flushed: { partition: PartitionState; last: number }[] = []
    const changes: [PartitionState, ReadonlyMap<number, IndexEntry | undefined>][] = []
    const placesDone = this.places.takeChanges(ops)
    for (const partition of this.dirtyPartitions) {
      const { topicId, partition: p, recent } = partition
      ops.push({ type: 'put', key: partitionKey(topicId, p), value: encodePartition(partition) })
      for (const entry of recent)
        ops.push({
          type: 'put',
          key: batchKey(topicId, p, entry.base),
          value: encodeIndexEntry(entry),
        })
      const last = recent.at(-1)
      if (last !== undefined) flushed.push({ partition, last: last.base })
      if (partition.changed.size === 0) continue
      changes.push([partition, new Map(partition.changed)])
      for (const [base, entry] of partition.changed) {
        const key = batchKey(topicId, p, base)
        if (entry === undefined) ops.push({ type: 'delete', key })
        else ops.push({ type: 'put', key, value: encodeIndexEntry(entry) })
      }
    }
    this.dirtyPartitions.clear()
    return () => {
      placesDone()
      for (const { partition, last } of flushed)
        partition.recent = partition.recent.slice(above(partition.recent, last))
      for (const [{ changed }, stored] of changes)
        for (const [base, entry] of stored) if (changed.get(base) === entry) changed.delete(base)
    }
  }

  private add(topic: TopicState): void {
    this.byId.set(topic.id, topic)
    ;(isHidden(topic) ? this.hidden : this.byName).set(topic.name, topic)
    if (topic.restore !== undefined) {
      const { id, index } = topic.restore
      const made = this.restores.get(id)
      if (made === undefined) this.restores.set(id, new Map([[index, topic]]))
      else made.set(index, topic)
    }
    this.partitionCount += topic.partitions.length
  }

  private deleteIndex(partition: PartitionState, below: number): void {
    const { topicId, partition: p } = partition
    const covering = below === Number.MAX_SAFE_INTEGER ? undefined : this.floor(partition, below)
    // The entry that covers the new start stays: its upper part is still readable.
    const high =
      (covering !== undefined && covering.base < below && covering.base + covering.span > below
        ? covering.base
        : below) - 1
    if (high < 0) return
    for (const base of partition.changed.keys()) if (base <= high) partition.changed.delete(base)
    this.deletions.push({
      type: 'deleteRange',
      low: batchKey(topicId, p, 0),
      high: batchKey(topicId, p, high),
    })
  }
}

/** What holds of an entry as it was found. */
function current(
  changed: ReadonlyMap<number, IndexEntry | undefined>,
  found: IndexEntry,
): IndexEntry | undefined {
  return changed.size > 0 && changed.has(found.base) ? changed.get(found.base) : found
}

/** Index of the first entry whose base is above `offset`. */
function above(entries: readonly IndexEntry[], offset: number): number {
  return upperBound(entries, offset, entry => entry.base)
}

function newPartition(topicId: number, partition: number): PartitionState {
  return {
    topicId,
    partition,
    start: 0,
    next: 0,
    bytes: 0,
    maxTimestamp: 0,
    movedTo: 0,
    trimmedAt: 0,
    compaction: { to: 0, bytes: 0, tombstones: 0, horizon: 0, horizonTime: 0 },
    recent: [],
    changed: new Map(),
  }
}

function encodeTopic(topic: TopicState): Uint8Array {
  const { id, name, config, createdAt, epochs } = topic
  const e = epochs.map(({ partitions, lsn, ends }): EpochRow => [partitions, lsn, [...ends]])
  const r = topic.restore === undefined ? {} : { r: encodeRestore(topic.restore) }
  return packFrame({ id, name, partitions: topic.partitions.length, config, createdAt, e, ...r })
}

type RestoreRow = [id: string, index: number, done: boolean, ranges: Uint8Array]

function encodeRestore({ id, index, done, ranges }: TopicRestore): RestoreRow {
  return [id, index, done, ranges]
}

function decodeRestore([id, index, done, ranges]: RestoreRow): TopicRestore {
  return { id, index, done, ranges: ranges.slice() }
}

type EpochRow = [partitions: number, lsn: number, ends: number[]]

function decodeEpochs(rows: readonly EpochRow[] | undefined): PartitionEpoch[] | undefined {
  return rows?.map(([partitions, lsn, ends]) => ({ partitions, lsn, ends }))
}

function encodePartition(p: PartitionState): Uint8Array {
  const { to, bytes, tombstones, horizon, horizonTime } = p.compaction
  return packFrame({
    t: p.topicId,
    p: p.partition,
    s: p.start,
    n: p.next,
    b: p.bytes,
    m: p.maxTimestamp,
    v: p.movedTo,
    c: [to, bytes, tombstones, horizon, horizonTime],
    l: p.trimmedAt,
  })
}

const indexEntryBytes = 52

/** 0 u64 lsn  8 u32 start  12 u32 length  16 u32 count  20 u64 span  28 u64 effect LSN  36 u64 timestamp  44 u64 max timestamp */
function encodeIndexEntry(entry: IndexEntry): Uint8Array {
  const bytes = new Uint8Array(indexEntryBytes)
  const view = new DataView(bytes.buffer)
  setU64(view, 0, entry.lsn)
  view.setUint32(8, entry.start)
  view.setUint32(12, entry.length)
  view.setUint32(16, entry.count)
  setU64(view, 20, entry.span)
  setU64(view, 28, entry.effectLsn)
  setU64(view, 36, entry.timestamp)
  setU64(view, 44, entry.maxTimestamp)
  return bytes
}

function decodeIndexEntry(key: Uint8Array, value: Uint8Array): IndexEntry {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  return {
    base: baseOfKey(key),
    lsn: getU64(view, 0),
    start: view.getUint32(8),
    length: view.getUint32(12),
    count: view.getUint32(16),
    span: getU64(view, 20),
    effectLsn: getU64(view, 28),
    timestamp: getU64(view, 36),
    maxTimestamp: getU64(view, 44),
  }
}
