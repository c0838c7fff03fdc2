// All consumer groups, in memory, with their rows in the state store. Finds the groups that a topic or a broker session concerns without
// looking at all of them.
//
//   row of a group     members and claims      written when any of them changed
//   row of an offset   one partition's commit  written alone: a commit does not rewrite its group

import { packFrame } from '../../../wire/frame.ts'
import { groupKey, groupOffsetKey, prefixRange } from '../keys.ts'
import type { StateStore, StoreOp } from '../store.ts'
import type { TopicState } from '../topics.ts'
import {
  type Assignor,
  type Claim,
  claimKey,
  type CommittedOffset,
  committed,
  type Group,
  type Member,
} from './group.ts'
import { FollowedPatterns } from './followed-patterns.ts'
import { unpackOwn } from '../own-frame.ts'

/** Consumer groups in all. */
export const groupsMax = 100_000

export class GroupRegistry {
  readonly byName = new Map<string, Group>()
  nextGroupId = 1
  readonly patterns = new FollowedPatterns()
  private readonly store: StateStore
  private readonly byTopicName = new Map<string, Set<Group>>()
  private readonly bySession = new Map<number, Set<Group>>()
  /** Under which names and sessions a group was put in the indexes. */
  private readonly indexed = new Map<Group, IndexKeys>()
  private readonly dirtyGroups = new Set<Group>()
  private readonly dirtyOffsets = new Map<string, readonly [Group, number, number]>()
  private deletions: StoreOp[] = []

  constructor(store: StateStore) {
    this.store = store
  }

  load(): void {
    const byId = new Map<number, Group>()
    for (const [, value] of this.store.range(prefixRange(8))) {
      const group = decodeGroup(value)
      byId.set(group.id, group)
      this.byName.set(group.name, group)
      this.index(group)
    }
    for (const [, value] of this.store.range(prefixRange(9))) {
      const row = unpackOwn(value)
      const group = byId.get(row.g as number)
      if (group === undefined) continue
      put(group, row.t as number, row.p as number, {
        offset: row.o as number,
        metadata: row.m as string,
        committedAt: row.c as number,
      })
    }
  }

  create(name: string, assignor: Assignor, time: number): Group {
    const group: Group = {
      id: this.nextGroupId++,
      name,
      assignor,
      generation: 0,
      members: new Map(),
      claims: new Map(),
      offsets: new Map(),
      emptySince: time,
    }
    this.byName.set(name, group)
    this.changed(group)
    return group
  }

  /** Forgets a group, which has no members. */
  delete(group: Group): void {
    for (const [topicId, ofTopic] of group.offsets)
      for (const partition of ofTopic.keys()) this.forget(group, topicId, partition)
    this.byName.delete(group.name)
    this.index(group)
    this.indexed.delete(group)
    this.dirtyGroups.delete(group)
    this.deletions.push({ type: 'delete', key: groupKey(group.id) })
  }

  commit(group: Group, topicId: number, partition: number, value: CommittedOffset): void {
    put(group, topicId, partition, value)
    this.dirtyOffsets.set(`${group.id}/${claimKey(topicId, partition)}`, [
      group,
      topicId,
      partition,
    ])
  }

  /** Drops a committed offset. */
  forget(group: Group, topicId: number, partition: number): void {
    const ofTopic = group.offsets.get(topicId)
    if (ofTopic?.delete(partition) !== true) return
    if (ofTopic.size === 0) group.offsets.delete(topicId)
    this.dirtyOffsets.delete(`${group.id}/${claimKey(topicId, partition)}`)
    this.deletions.push({ type: 'delete', key: groupOffsetKey(group.id, topicId, partition) })
  }

  /** Members or claims changed, offsets apart. */
  changed(group: Group): void {
    this.dirtyGroups.add(group)
    this.index(group)
  }

  /** A member's counters changed, nothing that the indexes know. */
  touchMembers(group: Group): void {
    this.dirtyGroups.add(group)
  }

  /** A topic that is there from now on. @returns the groups that subscribe to it, in the order of their ids */
  topicMade(topic: TopicState): readonly Group[] {
    const found = this.patterns.topicMade(topic)
    for (const group of this.byTopicName.get(topic.name) ?? []) found.add(group)
    return inOrder(found)
  }

  /** All groups in the order of their ids. */
  inOrder(): readonly Group[] {
    return inOrder(this.byName.values())
  }

  /** Groups with members whose sockets the broker session holds. */
  attachedTo(session: number): readonly Group[] {
    return inOrder(this.bySession.get(session) ?? [])
  }

  /** Groups that hold anything about the topic. */
  about(topic: TopicState): readonly Group[] {
    return inOrder(
      [...this.byName.values()].filter(
        group =>
          group.offsets.has(topic.id) ||
          [...group.claims.values()].some(({ topicId }) => topicId === topic.id),
      ),
    )
  }

  takeChanges(ops: StoreOp[]): void {
    ops.push(...this.deletions)
    this.deletions = []
    for (const group of this.dirtyGroups)
      ops.push({ type: 'put', key: groupKey(group.id), value: encodeGroup(group) })
    this.dirtyGroups.clear()
    for (const [group, topicId, partition] of this.dirtyOffsets.values()) {
      const value = committed(group, topicId, partition)
      if (value === undefined) continue
      const { offset: o, metadata: m, committedAt: c } = value
      ops.push({
        type: 'put',
        key: groupOffsetKey(group.id, topicId, partition),
        value: packFrame({ g: group.id, t: topicId, p: partition, o, m, c }),
      })
    }
    this.dirtyOffsets.clear()
  }

  /** Brings the indexes up to what the group's members say now. */
  private index(group: Group): void {
    const before = this.indexed.get(group) ?? noKeys
    const now = keysOf(group)
    this.indexed.set(group, now)
    // What stays is not touched: what is known of a pattern would be lost with its last group.
    for (const name of now.names) if (!before.names.has(name)) add(this.byTopicName, name, group)
    for (const name of before.names) if (!now.names.has(name)) remove(this.byTopicName, name, group)
    for (const pattern of now.patterns)
      if (!before.patterns.has(pattern)) this.patterns.follow(pattern, group)
    for (const pattern of before.patterns)
      if (!now.patterns.has(pattern)) this.patterns.unfollow(pattern, group)
    for (const session of now.sessions)
      if (!before.sessions.has(session)) add(this.bySession, session, group)
    for (const session of before.sessions)
      if (!now.sessions.has(session)) remove(this.bySession, session, group)
  }
}

/** Under which names, patterns and sessions a group can be found. */
interface IndexKeys {
  readonly names: ReadonlySet<string>
  readonly patterns: ReadonlySet<string>
  readonly sessions: ReadonlySet<number>
}

const noKeys: IndexKeys = { names: new Set(), patterns: new Set(), sessions: new Set() }

function keysOf(group: Group): IndexKeys {
  const names = new Set<string>()
  const patterns = new Set<string>()
  const sessions = new Set<number>()
  for (const { topics, pattern, session } of group.members.values()) {
    for (const name of topics) names.add(name)
    if (pattern !== undefined) patterns.add(pattern)
    if (session !== undefined) sessions.add(session)
  }
  return { names, patterns, sessions }
}

function add<K>(index: Map<K, Set<Group>>, key: K, group: Group): void {
  const set = index.get(key)
  if (set === undefined) index.set(key, new Set([group]))
  else set.add(group)
}

function remove<K>(index: Map<K, Set<Group>>, key: K, group: Group): void {
  const set = index.get(key)
  set?.delete(group)
  if (set?.size === 0) index.delete(key)
}

const inOrder = (groups: Iterable<Group>): readonly Group[] =>
  [...groups].sort((a, b) => a.id - b.id)

function put(group: Group, topicId: number, partition: number, value: CommittedOffset): void {
  const ofTopic = group.offsets.get(topicId)
  if (ofTopic === undefined) group.offsets.set(topicId, new Map([[partition, value]]))
  else ofTopic.set(partition, value)
}

function encodeGroup(group: Group): Uint8Array {
  const { id, name, assignor, generation, emptySince } = group
  const members = [...group.members.values()].map(member => [
    member.id,
    member.instanceId ?? null,
    member.topics,
    member.pattern ?? null,
    member.sessionTimeoutMs,
    member.rebalanceTimeoutMs,
    member.session ?? null,
    member.attachment,
    member.detachedAt ?? null,
    member.commitSequence,
    member.former,
  ])
  const claims = [...group.claims.values()].map(claim => [
    claim.topicId,
    claim.partition,
    claim.owner ?? null,
    claim.generation,
    claim.target ?? null,
    claim.revokedAt ?? null,
  ])
  return packFrame({ id, name, a: assignor, n: generation, e: emptySince, m: members, c: claims })
}

type MemberRow = readonly [
  string,
  string | null,
  string[],
  string | null,
  number,
  number,
  number | null,
  number,
  number | null,
  number,
  /** Absent in rows of before. */
  string[]?,
]
type ClaimRow = readonly [number, number, string | null, number, string | null, number | null]

function decodeGroup(value: Uint8Array): Group {
  const row = unpackOwn(value)
  const members = (row.m as MemberRow[]).map(
    ([id, instance, topics, pattern, sessionMs, rebalanceMs, session, ...rest]): [
      string,
      Member,
    ] => [
      id,
      {
        id,
        instanceId: instance ?? undefined,
        topics,
        pattern: pattern ?? undefined,
        sessionTimeoutMs: sessionMs,
        rebalanceTimeoutMs: rebalanceMs,
        session: session ?? undefined,
        attachment: rest[0],
        detachedAt: rest[1] ?? undefined,
        commitSequence: rest[2],
        former: rest[3] ?? [],
      },
    ],
  )
  const claims = (row.c as ClaimRow[]).map(
    ([topicId, partition, owner, generation, target, revokedAt]): [string, Claim] => [
      claimKey(topicId, partition),
      {
        topicId,
        partition,
        owner: owner ?? undefined,
        generation,
        target: target ?? undefined,
        revokedAt: revokedAt ?? undefined,
      },
    ],
  )
  return {
    id: row.id as number,
    name: row.name as string,
    assignor: row.a as Assignor,
    generation: row.n as number,
    members: new Map(members),
    claims: new Map(claims),
    offsets: new Map(),
    emptySince: row.e as number,
  }
}
