// What commands do for snapshots and restores (docs/adr/0007-snapshots.md). Part of the state machine: deterministic, its clock is log time.
//
// Guarantees: a topic that is being restored has no name until all of its restore have; a batch takes effect once, at the offsets that it had, and only
// behind everything that lies below it; nothing of this touches a topic that is not of the restore.

import type { ErrorCode } from '../../../wire/errors.ts'
import { getU64 } from '../../../wire/u64.ts'
import type { Decision } from '../commands.ts'
import { type GroupMachine, type GroupOutcome, otherKind } from '../groups/group-machine.ts'
import { groupsMax } from '../groups/registry.ts'
import { type Producers, transactionalIdsMax } from '../producers.ts'
import { SharePartition } from '../share/share-partition.ts'
import { restoreRight } from '../security/restore-right.ts'
import type { SecurityRegistry } from '../security/security-registry.ts'
import type { ShareMachine } from '../share/share-machine.ts'
import { placeKey } from '../share/share-group.ts'
import { shareGroupsMax } from '../share/share-registry.ts'
import type { StateHash } from '../state-hash.ts'
import { isHidden, type PartitionState, type Topics, type TopicState } from '../topics.ts'
import type { RestoredGroup, RestoredShareGroup, SnapshotCommand } from './commands.ts'
import { Holds, snapshotHoldsMax } from './holds.ts'

type Of<T extends SnapshotCommand['type']> = SnapshotCommand & { readonly type: T }

/** The parts of the state that a restore fills. */
export interface Restored {
  readonly topics: Topics
  readonly groups: GroupMachine
  readonly shares: ShareMachine
  readonly producers: Producers
  readonly security: SecurityRegistry
  readonly hash: StateHash
  /** Partitions of all topics that there may be. */
  readonly partitionsMax: number
}

/** When and where an entry takes effect. */
interface Effect {
  /** Log time, ms. */
  readonly time: number
  readonly effectLsn: number
  /** Position of the entry's bytes. */
  readonly place: number
}

const done: GroupOutcome = { ok: true, result: {} }

export class RestoreMachine {
  readonly holds = new Holds()
  private readonly state: Restored

  constructor(state: Restored) {
    this.state = state
  }

  apply(command: SnapshotCommand, batchStarts: readonly number[], effect: Effect): GroupOutcome {
    switch (command.type) {
      case 'holdSnapshot':
        return this.hold(command, effect)
      case 'releaseSnapshot':
        return { ok: true, result: { lasted: this.holds.end(command.hold, effect.time) } }
      case 'restoreTopic':
        return this.makeTopic(command, effect)
      case 'restoreBatches':
        return this.takeBatches(command, batchStarts, effect)
      case 'restoreState':
        return this.takeState(command, effect)
      case 'finishRestore':
        return this.finish(command, effect)
      case 'dropRestore':
        break
    }
    return this.drop(command, effect)
  }

  private hold(command: Of<'holdSnapshot'>, { time }: Effect): GroupOutcome {
    const { hold, ms, maxMs, begins } = command
    const until = begins
      ? this.holds.begin(hold, Math.min(ms, maxMs), time)
      : this.holds.renew(hold, ms, maxMs, time)
    this.state.hash.string(hold)
    this.state.hash.number(until ?? 0)
    if (until !== undefined) return { ok: true, result: { until, time } }
    if (!begins)
      return refused(
        'SNAPSHOT_EXPIRED',
        'the hold of the snapshot is over: retention and compaction have gone on',
        { limit: maxMs },
      )
    return refused(
      'LIMIT_EXCEEDED',
      `${snapshotHoldsMax} snapshots are being taken (snapshotHoldsMax)`,
      { limit: snapshotHoldsMax, actual: snapshotHoldsMax + 1 },
    )
  }

  private makeTopic(command: Of<'restoreTopic'>, { time, effectLsn }: Effect): GroupOutcome {
    const { topics, hash, partitionsMax } = this.state
    const { restore, index, topic: name, epochs } = command
    const existing = topics.byName.get(name) ?? topics.hidden.get(name)
    if (existing !== undefined) {
      const { restore: by } = existing
      if (by?.id === restore && by.index === index) return topicResult(existing, false)
      if (isHidden(existing)) return restoring(name, by?.id ?? '')
      return refused('TOPIC_EXISTS', `topic ${name} exists`, { topic: name })
    }
    const partitions = epochs.at(-1)?.[0] ?? 0
    if (topics.partitionCount + partitions > partitionsMax)
      return refused(
        'LIMIT_EXCEEDED',
        `at most ${partitionsMax} partitions in all; there are ${topics.partitionCount}`,
        { limit: partitionsMax, actual: topics.partitionCount + partitions },
      )
    const topic = topics.createHidden(command, Math.min(command.createdAt, time), effectLsn)
    hash.string(name)
    hash.number(topic.id)
    return topicResult(topic, true)
  }

  /** What is there already is passed over. */
  private takeBatches(
    { topicId, partition: number, after, items }: Of<'restoreBatches'>,
    batchStarts: readonly number[],
    { time, effectLsn, place }: Effect,
  ): GroupOutcome {
    const { topics, hash } = this.state
    const topic = topics.byId.get(topicId)
    const partition = topic?.partitions[number]
    if (topic === undefined || partition === undefined)
      return refused('UNKNOWN_TOPIC', `topic ${topicId} has no partition ${number}`, { topicId })
    const { next } = partition
    if (!isHidden(topic) || (items.at(-1)?.next ?? 0) <= next)
      return { ok: true, result: { next, taken: 0 } }
    if (after > next)
      return refused(
        'OUT_OF_ORDER_SEQUENCE',
        `${topic.name}[${number}] is restored up to ${next}, the batches come after ${after}`,
        { expected: next, actual: after },
      )
    const { end } = rangeOf(topic, number)
    let taken = 0
    items.forEach(({ offset, next: to, timestamp, batch, header }, i) => {
      if (offset < partition.next || to > end) return
      topics.append(partition, {
        base: offset,
        span: to - offset,
        count: header?.count ?? 0,
        lsn: place,
        start: batchStarts[i] as number,
        length: batch.length,
        effectLsn,
        // Log time never goes back, whatever the clock of the other cluster said.
        timestamp: Math.min(timestamp, time),
        maxTimestamp: Math.max(partition.maxTimestamp, header?.maxTimestamp ?? 0),
      })
      taken++
    })
    hash.number(partition.next)
    return { ok: true, result: { next: partition.next, taken } }
  }

  /** Offsets of topics that are not of the restore are left out; a group that there is keeps what it has. */
  private takeState(command: Of<'restoreState'>, effect: Effect): GroupOutcome {
    const { producers, hash } = this.state
    const topics = this.topicsOf(command.restore)
    const { groups = [], shares = [] } = command
    const refusal = this.refuseGroups(groups, shares)
    if (refusal !== undefined) return refusal
    hash.string(command.restore)
    for (const group of groups) this.takeGroup(group, topics, effect)
    for (const group of shares) this.takeShareGroup(group, topics, effect)
    const { nextProducerId = 0 } = command
    producers.nextProducerId = Math.max(producers.nextProducerId, nextProducerId)
    for (const { id, epoch, transactionalId } of command.producers ?? []) {
      if (producers.named(transactionalId) !== undefined) continue
      if (producers.namedCount >= transactionalIdsMax) break
      producers.restore(id, epoch + 1, effect.time, transactionalId)
      hash.number(id)
    }
    for (const right of command.rights ?? [])
      for (const text of restoreRight(this.state.security, right)) hash.string(text)
    return done
  }

  private refuseGroups(
    groups: readonly RestoredGroup[],
    shares: readonly RestoredShareGroup[],
  ): GroupOutcome | undefined {
    const { registry } = this.state.groups
    const { registry: shareRegistry } = this.state.shares
    for (const { group } of groups)
      if (shareRegistry.byName.has(group)) return otherKind(group, 'share')
    for (const { group } of shares)
      if (registry.byName.has(group)) return otherKind(group, 'consumer')
    const more = newNames(groups, registry.byName)
    if (registry.byName.size + more > groupsMax)
      return refused('LIMIT_EXCEEDED', `there are ${groupsMax} consumer groups (groupsMax)`, {
        limit: groupsMax,
        actual: registry.byName.size + more,
      })
    const moreShares = newNames(shares, shareRegistry.byName)
    if (shareRegistry.byName.size + moreShares > shareGroupsMax)
      return refused(
        'LIMIT_EXCEEDED',
        `there are ${shareGroupsMax} share groups (shareGroupsMax)`,
        { limit: shareGroupsMax, actual: shareRegistry.byName.size + moreShares },
      )
    return undefined
  }

  private takeGroup(
    { group: name, assignor, offsets }: RestoredGroup,
    topics: ReadonlyMap<number, TopicState>,
    { time }: Effect,
  ): void {
    const { registry, touched } = this.state.groups
    const { hash } = this.state
    const known = registry.byName.get(name)
    const found = offsets.flatMap(([index, partition, offset, metadata, committedAt]) => {
      const topic = topics.get(index)
      if (topic === undefined || !isHidden(topic)) return []
      if (partition >= topic.partitions.length || offset > rangeOf(topic, partition).end) return []
      const at = Math.min(committedAt, time)
      return [{ topicId: topic.id, partition, value: { offset, metadata, committedAt: at } }]
    })
    if (found.length === 0) return
    const group = known ?? registry.create(name, assignor, time)
    hash.string(name)
    for (const { topicId, partition, value } of found) {
      registry.commit(group, topicId, partition, value)
      hash.number(value.offset)
    }
    if (group.members.size === 0) group.emptySince = time
    registry.changed(group)
    touched.add(name)
  }

  private takeShareGroup(
    { group: name, topics: indexes, partitions, ...rules }: RestoredShareGroup,
    topics: ReadonlyMap<number, TopicState>,
    { time }: Effect,
  ): void {
    const { registry } = this.state.shares
    const { hash } = this.state
    const hidden = (index: number): TopicState | undefined => {
      const topic = topics.get(index)
      return topic !== undefined && isHidden(topic) ? topic : undefined
    }
    const own = indexes.flatMap(index => hidden(index) ?? [])
    if (own.length === 0) return
    const known = registry.byName.get(name)
    const group = known ?? registry.create(name, time)
    // The rules of a group that there is are its own.
    if (known === undefined) Object.assign(group, rules)
    group.usedAt = time
    hash.string(name)
    for (const topic of own) group.topics.add(topic.id)
    for (const [index, number, end, counters, records] of partitions) {
      const topic = hidden(index)
      if (topic === undefined || number >= topic.partitions.length) continue
      if (end > rangeOf(topic, number).end) continue
      const partition = new SharePartition(topic.id, number, end)
      const [delivered, redelivered, acknowledged, archived] = counters
      Object.assign(partition, { delivered, redelivered, acknowledged, archived })
      for (const [offset, count] of records)
        partition.restore(offset, { count, holder: undefined, until: undefined })
      const before = group.partitions.get(placeKey(topic.id, number))
      if (before !== undefined) registry.drop(group, before)
      registry.add(group, partition)
      hash.number(end)
    }
    registry.changed(group)
  }

  private finish({ restore, topics: count }: Of<'finishRestore'>, effect: Effect): GroupOutcome {
    const { topics, groups, hash } = this.state
    const found = [...this.topicsOf(restore).values()]
    if (found.length !== count)
      return refused(
        'RESTORE_INCOMPLETE',
        `${found.length} of ${count} topics were made by this restore`,
        { limit: count, actual: found.length },
      )
    const hidden = found.filter(isHidden)
    for (const topic of hidden)
      for (const { partition, next } of topic.partitions) {
        const { start, end } = rangeOf(topic, partition)
        if (start === end || next === end) continue
        return refused(
          'RESTORE_INCOMPLETE',
          `${topic.name}[${partition}] is restored up to ${next}, not to ${end}`,
          { topic: topic.name, partition, expected: end, actual: next },
        )
      }
    for (const topic of hidden) {
      topics.reveal(topic, n => rangeOf(topic, n), effect.effectLsn)
      hash.number(topic.id)
      groups.topicMade(topic, effect.time)
    }
    return { ok: true, result: { topics: count, finished: hidden.length > 0 } }
  }

  private drop({ restore }: Of<'dropRestore'>, { time }: Effect): GroupOutcome {
    const { topics, groups, shares, hash } = this.state
    const hidden = [...this.topicsOf(restore).values()].filter(isHidden)
    for (const topic of hidden) {
      topics.delete(topic)
      groups.topicDeleted(topic, time)
      shares.topicDeleted(topic)
      hash.number(topic.id)
    }
    return { ok: true, result: { topics: hidden.length } }
  }

  /** Topics that the restore has made, by their number in the archive. */
  topicsOf(restore: string): ReadonlyMap<number, TopicState> {
    return this.state.topics.restores.get(restore) ?? new Map<number, TopicState>()
  }
}

/** Start and end that a partition of a hidden topic is to have. */
function rangeOf({ restore }: TopicState, partition: number): PartitionRange {
  const { ranges } = restore as NonNullable<TopicState['restore']>
  const view = new DataView(ranges.buffer, ranges.byteOffset, ranges.byteLength)
  return { start: getU64(view, partition * 16), end: getU64(view, partition * 16 + 8) }
}

type PartitionRange = Pick<PartitionState, 'start'> & { readonly end: number }

function newNames(
  rows: readonly { readonly group: string }[],
  known: ReadonlyMap<string, unknown>,
): number {
  return new Set(rows.map(({ group }) => group).filter(name => !known.has(name))).size
}

function topicResult(topic: TopicState, created: boolean): GroupOutcome {
  const { name, id, restore } = topic
  return { ok: true, result: { topic: name, topicId: id, created, done: restore?.done === true } }
}

/** The refusal of a name that belongs to a topic nobody sees yet. */
export function restoring(topic: string, restore: string): Decision & { readonly ok: false } {
  return refused('TOPIC_RESTORING', `topic ${topic} is being restored from a snapshot`, {
    topic,
    restore,
  })
}

function refused(
  code: ErrorCode,
  message: string,
  details: Readonly<Record<string, unknown>>,
): Decision & { readonly ok: false } {
  return { ok: false, code, message, details, decided: false }
}
