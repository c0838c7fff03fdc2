// What commands do to consumer groups (DESIGN 5.2; KIP-848 for the protocol, KIP-345 for instance ids). Part of the state machine: deterministic, its
// clock is log time.
//
// Guarantees: a partition has one owner at a time; a commit is taken from the owner of this generation only, whole or not at all; a member keeps its
// partitions while its socket is away for less than its session timeout.

import type { ErrorCode } from '../../../wire/errors.ts'
import type { Decision } from '../commands.ts'
import type { StateHash } from '../state-hash.ts'
import type { TopicState, Topics } from '../topics.ts'
import type { GroupCommand, GroupCommit } from './commands.ts'
import { claimKey, committed, type Group, type Member } from './group.ts'
import { patternsMax } from './followed-patterns.ts'
import { claimsOf, rebalance, settle } from './rebalance.ts'
import { reachesEnd, readablePartitions, readableUntil, readingEpoch } from './reading-epoch.ts'
import { GroupRegistry, groupsMax } from './registry.ts'

/** Members of one group. */
export const groupMembersMax = 1000
/** Former processes of a named instance that are remembered. */
const formerIdsMax = 4

/** When a command takes effect, and who brought it. */
export interface Effect {
  /** Log time, ms. */
  readonly time: number
  /** Broker session of the entry. */
  readonly session: number
}

export type GroupOutcome =
  | { readonly ok: true; readonly result: Readonly<Record<string, unknown>> }
  | (Decision & { readonly ok: false })

type Socket = GroupCommand & { readonly type: 'attachMember' | 'detachMember' }

const done: GroupOutcome = { ok: true, result: {} }

export class GroupMachine {
  readonly registry: GroupRegistry
  /** Names of groups that changed since the owner last looked; the owner clears it. */
  readonly touched = new Set<string>()
  private readonly topics: Topics
  private readonly hash: StateHash

  constructor(registry: GroupRegistry, topics: Topics, hash: StateHash) {
    this.registry = registry
    this.topics = topics
    this.hash = hash
  }

  apply(command: GroupCommand, effect: Effect): GroupOutcome {
    switch (command.type) {
      case 'joinGroup':
        return this.join(command, effect)
      case 'leaveGroup':
        return this.withMember(command, (group, member) => this.leave(group, [member], effect))
      case 'detachMember':
        return this.detach(command, effect)
      case 'attachMember':
        return this.attach(command, effect)
      case 'releasePartitions':
        return this.withMember(command, (group, member) =>
          this.release(group, member, command.partitions, effect),
        )
      case 'commitOffsets':
        return this.checkCommit(command) ?? this.commit(command, effect)
      case 'resetOffsets':
        return this.reset(command, effect)
      case 'deleteGroup':
        return this.withEmpty(command.group, group => {
          this.registry.delete(group)
          this.touch(group)
          return done
        })
      case 'sweepGroups':
        break
    }
    return this.sweepAll(command, effect)
  }

  topicMade(topic: TopicState, time: number): void {
    for (const group of this.registry.topicMade(topic)) this.move(group, time)
  }

  /** The topic has partitions from number `from` on that it had not. */
  partitionsAdded(topic: TopicState, from: number, time: number): void {
    // Whoever followed the topic before begins in them with the first record: `latest` would pass over what came before the assignment.
    for (const group of this.registry.about(topic))
      for (const { partition } of topic.partitions.slice(from)) {
        this.registry.commit(group, topic.id, partition, {
          offset: 0,
          metadata: '',
          committedAt: time,
        })
        this.hash.number(group.id)
      }
    this.topicMade(topic, time)
  }

  /** To be called once the topic is gone. */
  topicDeleted(topic: TopicState, time: number): void {
    this.registry.patterns.topicGone(topic.id)
    for (const group of this.registry.about(topic)) {
      for (const partition of group.offsets.get(topic.id)?.keys() ?? [])
        this.registry.forget(group, topic.id, partition)
      for (const [key, claim] of group.claims)
        if (claim.topicId === topic.id) group.claims.delete(key)
      this.move(group, time)
    }
  }

  /** A broker session is over: the sockets that it held are gone. */
  sessionClosed(session: number, time: number): void {
    for (const group of this.registry.attachedTo(session)) {
      for (const member of group.members.values()) {
        if (member.session !== session) continue
        member.session = undefined
        member.detachedAt = time
      }
      this.changed(group)
    }
  }

  /** Nobody could be connected until now: all deadlines begin anew. */
  graceBegins(time: number): void {
    for (const group of this.registry.inOrder()) {
      let isChanged = false
      for (const member of group.members.values()) {
        if (member.session !== undefined) continue
        member.detachedAt = time
        isChanged = true
      }
      for (const claim of group.claims.values()) {
        if (claim.revokedAt === undefined) continue
        claim.revokedAt = time
        isChanged = true
      }
      if (isChanged) this.changed(group)
    }
  }

  /** As {@link checkCommit}, for a commit that must have an effect, since other things hang on it. */
  checkCommitNow(commit: GroupCommit): GroupOutcome | undefined {
    const { group: name, memberId, sequence } = commit
    const member = this.registry.byName.get(name)?.members.get(memberId ?? '')
    if (member === undefined || sequence === undefined || sequence > member.commitSequence)
      return this.checkCommit(commit)
    return refused(
      'STALE_GENERATION',
      `member ${member.id} of group ${name} has made commit ${member.commitSequence} already, this one is ${sequence}`,
      { group: name, memberId: member.id, limit: member.commitSequence, actual: sequence },
    )
  }

  /** Why the commit is refused; undefined when it can be taken. Changes nothing. */
  checkCommit(commit: GroupCommit): GroupOutcome | undefined {
    const { group: name, memberId, offsets } = commit
    const group = this.registry.byName.get(name)
    if (memberId !== undefined && group?.members.has(memberId) !== true)
      return noMember(group, name, memberId)
    if (memberId === undefined && group !== undefined && group.members.size > 0)
      return refused(
        'GROUP_NOT_EMPTY',
        `group ${name} has ${group.members.size} members: only they commit its offsets`,
        { group: name, actual: group.members.size },
      )
    if (group === undefined && this.registry.byName.size >= groupsMax) return tooManyGroups()
    for (const [topicId, partition, offset, generation] of offsets) {
      const state = this.topics.partition(topicId, partition)
      const topic = this.topics.byId.get(topicId)?.name
      if (state === undefined || topic === undefined)
        return refused('UNKNOWN_TOPIC', `topic ${topicId} has no partition ${partition}`, {
          topicId,
          partition,
        })
      const where = { topic, partition }
      const claim = group?.claims.get(claimKey(topicId, partition))
      if (memberId !== undefined && (claim?.owner !== memberId || claim.generation !== generation))
        return refused(
          'STALE_GENERATION',
          `${topic}[${partition}] is not held by ${memberId} with generation ${generation} any more`,
          { group: name, memberId, ...where, actual: generation },
        )
      if (offset > state.next)
        return refused(
          'OFFSET_OUT_OF_RANGE',
          `${topic}[${partition}] ends at ${state.next}: ${offset} cannot be committed`,
          { ...where, start: state.start, end: state.next, actual: offset },
        )
    }
    return undefined
  }

  /** Takes a commit that {@link checkCommit} has nothing against. */
  commit(commit: GroupCommit, { time }: Effect): GroupOutcome {
    const { group: name, memberId, sequence, offsets } = commit
    const group = this.registry.byName.get(name) ?? this.registry.create(name, 'sticky', time)
    const member = memberId === undefined ? undefined : group.members.get(memberId)
    if (member !== undefined && sequence !== undefined) {
      if (sequence <= member.commitSequence) return done
      member.commitSequence = sequence
      this.registry.touchMembers(group)
    }
    if (member === undefined) {
      group.emptySince = time
      this.changed(group)
    }
    this.hash.string(name)
    const ending = this.topicsEnding(group, offsets)
    for (const [topicId, partition, offset, , metadata] of offsets) {
      this.registry.commit(group, topicId, partition, { offset, metadata, committedAt: time })
      this.hash.number(topicId)
      this.hash.number(partition)
      this.hash.number(offset)
    }
    // What comes next in an epoch that has ended is given out: it always has partitions that nobody was given yet.
    const isOver = (topic: TopicState): boolean =>
      !group.claims.has(claimKey(topic.id, readablePartitions(group, topic) - 1))
    if (group.members.size > 0 && ending.some(isOver)) this.move(group, time)
    return done
  }

  /** Topics to which partitions were added, and of which the offsets reach what came before. */
  private topicsEnding(group: Group, offsets: GroupCommit['offsets']): readonly TopicState[] {
    const ending = new Set<TopicState>()
    for (const [topicId, partition, offset] of offsets) {
      const topic = this.topics.byId.get(topicId)
      if (topic === undefined || topic.epochs.length === 1) continue
      const before = committed(group, topicId, partition)?.offset ?? 0
      if (reachesEnd(topic, partition, before, offset)) ending.add(topic)
    }
    return [...ending]
  }

  private join(command: GroupCommand & { type: 'joinGroup' }, effect: Effect): GroupOutcome {
    const { group: name, memberId, instanceId, assignor } = command
    const { time, session } = effect
    const known = this.registry.byName.get(name)
    // Who was away while somebody took its place must not take it back.
    const heir = heirOf(known, memberId)
    if (heir !== undefined) return noMember(known, name, memberId)
    if (known === undefined && this.registry.byName.size >= groupsMax) return tooManyGroups()
    const group = known ?? this.registry.create(name, assignor, time)
    const holder = [...group.members.values()].find(
      ({ id, instanceId: instance }) =>
        id !== memberId && instanceId !== undefined && instance === instanceId,
    )
    const self = group.members.get(memberId)
    const before = self ?? holder
    if (self !== undefined && holder !== undefined) this.leave(group, [holder], effect)
    if (before === undefined && group.members.size >= groupMembersMax)
      return refused(
        'LIMIT_EXCEEDED',
        `group ${name} has ${groupMembersMax} members (groupMembersMax)`,
        { limit: groupMembersMax, actual: group.members.size + 1 },
      )
    const { topics, pattern, sessionTimeoutMs, rebalanceTimeoutMs } = command
    if (pattern !== undefined && !this.registry.patterns.hasRoom(pattern))
      return refused(
        'LIMIT_EXCEEDED',
        `groups follow ${patternsMax} different patterns (patternsMax)`,
        { limit: patternsMax, actual: patternsMax + 1 },
      )
    const member: Member = {
      id: memberId,
      instanceId,
      topics,
      pattern,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      session,
      attachment: (before?.attachment ?? 0) + 1,
      detachedAt: undefined,
      commitSequence: before?.id === memberId ? before.commitSequence : 0,
      former: formerIds(memberId, before, holder),
    }
    if (before !== undefined && before.id !== memberId) this.takeOver(group, before, member, time)
    const isSame =
      before !== undefined &&
      before.pattern === pattern &&
      before.topics.join() === topics.join() &&
      group.assignor === assignor
    // The assignor is the group's: who comes last has the word.
    group.assignor = assignor
    group.members.set(memberId, member)
    this.hash.string(memberId)
    if (isSame) this.changed(group)
    else this.move(group, time)
    const { generation } = group
    return {
      ok: true,
      result: { group: name, memberId, generation, attachment: member.attachment },
    }
  }

  /** A restart of a named instance: what the former process had is the new one's at once, and the former may not commit any more. */
  private takeOver(group: Group, before: Member, after: Member, time: number): void {
    group.members.delete(before.id)
    group.members.set(after.id, after)
    for (const claim of group.claims.values()) {
      // What was asked back from the former process need not be waited for: the new one holds nothing yet.
      if (claim.owner === before.id) claim.owner = claim.target === before.id ? after.id : undefined
      if (claim.target === before.id) claim.target = after.id
      settle(group, claim, time)
    }
  }

  private detach({ group: name, memberId, attachment }: Socket, { time }: Effect): GroupOutcome {
    const group = this.registry.byName.get(name)
    const member = group?.members.get(memberId)
    if (group === undefined || member?.attachment !== attachment) return done
    if (member.session === undefined) return done
    member.session = undefined
    member.detachedAt = time
    this.changed(group)
    return done
  }

  private attach({ group: name, memberId, attachment }: Socket, { session }: Effect): GroupOutcome {
    const group = this.registry.byName.get(name)
    const member = group?.members.get(memberId)
    if (group === undefined || member?.attachment !== attachment) return done
    member.session = session
    member.detachedAt = undefined
    this.hash.string(memberId)
    this.changed(group)
    return done
  }

  private release(
    group: Group,
    member: Member,
    partitions: readonly (readonly [number, number, number])[],
    { time }: Effect,
  ): GroupOutcome {
    for (const [topicId, partition, generation] of partitions) {
      const claim = group.claims.get(claimKey(topicId, partition))
      if (claim?.owner !== member.id || claim.generation !== generation) continue
      // What was not asked back stays: a release that comes late must not take away what came back meanwhile.
      if (claim.target === member.id) continue
      claim.owner = undefined
      settle(group, claim, time)
      this.hash.number(claim.generation)
    }
    this.changed(group)
    return done
  }

  private leave(group: Group, members: readonly Member[], { time }: Effect): GroupOutcome {
    for (const member of members) {
      group.members.delete(member.id)
      this.hash.string(member.id)
    }
    group.emptySince = time
    // An ephemeral group leaves nothing behind.
    if (group.members.size === 0 && group.offsets.size === 0) {
      this.registry.delete(group)
      this.touch(group)
    } else this.move(group, time)
    return done
  }

  /** Of a group without members; one that does not exist is made. */
  private reset(command: GroupCommand & { type: 'resetOffsets' }, effect: Effect): GroupOutcome {
    const { group, offsets } = command
    const commit: GroupCommit = {
      group,
      offsets: offsets.map(([topicId, partition, offset]) => [topicId, partition, offset, -1, '']),
    }
    return this.checkCommit(commit) ?? this.commit(commit, effect)
  }

  private sweepAll(
    { groups, retentionMs }: GroupCommand & { type: 'sweepGroups' },
    effect: Effect,
  ): GroupOutcome {
    for (const name of groups) {
      const group = this.registry.byName.get(name)
      if (group !== undefined) this.sweep(group, retentionMs, effect)
    }
    return done
  }

  private sweep(group: Group, retentionMs: number, effect: Effect): void {
    const { time } = effect
    const late = [...group.members.values()].filter(
      ({ detachedAt, sessionTimeoutMs }) =>
        detachedAt !== undefined && time - detachedAt >= sessionTimeoutMs,
    )
    if (late.length > 0) this.leave(group, late, effect)
    let taken = false
    for (const claim of claimsOf(group)) {
      const { owner, revokedAt } = claim
      const member = owner === undefined ? undefined : group.members.get(owner)
      if (member === undefined || revokedAt === undefined) continue
      if (time - revokedAt < member.rebalanceTimeoutMs) continue
      claim.owner = undefined
      settle(group, claim, time)
      taken = true
    }
    if (taken) this.changed(group)
    if (group.members.size > 0 || time - group.emptySince < retentionMs) return
    if (!this.registry.byName.has(group.name)) return
    this.registry.delete(group)
    this.hash.string(group.name)
    this.touch(group)
  }

  private move(group: Group, time: number): void {
    rebalance(group, this.topics, this.registry.patterns, time)
    this.hash.number(group.generation)
    for (const { topicId, partition, target = '' } of claimsOf(group)) {
      this.hash.number(topicId)
      this.hash.number(partition)
      this.hash.string(target)
    }
    this.changed(group)
  }

  private changed(group: Group): void {
    this.registry.changed(group)
    this.touch(group)
  }

  private touch(group: Group): void {
    this.touched.add(group.name)
  }

  private withMember(
    { group: name, memberId }: { readonly group: string; readonly memberId: string },
    run: (group: Group, member: Member) => GroupOutcome,
  ): GroupOutcome {
    const group = this.registry.byName.get(name)
    const member = group?.members.get(memberId)
    if (group !== undefined && member !== undefined) return run(group, member)
    return noMember(group, name, memberId)
  }

  private withEmpty(name: string, run: (group: Group) => GroupOutcome): GroupOutcome {
    const group = this.registry.byName.get(name)
    if (group === undefined)
      return refused('UNKNOWN_GROUP', `group ${name} does not exist`, { group: name })
    if (group.members.size === 0) return run(group)
    return refused(
      'GROUP_NOT_EMPTY',
      `group ${name} has ${group.members.size} members: stop them first`,
      { group: name, actual: group.members.size },
    )
  }
}

/** The member that took the place of a process, if one did. */
function heirOf(group: Group | undefined, memberId: string): Member | undefined {
  if (group?.members.has(memberId) === true) return undefined
  return [...(group?.members.values() ?? [])].find(({ former }) => former.includes(memberId))
}

/** Those whose place the member took, itself and by whom it goes on. */
function formerIds(
  memberId: string,
  before: Member | undefined,
  holder: Member | undefined,
): readonly string[] {
  const replaced = holder === undefined ? [] : [...holder.former, holder.id]
  const own = before === holder ? [] : (before?.former ?? [])
  return [...own, ...replaced].filter(id => id !== memberId).slice(-formerIdsMax)
}

function noMember(group: Group | undefined, name: string, memberId: string): GroupOutcome {
  const heir = heirOf(group, memberId)
  const details = { group: name, memberId }
  if (heir === undefined)
    return refused('UNKNOWN_MEMBER', `group ${name} has no member ${memberId}`, details)
  return refused(
    'MEMBER_FENCED',
    `member ${heir.id} of group ${name} took the place of ${memberId}: both are ${heir.instanceId ?? ''}`,
    details,
  )
}

/** The refusal of a command about a group of another kind. */
export function otherKind(group: string, kind: 'share' | 'consumer'): GroupOutcome {
  return refused('INCONSISTENT_GROUP_PROTOCOL', `${group} is a ${kind} group`, { group, kind })
}

function tooManyGroups(): GroupOutcome {
  return refused('LIMIT_EXCEEDED', `there are ${groupsMax} consumer groups (groupsMax)`, {
    limit: groupsMax,
    actual: groupsMax + 1,
  })
}

function refused(
  code: ErrorCode,
  message: string,
  details: Readonly<Record<string, unknown>>,
): GroupOutcome {
  return { ok: false, code, message, details, decided: true }
}

/** What one member should know of its partitions. */
export interface MemberView {
  readonly generation: number
  readonly assigned: readonly {
    readonly topicId: number
    readonly partition: number
    readonly generation: number
    /** Committed offset; undefined when there is none yet. */
    readonly offset: number | undefined
    /** Up to which offset it may be read for now; undefined: without end. */
    readonly until: number | undefined
    /** Partitions of the topic as of this view. */
    readonly partitions: number
  }[]
  /** To be given back: finish, commit, release. */
  readonly revoking: readonly {
    readonly topicId: number
    readonly partition: number
    readonly generation: number
  }[]
}

/** Undefined when the group has no such member. */
export function viewOf(
  group: Group | undefined,
  memberId: string,
  topics: Topics,
): MemberView | undefined {
  if (group?.members.has(memberId) !== true) return undefined
  const held = claimsOf(group).filter(({ owner }) => owner === memberId)
  const epochs = new Map<TopicState, number>()
  const limitOf = (topicId: number, partition: number) => {
    const topic = topics.byId.get(topicId)
    if (topic === undefined) return { until: undefined, partitions: 0 }
    const epoch = epochs.get(topic) ?? readingEpoch(group, topic)
    epochs.set(topic, epoch)
    return {
      until: readableUntil(topic, epoch, partition),
      partitions: topic.partitions.length,
    }
  }
  return {
    generation: group.generation,
    assigned: held
      .filter(({ target }) => target === memberId)
      .map(({ topicId, partition, generation }) => ({
        topicId,
        partition,
        generation,
        offset: committed(group, topicId, partition)?.offset,
        ...limitOf(topicId, partition),
      })),
    revoking: held
      .filter(({ target }) => target !== memberId)
      .map(({ topicId, partition, generation }) => ({ topicId, partition, generation })),
  }
}
