// Which writes get in: the window follows the rate of answers, and those who want something share it evenly.

import { describe, expect, it } from 'vitest'
import { Account } from '../../../broker/gateway/load/account.ts'
import { Admission, loadTickMs } from '../../../broker/gateway/load/admission.ts'
import { MemoryBudget } from '../../../broker/gateway/load/memory-budget.ts'

const mib = 1 << 20
const write = 64 << 10

/** An admission, and a broker that answers `bytesPerSecond` of what got in, oldest first. */
class World {
  now = 0
  readonly budget = new MemoryBudget(1024 * mib)
  readonly admission = new Admission({
    budget: this.budget,
    queueTimeTargetMs: 500,
    windowBytesMax: 64 * mib,
    now: 0,
  })
  readonly waited: number[] = []
  readonly done = new Map<string, number>()
  private readonly queue: { readonly account: Account; readonly at: number }[] = []
  private credit = 0

  offer(account: Account): boolean {
    if (this.admission.enter(account, write) !== undefined) return false
    this.queue.push({ account, at: this.now })
    return true
  }

  /** One tick of the clock: `arrive` offers, the broker answers. */
  tick(bytesPerSecond: number, arrive: () => void): void {
    this.now += loadTickMs
    arrive()
    this.credit = Math.min(
      this.credit + (bytesPerSecond * loadTickMs) / 1000,
      this.queue.length * write,
    )
    for (; this.credit >= write; this.credit -= write) {
      const { account, at } = this.queue.shift() as (typeof this.queue)[number]
      this.admission.leave(account, write)
      this.waited.push(this.now - at)
      this.done.set(account.name, (this.done.get(account.name) ?? 0) + 1)
    }
    this.admission.tick(this.now)
  }
}

const seconds = (n: number): number => (n * 1000) / loadTickMs

describe('the window of admitted writes', () => {
  it('holds what the broker answers in the target, so what is let in does not wait longer', () => {
    const world = new World()
    const all = Array.from({ length: 50 }, (_, i) => new Account(`a${i}`))
    const rate = 40 * mib
    let refused = 0
    for (let t = 0; t < seconds(10); t++)
      world.tick(rate, () => {
        // Three times what it can do.
        for (let i = 0; i < (3 * rate * loadTickMs) / 1000 / write; i++)
          if (!world.offer(all[i % 50] as Account)) refused++
      })
    expect(world.admission.windowBytes / (rate / 2)).toBeCloseTo(1, 1)
    expect(refused).toBeGreaterThan(0)
    // The first second had no measure yet.
    expect(Math.max(...world.waited.slice(-5000))).toBeLessThanOrEqual(1000)
    // Nothing of the capacity is lost.
    const answered = [...world.done.values()].reduce((sum, n) => sum + n, 0)
    expect((answered * write) / (10 * rate)).toBeGreaterThan(0.95)
  })

  it('is not narrowed by a broker that has little to do', () => {
    const world = new World()
    const account = new Account('a')
    for (let t = 0; t < seconds(5); t++)
      world.tick(100 * mib, () => {
        if (t % 10 === 0) world.offer(account)
      })
    expect(world.admission.windowBytes).toBe(64 * mib)
  })

  it('narrows when the broker stalls, and widens again by itself', () => {
    const world = new World()
    const account = new Account('a')
    const flood = (): void => {
      while (world.offer(account));
    }
    for (let t = 0; t < seconds(3); t++) world.tick(60 * mib, flood)
    const before = world.admission.windowBytes
    for (let t = 0; t < seconds(3); t++) world.tick(0, flood)
    expect(world.admission.windowBytes).toBe(mib)
    for (let t = 0; t < seconds(4); t++) world.tick(60 * mib, flood)
    expect(world.admission.windowBytes / before).toBeCloseTo(1, 1)
  })

  it('narrows while the event loop lags', () => {
    const world = new World()
    const account = new Account('a')
    for (let t = 0; t < seconds(3); t++)
      world.tick(60 * mib, () => {
        while (world.offer(account));
      })
    const before = world.admission.windowBytes
    for (let i = 0; i < 10; i++) {
      world.now += 1000
      world.admission.tick(world.now)
    }
    expect(world.admission.lagMs).toBe(1000 - loadTickMs)
    expect(world.admission.windowBytes).toBeLessThan(before)
  })
})

describe('one that wants everything', () => {
  it('does not starve another: who has less than its share gets in', () => {
    const world = new World()
    const greedy = new Account('greedy')
    const modest = new Account('modest')
    const rate = 40 * mib
    // Until the rate is known, and what got in before is answered.
    const settled = seconds(3)
    let refused = 0
    for (let t = 0; t < seconds(10); t++)
      world.tick(rate, () => {
        while (world.offer(greedy));
        // A quarter of what the broker can do.
        for (let i = 0; i < (rate * loadTickMs) / 4000 / write; i++)
          if (!world.offer(modest) && t > settled) refused++
      })
    const share = (world.done.get('modest') ?? 0) / ((10 * rate) / 4 / write)
    expect(share).toBeGreaterThan(0.95)
    expect(refused / (world.done.get('modest') ?? 1)).toBeLessThan(0.02)
    const all = [...world.done.values()].reduce((sum, n) => sum + n, 0)
    expect((all * write) / (10 * rate)).toBeGreaterThan(0.95)
  })

  it('gets half when another wants everything as well, with however many more connections', () => {
    const world = new World()
    const [a, b] = [new Account('a'), new Account('b')]
    for (let t = 0; t < seconds(10); t++)
      world.tick(40 * mib, () => {
        for (let more = true; more; ) {
          more = false
          for (let i = 0; i < 20; i++) if (world.offer(a)) more = true
          if (world.offer(b)) more = true
        }
      })
    const share = (world.done.get('b') ?? 0) / (world.done.get('a') ?? 1)
    expect(share).toBeGreaterThan(0.7)
  })
})

describe('a refusal', () => {
  it('says when to come back, later the more was refused', () => {
    const world = new World()
    const account = new Account('a')
    const flood = (more: number) => (): void => {
      while (world.offer(account));
      for (let i = 0; i < more; i++) world.offer(account)
    }
    for (let t = 0; t < seconds(3); t++) world.tick(40 * mib, flood(1))
    const retryAfter = (): number => {
      for (;;) {
        const refusal = world.admission.enter(account, write)
        if (refusal !== undefined) return Number(refusal.details['retryAfterMs'])
      }
    }
    const first = retryAfter()
    expect(first).toBeGreaterThanOrEqual(50)
    for (let t = 0; t < seconds(3); t++) world.tick(40 * mib, flood(100))
    expect(retryAfter()).toBeGreaterThan(first)
    expect(retryAfter()).toBeLessThanOrEqual(5000)
  })

  it('comes when memory is tight, too, and counts apart', () => {
    const world = new World()
    const account = new Account('a')
    world.budget.add('output', 800 * mib)
    expect(world.admission.enter(account, write)).toMatchObject({
      code: 'THROTTLED',
      retriable: true,
      message: expect.stringContaining('memoryBudgetBytes'),
    })
    expect(world.admission.shed).toEqual({ memory: 1, queue: 0 })
    expect(account.underWay).toBe(0)
  })
})
