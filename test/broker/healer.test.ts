// The healer's patience: quick for a new trouble, slower and slower while its own tries do not last.

import { describe, expect, it } from 'vitest'
import { Healer } from '../../broker/engine/healer.ts'
import type { Clock } from '../../loglets/ports.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'

/** Time that moves only when somebody sleeps. */
class TestClock implements Clock {
  time = 0
  now(): number {
    return this.time
  }
  wall(): number {
    return this.time
  }
  async sleep(ms: number): Promise<void> {
    this.time += ms
  }
}

/** A log whose reconfigurations always work. */
function logOf(): { log: VirtualLog; lastIndex: () => number } {
  const chain = { version: 1, segments: [{ index: 0, spec: 'native' }] }
  const log = {
    chain,
    refresh: async () => chain,
    reconfigure: async (index: number) => {
      chain.segments.push({ index: index + 1, spec: 'native' })
    },
  }
  return {
    log: log as unknown as VirtualLog,
    lastIndex: () => (chain.segments.at(-1) as { index: number }).index,
  }
}

describe('the healer', () => {
  const setUp = () => {
    const clock = new TestClock()
    const { log, lastIndex } = logOf()
    const random = { next: () => 1, hex: () => 'ab' }
    const healer = new Healer({ log, clock, random, onTrouble: () => {} })
    const heal = async (): Promise<number> => {
      const start = clock.time
      await healer.heal(lastIndex(), 'gone')
      return clock.time - start
    }
    return { clock, heal, healer, lastIndex }
  }

  it('reconfigures at once, and waits longer each time its own segment fails right away', async () => {
    const { heal, lastIndex } = setUp()
    const waits = [await heal(), await heal(), await heal(), await heal()]
    expect(lastIndex()).toBe(4)
    expect(waits[0]).toBeLessThan(50)
    for (let i = 1; i < waits.length; i++) expect(waits[i]).toBeGreaterThan(waits[i - 1] as number)
  })

  it('is as quick as at first once the log went on for a while', async () => {
    const { clock, heal } = setUp()
    const first = await heal()
    await heal()
    await heal()
    clock.time += 5000
    expect(await heal()).toBe(first)
  })

  it('does nothing when somebody else has moved the log on', async () => {
    const { clock, heal, healer, lastIndex } = setUp()
    await heal()
    const [segment, time] = [lastIndex(), clock.time]
    await healer.heal(segment - 1, 'late news')
    expect([lastIndex(), clock.time]).toEqual([segment, time])
  })
})
