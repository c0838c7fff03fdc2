// What the state knows of a consumer group: its members, who holds which partition, and the offsets that were committed.
//
//   claim of a partition     owner ──────── target differs ──────► owner releases, leaves or is late ──────► owner = target
//                            (served)       (asked back: revoking)                                            (new generation)
//
// A partition has one owner at a time; it changes hands only once the old owner has let go, so what does not move never pauses (KIP-848).

export const assignors = ['sticky', 'range', 'roundrobin'] as const
export type Assignor = (typeof assignors)[number]

export interface Member {
  /** Made by the client, unique for each start of it. */
  readonly id: string
  /** A restart under the same name takes the member's place (KIP-345). */
  readonly instanceId: string | undefined
  topics: readonly string[]
  /** RE2 syntax; matches whole topic names. */
  pattern: string | undefined
  sessionTimeoutMs: number
  rebalanceTimeoutMs: number
  /** Broker session that holds the member's socket; undefined while nobody does. */
  session: number | undefined
  /** Grows with each socket, so that the end of an older one means nothing. */
  attachment: number
  /** Log time since which no broker holds a socket, ms. */
  detachedAt: number | undefined
  /** Sequence of the newest commit: a late copy of an older one has no effect. */
  commitSequence: number
  /** Processes whose place it took, the newest last: they stay fenced. */
  readonly former: readonly string[]
}

export interface Claim {
  readonly topicId: number
  readonly partition: number
  /** Member that may process and commit. */
  owner: string | undefined
  /** The group's generation when the owner got it. */
  generation: number
  /** Member that should have it. */
  target: string | undefined
  /** Log time at which it was asked back, ms. */
  revokedAt: number | undefined
}

export interface CommittedOffset {
  readonly offset: number
  readonly metadata: string
  /** Log time, ms. */
  readonly committedAt: number
}

export interface Group {
  readonly id: number
  readonly name: string
  assignor: Assignor
  generation: number
  readonly members: Map<string, Member>
  /** By `claimKey`. */
  readonly claims: Map<string, Claim>
  /** By topic id, then by partition. */
  readonly offsets: Map<number, Map<number, CommittedOffset>>
  /** Log time since which it has no members and no commits came, ms. */
  emptySince: number
}

export const claimKey = (topicId: number, partition: number): string => `${topicId}/${partition}`

export function committed(
  group: Group,
  topicId: number,
  partition: number,
): CommittedOffset | undefined {
  return group.offsets.get(topicId)?.get(partition)
}

/** Every partition that the group holds or has committed to, each once. */
export function* placesIn(group: Group): Generator<readonly [topicId: number, partition: number]> {
  for (const { topicId, partition } of group.claims.values()) yield [topicId, partition]
  for (const [topicId, ofTopic] of group.offsets)
    for (const partition of ofTopic.keys())
      if (!group.claims.has(claimKey(topicId, partition))) yield [topicId, partition]
}

/** Members in an order that all brokers have. */
export function membersOf(group: Group): readonly Member[] {
  return [...group.members.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
}
