// Says that something still is so: at once, then at growing intervals, however often it is found.

import type { Clock } from '../loglets/ports.ts'

const firstMs = 1000
const longestMs = 30_000

export class Reminder {
  private readonly clock: Clock
  private dueAt = Number.NEGATIVE_INFINITY
  private waitMs = firstMs

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** True when it is time to say it again. */
  get isDue(): boolean {
    const now = this.clock.now()
    if (now < this.dueAt) return false
    this.dueAt = now + this.waitMs
    this.waitMs = Math.min(this.waitMs * 2, longestMs)
    return true
  }

  /** It is over: the next time is the first again. */
  reset(): void {
    this.dueAt = Number.NEGATIVE_INFINITY
    this.waitMs = firstMs
  }
}
