// Producers and their lanes: Kafka's idempotent producer, where the first applied decision is final (DESIGN 5.3; KIP-98).
//
// A lane is a sequence of requests of one (producer, epoch): one per partition for `produce`, and the producer's command lane for
// publish and admin. It keeps the next sequence and its last five decisions, so a retry gets the first answer back before any
// condition is looked at. Knows nothing of what is decided.

import { packFrame } from '../../wire/frame.ts'
import type { Decision } from './commands.ts'
import { laneKey, prefixRange, producerKey } from './keys.ts'
import type { StateStore, StoreOp } from './store.ts'
import { unpackOwn } from './own-frame.ts'

/** Decisions kept per lane = requests that may be in flight on it (protocol.md 5). */
export const decisionsPerLane = 5
/** Sequences wrap here, as Kafka's do. */
export const sequenceModulus = 2 ** 31
/** Producers with a transactional id. */
export const transactionalIdsMax = 100_000
/** Of one owner. */
export const transactionalIdsPerOwnerMax = 10_000
/** Producers without a name of one owner: beyond, those that have been idle for longest are forgotten. */
export const producersPerOwnerMax = 10_000
/** How many of them at a time. */
const forgottenPerOwner = producersPerOwnerMax / 10
/** How long the owner of a transactional id may be idle before its name is forgotten, by log time (Kafka's transactional.id.expiration.ms). */
export const transactionalIdExpirationMs = 7 * 86_400_000
/** Lanes kept in memory beyond those not yet stored. */
const cleanLanesMax = 20_000

interface Recorded {
  readonly sequence: number
  readonly count: number
  readonly decision: Decision
}

export interface Lane {
  epoch: number
  next: number
  decisions: Recorded[]
}

export interface Producer {
  readonly id: number
  epoch: number
  /** Log time of the last decision, ms. */
  lastSeen: number
  readonly commands: Lane
  /** Under which its owner finds it again (Kafka's transactional.id). */
  readonly transactionalId?: string
  /** Who asked for it; absent: whoever knows its id. Given once, with the id. */
  readonly owner?: string
}

interface Owned {
  named: number
  readonly unnamed: Set<Producer>
}

interface CachedLane {
  readonly lane: Lane
  readonly key: Uint8Array
}

export class Producers {
  nextProducerId = 1
  private readonly store: StateStore
  private readonly producers = new Map<number, Producer>()
  private readonly byTransactionalId = new Map<string, Producer>()
  private readonly byOwner = new Map<string, Owned>()
  private readonly lanes = new Map<string, CachedLane>()
  private readonly dirtyProducers = new Set<Producer>()
  private readonly dirtyLanes = new Set<CachedLane>()
  private deletions: StoreOp[] = []

  constructor(store: StateStore) {
    this.store = store
  }

  load(): void {
    for (const [, value] of this.store.range(prefixRange(5))) {
      const row = unpackOwn(value)
      const id = row.id as number
      const commands = decodeLane(row.l as Row)
      const name = row.x as string | undefined
      const owner = row.o as string | undefined
      const producer: Producer = {
        id,
        epoch: row.e as number,
        lastSeen: row.s as number,
        commands,
        ...(name === undefined ? {} : { transactionalId: name }),
        ...(owner === undefined ? {} : { owner }),
      }
      this.enter(producer)
    }
  }

  /** Transactional ids of an owner. */
  namedCountOf(owner: string): number {
    return this.byOwner.get(owner)?.named ?? 0
  }

  get namedCount(): number {
    return this.byTransactionalId.size
  }

  /** Whether the producer has been idle for so long that it may be forgotten; one with a name for as long as its former owners must stay fenced. */
  isIdle({ lastSeen, transactionalId }: Producer, logTime: number, idleMs: number): boolean {
    const least = transactionalId === undefined ? 0 : transactionalIdExpirationMs
    return logTime - lastSeen >= Math.max(idleMs, least)
  }

  /** The producer of a transactional id. */
  named(transactionalId: string): Producer | undefined {
    return this.byTransactionalId.get(transactionalId)
  }

  get(id: number): Producer | undefined {
    return this.producers.get(id)
  }

  all(): Iterable<Producer> {
    return this.producers.values()
  }

  allocate(logTime: number, transactionalId?: string, owner?: string): Producer {
    return this.insert(this.nextProducerId++, 0, logTime, { transactionalId, owner })
  }

  /** A producer with a name from another cluster: under the id that it had there, or another one where that is somebody else's. */
  restore(id: number, epoch: number, logTime: number, transactionalId: string): Producer {
    if (this.producers.has(id) || id >= this.nextProducerId)
      return this.allocate(logTime, transactionalId)
    return this.insert(id, epoch, logTime, { transactionalId })
  }

  /** Fences earlier users of the id. The producer may have expired: the id stays its own. */
  bump(id: number, epoch: number, logTime: number, owner?: string): Producer {
    const producer = this.producers.get(id) ?? this.insert(id, epoch, logTime, { owner })
    producer.epoch = epoch
    this.touch(producer, logTime)
    return producer
  }

  touch(producer: Producer, logTime: number): void {
    producer.lastSeen = logTime
    this.dirtyProducers.add(producer)
  }

  /** Forgets producers and their lanes. */
  expire(producers: readonly Producer[]): void {
    const ids = new Set<string>()
    for (const producer of producers) {
      const { id } = producer
      ids.add(String(id))
      this.leave(producer)
      this.dirtyProducers.delete(producer)
      this.deletions.push({ type: 'delete', key: producerKey(id) })
      this.deletions.push({
        type: 'deleteRange',
        low: laneKey(id, 0, 0),
        high: laneKey(id, 0xffff_ffff, 0xffff_ffff),
      })
    }
    if (ids.size === 0) return
    for (const [name, cached] of this.lanes)
      if (ids.has(name.slice(0, name.indexOf('/')))) {
        this.lanes.delete(name)
        this.dirtyLanes.delete(cached)
      }
  }

  /**
   * Runs one request of a lane: repeats a recorded decision, or lets `decide` make one and records it. `count` is how far the
   * sequence moves. Refusals of the identity itself, and those that `decide` calls undecided, are no decisions: nothing is recorded.
   */
  run(
    identity: { readonly id: number; readonly epoch: number; readonly sequence: number },
    place: { readonly topicId: number; readonly partition: number } | 'command',
    count: number,
    logTime: number,
    decide: () => Decision,
  ): Decision {
    let producer = this.producers.get(identity.id)
    if (producer === undefined || identity.epoch > producer.epoch) {
      if (identity.sequence !== 0 || identity.id >= this.nextProducerId)
        return refusal(
          'UNKNOWN_PRODUCER',
          `producer ${identity.id} with epoch ${identity.epoch} is not known`,
          {
            producerId: identity.id,
            producerEpoch: identity.epoch,
          },
        )
      producer = this.bump(identity.id, identity.epoch, logTime)
    }
    if (identity.epoch < producer.epoch)
      return refusal(
        'PRODUCER_FENCED',
        `producer ${identity.id} has epoch ${producer.epoch}, the request ${identity.epoch}`,
        {
          producerEpoch: producer.epoch,
        },
      )
    const cached =
      place === 'command' ? undefined : this.lane(producer, place.topicId, place.partition)
    const lane = cached?.lane ?? producer.commands
    if (lane.epoch < identity.epoch) {
      lane.epoch = identity.epoch
      lane.next = 0
      lane.decisions = []
    }
    if (identity.sequence !== lane.next) {
      const recorded = lane.decisions.find(
        d => d.sequence === identity.sequence && d.count === count,
      )
      if (recorded !== undefined)
        return recorded.decision.ok ? { ...recorded.decision, duplicate: true } : recorded.decision
      return refusal(
        'OUT_OF_ORDER_SEQUENCE',
        `sequence ${identity.sequence} is neither next nor recorded`,
        {
          expected: lane.next,
          actual: identity.sequence,
        },
      )
    }
    const decision = decide()
    if (!decision.ok && !decision.decided) return decision
    lane.next = (lane.next + count) % sequenceModulus
    lane.decisions.push({ sequence: identity.sequence, count, decision })
    if (lane.decisions.length > decisionsPerLane) lane.decisions.shift()
    this.touch(producer, logTime)
    if (cached !== undefined) this.dirtyLanes.add(cached)
    return decision
  }

  takeChanges(ops: StoreOp[]): () => void {
    ops.push(...this.deletions)
    this.deletions = []
    for (const producer of this.dirtyProducers)
      ops.push({ type: 'put', key: producerKey(producer.id), value: encodeProducer(producer) })
    this.dirtyProducers.clear()
    for (const { lane, key } of this.dirtyLanes)
      ops.push({ type: 'put', key, value: packFrame(encodeLane(lane)) })
    this.dirtyLanes.clear()
    return () => this.evict()
  }

  private insert(
    id: number,
    epoch: number,
    logTime: number,
    {
      transactionalId,
      owner,
    }: { readonly transactionalId?: string | undefined; readonly owner?: string | undefined } = {},
  ): Producer {
    const producer: Producer = {
      id,
      epoch,
      lastSeen: logTime,
      commands: { epoch, next: 0, decisions: [] },
      ...(transactionalId === undefined ? {} : { transactionalId }),
      ...(owner === undefined ? {} : { owner }),
    }
    if (owner !== undefined) this.makeRoom(owner)
    this.enter(producer)
    this.dirtyProducers.add(producer)
    return producer
  }

  /** By what the state has alone, so that all brokers forget the same: never by an order of insertion. */
  private makeRoom(owner: string): void {
    const { unnamed } = this.byOwner.get(owner) ?? {}
    if (unnamed === undefined || unnamed.size < producersPerOwnerMax) return
    const idlest = [...unnamed].sort((a, b) => a.lastSeen - b.lastSeen || a.id - b.id)
    this.expire(idlest.slice(0, forgottenPerOwner))
  }

  private enter(producer: Producer): void {
    const { id, transactionalId, owner } = producer
    this.producers.set(id, producer)
    if (transactionalId !== undefined) this.byTransactionalId.set(transactionalId, producer)
    if (owner === undefined) return
    let owned = this.byOwner.get(owner)
    if (owned === undefined) {
      owned = { named: 0, unnamed: new Set() }
      this.byOwner.set(owner, owned)
    }
    if (transactionalId === undefined) owned.unnamed.add(producer)
    else owned.named++
  }

  private leave(producer: Producer): void {
    const { id, transactionalId, owner } = producer
    this.producers.delete(id)
    if (transactionalId !== undefined) this.byTransactionalId.delete(transactionalId)
    const owned = owner === undefined ? undefined : this.byOwner.get(owner)
    if (owner === undefined || owned === undefined) return
    if (transactionalId === undefined) owned.unnamed.delete(producer)
    else owned.named--
    if (owned.named === 0 && owned.unnamed.size === 0) this.byOwner.delete(owner)
  }

  private lane(producer: Producer, topicId: number, partition: number): CachedLane {
    const name = `${producer.id}/${topicId}/${partition}`
    const known = this.lanes.get(name)
    if (known !== undefined) return known
    const key = laneKey(producer.id, topicId, partition)
    const value = this.store.get(key)
    const lane =
      value === undefined
        ? { epoch: producer.epoch, next: 0, decisions: [] }
        : decodeLane(unpackOwn(value))
    const cached = { lane, key }
    this.lanes.set(name, cached)
    return cached
  }

  /** Only lanes that the store has may go; insertion order makes the oldest go first. */
  private evict(): void {
    let excess = this.lanes.size - cleanLanesMax
    if (excess <= 0) return
    for (const [name, cached] of this.lanes) {
      if (excess <= 0) return
      if (this.dirtyLanes.has(cached)) continue
      this.lanes.delete(name)
      excess--
    }
  }
}

/** A refusal that decides nothing and consumes no sequence. */
export function refusal(
  code: (Decision & { ok: false })['code'],
  message: string,
  details: Readonly<Record<string, unknown>>,
): Decision {
  return { ok: false, code, message, details, decided: false }
}

interface Row {
  readonly [key: string]: unknown
}

function encodeProducer(producer: Producer): Uint8Array {
  const { id, epoch, lastSeen, commands, transactionalId: x, owner: o } = producer
  return packFrame({
    id,
    e: epoch,
    s: lastSeen,
    l: encodeLane(commands),
    ...(x === undefined ? {} : { x }),
    ...(o === undefined ? {} : { o }),
  })
}

/** A decision is stored as JSON text: five per lane at most, and only when it changed. */
function encodeLane(lane: Lane): { [key: string]: unknown } {
  return {
    e: lane.epoch,
    n: lane.next,
    d: lane.decisions.map(d => [d.sequence, d.count, JSON.stringify(d.decision)]),
  }
}

function decodeLane(row: Row): Lane {
  const decisions = (row.d as [number, number, string][]).map(([sequence, count, decision]) => ({
    sequence,
    count,
    decision: JSON.parse(decision) as Decision,
  }))
  return { epoch: row.e as number, next: row.n as number, decisions }
}
