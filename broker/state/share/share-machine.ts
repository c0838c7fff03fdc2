// What commands do to share groups (KIP-932, KIP-1191 for what is dead): many members work on one partition, each record is one member's until it says what
// became of it, or its lock is over. Part of the state machine: deterministic, its clock is log time.
//
// There are no members besides those who hold something: a lock ends by an acknowledgement or by time, so nobody has to be watched.

import type { ErrorCode } from '../../../wire/errors.ts'
import type { GroupOutcome } from '../groups/group-machine.ts'
import type { StateHash } from '../state-hash.ts'
import type { TopicState, Topics } from '../topics.ts'
import {
  ackTypes,
  type AckRun,
  type OffsetRun,
  type ShareAck,
  type ShareCommand,
} from './commands.ts'
import { holdersIn, placeKey, type ShareGroup } from './share-group.ts'
import { type PartitionLog, SharePartition } from './share-partition.ts'
import { ShareRegistry, shareGroupsMax } from './share-registry.ts'

const done: GroupOutcome = { ok: true, result: {} }

export class ShareMachine {
  readonly registry: ShareRegistry
  /** Names of groups in which something may be to be had that was not before; the owner clears it. */
  readonly touched = new Set<string>()
  private readonly topics: Topics
  private readonly hash: StateHash

  constructor(registry: ShareRegistry, topics: Topics, hash: StateHash) {
    this.registry = registry
    this.topics = topics
    this.hash = hash
  }

  has(name: string): boolean {
    return this.registry.byName.has(name)
  }

  /** `time` is log time, ms. */
  apply(command: ShareCommand, time: number): GroupOutcome {
    if (command.type === 'openShareGroup') return this.open(command, time)
    if (command.type === 'sweepShareGroups') return this.sweep(command, time)
    const group = this.registry.byName.get(command.group)
    if (group === undefined) return unknownGroup(command.group)
    this.hash.string(group.name)
    this.use(group, time)
    if (command.type === 'acquireRecords') return this.acquire(group, command, time)
    if (command.type === 'releaseRecords') return this.releaseAll(group, command)
    return this.acknowledge(group, command, time)
  }

  /** Why an acknowledgement that other things hang on cannot be taken whole; undefined when it can. Changes nothing. */
  checkAck({ group: name, memberId, acks }: ShareAck): GroupOutcome | undefined {
    const group = this.registry.byName.get(name)
    if (group === undefined) return unknownGroup(name)
    for (const ack of acks) {
      const [topicId, number] = ack
      const partition = group.partitions.get(placeKey(topicId, number))
      for (const offset of offsetsOf(ack)) {
        if (partition?.isHeldBy(offset, memberId) === true) continue
        const topic = this.topics.byId.get(topicId)?.name ?? topicId
        return refused(
          'INVALID_RECORD_STATE',
          `${topic}[${number}] ${offset} is not held by ${memberId} in share group ${name}: its lock is over, or it was acknowledged`,
          { group: name, memberId, topic, partition: number, offset },
        )
      }
    }
    return undefined
  }

  /** Takes an acknowledgement that {@link checkAck} has nothing against. */
  take(ack: ShareAck, time: number): void {
    const group = this.registry.byName.get(ack.group) as ShareGroup
    this.hash.string(group.name)
    this.use(group, time)
    this.acknowledge(group, ack, time)
  }

  /** To be called once the topic is gone. */
  topicDeleted(topic: TopicState): void {
    for (const group of this.registry.inOrder()) {
      if (!group.topics.delete(topic.id)) continue
      for (const partition of group.partitions.values())
        if (partition.topicId === topic.id) this.registry.drop(group, partition)
      this.registry.changed(group)
      this.touched.add(group.name)
    }
  }

  /** Has the group go on elsewhere, in partitions of which nobody holds anything. */
  reset(
    name: string,
    offsets: readonly (readonly [topicId: number, partition: number, offset: number])[],
    time: number,
  ): GroupOutcome {
    const group = this.registry.byName.get(name)
    if (group === undefined) return unknownGroup(name)
    const refusal = this.refuseHeld(group, time)
    if (refusal !== undefined) return refusal
    for (const [topicId, number, offset] of offsets) {
      const state = this.topics.partition(topicId, number)
      if (state === undefined)
        return refused('UNKNOWN_TOPIC', `topic ${topicId} has no partition ${number}`, { topicId })
      if (offset > state.next)
        return refused('OFFSET_OUT_OF_RANGE', `${offset} lies beyond the end ${state.next}`, {
          start: state.start,
          end: state.next,
          actual: offset,
        })
    }
    this.hash.string(name)
    for (const [topicId, number, offset] of offsets) {
      group.topics.add(topicId)
      const partition =
        group.partitions.get(placeKey(topicId, number)) ??
        this.registry.add(group, new SharePartition(topicId, number, offset))
      partition.reset(offset)
      this.registry.partitionChanged(group, partition)
      this.hash.number(offset)
    }
    this.registry.changed(group)
    this.touched.add(name)
    return done
  }

  delete(name: string, time: number): GroupOutcome {
    const group = this.registry.byName.get(name)
    if (group === undefined) return unknownGroup(name)
    const refusal = this.refuseHeld(group, time)
    if (refusal !== undefined) return refusal
    this.forget(group)
    return done
  }

  private open(command: ShareCommand & { type: 'openShareGroup' }, time: number): GroupOutcome {
    const { group: name, topics, reset, deliveryCountLimit, keepsDead } = command
    for (const id of topics)
      if (!this.topics.byId.has(id))
        return refused('UNKNOWN_TOPIC', `topic ${id} does not exist`, { topicId: id })
    const known = this.registry.byName.get(name)
    if (known === undefined && this.registry.byName.size >= shareGroupsMax)
      return refused(
        'LIMIT_EXCEEDED',
        `there are ${shareGroupsMax} share groups (shareGroupsMax)`,
        {
          limit: shareGroupsMax,
          actual: shareGroupsMax + 1,
        },
      )
    const group = known ?? this.registry.create(name, time)
    this.use(group, time)
    group.deliveryCountLimit = deliveryCountLimit
    group.keepsDead = keepsDead
    this.hash.string(name)
    for (const id of topics) {
      if (group.topics.has(id)) continue
      group.topics.add(id)
      for (const { partition, start, next } of this.topics.byId.get(id)?.partitions ?? []) {
        const end = reset === 'earliest' ? start : next
        this.registry.add(group, new SharePartition(id, partition, end))
        this.hash.number(end)
      }
    }
    this.registry.changed(group)
    return done
  }

  private acquire(
    group: ShareGroup,
    command: ShareCommand & { type: 'acquireRecords' },
    time: number,
  ): GroupOutcome {
    const { memberId, partitions, lockMs } = command
    const taken: (readonly [...OffsetRun, deliveryCount: number])[] = []
    let { maxRecords, maxBytes } = command
    for (const [topicId, number] of partitions) {
      if (maxRecords <= 0) break
      const partition = this.partitionOf(group, topicId, number)
      const state = this.topics.partition(topicId, number)
      if (partition === undefined || state === undefined) continue
      partition.trim(state.start)
      partition.expire(time, group)
      const log: PartitionLog = {
        next: state.next,
        batchesFrom: offset => this.topics.entriesFrom(state, offset),
      }
      const lease = { memberId, time, lockMs, maxRecords, maxBytes }
      // Only the very first batch may be larger than what was asked for.
      if (taken.length > 0 && maxBytes <= 0) break
      const { runs, records, bytes } = partition.acquire(lease, group, log)
      this.registry.partitionChanged(group, partition)
      for (const [first, count, deliveryCount] of runs) {
        taken.push([topicId, number, first, count, deliveryCount])
        this.hash.number(first)
        this.hash.number(count)
      }
      maxRecords -= records
      maxBytes -= bytes
    }
    return { ok: true, result: { taken } }
  }

  private acknowledge(group: ShareGroup, { memberId, acks }: ShareAck, time: number): GroupOutcome {
    const refusedRuns: [number, number, number, number][] = []
    for (const ack of acks) {
      const [topicId, number] = ack
      const partition = group.partitions.get(placeKey(topicId, number))
      for (const offset of offsetsOf(ack)) {
        if (partition?.isHeldBy(offset, memberId) === true) {
          this.acknowledgeOne(group, partition, offset, ack, time)
          continue
        }
        const last = refusedRuns.at(-1)
        const isNext = last?.[0] === topicId && last[1] === number && last[2] + last[3] === offset
        if (isNext) last[3]++
        else refusedRuns.push([topicId, number, offset, 1])
      }
      if (partition !== undefined) this.registry.partitionChanged(group, partition)
    }
    return { ok: true, result: refusedRuns.length === 0 ? {} : { refused: refusedRuns } }
  }

  private acknowledgeOne(
    group: ShareGroup,
    partition: SharePartition,
    offset: number,
    [, , , , type, ms]: AckRun,
    time: number,
  ): void {
    this.hash.number(offset)
    this.hash.number(type)
    if (type === ackTypes.renew) partition.renew(offset, time + ms)
    else if (type === ackTypes.release) {
      partition.release(offset, ms, time, group)
      this.touched.add(group.name)
    } else {
      const how = type === ackTypes.accept ? 'acknowledged' : 'archived'
      partition.finish(offset, type === ackTypes.gap ? 'gap' : how)
      // There may be room for new ones.
      this.touched.add(group.name)
    }
  }

  private releaseAll(
    group: ShareGroup,
    { memberId, except }: ShareCommand & { type: 'releaseRecords' },
  ): GroupOutcome {
    const kept = new Set<string>()
    for (const run of except)
      for (const offset of offsetsOf(run)) kept.add(`${placeKey(run[0], run[1])}/${offset}`)
    let released = 0
    for (const partition of group.partitions.values()) {
      const place = placeKey(partition.topicId, partition.partition)
      const count = partition.releaseAll(memberId, offset => kept.has(`${place}/${offset}`))
      if (count === 0) continue
      released += count
      this.registry.partitionChanged(group, partition)
    }
    this.hash.number(released)
    if (released > 0) this.touched.add(group.name)
    return { ok: true, result: { released } }
  }

  private sweep(
    { groups, retentionMs }: ShareCommand & { type: 'sweepShareGroups' },
    time: number,
  ): GroupOutcome {
    for (const name of groups) {
      const group = this.registry.byName.get(name)
      if (group === undefined) continue
      this.hash.string(name)
      this.expire(group, time)
      if (time - group.usedAt >= retentionMs && holdersIn(group).size === 0) this.forget(group)
    }
    return done
  }

  private expire(group: ShareGroup, time: number): void {
    for (const partition of group.partitions.values()) {
      if (!partition.expire(time, group)) continue
      this.registry.partitionChanged(group, partition)
      this.touched.add(group.name)
    }
  }

  private refuseHeld(group: ShareGroup, time: number): GroupOutcome | undefined {
    this.expire(group, time)
    const holders = holdersIn(group)
    if (holders.size === 0) return undefined
    return refused(
      'GROUP_NOT_EMPTY',
      `${holders.size} members hold records of share group ${group.name}: stop them first`,
      { group: group.name, actual: holders.size },
    )
  }

  private forget(group: ShareGroup): void {
    this.registry.delete(group)
    this.touched.add(group.name)
    this.hash.string(group.name)
  }

  private use(group: ShareGroup, time: number): void {
    group.usedAt = time
    this.registry.changed(group)
  }

  /** A partition that was added to a topic of the group is read from its beginning. */
  private partitionOf(group: ShareGroup, topicId: number, number: number) {
    const known = group.partitions.get(placeKey(topicId, number))
    if (known !== undefined || !group.topics.has(topicId)) return known
    const state = this.topics.partition(topicId, number)
    if (state === undefined) return undefined
    return this.registry.add(group, new SharePartition(topicId, number, state.start))
  }
}

function* offsetsOf(run: OffsetRun | AckRun): Generator<number> {
  for (let offset = run[2]; offset < run[2] + run[3]; offset++) yield offset
}

function unknownGroup(name: string): GroupOutcome {
  return refused('UNKNOWN_GROUP', `share group ${name} does not exist`, { group: name })
}

function refused(
  code: ErrorCode,
  message: string,
  details: Readonly<Record<string, unknown>>,
): GroupOutcome {
  return { ok: false, code, message, details, decided: true }
}
