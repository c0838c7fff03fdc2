// Commands: what an entry of the log asks the state machine to do, and the decisions it gives back (DESIGN 5.1, 5.3).
//
// A command names topics by id, never by name, except where the name is the subject (createTopic). A decision is a value, not an
// exception: it is recorded, hashed and repeated to duplicates, so every replica must compute the same one.

import type { BatchHeader } from '../../wire/batch.ts'
import type { ErrorCode } from '../../wire/errors.ts'
import type { GroupCommand, GroupCommit } from './groups/commands.ts'
import type { SecurityCommand } from './security/commands.ts'
import type { SnapshotCommand } from './restore/commands.ts'
import type { ShareAck, ShareCommand } from './share/commands.ts'

/** Identity of a request on its producer's command lane (protocol.md 5). */
export interface ProducerIdentity {
  readonly id: number
  readonly epoch: number
  readonly sequence: number
}

export interface PartitionBatch {
  readonly topicId: number
  readonly partition: number
  /** The whole batch, header included, as the producer made it; checked before it was proposed. */
  readonly batch: Uint8Array
  readonly header: BatchHeader
}

/** A batch at its new place: the same bytes, or what compaction left of it. */
export interface Move {
  readonly topicId: number
  readonly partition: number
  /** Base offset of the batch; with the place it says which batch is meant. */
  readonly base: number
  /** Where it is expected to lie: entry, and byte in it. */
  readonly lsn: number
  readonly start: number
  /** Empty: nothing of the batch is left. */
  readonly batch: Uint8Array
  /** Of the batch; absent when that is empty. */
  readonly header?: BatchHeader
}

/** A pass of key compaction is through: of each key below `to` only the last record there is left. */
export interface Compacted {
  readonly type: 'compacted'
  readonly topicId: number
  readonly partition: number
  /** How far the partition was compacted before the pass; no effect if that has changed. */
  readonly from: number
  readonly to: number
  /** Batch bytes below `to` now. */
  readonly bytes: number
  /** Records without value below `to` now. */
  readonly tombstones: number
  /** The pass removed the tombstones that had been kept for long enough: the time of those that are left begins. */
  readonly swept: boolean
}

export interface Expectation {
  readonly topicId: number
  readonly partition: number
  readonly offset: number
}

/** Somebody chose partitions of the topic out of so many. */
export type PartitionMap = readonly [topicId: number, partitions: number]

export type Command =
  | ({
      readonly type: 'produce'
      readonly expect?: number
      /** Out of how many the partition was chosen: it takes effect only while the topic has just so many. */
      readonly partitions?: number
    } & PartitionBatch)
  | {
      readonly type: 'publish'
      readonly producer?: ProducerIdentity
      readonly batches: readonly PartitionBatch[]
      readonly expect: readonly Expectation[]
      /** As `partitions` of a produce, for each topic of which a partition was chosen. */
      readonly maps?: readonly PartitionMap[]
      /** Offsets that were consumed to make the batches: taken with them or not at all. */
      readonly commit?: GroupCommit
      /** Records of a share group that were worked on to make the batches: acknowledged with them or not at all. */
      readonly ack?: ShareAck
    }
  | {
      readonly type: 'createTopic'
      readonly producer?: ProducerIdentity
      readonly topic: string
      readonly partitions: number
      readonly config: Readonly<Record<string, string>>
      readonly ifNotExists: boolean
    }
  | { readonly type: 'deleteTopic'; readonly producer?: ProducerIdentity; readonly topicId: number }
  | {
      readonly type: 'alterTopic'
      readonly producer?: ProducerIdentity
      readonly topicId: number
      readonly config: Readonly<Record<string, string>>
    }
  /** More partitions for a topic in use, `partitions` in all; `config` as for alterTopic. */
  | {
      readonly type: 'addPartitions'
      readonly producer?: ProducerIdentity
      readonly topicId: number
      readonly partitions: number
      readonly config: Readonly<Record<string, string>>
    }
  | {
      readonly type: 'initProducer'
      readonly producerId?: number
      readonly producerEpoch?: number
      /** Whoever comes with it gets the same producer id with a higher epoch, which fences all before. */
      readonly transactionalId?: string
      /** Whose the producer is from now on, if it is nobody's yet; absent while authentication is off. */
      readonly owner?: string
    }
  | { readonly type: 'expireProducers'; readonly ids: readonly number[]; readonly idleMs: number }
  /** `clean`: nothing that lives lies below; only what is remembered of these places is forgotten. */
  | { readonly type: 'trim'; readonly before: number; readonly clean?: boolean }
  /** Batches that lie elsewhere from now on, each only if it still lies where it is expected. */
  | { readonly type: 'relocate'; readonly moves: readonly Move[] }
  | Compacted
  /** Kafka's DeleteRecords: what lies below the offset is given up. */
  | {
      readonly type: 'deleteRecords'
      readonly topicId: number
      readonly partition: number
      readonly before: number
    }
  /** Drops what retention does not keep; `ms` and `bytes` hold for topics that say nothing themselves. */
  | {
      readonly type: 'retain'
      readonly partitions: readonly (readonly [topicId: number, partition: number])[]
      readonly ms: number
      readonly bytes: number
    }
  | GroupCommand
  | ShareCommand
  | SecurityCommand
  | SnapshotCommand
  /** `level`: which commands the broker reads, see feature-level.ts. */
  | {
      readonly type: 'open'
      readonly node: string
      readonly incarnation: string
      readonly level?: number
    }
  | { readonly type: 'expire'; readonly session: number; readonly next: number }
  /** `note`: the proposer's hash at an earlier position, for the others to compare. `level` as in `open`. */
  | {
      readonly type: 'stamp'
      readonly note?: { readonly at: number; readonly hash: string }
      readonly level?: number
    }
  | { readonly type: 'void' }

export type CommandType = Command['type']

export interface PartitionOffset {
  readonly topicId: number
  readonly partition: number
  readonly offset: number
}

/** What the state machine made of a command. `lsn` is the effect LSN, `timestamp` the log time in ms. */
export type Decision =
  | {
      readonly ok: true
      readonly lsn: number
      readonly timestamp: number
      /** produce, publish: base offset of each batch, in the command's order. */
      readonly offsets?: readonly PartitionOffset[]
      /** createTopic, initProducer: the values of the reply. */
      readonly result?: Readonly<Record<string, unknown>>
      /** True when this repeats an earlier decision. */
      readonly duplicate?: true
    }
  | {
      readonly ok: false
      readonly code: ErrorCode
      readonly message: string
      readonly details: Readonly<Record<string, unknown>>
      /** True when the refusal was recorded and consumed the sequence; false when nothing was decided. */
      readonly decided: boolean
    }

/** The entry header that SessionOrder reads: see broker/engine/entry.ts for the bytes. */
export interface EntryHeader {
  /** LSN of the session's `open` entry; -1 for the entry that opens one. */
  readonly session: number
  /** Sequence of this entry in its session, from 0. */
  readonly sequence: number
  /** Wall-clock milliseconds of the proposer. */
  readonly stamp: number
}

/** A command inside an entry: where each of its batches lies, in bytes from the entry's start. */
export interface LocatedCommand {
  readonly command: Command
  /** Byte offset of each batch of the command in the entry; empty for commands without batches. */
  readonly batchStarts: readonly number[]
}

export interface ParsedEntry {
  readonly header: EntryHeader
  /** Of the whole entry, as it lies in the log. */
  readonly bytes: number
  readonly commands: readonly LocatedCommand[]
}
