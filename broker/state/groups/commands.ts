// What an entry of the log can ask of consumer groups. A group is named, since the name is what it is; topics go by id.

import type { ProducerIdentity } from '../commands.ts'
import type { Assignor } from './group.ts'

/** `generation` is that of the claim, as the member was told it; -1 from a committer that is no member. */
export type OffsetCommit = readonly [
  topicId: number,
  partition: number,
  offset: number,
  generation: number,
  metadata: string,
]

export interface GroupCommit {
  readonly group: string
  readonly memberId?: string
  /** Of the member's commits, growing: a late copy of an older one has no effect. */
  readonly sequence?: number
  readonly offsets: readonly OffsetCommit[]
}

export type GroupCommand =
  /** A new member, or a socket for one that is known. The session that brings it holds the socket. */
  | {
      readonly type: 'joinGroup'
      readonly group: string
      readonly memberId: string
      readonly instanceId?: string
      readonly topics: readonly string[]
      readonly pattern?: string
      readonly assignor: Assignor
      readonly sessionTimeoutMs: number
      readonly rebalanceTimeoutMs: number
    }
  | { readonly type: 'leaveGroup'; readonly group: string; readonly memberId: string }
  /** The socket ended: the grace period begins, unless there is a newer socket. Or it is still there, although its broker's session ended. */
  | {
      readonly type: 'detachMember' | 'attachMember'
      readonly group: string
      readonly memberId: string
      readonly attachment: number
    }
  | {
      readonly type: 'releasePartitions'
      readonly group: string
      readonly memberId: string
      readonly partitions: readonly (readonly [
        topicId: number,
        partition: number,
        generation: number,
      ])[]
    }
  | ({ readonly type: 'commitOffsets' } & GroupCommit)
  | {
      readonly type: 'resetOffsets'
      readonly producer?: ProducerIdentity
      readonly group: string
      readonly offsets: readonly (readonly [topicId: number, partition: number, offset: number])[]
    }
  | { readonly type: 'deleteGroup'; readonly producer?: ProducerIdentity; readonly group: string }
  /** Looks for members and revocations whose time is over, and for groups that have been empty for `retentionMs`. */
  | {
      readonly type: 'sweepGroups'
      readonly groups: readonly string[]
      readonly retentionMs: number
    }
