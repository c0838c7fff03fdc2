// What a share group knows of one partition (KIP-932): which records somebody holds, which wait to be delivered again, and where the new ones begin.
//
//   start                                          end
//     |  held  ·  ready  held  ·  delayed  ·  held  |  never delivered …
//     below start, and at the dots: finished (acknowledged or archived), of which nothing is kept
//
// Guarantees: a record has one holder at a time; what is not finished is never forgotten; the memory is bounded by `recordLocksMax`, however far apart
// the unfinished ones lie. Offsets without a record (compaction) are delivered like others: who fetches them finds nothing and says so.

import { upperBound } from '../../../loglets/upper-bound.ts'

/** Records of one partition that are not finished, below which new ones are delivered (KIP-932's group.share.partition.max.record.locks). */
export const recordLocksMax = 2000

/** A record that was delivered and is not finished. */
export interface Delivery {
  /** How often it was delivered. */
  count: number
  /** Member that holds it. */
  holder: string | undefined
  /** Log time at which the lock, or without a holder the delay, is over, ms; undefined: it waits to be delivered. */
  until: number | undefined
}

/** A batch of the partition, as far as delivering goes. */
export interface BatchSpan {
  readonly base: number
  readonly span: number
  /** Bytes; 0 when nothing of it can be read. */
  readonly length: number
}

/** Neighbours that were delivered together equally often. */
export type Acquired = readonly [first: number, count: number, deliveryCount: number]

/** The partition itself, as far as delivering goes. */
export interface PartitionLog {
  /** Its end. */
  readonly next: number
  /** The batches that reach past an offset, in order. */
  readonly batchesFrom: (offset: number) => Iterable<BatchSpan>
}

/** What is to be decided when a record comes back. */
export interface DeliveryRules {
  readonly deliveryCountLimit: number
  readonly keepsDead: boolean
}

/** What a member asks for. */
export interface Lease {
  readonly memberId: string
  /** Log time, ms. */
  readonly time: number
  readonly lockMs: number
  readonly maxRecords: number
  /** Of batches; the first one always fits. */
  readonly maxBytes: number
}

/** What a member was given. */
export interface Taken {
  readonly runs: readonly Acquired[]
  readonly records: number
  readonly bytes: number
}

class Taking implements Taken {
  readonly runs: [first: number, count: number, deliveryCount: number][] = []
  records = 0
  redelivered = 0
  bytes = 0
  readonly until: number
  private readonly lease: Lease
  private readonly countMax: number

  constructor(lease: Lease, { deliveryCountLimit }: DeliveryRules) {
    this.lease = lease
    this.until = lease.time + lease.lockMs
    this.countMax = deliveryCountLimit + 1
  }

  get isFull(): boolean {
    return this.records >= this.lease.maxRecords
  }

  /** Whether one more batch is within what was asked for. */
  takes({ length }: BatchSpan): boolean {
    if (this.records > 0 && this.bytes + length > this.lease.maxBytes) return false
    this.bytes += length
    return true
  }

  give(offset: number, delivery: Delivery): void {
    delivery.count = Math.min(delivery.count + 1, this.countMax)
    delivery.holder = this.lease.memberId
    delivery.until = this.until
    this.records++
    if (delivery.count > 1) this.redelivered++
    const last = this.runs.at(-1)
    if (last !== undefined && last[0] + last[1] === offset && last[2] === delivery.count) last[1]++
    else this.runs.push([offset, 1, delivery.count])
  }
}

export class SharePartition {
  readonly topicId: number
  readonly partition: number
  /** First offset that was never delivered. */
  end: number
  /** In the order of the offsets. */
  readonly records = new Map<number, Delivery>()
  /** Offsets of those that wait to be delivered again, in order. */
  private ready: number[] = []
  /** Log time before which no lock and no delay is over, ms. */
  due = Number.POSITIVE_INFINITY
  /** Since the beginning: deliveries, those that were not the first of their record, records that were accepted, and that were given up. */
  delivered = 0
  redelivered = 0
  acknowledged = 0
  archived = 0

  constructor(topicId: number, partition: number, end: number) {
    this.topicId = topicId
    this.partition = partition
    this.end = end
  }

  /** Below it everything is finished. */
  get start(): number {
    for (const offset of this.records.keys()) return offset
    return this.end
  }

  get held(): number {
    let held = 0
    for (const { holder } of this.records.values()) if (holder !== undefined) held++
    return held
  }

  /**
   * Records that an acquire at this time would give, as far as `next`, the partition's end, tells; those whose lock or delay is over count as one.
   */
  available(time: number, next: number): number {
    const isDue = this.due <= time
    const unseen = Math.min(next - this.end, recordLocksMax - this.records.size)
    return this.ready.length + Number(isDue) + Math.max(0, unseen)
  }

  /** To be called with every record that a stored state knows, in the order of the offsets. */
  restore(offset: number, delivery: Delivery): void {
    this.records.set(offset, delivery)
    if (delivery.until === undefined) this.ready.push(offset)
    else this.due = Math.min(this.due, delivery.until)
  }

  /** Takes back what was locked or delayed up to `time`. @returns whether anything was */
  expire(time: number, rules: DeliveryRules): boolean {
    if (this.due > time) return false
    let due = Number.POSITIVE_INFINITY
    for (const [offset, delivery] of this.records) {
      const { until, holder } = delivery
      if (until === undefined) continue
      if (until > time) due = Math.min(due, until)
      else if (holder === undefined) this.makeReady(offset, delivery)
      else this.takeBack(offset, delivery, 0, time, rules)
    }
    this.due = due
    return true
  }

  /** The partition begins at `start` now: what lies below is gone. */
  trim(start: number): void {
    for (const offset of this.records.keys()) {
      if (offset >= start) break
      this.records.delete(offset)
      this.archived++
    }
    this.ready = this.ready.slice(above(this.ready, start - 1))
    this.end = Math.max(this.end, start)
  }

  /**
   * Locks records for a member: first those that come again, then new ones.
   * @returns what is the member's now; `bytes` are those of the batches in which it lies
   */
  acquire(lease: Lease, rules: DeliveryRules, log: PartitionLog): Taken {
    const taking = new Taking(lease, rules)
    this.acquireAgain(taking, log)
    if (this.ready.length === 0) this.acquireNew(taking, log)
    const { records, redelivered } = taking
    this.delivered += records
    this.redelivered += redelivered
    if (records > 0) this.due = Math.min(this.due, taking.until)
    return taking
  }

  private acquireAgain(taking: Taking, log: PartitionLog): void {
    let passed = 0
    let batch: BatchSpan | undefined
    for (const offset of this.ready) {
      if (taking.isFull) break
      if (batch === undefined || offset >= batch.base + batch.span) {
        batch = first(log.batchesFrom(offset))
        if (batch !== undefined && batch.base <= offset && !taking.takes(batch)) break
      }
      passed++
      // Compacted away meanwhile.
      if (batch === undefined || offset < batch.base) this.finish(offset, 'archived')
      else taking.give(offset, this.records.get(offset) as Delivery)
    }
    this.ready = this.ready.slice(passed)
  }

  private acquireNew(taking: Taking, log: PartitionLog): void {
    const isFull = (): boolean => taking.isFull || this.records.size >= recordLocksMax
    if (isFull()) return
    for (const batch of log.batchesFrom(this.end)) {
      const behind = batch.base + batch.span
      // Lost: there is nothing to deliver.
      if (batch.length === 0) {
        this.end = behind
        continue
      }
      if (isFull() || !taking.takes(batch)) return
      for (let offset = Math.max(this.end, batch.base); offset < behind; offset++) {
        if (isFull()) return
        const delivery: Delivery = { count: 0, holder: undefined, until: undefined }
        this.records.set(offset, delivery)
        taking.give(offset, delivery)
        this.end = offset + 1
      }
    }
    this.end = log.next
  }

  isHeldBy(offset: number, memberId: string): boolean {
    return this.records.get(offset)?.holder === memberId
  }

  /** Nothing more is to be done with a record that somebody holds. */
  finish(offset: number, how: 'acknowledged' | 'archived' | 'gap'): void {
    this.records.delete(offset)
    if (how !== 'gap') this[how]++
  }

  /** The holder gives a record back. */
  release(offset: number, delayMs: number, time: number, rules: DeliveryRules): void {
    this.takeBack(offset, this.records.get(offset) as Delivery, delayMs, time, rules)
  }

  /** The holder keeps a record for so long from now on. */
  renew(offset: number, until: number): void {
    const delivery = this.records.get(offset) as Delivery
    delivery.until = until
    this.due = Math.min(this.due, until)
  }

  /** Gives back what a member holds and was never told of, or will not work on. @returns how many */
  releaseAll(memberId: string, isKept: (offset: number) => boolean): number {
    let released = 0
    for (const [offset, delivery] of this.records) {
      if (delivery.holder !== memberId || isKept(offset)) continue
      delivery.count--
      this.makeReady(offset, delivery)
      released++
    }
    return released
  }

  /** Begins anew at `offset`. */
  reset(offset: number): void {
    this.records.clear()
    this.ready = []
    this.due = Number.POSITIVE_INFINITY
    this.end = offset
  }

  private takeBack(
    offset: number,
    delivery: Delivery,
    delayMs: number,
    time: number,
    { deliveryCountLimit, keepsDead }: DeliveryRules,
  ): void {
    if (delivery.count >= deliveryCountLimit && !keepsDead) {
      this.finish(offset, 'archived')
      return
    }
    if (delayMs === 0) {
      this.makeReady(offset, delivery)
      return
    }
    delivery.holder = undefined
    delivery.until = time + delayMs
    this.due = Math.min(this.due, delivery.until)
  }

  private makeReady(offset: number, delivery: Delivery): void {
    delivery.holder = undefined
    delivery.until = undefined
    this.ready.splice(above(this.ready, offset), 0, offset)
  }
}

const above = (offsets: readonly number[], offset: number): number =>
  upperBound(offsets, offset, each => each)

function first<T>(items: Iterable<T>): T | undefined {
  for (const item of items) return item
  return undefined
}
