// A stop tells its connections over time, each once, and leaves none.

import { describe, expect, it } from 'vitest'
import { Drain, spreadOf } from '../../broker/gateway/drain.ts'

class FakeConnection {
  closed = false
  idle = true
  toldAt: number | undefined
  told = 0
  terminated = false
  private readonly all: Set<FakeConnection>

  constructor(all: Set<FakeConnection>) {
    this.all = all
    all.add(this)
  }

  goAway(): void {
    this.told++
    this.toldAt = performance.now()
  }

  close(): void {
    this.closed = true
    setImmediate(() => this.all.delete(this))
  }

  terminate(): void {
    this.terminated = true
    this.all.delete(this)
  }
}

describe('the spread of a stop', () => {
  it('grows with the connections, up to the setting and half of the drain', () => {
    expect(spreadOf(0, 5000, 10_000)).toBe(0)
    expect(spreadOf(1, 5000, 10_000)).toBe(0)
    expect(spreadOf(100, 5000, 10_000)).toBe(400)
    expect(spreadOf(10_000, 5000, 10_000)).toBe(5000)
    expect(spreadOf(10_000, 5000, 2000)).toBe(1000)
    expect(spreadOf(10_000, 0, 10_000)).toBe(0)
  })
})

describe('a stop', () => {
  it('tells every connection once, not all at the same time, and closes each', async () => {
    const all = new Set<FakeConnection>()
    const made = Array.from({ length: 60 }, () => new FakeConnection(all))
    await new Drain(all, 5000).run(10_000)
    expect(made.every(({ told, closed }) => told === 1 && closed)).toBe(true)
    const times = new Set(made.map(({ toldAt }) => toldAt))
    expect(times.size).toBeGreaterThan(5)
    expect(made.map(({ toldAt }) => toldAt)).not.toEqual(
      made.map(({ toldAt }) => toldAt).sort((a = 0, b = 0) => a - b),
    )
  })

  it('tells who came in meanwhile, too, and closes who is never done at the deadline', async () => {
    const all = new Set<FakeConnection>()
    const busy = new FakeConnection(all)
    busy.idle = false
    const draining = new Drain(all, 0).run(100)
    const late = new FakeConnection(all)
    await draining
    expect(late).toMatchObject({ told: 1, closed: true })
    expect(busy).toMatchObject({ told: 1, closed: true })
  })

  it('drops whoever does not take the close frame', async () => {
    const all = new Set<FakeConnection>()
    const deaf = new FakeConnection(all)
    deaf.close = () => {
      deaf.closed = true
    }
    await new Drain(all, 0).run(0)
    expect(deaf.terminated).toBe(true)
  })
})
