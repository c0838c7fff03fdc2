// What an entry of the log can ask for snapshots and restores (docs/adr/0007-snapshots.md). Topics of an archive go by their number in it, `index`: their
// ids are this cluster's, and their names may be others.

import type { BatchHeader } from '../../../wire/batch.ts'
import type { AclBinding } from '../../security/acl.ts'
import type { ApiKey } from '../../security/api-key.ts'
import type { Quota } from '../../security/quota.ts'
import type { Assignor } from '../groups/group.ts'

/** A batch at the offsets and with the append time that it had. */
export interface RestoredBatch {
  readonly offset: number
  /** Offset after its last one. */
  readonly next: number
  /** Log append time, ms. */
  readonly timestamp: number
  /** Empty: a range of offsets that was lost. */
  readonly batch: Uint8Array
  /** Absent when the batch is empty. */
  readonly header?: BatchHeader
}

export interface RestoredGroup {
  readonly group: string
  readonly assignor: Assignor
  readonly offsets: readonly (readonly [
    index: number,
    partition: number,
    offset: number,
    metadata: string,
    committedAt: number,
  ])[]
}

export interface RestoredShareGroup {
  readonly group: string
  readonly deliveryCountLimit: number
  readonly keepsDead: boolean
  readonly topics: readonly number[]
  readonly partitions: readonly RestoredSharePartition[]
}

export type RestoredSharePartition = readonly [
  index: number,
  partition: number,
  /** First offset that was never delivered. */
  end: number,
  counters: readonly [
    delivered: number,
    redelivered: number,
    acknowledged: number,
    archived: number,
  ],
  /** Not finished; nobody holds them any more. */
  records: readonly (readonly [offset: number, count: number])[],
]

/** The owner of a transactional id. */
export interface RestoredProducer {
  readonly id: number
  readonly epoch: number
  readonly transactionalId: string
}

/** Rights: of an API key only the hash. */
export type RestoredRight =
  | { readonly kind: 'key'; readonly key: ApiKey }
  | { readonly kind: 'acl'; readonly binding: AclBinding }
  | { readonly kind: 'quota'; readonly principal: string; readonly quota: Quota }

export type SnapshotCommand =
  /** Retention and compaction wait until `ms` from now on, and never longer than `maxMs` after the hold began. */
  | {
      readonly type: 'holdSnapshot'
      readonly hold: string
      readonly ms: number
      readonly maxMs: number
      /** Makes the hold; without it there must be one. */
      readonly begins: boolean
    }
  | { readonly type: 'releaseSnapshot'; readonly hold: string }
  /** A hidden topic. */
  | {
      readonly type: 'restoreTopic'
      readonly restore: string
      readonly index: number
      readonly topic: string
      readonly config: Readonly<Record<string, string>>
      readonly createdAt: number
      readonly epochs: readonly (readonly [partitions: number, ends: readonly number[]])[]
      /** Start and end of each partition, u64 each. */
      readonly ranges: Uint8Array
    }
  /** Batches for a partition of a hidden topic, which has taken everything below `after`. */
  | {
      readonly type: 'restoreBatches'
      readonly topicId: number
      readonly partition: number
      readonly after: number
      readonly items: readonly RestoredBatch[]
    }
  | {
      readonly type: 'restoreState'
      readonly restore: string
      readonly groups?: readonly RestoredGroup[]
      readonly shares?: readonly RestoredShareGroup[]
      readonly producers?: readonly RestoredProducer[]
      readonly rights?: readonly RestoredRight[]
      /** No producer id below is given out any more. */
      readonly nextProducerId?: number
    }
  /** Gives the hidden topics of the restore, `topics` in number, their names. */
  | { readonly type: 'finishRestore'; readonly restore: string; readonly topics: number }
  | { readonly type: 'dropRestore'; readonly restore: string }

export const snapshotCommandTypes = [
  'holdSnapshot',
  'releaseSnapshot',
  'restoreTopic',
  'restoreBatches',
  'restoreState',
  'finishRestore',
  'dropRestore',
] as const satisfies readonly SnapshotCommand['type'][]
