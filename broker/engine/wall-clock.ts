// The proposer's wall clock, protected against jumps (DESIGN 5.1: a lone broker refuses a clock jump beyond a limit).
//
// Follows the system's clock while it moves roughly as the monotonic one does; after a larger jump it goes on by the monotonic clock
// until the two agree again, so log time, which decides what expires, never leaps. Nor does it stand still: where the system's clock was set back, this one
// goes at half speed until that has caught up. Standing still on most nodes it would keep every lock and grace period from ending for as long. The same
// where log time is ahead of the system's clocks, because the only broker that there was at some time had another: its time goes on from there.

import type { Clock } from '../../loglets/ports.ts'

export class WallClock {
  private readonly clock: Clock
  private readonly jumpMaxMs: number
  private wall: number
  private monotonic: number
  private jumped = false
  private stamped = 0
  private stampedAt = 0

  constructor(clock: Clock, jumpMaxMs: number) {
    this.clock = clock
    this.jumpMaxMs = jumpMaxMs
    this.wall = clock.wall()
    this.monotonic = clock.now()
  }

  /** True while the system's clock is not followed. */
  get distrusted(): boolean {
    return this.jumped
  }

  /** Whole milliseconds since 1970. */
  now(): number {
    const monotonic = this.clock.now()
    const passed = monotonic - this.monotonic
    const expected = this.wall + passed
    const actual = this.clock.wall()
    this.jumped = Math.abs(actual - expected) > this.jumpMaxMs
    this.wall = this.jumped ? expected : Math.max(actual, this.wall + passed / 2)
    this.monotonic = monotonic
    return Math.floor(this.wall)
  }

  /** What an entry is stamped with when log time is `logTime`, ms since 1970. */
  stamp(logTime: number): number {
    const wall = this.now()
    const passed = this.monotonic - this.stampedAt
    this.stamped = Math.max(wall, logTime, this.stamped + passed / 2)
    this.stampedAt = this.monotonic
    return Math.floor(this.stamped)
  }
}
