// What operators see of consumer groups (protocol.md 10.4).

import type { OffsetSpec } from './admin.ts'
import type { Offset } from './positions.ts'

export interface GroupListing {
  readonly group: string
  readonly state: 'stable' | 'rebalancing' | 'empty'
  readonly members: number
  readonly assignor: string
  readonly generation: number
  /** Offsets between the committed ones and the ends, of all partitions together. */
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
  readonly state: 'stable' | 'rebalancing' | 'empty'
  readonly assignor: string
  readonly generation: number
  readonly members: readonly GroupMemberDescription[]
  readonly partitions: readonly GroupPartition[]
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
