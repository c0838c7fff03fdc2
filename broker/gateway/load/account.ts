// What one principal has under way here, and what its quota lets it have. While authentication is off each connection is one by itself.
//
// Guarantees: rates are paid for afterwards (token-bucket.ts), by whoever of the principal's connections asks next; without a quota nothing
// is counted on the hot path but two sums. Quotas hold per broker, as in Kafka.

import type { Quota, QuotaKind } from '../../security/quota.ts'
import { TokenBucket } from './token-bucket.ts'

/** What a throttle is for. */
export const throttleKinds = ['produce', 'consume', 'request'] as const
export type ThrottleKind = (typeof throttleKinds)[number]

export const rateOf = {
  produce: 'producerByteRate',
  consume: 'consumerByteRate',
  request: 'requestRate',
} as const satisfies Record<ThrottleKind, QuotaKind>

export class Account {
  readonly name: string
  connections = 0
  /** Admitted writes without an answer, bytes with their overhead. */
  underWay = 0
  /** Open, on all of its connections. */
  subscriptions = 0
  /** Requests without an answer. */
  inFlightBytes = 0
  /** Version of the quotas that `quota` was read from. */
  version = -1
  private limits: Quota = {}
  private buckets: Partial<Record<ThrottleKind, TokenBucket>> = {}
  /** Connections that are not read for lack of `inFlightBytes`. */
  private waiting: Set<() => void> | undefined

  constructor(name: string) {
    this.name = name
  }

  get quota(): Quota {
    return this.limits
  }

  /** True when nothing is limited by rate. */
  get isFree(): boolean {
    const { producerByteRate, consumerByteRate, requestRate } = this.limits
    return (producerByteRate ?? consumerByteRate ?? requestRate) === undefined
  }

  setQuota(quota: Quota, now: number): void {
    this.limits = quota
    for (const kind of throttleKinds) {
      const rate = quota[rateOf[kind]]
      if (rate === undefined) delete this.buckets[kind]
      else if (this.buckets[kind] === undefined) this.buckets[kind] = new TokenBucket(rate, now)
      else this.buckets[kind].setRate(rate, now)
    }
    this.wake()
  }

  /** Pays for something that was served. @returns ms to wait before more is */
  pay(kind: ThrottleKind, amount: number, now: number): number {
    return this.buckets[kind]?.take(amount, now) ?? 0
  }

  debtMs(kind: ThrottleKind, now: number): number {
    return this.buckets[kind]?.debtMs(now) ?? 0
  }

  hasDebt(now: number): boolean {
    return throttleKinds.some(kind => this.debtMs(kind, now) > 0)
  }

  /** Its connections are not read for now. */
  get isFull(): boolean {
    const { inFlightBytes } = this.limits
    return inFlightBytes !== undefined && this.inFlightBytes >= inFlightBytes
  }

  /** Calls `fn` once there is room again. */
  whenLess(fn: () => void): void {
    this.waiting ??= new Set()
    this.waiting.add(fn)
  }

  /** Requests were answered. */
  answered(bytes: number): void {
    this.inFlightBytes -= bytes
    if (this.waiting !== undefined && !this.isFull) this.wake()
  }

  private wake(): void {
    const { waiting } = this
    this.waiting = undefined
    if (waiting !== undefined) for (const wake of waiting) wake()
  }
}
