// The clock by which proposers stamp: it follows the system's, leaps with none of its jumps, and never goes back nor stands still.

import { describe, expect, it } from 'vitest'
import { WallClock } from '../../broker/engine/wall-clock.ts'
import type { Clock } from '../../loglets/ports.ts'

const jumpMaxMs = 600_000

class HandClock implements Pick<Clock, 'now' | 'wall'> {
  monotonic = 0
  offset = 1_000_000
  now = (): number => this.monotonic
  wall = (): number => this.monotonic + this.offset
}

function clocks(): { readonly hand: HandClock; readonly wall: WallClock } {
  const hand = new HandClock()
  return { hand, wall: new WallClock(hand as unknown as Clock, jumpMaxMs) }
}

describe('the wall clock of a proposer', () => {
  it('follows the clock of the system, also where that is set forward a little', () => {
    const { hand, wall } = clocks()
    hand.monotonic += 500
    expect(wall.now()).toBe(1_000_500)
    hand.offset += 5000
    expect(wall.now()).toBe(1_005_500)
    expect(wall.distrusted).toBe(false)
  })

  it('does not follow a leap, and goes on with the time that passes', () => {
    const { hand, wall } = clocks()
    for (const leap of [jumpMaxMs + 1, -2 * (jumpMaxMs + 1)]) {
      hand.offset += leap
      hand.monotonic += 100
      const before = wall.now()
      expect(wall.distrusted).toBe(true)
      hand.monotonic += 100
      expect(wall.now()).toBe(before + 100)
    }
  })

  it('goes at half speed where the clock was set back, until both agree', () => {
    const { hand, wall } = clocks()
    wall.now()
    hand.offset -= 10_000
    const seen = [wall.now()]
    for (let i = 0; i < 200; i++) {
      hand.monotonic += 100
      seen.push(wall.now())
    }
    expect(seen[0]).toBe(1_000_000)
    for (let i = 1; i < seen.length; i++)
      expect((seen[i] as number) - (seen[i - 1] as number)).toBe(50)
    expect(seen.at(-1)).toBe(hand.wall())
    hand.monotonic += 100
    expect(wall.now()).toBe(hand.wall())
  })

  it('stamps from log time on, at half speed, where that is ahead of all clocks, until they agree', () => {
    const { hand, wall } = clocks()
    const logTime = hand.wall() + 3_600_000
    const seen = [wall.stamp(logTime)]
    for (let i = 0; i < 100; i++) {
      hand.monotonic += 60_000
      // Other brokers, or this one alone.
      seen.push(wall.stamp(i % 2 === 0 ? logTime : (seen.at(-1) as number)))
    }
    expect(seen[0]).toBe(logTime)
    for (let i = 1; i < seen.length; i++)
      expect((seen[i] as number) - (seen[i - 1] as number)).toBe(30_000)
    hand.monotonic += 21 * 60_000
    expect(wall.stamp(seen.at(-1) as number)).toBe(hand.wall())
    expect(wall.distrusted).toBe(false)
  })

  it('stamps by the clock where that is ahead, whatever log time is', () => {
    const { hand, wall } = clocks()
    expect(wall.stamp(0)).toBe(1_000_000)
    hand.monotonic += 10
    expect(wall.stamp(1_000_005)).toBe(1_000_010)
  })
})
