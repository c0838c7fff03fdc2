// What the core of a broker is made of and told: its ports, its bounds, who observes it, and how it says that it is well.

import type { Clock, Disk, Random } from '../loglets/ports.ts'
import type { VirtualLog } from '../loglets/virtual-log/virtual-log.ts'
import type { Finding } from './health.ts'
import type { StateStore } from './state/store.ts'

/** Bounds of the core; docs/limits.md lists them with what happens when they are reached. */
export interface BrokerSettings {
  readonly appendsInFlightMax: number
  readonly entryBytesMax: number
  readonly tailCacheBytes: number
  readonly backlogBytesMax: number
  readonly stateCommitIntervalMs: number
  /** Producers idle for this long are forgotten. */
  readonly producerIdExpirationMs: number
  /** A wall clock that moves further than this against the monotonic one is not believed. */
  readonly clockJumpMaxMs: number
  /** Retention of topics that say nothing themselves; -1 keeps for ever. */
  readonly logRetentionMs: number
  readonly logRetentionBytes: number
  readonly retentionCheckIntervalMs: number
  /** Consumer groups without members or commits for this long are forgotten. */
  readonly offsetsRetentionMs: number
  readonly groupSweepIntervalMs: number
  /** Bytes that have to be dead before the log's beginning is trimmed for them, and that the log may have beyond its target. */
  readonly reclaimBytesMin: number
  /** Target of the log's bytes, in percent of those that live in it. */
  readonly logSizeTargetPercent: number
  /** How fast cleaning reads and moves. */
  readonly logCleanerIoMaxBytesPerSecond: number
  /** How often partitions to compact are looked for. */
  readonly logCleanerBackoffMs: number
  /** Memory for the keys of the partition that is being compacted. */
  readonly logCleanerDedupeBufferSize: number
  /** The newest bytes of a partition, which compaction leaves alone. */
  readonly logCleanerTailBytes: number
  /** Where sealed segments of a volatile loglet are copied; undefined keeps them (a broker without a data directory). */
  readonly durableSpec?: string
  /** Other brokers append to the same log: follow its tail, show signs of life, compare states. */
  readonly shared: boolean
  /** How often an idle broker of a shared log shows that it lives. */
  readonly stampEveryMs: number
  /** A broker of a shared log that shows no sign of life for this long is expired. */
  readonly sessionTimeoutMs: number
}

export const defaultBrokerSettings: BrokerSettings = {
  appendsInFlightMax: 8,
  entryBytesMax: 1 << 20,
  tailCacheBytes: 64 << 20,
  backlogBytesMax: 64 << 20,
  stateCommitIntervalMs: 1000,
  producerIdExpirationMs: 86_400_000,
  clockJumpMaxMs: 10 * 60_000,
  logRetentionMs: 7 * 86_400_000,
  logRetentionBytes: -1,
  retentionCheckIntervalMs: 30_000,
  offsetsRetentionMs: 7 * 86_400_000,
  groupSweepIntervalMs: 1000,
  reclaimBytesMin: 64 << 20,
  logSizeTargetPercent: 200,
  logCleanerIoMaxBytesPerSecond: 64 << 20,
  logCleanerBackoffMs: 15_000,
  logCleanerDedupeBufferSize: 128 << 20,
  logCleanerTailBytes: 1 << 20,
  shared: false,
  stampEveryMs: 2000,
  sessionTimeoutMs: 15_000,
}

/** What metrics and logs may want to know. Called on hot paths: implementations only count. */
export interface BrokerObserver {
  /** An append was acked by the loglet of a segment with this spec. */
  appended?(spec: string, bytes: number, records: number, ms: number): void
  /** Of a produce or publish: from the proposal to its entry, of that entry's append, and from the append to its effect here. */
  produced?(stage: 'queue' | 'append' | 'apply', ms: number): void
}

export interface BrokerLogger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export interface BrokerOptions {
  readonly disk: Disk
  readonly clock: Clock
  readonly random: Random
  /** Runs a function after the events of this turn; `setImmediate` in production. */
  readonly defer: (fn: () => void) => void
  readonly log: VirtualLog
  readonly store: StateStore
  readonly checkpointsDir: string
  /** Of a shared log: checkpoints on the other brokers' nodes. */
  readonly checkpoints?: RemoteCheckpoints
  readonly nodeId: string
  readonly settings?: Partial<BrokerSettings>
  readonly observe?: BrokerObserver
  /** What `health` is to tell of what lies around the broker: its disk, its cluster. */
  readonly findings?: () => readonly Finding[]
  /** Bytes that the disk below the log still takes; undefined when nobody knows. */
  readonly freeBytes?: () => number | undefined
  readonly onFatal: (error: Error) => void
  readonly logger?: BrokerLogger
}

/** What other nodes do for the state that only checkpoints still hold. */
export interface RemoteCheckpoints {
  /** Brings a checkpoint at or past the position into this node's directory, if another has one. */
  fetch(past: number): Promise<number | undefined>
  /** Resolves once enough other nodes have one. @throws THROTTLED */
  spread(past: number): Promise<void>
  /** Lets other nodes ask for one of this node. */
  offer(make: (past: number) => Promise<number>, applied: () => number): void
  /** Has another node whose state is at or past `past` make a checkpoint, and resolves with its position; undefined when there is none. */
  ahead(past: number): Promise<number | undefined>
}
