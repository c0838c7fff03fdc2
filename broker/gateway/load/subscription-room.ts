// How many subscriptions the memory for clients has room for, and how many of them one principal may have (while authentication is off: one connection).
//
//   0 ─── those of all ──────────────┬───────── free ─────────── limit
//         of one principal: at most as many as are free
//
// Subscriptions stay, so nobody who comes later gets room by waiting: some has to be left. Whoever has as many as are free gets no more, so one alone ends
// at half of the limit, two at a third each, and there is always something for who has less (dynamic thresholds of Choudhury and Hahne, for buffers of switches).

import { LogloomError } from '../../../wire/errors.ts'
import type { Account } from './account.ts'

/** What a subscription costs as long as it is there, measured: 1.7 KB with nothing to send. */
export const subscriptionOverheadBytes = 2048
const retryAfterMs = 1000

export class SubscriptionRoom {
  /** Subscriptions. */
  readonly limit: number
  private readonly budgetBytes: number
  private count = 0

  constructor(budgetBytes: number) {
    this.budgetBytes = budgetBytes
    this.limit = Math.floor(budgetBytes / subscriptionOverheadBytes)
  }

  /** Open, on all connections. */
  get open(): number {
    return this.count
  }

  /** One more of this account. @throws THROTTLED when the memory has room for none, or for none of an account that has so many */
  add(account: Account): void {
    const { count, limit, budgetBytes } = this
    const free = limit - count
    const ofMemory = `fit the memory (memoryBudgetBytes ${budgetBytes})`
    if (free <= 0)
      throw new LogloomError(
        'THROTTLED',
        `${count} subscriptions are open on all connections, at most ${limit} ${ofMemory}`,
        { limit, actual: count, retryAfterMs },
      )
    if (account.subscriptions >= free)
      throw new LogloomError(
        'THROTTLED',
        `${account.name} has ${account.subscriptions} subscriptions open; of the ${limit} that ${ofMemory} ${free} are free, and nobody gets more than are left to others`,
        { limit: free, actual: account.subscriptions, retryAfterMs },
      )
    account.subscriptions++
    this.count++
  }

  remove(account: Account, count: number): void {
    account.subscriptions -= count
    this.count -= count
  }
}
