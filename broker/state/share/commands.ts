// What an entry of the log can ask of share groups (KIP-932). A group is named, since the name is what it is; topics go by id.

import type { ProducerIdentity } from '../commands.ts'

/** KIP-932's types of an acknowledgement, and its wire numbers; `gap` says that there is no record at the offset. */
export const ackTypes = { gap: 0, accept: 1, release: 2, reject: 3, renew: 4 } as const
export type AckType = keyof typeof ackTypes

/** Neighbouring offsets. */
export type OffsetRun = readonly [topicId: number, partition: number, first: number, count: number]

/** `ms`: of a release how long the records are to wait, of a renew how long the lock holds from now on. */
export type AckRun = readonly [...OffsetRun, type: number, ms: number]

/** What a member says of records that it holds. */
export interface ShareAck {
  readonly group: string
  readonly memberId: string
  readonly acks: readonly AckRun[]
}

export type ShareCommand =
  /** Makes the group, or has it read more topics. Who comes last has the word about the rest. */
  | {
      readonly type: 'openShareGroup'
      readonly group: string
      readonly topics: readonly number[]
      /** Where it begins in the partitions that these topics have now; in those of later at their beginning. */
      readonly reset: 'earliest' | 'latest'
      readonly deliveryCountLimit: number
      /** What was delivered that often is delivered on, as dead, until a member says what became of it; else it is archived. */
      readonly keepsDead: boolean
    }
  /** Gives a member records out of these partitions, in their order, and locks them. */
  | {
      readonly type: 'acquireRecords'
      readonly group: string
      readonly memberId: string
      readonly partitions: readonly (readonly [topicId: number, partition: number])[]
      readonly maxRecords: number
      /** Of the batches in which they lie; the first one always fits. */
      readonly maxBytes: number
      readonly lockMs: number
    }
  | ({ readonly type: 'acknowledgeRecords'; readonly producer?: ProducerIdentity } & ShareAck)
  /** Gives back whatever the member holds besides these, as if it had never been delivered. */
  | {
      readonly type: 'releaseRecords'
      readonly group: string
      readonly memberId: string
      readonly except: readonly OffsetRun[]
    }
  /** Looks for locks and delays whose time is over, and for groups that nobody has used for `retentionMs`. */
  | {
      readonly type: 'sweepShareGroups'
      readonly groups: readonly string[]
      readonly retentionMs: number
    }
