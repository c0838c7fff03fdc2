// Which writes get in when more come than the broker can do (docs/operations.md, "Under load").
//
//   offered ──► [ admitted and unanswered ≤ window ] ──► answered at the broker's rate
//                 └ else THROTTLED { retryAfterMs }, nothing done
//
// By Little's law what waits is as long as what is under way divided by the rate of answers. So the window follows the measured rate: it holds
// what the broker answers in `queueTimeTargetMs`, less when the event loop itself lags. Full, it is shared evenly by those who want something
// (max-min fairness): who has less than its share gets in. The rate is believed only from times in which something waited all along, and the
// best of the last ones counts, as in BBR; that way neither an idle broker nor one slow second closes it.

import { LogloomError } from '../../../wire/errors.ts'
import type { Account } from './account.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { withoutStack } from './without-stack.ts'

export const shedReasons = ['memory', 'queue'] as const
export type ShedReason = (typeof shedReasons)[number]

/** How often `tick` is to be called. */
export const loadTickMs = 20
/** The window never gets smaller. */
const windowBytesMin = 1 << 20
/** What one connection or principal may have in any case, while there is room at all. */
const shareBytesMin = 64 << 10
const sampleMs = 200
/** Samples that make one measured rate, and rates of which the best counts. */
const samplesPerRate = 5
const ratesKept = 5
const lagsKept = 8
const retryAfterMsMin = 50
const retryAfterMsMax = 5000

export interface AdmissionOptions {
  readonly budget: MemoryBudget
  readonly queueTimeTargetMs: number
  /** The window never gets larger. */
  readonly windowBytesMax: number
  readonly now: number
}

export class Admission {
  /** Of admitted writes without an answer, bytes with their overhead. */
  underWay = 0
  readonly shed: Record<ShedReason, number> = { memory: 0, queue: 0 }
  private readonly options: AdmissionOptions
  private window: number
  /** Accounts with something under way. */
  private active = 0
  private answered = 0
  private refused = 0
  private wasIdle = true
  private sampleAt: number
  private readonly samples: { readonly bytes: number; readonly ms: number }[] = []
  private readonly rates: number[] = []
  /** What was refused in the last samples. */
  private readonly refusedBefore: number[] = []
  private refusals: Partial<Record<ShedReason, LogloomError>> = {}
  private tickAt: number
  private readonly lags: number[] = []

  constructor(options: AdmissionOptions) {
    this.options = options
    this.window = options.windowBytesMax
    this.sampleAt = options.now
    this.tickAt = options.now
  }

  /** What may be under way at present. */
  get windowBytes(): number {
    return this.window
  }

  /** How far the event loop lags all the time, ms: the least of the last lags. */
  get lagMs(): number {
    return this.lags.length === 0 ? 0 : Math.min(...this.lags)
  }

  /** Lets a write of `bytes` in, to be answered by `leave`, or says why not. */
  enter(account: Account, bytes: number): LogloomError | undefined {
    const reason = this.reasonAgainst(account, bytes)
    if (reason !== undefined) {
      this.shed[reason]++
      this.refused += bytes
      // One for all who are refused until the next tick: a refusal must cost much less than what it saves.
      this.refusals[reason] ??= withoutStack(() => this.refusal(reason))
      return this.refusals[reason]
    }
    if (account.underWay === 0) this.active++
    account.underWay += bytes
    this.underWay += bytes
    return undefined
  }

  leave(account: Account, bytes: number): void {
    account.underWay -= bytes
    if (account.underWay === 0) this.active--
    this.underWay -= bytes
    this.answered += bytes
    if (this.underWay === 0) this.wasIdle = true
  }

  /** Measures; to be called every `loadTickMs`. */
  tick(now: number): void {
    this.refusals = {}
    this.lags.push(Math.max(0, now - this.tickAt - loadTickMs))
    if (this.lags.length > lagsKept) this.lags.shift()
    this.tickAt = now
    const ms = now - this.sampleAt
    if (ms < sampleMs) return
    this.refusedBefore.push(this.refused)
    if (this.refusedBefore.length > samplesPerRate) this.refusedBefore.shift()
    if (!this.wasIdle) this.measured(this.answered, ms)
    this.sampleAt = now
    this.answered = 0
    this.refused = 0
    this.wasIdle = this.underWay === 0
    this.resize()
  }

  private measured(bytes: number, ms: number): void {
    this.samples.push({ bytes, ms })
    if (this.samples.length > samplesPerRate) this.samples.shift()
    const total = this.samples.reduce((sum, each) => sum + each.bytes, 0)
    this.rates.push((total * 1000) / this.samples.reduce((sum, each) => sum + each.ms, 0))
    if (this.rates.length > ratesKept) this.rates.shift()
  }

  /** Bytes per second; undefined until something was measured. */
  private get rate(): number | undefined {
    return this.rates.length === 0 ? undefined : Math.max(...this.rates)
  }

  private resize(): void {
    const { queueTimeTargetMs, windowBytesMax } = this.options
    const { rate, lagMs } = this
    if (rate === undefined) return
    const lagging = lagMs > queueTimeTargetMs ? queueTimeTargetMs / lagMs : 1
    const wanted = ((rate * queueTimeTargetMs) / 1000) * lagging
    this.window = Math.min(windowBytesMax, Math.max(windowBytesMin, Math.round(wanted)))
  }

  private reasonAgainst(account: Account, bytes: number): ShedReason | undefined {
    if (this.options.budget.isTight) return 'memory'
    const after = this.underWay + bytes
    if (after <= this.window || this.underWay === 0) return undefined
    const sharers = this.active + (account.underWay === 0 ? 1 : 0)
    const share = Math.max(shareBytesMin, this.window / sharers)
    const isBelowShare = account.underWay === 0 || account.underWay + bytes <= share
    return isBelowShare && after <= 2 * this.window ? undefined : 'queue'
  }

  private refusal(reason: ShedReason): LogloomError {
    const retryAfterMs = this.retryAfterMs()
    const { budget, queueTimeTargetMs } = this.options
    if (reason === 'memory')
      return new LogloomError(
        'THROTTLED',
        `the broker holds ${budget.heldBytes} bytes for its clients and takes no writes above ${budget.softBytes} (memoryBudgetBytes ${budget.hardBytes})`,
        { limit: budget.softBytes, actual: budget.heldBytes, retryAfterMs },
      )
    return new LogloomError(
      'THROTTLED',
      `${this.underWay} bytes of writes are under way, ${this.window} are what the broker does in ${queueTimeTargetMs} ms (queueTimeTargetMs)`,
      { limit: this.window, actual: this.underWay, retryAfterMs },
    )
  }

  /** When it is worth coming back: the time that what is under way and what was refused of late would take. */
  private retryAfterMs(): number {
    const outside = this.refusedBefore.reduce((sum, bytes) => sum + bytes, this.refused)
    const rate = Math.max(this.rate ?? 0, windowBytesMin)
    const ms = ((this.underWay + outside) * 1000) / rate
    return Math.ceil(Math.min(retryAfterMsMax, Math.max(retryAfterMsMin, ms)))
  }
}
