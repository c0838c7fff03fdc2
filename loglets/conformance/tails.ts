// Rules of `checkTail` (linearizable, never back) and `waitTail` (a wake-up that always comes).

import assert from 'node:assert/strict'
import { type Position, position } from '../contract.ts'
import { appendMany, entryOf, failureOf, range, rule, type Rules, staysPending } from './suite.ts'

const noSuchPosition = position(Number.MAX_SAFE_INTEGER)

export const tailRules: Rules = (fixture, api) => {
  rule(api, fixture, 'begins empty and open', async loglet => {
    assert.deepEqual(await loglet.checkTail(), { tail: 0, sealed: false })
    assert.deepEqual(await loglet.readNext(position(0), position(0), 1000), [])
  })

  rule(api, fixture, 'checks a tail that is linearizable with concurrent appends', async loglet => {
    let acked = 0
    let known = 0
    const append = async (worker: number): Promise<void> => {
      for (let n = 0; n < 25; n++) {
        const at = await loglet.append(entryOf(worker * 1000 + n))
        acked = Math.max(acked, at + 1)
      }
    }
    const check = async (): Promise<void> => {
      for (let n = 0; n < 40; n++) {
        const before = acked
        const knownBefore = known
        const { tail } = await loglet.checkTail()
        assert.ok(
          tail >= before,
          `tail ${tail} is below ${before}, which was acked before the call`,
        )
        assert.ok(tail >= knownBefore, `the tail went back from ${knownBefore} to ${tail}`)
        known = Math.max(known, tail)
      }
    }
    await Promise.all([...range(0, 8).map(append), check(), check()])
    assert.equal((await loglet.checkTail()).tail, 200)
  })

  rule(api, fixture, 'answers waitTail at once when the tail is past it', async loglet => {
    await appendMany(loglet, 3)
    const { tail, sealed } = await loglet.waitTail(position(1))
    assert.ok(tail > 1 && tail <= 3 && !sealed)
  })

  rule(api, fixture, 'wakes everybody who waits for the tail, and nobody early', async loglet => {
    await loglet.append(entryOf(0))
    const first = range(0, 5).map(() => loglet.waitTail(position(1)))
    const later = loglet.waitTail(position(3))
    assert.ok(await staysPending(loglet, Promise.race(first)))
    await loglet.append(entryOf(1))
    for (const { tail } of await Promise.all(first)) assert.equal(tail, 2)
    assert.ok(await staysPending(loglet, later))
    await appendMany(loglet, 2)
    assert.equal((await later).tail, 4)
  })

  rule(api, fixture, 'never lets a wake-up exceed the committed tail', async loglet => {
    const watch = async (): Promise<void> => {
      for (let at = 0; at < 100; ) {
        const { tail } = await loglet.waitTail(position(at))
        assert.ok(tail > at)
        assert.ok((await loglet.checkTail()).tail >= tail)
        const items = await loglet.readNext(position(tail - 1), tail, 1000)
        assert.equal(items[0]?.kind, 'entry')
        at = tail
      }
    }
    await Promise.all([watch(), watch(), appendMany(loglet, 100)])
  })

  rule(api, fixture, 'wakes waiters at a seal, and answers at once afterwards', async loglet => {
    await appendMany(loglet, 2)
    const waiting = loglet.waitTail(noSuchPosition)
    await loglet.seal()
    assert.equal((await waiting).sealed, true)
    assert.equal((await loglet.waitTail(noSuchPosition)).sealed, true)
  })

  rule(api, fixture, 'ends a wait with the reason of its signal', async loglet => {
    const reason = new Error('enough')
    const abort = new AbortController()
    const waiting = loglet.waitTail(noSuchPosition, abort.signal)
    const other = loglet.waitTail(position(0))
    abort.abort(reason)
    await assert.rejects(waiting, error => error === reason)
    await assert.rejects(loglet.waitTail(noSuchPosition, abort.signal), error => error === reason)
    await loglet.append(entryOf(0))
    assert.equal((await other).tail, 1)
  })

  rule(api, fixture, 'ends a wait when it is closed', async loglet => {
    const waiting = failureOf(loglet.waitTail(noSuchPosition))
    await loglet.close()
    assert.equal((await waiting).code, 'LOGLET_CLOSED')
  })

  rule(api, fixture, 'counts only positions that can be read', async loglet => {
    const appends = appendMany(loglet, 40)
    for (let n = 0; n < 10; n++) {
      const { tail } = await loglet.checkTail()
      if (tail > 0) {
        const items = await loglet.readNext((tail - 1) as Position, tail, 1000)
        assert.equal(items.length, 1)
      }
    }
    await appends
  })
}
