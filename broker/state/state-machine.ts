// The state machine: what the log's prefix means (DESIGN 5). Synchronous and deterministic: the same entries at the same positions give
// the same state, decisions and hash on every broker, whether they come from a live proposal or from a replay.
//
// Knows nothing of sockets, logs or time: its clock is log time, the median of the live sessions' stamps, which never goes back.

import { packFrame } from '../../wire/frame.ts'
import type { GroupCommand, GroupCommit } from './groups/commands.ts'
import { type Effect, GroupMachine, type GroupOutcome, otherKind } from './groups/group-machine.ts'
import { GroupRegistry } from './groups/registry.ts'
import type {
  Command,
  Decision,
  LocatedCommand,
  ParsedEntry,
  PartitionBatch,
  PartitionMap,
  PartitionOffset,
} from './commands.ts'
import { metaKey } from './keys.ts'
import { LogMeter } from './log-meter.ts'
import {
  Producers,
  refusal,
  transactionalIdsMax,
  transactionalIdsPerOwnerMax,
} from './producers.ts'
import { Sessions, type Session } from './sessions.ts'
import { compacted, relocate } from './relocation.ts'
import { SecurityMachine } from './security/security-machine.ts'
import { SecurityRegistry } from './security/security-registry.ts'
import { RestoreMachine, restoring } from './restore/restore-machine.ts'
import type { ShareAck, ShareCommand } from './share/commands.ts'
import { ShareMachine } from './share/share-machine.ts'
import { ShareRegistry } from './share/share-registry.ts'
import { retainedFrom } from './retention.ts'
import { StateHash, stateVersion } from './state-hash.ts'
import type { StateStore, StoreOp } from './store.ts'
import { isHidden, type PartitionState, type TopicState, Topics } from './topics.ts'
import { unpackOwn } from './own-frame.ts'

/** Partitions of all topics together. */
export const partitionsMax = 200_000
/** How often the partitions of a topic are counted anew, its creation included. */
export const partitionEpochsMax = 16
/** How far offsets jump over a range whose content is gone: no offset that was ever given out is used again. */
export const lostOffsets = 2 ** 32

/** An entry that took effect just now. */
export interface AppliedEntry {
  readonly session: number
  readonly sequence: number
  /** One per command. */
  readonly decisions: readonly Decision[]
}

export interface OpenedSession {
  readonly id: number
  readonly node: string
  readonly incarnation: string
}

export interface ApplyResult {
  readonly applied: readonly AppliedEntry[]
  readonly opened?: OpenedSession
}

export interface MachineChanges {
  readonly ops: readonly StoreOp[]
  /** Applied position that the operations bring the store to. */
  readonly applied: number
  /** To be called once the operations are durable. */
  done(): void
}

/** What was consumed to make the batches of a publish. */
interface Consumed {
  readonly commit?: GroupCommit
  readonly ack?: ShareAck
}

type HoldRow = [hold: string, begunAt: number, until: number]

const nothing: ApplyResult = { applied: [] }

export class StateMachine {
  readonly topics: Topics
  readonly producers: Producers
  readonly sessions: Sessions
  readonly groups: GroupMachine
  readonly shares: ShareMachine
  readonly security: SecurityMachine
  readonly restores: RestoreMachine
  readonly meter: LogMeter
  /** Partitions that changed since the owner last looked; the owner clears it. */
  readonly touched = new Set<PartitionState>()
  /** What another broker says about its state; no part of this one. */
  onNote:
    | ((note: { readonly at: number; readonly hash: string }, session: number) => void)
    | undefined
  private readonly hash = new StateHash()
  private appliedLsn = 0
  /** Session whose entry takes effect now. */
  private applying = -1
  private time = 0

  /** Loads what the store holds. */
  constructor(store: StateStore) {
    this.topics = new Topics(store)
    this.meter = new LogMeter(store)
    this.producers = new Producers(store)
    this.sessions = new Sessions(store)
    this.sessions.onClose = session => this.groups.sessionClosed(session.id, this.time)
    this.groups = new GroupMachine(new GroupRegistry(store), this.topics, this.hash)
    this.shares = new ShareMachine(new ShareRegistry(store), this.topics, this.hash)
    this.security = new SecurityMachine(new SecurityRegistry(store), this.hash)
    this.restores = new RestoreMachine({
      topics: this.topics,
      groups: this.groups,
      shares: this.shares,
      producers: this.producers,
      security: this.security.registry,
      hash: this.hash,
      partitionsMax,
    })
    const meta = store.get(metaKey)
    if (meta === undefined) return
    const row = unpackOwn(meta)
    if (row.version !== stateVersion)
      throw new Error(
        `state version ${String(row.version)} is not ${stateVersion}: delete the state folder to rebuild it`,
      )
    this.appliedLsn = row.applied as number
    this.time = row.time as number
    this.topics.nextTopicId = row.nextTopicId as number
    this.producers.nextProducerId = row.nextProducerId as number
    // Not in states from before there were groups.
    this.groups.registry.nextGroupId = (row.nextGroupId as number | undefined) ?? 1
    this.shares.registry.nextShareGroupId = (row.nextShareGroupId as number | undefined) ?? 1
    this.security.registry.nextAclId = (row.nextAclId as number | undefined) ?? 1
    this.hash.restore(row.hash as string)
    this.restores.holds.load((row.holds as HoldRow[] | undefined) ?? [])
    this.topics.load()
    this.meter.load(row.logBytes as number | undefined, this.topics.bytes)
    if (row.logBytes === undefined) this.topics.placeAll()
    this.producers.load()
    this.sessions.load()
    this.groups.registry.load()
    this.shares.registry.load()
    this.security.registry.load()
  }

  /** Every batch that lives now or later and lies below this is in `topics.places`. */
  get placedBelow(): number {
    const heldFrom = this.sessions.heldFrom() ?? this.appliedLsn
    return Math.min(this.appliedLsn, heldFrom, this.topics.places.storedBelow)
  }

  /** The next position to apply. */
  get applied(): number {
    return this.appliedLsn
  }

  /** Log time, ms. */
  get logTime(): number {
    return this.time
  }

  digest(): string {
    return this.hash.digest()
  }

  /** Applies the entry at `lsn`, which MUST be `applied`. */
  apply(lsn: number, entry: ParsedEntry): ApplyResult {
    this.expectPosition(lsn)
    this.appliedLsn = lsn + 1
    this.meter.add(lsn, entry.bytes)
    if (entry.header.session < 0) return this.open(lsn, entry)
    const session = this.sessions.admit(lsn, entry)
    if (session === undefined) return nothing
    return { applied: this.drain(session, lsn, entry) }
  }

  /** Passes over positions that hold nothing. */
  skip(from: number, to: number): void {
    this.expectPosition(from)
    this.appliedLsn = to
  }

  /**
   * Passes over positions whose content is gone. Nobody knows what they said, so every partition's next offset jumps and all sessions
   * end: no offset and no sequence is ever used twice.
   */
  lose(from: number, to: number): void {
    this.expectPosition(from)
    for (const topic of this.topics.byId.values())
      for (const partition of topic.partitions) {
        this.topics.append(partition, {
          base: partition.next,
          span: lostOffsets,
          count: 0,
          lsn: from,
          start: 0,
          length: 0,
          effectLsn: from,
          timestamp: this.time,
          maxTimestamp: partition.maxTimestamp,
        })
        this.touched.add(partition)
      }
    this.sessions.closeAll()
    this.hash.string('lost')
    this.hash.number(from)
    this.hash.number(to)
    this.appliedLsn = to
  }

  /** What changed since the last call, for one atomic commit. */
  takeChanges(): MachineChanges {
    const ops: StoreOp[] = []
    const topicsDone = this.topics.takeChanges(ops)
    const producersDone = this.producers.takeChanges(ops)
    this.sessions.takeChanges(ops)
    this.groups.registry.takeChanges(ops)
    this.shares.registry.takeChanges(ops)
    this.security.registry.takeChanges(ops)
    this.meter.takeChanges(ops)
    ops.push({
      type: 'put',
      key: metaKey,
      value: packFrame({
        version: stateVersion,
        applied: this.appliedLsn,
        hash: this.hash.digest(),
        time: this.time,
        nextTopicId: this.topics.nextTopicId,
        nextProducerId: this.producers.nextProducerId,
        nextGroupId: this.groups.registry.nextGroupId,
        nextShareGroupId: this.shares.registry.nextShareGroupId,
        nextAclId: this.security.registry.nextAclId,
        logBytes: this.meter.total,
        holds: this.restores.holds.rows(),
      }),
    })
    return {
      ops,
      applied: this.appliedLsn,
      done: () => {
        topicsDone()
        producersDone()
      },
    }
  }

  private expectPosition(lsn: number): void {
    if (lsn !== this.appliedLsn) throw new Error(`apply at ${lsn}, expected ${this.appliedLsn}`)
  }

  private open(lsn: number, entry: ParsedEntry): ApplyResult {
    const command = entry.commands[0]?.command
    if (command?.type !== 'open') throw new Error(`entry ${lsn} has no session and opens none`)
    const { node, incarnation } = command
    this.sessions.open(lsn, command, entry.header.stamp)
    this.tick()
    // Alone: nobody has been there until now.
    if (this.sessions.live.size === 1) this.groups.graceBegins(this.time)
    this.hash.string(node)
    this.hash.number(lsn)
    return { applied: [], opened: { id: lsn, node, incarnation } }
  }

  /** The entry and every held one whose turn it makes. */
  private drain(session: Session, lsn: number, first: ParsedEntry): AppliedEntry[] {
    const applied: AppliedEntry[] = []
    const effectLsn = lsn
    this.tick()
    let ready: { lsn: number; entry: ParsedEntry } | undefined = { lsn, entry: first }
    while (ready !== undefined) {
      const { entry, lsn: place } = ready
      this.applying = session.id
      this.hash.number(effectLsn)
      this.hash.number(entry.header.sequence)
      const decisions = entry.commands.map(located => this.decide(located, place, effectLsn))
      applied.push({ session: session.id, sequence: entry.header.sequence, decisions })
      ready = this.sessions.advance(session)
    }
    return applied
  }

  private tick(): void {
    this.time = Math.max(this.time, this.sessions.medianStamp() ?? 0)
  }

  private decide(located: LocatedCommand, place: number, effectLsn: number): Decision {
    const { command } = located
    const decision = this.withIdentity(command, () => this.perform(located, place, effectLsn))
    if (decision.ok) {
      this.hash.number(1)
      for (const o of decision.offsets ?? []) this.hash.number(o.offset)
    } else this.hash.string(decision.code)
    return decision
  }

  /** Sends a request that carries an identity through its lane. */
  private withIdentity(command: Command, perform: () => Decision): Decision {
    if (command.type === 'produce') {
      const { producerId, producerEpoch, baseSequence, count } = command.header
      if (producerId === 0) return perform()
      const identity = { id: producerId, epoch: producerEpoch, sequence: baseSequence }
      return this.producers.run(identity, command, count, this.time, perform)
    }
    if ('producer' in command && command.producer !== undefined)
      return this.producers.run(command.producer, 'command', 1, this.time, perform)
    return perform()
  }

  private perform(located: LocatedCommand, place: number, effectLsn: number): Decision {
    const { command, batchStarts } = located
    switch (command.type) {
      case 'produce': {
        const { topicId, partition, expect, partitions } = command
        const expectations = expect === undefined ? [] : [{ topicId, partition, offset: expect }]
        const stale = partitions === undefined ? undefined : this.stale([[topicId, partitions]])
        return stale ?? this.append([command], batchStarts, expectations, place, effectLsn)
      }
      case 'publish': {
        const stale = this.stale(command.maps ?? [])
        if (stale !== undefined) return stale
        return this.append(command.batches, batchStarts, command.expect, place, effectLsn, command)
      }
      case 'createTopic':
        return this.createTopic(command, effectLsn)
      case 'deleteTopic': {
        const topic = this.topics.byId.get(command.topicId)
        if (topic === undefined) return unknownTopic(command.topicId)
        this.topics.delete(topic)
        this.groups.topicDeleted(topic, this.time)
        this.shares.topicDeleted(topic)
        for (const partition of topic.partitions) this.touched.add(partition)
        return this.accept(effectLsn, { topic: topic.name, topicId: topic.id })
      }
      case 'alterTopic': {
        const topic = this.topics.byId.get(command.topicId)
        if (topic === undefined) return unknownTopic(command.topicId)
        this.topics.configure(topic, { ...topic.config, ...command.config })
        return this.accept(effectLsn, { topic: topic.name, config: topic.config })
      }
      case 'addPartitions':
        return this.addPartitions(command, effectLsn)
      case 'initProducer':
        return this.initProducer(command, effectLsn)
      case 'expireProducers': {
        const idle = command.ids.flatMap(id => this.producers.get(id) ?? [])
        this.producers.expire(
          idle.filter(producer => this.producers.isIdle(producer, this.time, command.idleMs)),
        )
        return this.accept(effectLsn)
      }
      case 'trim':
        if (command.clean === true) {
          this.topics.places.prune(command.before)
          this.meter.prune(command.before)
          break
        }
        return this.trim(command.before, effectLsn)
      case 'relocate': {
        const moved = relocate(this.topics, command.moves, batchStarts, place, this.isHeld)
        for (const base of moved) this.hash.number(base)
        return this.accept(effectLsn, { moved: moved.length })
      }
      case 'compacted': {
        const installed = !this.isHeld && compacted(this.topics, command, this.time)
        if (installed) this.hash.number(command.to)
        return this.accept(effectLsn, { installed })
      }
      case 'deleteRecords':
        return this.deleteRecords(command, effectLsn)
      case 'retain': {
        for (const [topicId, number] of command.partitions) {
          const topic = this.topics.byId.get(topicId)
          const partition = topic?.partitions[number]
          if (topic === undefined || partition === undefined || isHidden(topic)) continue
          if (this.isHeld) continue
          const from = retainedFrom(this.topics, topic, partition, command, this.time)
          this.giveUp(partition, from, effectLsn)
        }
        return this.accept(effectLsn)
      }
      case 'expire': {
        const session = this.sessions.live.get(command.session)
        if (session !== undefined && session.next === command.next) this.sessions.close(session)
        return this.accept(effectLsn)
      }
      case 'joinGroup':
      case 'leaveGroup':
      case 'detachMember':
      case 'attachMember':
      case 'releasePartitions':
      case 'commitOffsets':
      case 'resetOffsets':
      case 'deleteGroup':
      case 'sweepGroups':
        return this.ofGroup(this.inGroup(command), effectLsn)
      case 'openShareGroup':
      case 'acquireRecords':
      case 'acknowledgeRecords':
      case 'releaseRecords':
      case 'sweepShareGroups':
        return this.ofGroup(this.inShareGroup(command), effectLsn)
      case 'createToken':
      case 'revokeToken':
      case 'sweepTokens':
      case 'createAcls':
      case 'deleteAcls':
      case 'setQuota':
        return this.ofGroup(this.security.apply(command, this.time), effectLsn)
      case 'holdSnapshot':
      case 'releaseSnapshot':
      case 'restoreTopic':
      case 'restoreBatches':
      case 'restoreState':
      case 'finishRestore':
      case 'dropRestore': {
        const effect = { time: this.time, effectLsn, place }
        return this.ofGroup(this.restores.apply(command, batchStarts, effect), effectLsn)
      }
      case 'open':
        throw new Error('a session can only be opened by an entry of its own')
      case 'stamp':
        if (command.level !== undefined) this.sessions.setLevel(this.applying, command.level)
        if (command.note !== undefined) this.onNote?.(command.note, this.applying)
        break
      case 'void':
        break
    }
    return this.accept(effectLsn)
  }

  /** A snapshot is being taken: what it still has to read stays as it is. */
  private get isHeld(): boolean {
    return this.restores.holds.lasts(this.time)
  }

  private accept(lsn: number, result?: Readonly<Record<string, unknown>>): Decision {
    return { ok: true, lsn, timestamp: this.time, ...(result === undefined ? {} : { result }) }
  }

  private effect(): Effect {
    return { time: this.time, session: this.applying }
  }

  /** One name is one group, of one kind. */
  private inGroup(command: GroupCommand): GroupOutcome {
    if (command.type === 'sweepGroups' || !this.shares.has(command.group))
      return this.groups.apply(command, this.effect())
    if (command.type === 'resetOffsets')
      return this.shares.reset(command.group, command.offsets, this.time)
    if (command.type === 'deleteGroup') return this.shares.delete(command.group, this.time)
    return otherKind(command.group, 'share')
  }

  private inShareGroup(command: ShareCommand): GroupOutcome {
    const isOther =
      command.type !== 'sweepShareGroups' && this.groups.registry.byName.has(command.group)
    return isOther ? otherKind(command.group, 'consumer') : this.shares.apply(command, this.time)
  }

  /** Why the offsets or acknowledgements of a publish cannot be taken; undefined when they can. Changes nothing. */
  private refuseConsumed({ commit, ack }: Consumed): GroupOutcome | undefined {
    if (commit !== undefined && this.shares.has(commit.group))
      return otherKind(commit.group, 'share')
    const refused = commit === undefined ? undefined : this.groups.checkCommitNow(commit)
    return refused ?? (ack === undefined ? undefined : this.shares.checkAck(ack))
  }

  private ofGroup(outcome: GroupOutcome, effectLsn: number): Decision {
    return 'result' in outcome ? this.accept(effectLsn, outcome.result) : outcome
  }

  /** All batches or none: everything is validated against one state before anything changes. */
  private append(
    batches: readonly PartitionBatch[],
    batchStarts: readonly number[],
    expect: readonly { topicId: number; partition: number; offset: number }[],
    place: number,
    effectLsn: number,
    consumed: Consumed = {},
  ): Decision {
    const refused = this.refuseConsumed(consumed)
    if (refused !== undefined) return this.ofGroup(refused, effectLsn)
    const partitions: PartitionState[] = []
    for (const { topicId, partition } of batches) {
      const topic = this.topics.byId.get(topicId)
      if (topic === undefined) return unknownTopic(topicId)
      const state = topic.partitions[partition]
      if (state === undefined) return unknownPartition(topic, partition)
      partitions.push(state)
    }
    for (const e of expect) {
      const state = this.topics.partition(e.topicId, e.partition)
      if (state === undefined) return unknownTopic(e.topicId)
      if (state.next !== e.offset) return this.conflict(e, state.next)
    }
    const offsets: PartitionOffset[] = []
    batches.forEach(({ header, batch }, i) => {
      const partition = partitions[i] as PartitionState
      const { topicId, partition: number, next: base } = partition
      offsets.push({ topicId, partition: number, offset: base })
      this.topics.append(partition, {
        base,
        span: header.span,
        count: header.count,
        lsn: place,
        start: batchStarts[i] as number,
        length: batch.length,
        effectLsn,
        timestamp: this.time,
        maxTimestamp: Math.max(partition.maxTimestamp, header.maxTimestamp),
      })
      this.touched.add(partition)
    })
    if (consumed.commit !== undefined) this.groups.commit(consumed.commit, this.effect())
    if (consumed.ack !== undefined) this.shares.take(consumed.ack, this.time)
    return { ok: true, lsn: effectLsn, timestamp: this.time, offsets }
  }

  private conflict(
    expected: { topicId: number; partition: number; offset: number },
    actual: number,
  ): Decision {
    const topic = this.topics.byId.get(expected.topicId)?.name ?? ''
    return decided(
      'OFFSET_CONFLICT',
      `next offset of ${topic}[${expected.partition}] is ${actual}, expected ${expected.offset}`,
      {
        topic,
        partition: expected.partition,
        expected: expected.offset,
        actual,
      },
    )
  }

  private createTopic(command: Command & { type: 'createTopic' }, effectLsn: number): Decision {
    const existing = this.topics.byName.get(command.topic)
    if (existing !== undefined) {
      if (!command.ifNotExists)
        return decided('TOPIC_EXISTS', `topic ${command.topic} exists`, { topic: command.topic })
      return this.accept(effectLsn, topicResult(existing, false))
    }
    const hidden = this.topics.hidden.get(command.topic)
    if (hidden !== undefined) return restoring(hidden.name, hidden.restore?.id ?? '')
    const tooMany = this.tooManyPartitions(command.partitions)
    if (tooMany !== undefined) return tooMany
    const { partitions, config } = command
    const topic = this.topics.create(command.topic, partitions, config, this.time, effectLsn)
    this.hash.string(topic.name)
    this.hash.number(topic.id)
    this.groups.topicMade(topic, this.time)
    return this.accept(effectLsn, topicResult(topic, true))
  }

  private addPartitions(command: Command & { type: 'addPartitions' }, effectLsn: number): Decision {
    const { topicId, partitions, config } = command
    const topic = this.topics.byId.get(topicId)
    if (topic === undefined) return unknownTopic(topicId)
    const { length } = topic.partitions
    if (partitions <= length)
      return decided(
        'INVALID_PARTITIONS',
        `${topic.name} has ${length} partitions: partitions can only be added, not ${partitions} in all`,
        { topic: topic.name, limit: length, actual: partitions },
      )
    if (topic.epochs.length >= partitionEpochsMax)
      return decided(
        'LIMIT_EXCEEDED',
        `the partitions of ${topic.name} were counted ${partitionEpochsMax} times already (partitionEpochsMax)`,
        { topic: topic.name, limit: partitionEpochsMax, actual: topic.epochs.length + 1 },
      )
    const tooMany = this.tooManyPartitions(partitions - length)
    if (tooMany !== undefined) return tooMany
    this.topics.addPartitions(topic, partitions, effectLsn)
    this.topics.configure(topic, { ...topic.config, ...config })
    this.hash.number(topicId)
    this.hash.number(partitions)
    this.groups.partitionsAdded(topic, length, this.time)
    // Whoever reads the old ones must hear of the new ones.
    for (const partition of topic.partitions) this.touched.add(partition)
    return this.accept(effectLsn, { topic: topic.name, config: topic.config, partitions })
  }

  private tooManyPartitions(more: number): Decision | undefined {
    const { partitionCount } = this.topics
    if (partitionCount + more <= partitionsMax) return undefined
    return decided(
      'LIMIT_EXCEEDED',
      `at most ${partitionsMax} partitions in all; there are ${partitionCount}`,
      { limit: partitionsMax, actual: partitionCount + more },
    )
  }

  /**
   * The refusal of a request whose partitions were chosen out of another number of them: taken, it would put records of a key where readers do not expect
   * them any more. It decides nothing, so it consumes no sequence; and as the number only grows, the request can never take effect as it is.
   */
  private stale(maps: readonly PartitionMap[]): Decision | undefined {
    for (const [topicId, chosenOutOf] of maps) {
      const topic = this.topics.byId.get(topicId)
      const partitions = topic?.partitions.length
      if (topic === undefined || partitions === chosenOutOf) continue
      return refusal(
        'STALE_PARTITIONS',
        `${topic.name} has ${partitions} partitions, the request chose out of ${chosenOutOf}`,
        { topic: topic.name, partitions, actual: chosenOutOf },
      )
    }
    return undefined
  }

  private initProducer(command: Command & { type: 'initProducer' }, effectLsn: number): Decision {
    const { producerId, producerEpoch = 0, transactionalId, owner } = command
    if (owner !== undefined) this.hash.string(owner)
    const named = transactionalId === undefined ? undefined : this.producers.named(transactionalId)
    if (named !== undefined) {
      const epoch = named.epoch + 1
      this.producers.bump(named.id, epoch, this.time)
      this.hash.number(epoch)
      return this.accept(effectLsn, { producerId: named.id, producerEpoch: epoch })
    }
    const names = this.producers.namedCount
    if (transactionalId !== undefined && names >= transactionalIdsMax)
      return refusal('LIMIT_EXCEEDED', `there are ${names} transactional ids`, {
        limit: transactionalIdsMax,
        actual: names + 1,
      })
    const owned = owner === undefined ? 0 : this.producers.namedCountOf(owner)
    if (transactionalId !== undefined && owned >= transactionalIdsPerOwnerMax)
      return refusal(
        'LIMIT_EXCEEDED',
        `you have ${owned} transactional ids (transactionalIdsPerOwnerMax)`,
        { limit: transactionalIdsPerOwnerMax, actual: owned + 1 },
      )
    if (producerId === undefined) {
      const { id } = this.producers.allocate(this.time, transactionalId, owner)
      this.hash.number(id)
      return this.accept(effectLsn, { producerId: id, producerEpoch: 0 })
    }
    const known = this.producers.get(producerId)
    if (producerId >= this.producers.nextProducerId || producerId < 1)
      return refusal('UNKNOWN_PRODUCER', `producer ${producerId} was never given out`, {
        producerId,
      })
    if (known !== undefined && producerEpoch < known.epoch)
      return refusal(
        'PRODUCER_FENCED',
        `producer ${producerId} has epoch ${known.epoch}, the request ${producerEpoch}`,
        {
          producerEpoch: known.epoch,
        },
      )
    const epoch = producerEpoch + 1
    this.producers.bump(producerId, epoch, this.time, owner)
    return this.accept(effectLsn, { producerId, producerEpoch: epoch })
  }

  /** Gives up every batch whose bytes lie below `before`, with what precedes it in its partition. */
  private trim(before: number, effectLsn: number): Decision {
    for (const topic of this.topics.byId.values())
      for (const partition of topic.partitions) {
        let offset = partition.start
        for (const entry of this.topics.entriesFrom(partition, partition.start)) {
          if (entry.lsn < before) offset = entry.base + entry.span
          else if (entry.base >= partition.movedTo) break
        }
        this.giveUp(partition, offset, effectLsn)
      }
    return this.accept(effectLsn)
  }

  private deleteRecords(
    command: Command & { readonly type: 'deleteRecords' },
    effectLsn: number,
  ): Decision {
    const { topicId, partition: number, before } = command
    const topic = this.topics.byId.get(topicId)
    if (topic === undefined) return unknownTopic(topicId)
    const partition = topic.partitions[number]
    if (partition === undefined) return unknownPartition(topic, number)
    const { start, next: end } = partition
    if (before > end)
      return decided('OFFSET_OUT_OF_RANGE', `offset ${before} lies beyond the end ${end}`, {
        start,
        end,
        actual: before,
      })
    this.giveUp(partition, before, effectLsn)
    return this.accept(effectLsn, { partition: number, startOffset: partition.start })
  }

  /** The partition begins at `offset` from now on, if it did not begin later already. */
  private giveUp(partition: PartitionState, offset: number, effectLsn: number): void {
    if (offset <= partition.start) return
    this.topics.trim(partition, offset, effectLsn)
    this.hash.number(offset)
    this.touched.add(partition)
  }
}

function decided(
  code: (Decision & { ok: false })['code'],
  message: string,
  details: Readonly<Record<string, unknown>>,
): Decision {
  return { ok: false, code, message, details, decided: true }
}

function unknownTopic(topicId: number): Decision {
  return decided('UNKNOWN_TOPIC', `topic ${topicId} does not exist`, { topicId })
}

function unknownPartition(topic: TopicState, partition: number): Decision {
  const partitions = topic.partitions.length
  return decided(
    'UNKNOWN_PARTITION',
    `${topic.name} has ${partitions} partitions, asked for ${partition}`,
    {
      topic: topic.name,
      limit: partitions,
      actual: partition,
    },
  )
}

function topicResult(topic: TopicState, created: boolean): Readonly<Record<string, unknown>> {
  return { topic: topic.name, topicId: topic.id, partitions: topic.partitions.length, created }
}
