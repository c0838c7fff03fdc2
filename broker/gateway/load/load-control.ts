// Everything that all connections share to stay within bounds: the memory they hold, the writes that get in, the accounts of principals, and
// the door (docs/operations.md, "Under load").

import type { Settings } from '../../settings.ts'
import type { GatewayStats } from '../stats.ts'
import { Accounts, type QuotaSource } from './accounts.ts'
import { Admission, loadTickMs } from './admission.ts'
import { Doorkeeper } from './doorkeeper.ts'
import { MemoryBudget } from './memory-budget.ts'
import { SubscriptionRoom } from './subscription-room.ts'

const sweepMs = 1000

export class LoadControl {
  readonly budget: MemoryBudget
  readonly subscriptions: SubscriptionRoom
  readonly admission: Admission
  readonly accounts: Accounts
  readonly door: Doorkeeper
  private readonly intervals: ReturnType<typeof setInterval>[]

  constructor(settings: Settings, quotas: QuotaSource, stats: GatewayStats) {
    this.budget = new MemoryBudget(settings.memoryBudgetBytes)
    this.subscriptions = new SubscriptionRoom(this.budget.hardBytes)
    this.admission = new Admission({
      budget: this.budget,
      queueTimeTargetMs: settings.queueTimeTargetMs,
      windowBytesMax: settings.backlogBytesMax,
      now: performance.now(),
    })
    this.accounts = new Accounts(settings, quotas)
    this.door = new Doorkeeper(settings, stats.rejected)
    this.intervals = [
      setInterval(() => this.admission.tick(performance.now()), loadTickMs),
      setInterval(() => this.sweep(performance.now()), sweepMs),
    ]
    for (const interval of this.intervals) interval.unref()
  }

  close(): void {
    for (const interval of this.intervals) clearInterval(interval)
  }

  private sweep(now: number): void {
    this.accounts.sweep(now)
    this.door.sweep(now)
  }
}
