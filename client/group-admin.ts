// What operators see of consumer groups (protocol.md 10.4).

import type { OffsetSpec } from './admin.ts'
import type { Offset } from './positions.ts'

export interface GroupListing {
  readonly group: string
  /** A share group is a queue, see {@link Client.queue}. */
  readonly type: 'consumer' | 'share'
  readonly state: 'stable' | 'rebalancing' | 'empty'
  /** Of a share group: those that hold records. */
  readonly members: number
  /** Of a consumer group. */
  readonly assignor?: string
  readonly generation?: number
  /** Offsets between the committed ones and the ends, or records that are not finished, of all partitions together. */
  readonly lag: number
}

export interface GroupMemberDescription {
  readonly memberId: string
  readonly groupInstanceId: string | null
  /** A broker holds its connection; else its session timeout runs. */
  readonly attached: boolean
  /** Of the broker that holds its connection. */
  readonly node: string | null
  readonly topics: readonly string[]
  readonly pattern: string | null
  readonly partitions: number
}

export interface GroupPartition {
  readonly topic: string
  readonly partition: number
  /** Committed; null as long as nothing was. */
  readonly offset: Offset | null
  readonly startOffset: Offset
  readonly endOffset: Offset
  readonly lag: number | null
  /** Age of the first record that was not committed, by its append time, ms. */
  readonly lagMs: number | null
  readonly memberId: string | null
  /** Asked back from the member. */
  readonly revoking: boolean
  /** Milliseconds since 1970. */
  readonly committedAt: number | null
}

export interface GroupDescription {
  readonly group: string
  readonly type: 'consumer'
  readonly state: 'stable' | 'rebalancing' | 'empty'
  readonly assignor: string
  readonly generation: number
  readonly members: readonly GroupMemberDescription[]
  readonly partitions: readonly GroupPartition[]
}

/** One partition of a share group. */
export interface SharePartitionDescription {
  readonly topic: string
  readonly partition: number
  /** Everything below is finished. */
  readonly startOffset: Offset
  /** The first that was never delivered. */
  readonly nextOffset: Offset
  readonly endOffset: Offset
  /** Records that members hold now. */
  readonly held: number
  /** Records that were given back and wait to be delivered again. */
  readonly waiting: number
  /** Records that are not finished. */
  readonly lag: number
  readonly delivered: number
  /** Of these: not for the first time. */
  readonly redelivered: number
  readonly acknowledged: number
  /** Given up. */
  readonly archived: number
}

export interface ShareGroupDescription {
  readonly group: string
  readonly type: 'share'
  readonly state: 'stable' | 'empty'
  readonly deliveryCountLimit: number
  /** What is given up is delivered on until a member has written it elsewhere. */
  readonly keepsDead: boolean
  /** Those that hold records. */
  readonly members: readonly { readonly memberId: string; readonly records: number }[]
  readonly partitions: readonly SharePartitionDescription[]
}

export interface CommittedOffset {
  readonly topic: string
  readonly partition: number
  readonly offset: Offset
  readonly metadata: string
  /** Milliseconds since 1970. */
  readonly committedAt: number
}

export interface ResetOffsetsOptions {
  /** Where to: as where a read begins, or so many records from where each partition is. */
  readonly to: OffsetSpec | { readonly shift: number }
  /** All their partitions; default: those that have an offset. */
  readonly topics?: readonly string[]
  /** Only tell what would be done. */
  readonly dryRun?: boolean
}

export interface OffsetReset {
  readonly topic: string
  readonly partition: number
  readonly from: Offset | null
  readonly to: Offset
}
