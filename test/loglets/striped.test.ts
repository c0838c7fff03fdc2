// What is particular to striping (DESIGN 4.4): the ack rule, fillers, partial seals, and waiters behind a hole.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Loglet,
  LogletFailedError,
  LogletSealedError,
  type LogItem,
  position,
} from '../../loglets/contract.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import {
  firstOpenStripe,
  globalOf,
  localBelow,
  openTail,
} from '../../loglets/striped/stripe-map.ts'
import { StripedLoglet } from '../../loglets/striped/striped-loglet.ts'
import { type Gate, gated, turn } from './slow-loglet.ts'
import { ports } from './workshop.ts'

const bytes = (n: number): Uint8Array => Uint8Array.of(n >> 8, n & 0xff)
const params = { kind: 'memory', options: {} }

/** Time that passes at once. */
const impatient = { ...ports, clock: { ...ports.clock, sleep: () => Promise.resolve() } }

interface Stripes {
  readonly gates: readonly Gate[]
  readonly inner: readonly Loglet[]
  readonly striped: StripedLoglet
  readonly again: () => Promise<StripedLoglet>
}

async function stripesOf(count: number, bytesMax?: number, p = ports): Promise<Stripes> {
  const provider = new MemoryLogletProvider(bytesMax === undefined ? {} : { bytesMax })
  const inner: Loglet[] = []
  for (let i = 0; i < count; i++) inner.push(await provider.create(`${i}`, params))
  const gates = inner.map(gated)
  if (bytesMax !== undefined) for (const gate of gates) gate.open()
  const striped = await StripedLoglet.over(
    gates.map(g => g.loglet),
    p,
  )
  const again = async (): Promise<StripedLoglet> =>
    StripedLoglet.over(await Promise.all(inner.map((_, i) => provider.open(`${i}`, params))), ports)
  return { gates, inner, striped, again }
}

async function readAll(loglet: Loglet): Promise<LogItem[]> {
  const { tail } = await loglet.checkTail()
  const items: LogItem[] = []
  for (let at = 0; at < tail; ) {
    for (const item of await loglet.readNext(position(at), tail, 500)) {
      items.push(item)
      at = item.kind === 'entry' ? item.position + 1 : item.to
    }
  }
  return items
}

describe('the map of stripes', () => {
  it('is its own inverse, and counts what lies below', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), fc.nat(5000), (stripes, at) => {
        const stripe = at % stripes
        expect(globalOf(stripe, Math.floor(at / stripes), stripes)).toBe(at)
        let sum = 0
        for (let i = 0; i < stripes; i++) sum += localBelow(i, at, stripes)
        expect(sum).toBe(at)
      }),
    )
  })

  it('finds the first position that is not filled on every stripe', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 8 }), tails => {
        const filled = (at: number): boolean =>
          Math.floor(at / tails.length) < (tails[at % tails.length] as number)
        let tail = 0
        while (filled(tail)) tail++
        expect(openTail(tails)).toBe(tail)
        expect(firstOpenStripe(tails)).toBe(tail % tails.length)
      }),
    )
  })
})

describe('a striped loglet', () => {
  it('acks an append only when every earlier position on every stripe is filled', async () => {
    const { gates, striped } = await stripesOf(2)
    const acked: number[] = []
    const appends = [0, 1, 2, 3].map(n => striped.append([bytes(n)]).then(at => acked.push(at)))
    gates[1]?.step()
    gates[1]?.step()
    await turn()
    expect(acked).toEqual([])
    gates[0]?.step()
    await turn()
    expect(acked).toEqual([0, 1])
    gates[0]?.step()
    await Promise.all(appends)
    expect(acked).toEqual([0, 1, 2, 3])
  })

  it('keeps order, acks in order and needs no filler, however its stripes are delayed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.nat(9), { minLength: 20, maxLength: 120 }),
        async (count, script) => {
          const { gates, striped } = await stripesOf(count)
          const positions: number[] = []
          const order: number[] = []
          const appends: Promise<unknown>[] = []
          for (const choice of script) {
            if (choice < 4) {
              const n = appends.length
              appends.push(
                striped.append([bytes(n)]).then(at => {
                  positions[n] = at
                  order.push(at)
                }),
              )
            } else gates[choice % count]?.step()
            if (choice % 3 === 0) await turn()
            if (choice === 9) await striped.checkTail()
          }
          for (const gate of gates) gate.open()
          await Promise.all(appends)
          expect(positions).toEqual(appends.map((_, n) => n))
          expect(order).toEqual(positions)
          const items = await readAll(striped)
          expect(items.map(i => i.kind)).toEqual(appends.map(() => 'entry'))
          await striped.close()
        },
      ),
      { numRuns: 150 },
    )
  })

  it('never says a tail below an ack, nor one that is not filled, however its stripes are delayed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 4 }),
        fc.array(fc.nat(9), { minLength: 20, maxLength: 80 }),
        async (count, script) => {
          const { gates, striped, again } = await stripesOf(count)
          const other = await again()
          let acked = 0
          const appends: Promise<unknown>[] = []
          for (const choice of script) {
            const via = choice % 2 === 0 ? striped : other
            if (choice < 5)
              appends.push(
                via.append([bytes(appends.length)]).then(at => {
                  acked = Math.max(acked, at + 1)
                }),
              )
            else gates[choice % count]?.step()
            if (choice % 4 === 0) await turn()
            const before = acked
            for (const handle of [striped, other]) {
              const { tail } = await handle.checkTail()
              expect(tail).toBeGreaterThanOrEqual(before)
              if (tail > 0)
                expect(await handle.readNext(position(tail - 1), tail, 10)).toHaveLength(1)
            }
          }
          for (const gate of gates) gate.open()
          await Promise.all(appends)
          const entries = (await readAll(other)).filter(i => i.kind === 'entry')
          const seen = entries.map(i => (i.kind === 'entry' ? i.bytes.join() : ''))
          expect(new Set(seen).size).toBe(appends.length)
          await striped.close()
          await other.close()
        },
      ),
      { numRuns: 60 },
    )
  })

  it('fills the hole that another writer left, and reads it as a filler', async () => {
    const { gates, inner, striped } = await stripesOf(3)
    for (const gate of gates) gate.open()
    await inner[0]?.append([Uint8Array.of(1), bytes(77)])
    await inner[0]?.append([Uint8Array.of(1), bytes(78)])
    expect(await striped.append([bytes(1)])).toBe(6)
    const items = await readAll(striped)
    expect(items.map(i => (i.kind === 'gap' ? i.gap : i.bytes[1]))).toEqual([
      77,
      'filler',
      78,
      'filler',
      1,
    ])
    const slices = [1, 6].map(n => ({ position: position(n), start: 0, length: 2 }))
    expect(await striped.readSlices(slices)).toEqual([{ gap: 'filler' }, bytes(1)])
  })

  it('fills the hole of an append that its stripe refused', async () => {
    const { striped } = await stripesOf(2, 700_000)
    await striped.append([new Uint8Array(600_000)])
    const results = await Promise.allSettled([
      striped.append([new Uint8Array(200_000)]),
      striped.append([bytes(2)]),
      striped.append([bytes(3)]),
    ])
    expect(results.map(r => r.status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
    const [refused] = results
    expect(refused?.status === 'rejected' && refused.reason).toMatchObject({
      code: 'LOGLET_REFUSED',
      reason: 'no-space',
      outcome: 'refused',
    })
  })

  it('settles waiters as unknown when a hole can never be filled', async () => {
    // An entry costs its bytes and 129: after 300 and 400 not even a filler fits.
    const { striped } = await stripesOf(2, 1000, impatient)
    const results = await Promise.allSettled(
      [300, 600, 400].map(length => striped.append([new Uint8Array(length)])),
    )
    expect(results[0]).toEqual({ status: 'fulfilled', value: 0 })
    expect(results[1]).toMatchObject({ status: 'rejected', reason: { reason: 'no-space' } })
    expect(results[2]).toMatchObject({
      status: 'rejected',
      reason: { code: 'LOGLET_STALLED', outcome: 'unknown' },
    })
    // Once there is space the hole is filled, and the entry turns out to be there.
    await striped.prefixTrim(position(1))
    expect(await striped.append([bytes(7)])).toBe(1)
    expect((await striped.checkTail()).tail).toBe(3)
  })

  it('seals every stripe when one of them is found sealed, and settles what lies behind', async () => {
    const { gates, inner, striped, again } = await stripesOf(3)
    const acks = [0, 1, 2, 3, 4].map(n => striped.append([bytes(n)]))
    for (const gate of gates) gate.open()
    await Promise.all(acks)
    // Local tails 2, 2, 1: the next append goes to stripe 2, which somebody sealed.
    await inner[2]?.seal()
    const results = await Promise.allSettled([5, 6, 7].map(n => striped.append([bytes(n)])))
    for (const r of results) {
      expect(r.status).toBe('rejected')
      if (r.status === 'rejected') expect(r.reason).toBeInstanceOf(LogletSealedError)
    }
    expect(await striped.checkTail()).toEqual({ tail: 5, sealed: true })
    for (const loglet of inner) expect((await loglet.checkTail()).sealed).toBe(true)
    // What reached the faster stripes are zombies: another handle sees the same end.
    expect(await (await again()).checkTail()).toEqual({ tail: 5, sealed: true })
  })

  it('finishes a partial seal for a reader and for a tail check, without any writer', async () => {
    for (const ask of ['waitTail', 'checkTail'] as const) {
      const { inner, striped } = await stripesOf(4)
      const answer = ask === 'waitTail' ? striped.waitTail(position(9)) : undefined
      await inner[3]?.seal()
      expect(await (answer ?? striped.checkTail())).toEqual({ tail: 0, sealed: true })
      for (const loglet of inner) expect((await loglet.checkTail()).sealed).toBe(true)
    }
  })

  it('waits for appends in flight before it says sealed, and none of them is acked past it', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2, max: 4 }),
        fc.nat(12),
        fc.array(fc.nat(3), { maxLength: 12 }),
        async (count, appends, steps) => {
          const { gates, striped } = await stripesOf(count)
          const outcomes: (number | Error)[] = []
          for (let n = 0; n < appends; n++)
            striped.append([bytes(n)]).then(
              at => outcomes.push(at),
              error => outcomes.push(error as Error),
            )
          for (const s of steps) gates[s % count]?.step()
          await turn()
          let answered = false
          const sealing = (async () => {
            await striped.seal()
            const state = await striped.checkTail()
            answered = true
            return state
          })()
          await turn()
          const left = gates.reduce((sum, g) => sum + g.waiting(), 0)
          if (left > 0) expect(answered).toBe(false)
          for (const gate of gates) gate.open()
          const { tail, sealed } = await sealing
          expect(sealed).toBe(true)
          expect(outcomes).toHaveLength(appends)
          for (const o of outcomes) {
            if (typeof o === 'number') expect(o).toBeLessThan(tail)
            else expect(o).toMatchObject({ code: 'LOGLET_SEALED', outcome: 'unknown' })
          }
        },
      ),
      { numRuns: 100 },
    )
  })

  it('goes on after a restart that left one stripe ahead', async () => {
    const { gates, striped, again } = await stripesOf(2)
    const appends = [0, 1, 2, 3, 4].map(n => striped.append([bytes(n)]))
    for (const a of appends) a.catch(() => {})
    gates[0]?.open()
    await striped.close()
    const next = await again()
    const { tail } = await next.checkTail()
    const at = await next.append([bytes(100)])
    expect(at).toBeGreaterThanOrEqual(tail)
    await Promise.all([101, 102, 103].map(n => next.append([bytes(n)])))
    const seen = (await readAll(next)).map(i => (i.kind === 'entry' ? i.bytes.join() : i.gap))
    expect(new Set(seen).size).toBe(seen.length)
  })

  it('settles everything that waits when it is closed', async () => {
    const { gates, striped } = await stripesOf(2)
    const behind = [striped.append([bytes(0)]), striped.append([bytes(1)])]
    const waiting = striped.waitTail(position(5))
    gates[1]?.open()
    await turn()
    const closing = striped.close()
    gates[0]?.open()
    await closing
    const settled = await Promise.allSettled([...behind, waiting])
    expect(settled.at(-1)?.status).toBe('rejected')
    for (const s of settled)
      if (s.status === 'rejected') expect(s.reason).toMatchObject({ outcome: 'unknown' })
  })

  it('reports a failed stripe to everyone who waits behind it', async () => {
    const { gates, inner } = await stripesOf(2)
    let fail: (error: Error) => void = () => {}
    const failing = new Promise<never>((_, reject) => {
      fail = reject
    })
    const broken: Loglet = new Proxy(inner[0] as Loglet, {
      get: (target, key) => {
        if (key === 'append') return () => failing
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
    gates[1]?.open()
    const striped = await StripedLoglet.over([broken, gates[1]?.loglet as Loglet], ports)
    const results = Promise.allSettled([striped.append([bytes(0)]), striped.append([bytes(1)])])
    await turn()
    fail(new LogletFailedError('fsync failed', 'unknown'))
    for (const r of await results)
      expect(r.status === 'rejected' && r.reason).toMatchObject({
        code: 'LOGLET_FAILED',
        outcome: 'unknown',
      })
  })
})

describe('a memory loglet', () => {
  it('refuses what does not fit, and takes it after a trim', async () => {
    const provider = new MemoryLogletProvider({ bytesMax: 10_000 })
    const loglet = await provider.create('a', params)
    const other = await provider.create('b', params)
    for (let n = 0; n < 4; n++) await loglet.append([new Uint8Array(2000)])
    for (const full of [loglet, other])
      await expect(full.append([new Uint8Array(2000)])).rejects.toMatchObject({
        reason: 'no-space',
        outcome: 'refused',
      })
    expect(await loglet.checkTail()).toEqual({ tail: 4, sealed: false })
    await loglet.prefixTrim(position(2))
    expect(await loglet.append([new Uint8Array(2000)])).toBe(4)
    expect(provider.bytesUsed).toBeLessThanOrEqual(10_000)
    await provider.remove('a')
    expect(provider.bytesUsed).toBe(0)
    expect(await other.append([new Uint8Array(9000)])).toBe(0)
  })

  it('is lost for a provider that did not make it', async () => {
    const loglet = await new MemoryLogletProvider().create('a', params)
    await loglet.append([bytes(1)])
    await expect(new MemoryLogletProvider().open('a', params)).rejects.toMatchObject({
      code: 'LOGLET_LOST',
    })
  })
})
