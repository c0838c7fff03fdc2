// Rules of `seal`: one-way, final, and drained before anybody hears "sealed at T".

import assert from 'node:assert/strict'
import { LogletSealedError } from '../contract.ts'
import {
  appendMany,
  bytesOf,
  entryOf,
  expectEntries,
  failureOf,
  plain,
  range,
  readAll,
  rule,
  type Rules,
} from './suite.ts'

export const sealRules: Rules = (fixture, api) => {
  rule(api, fixture, 'takes no append that starts after a seal', async loglet => {
    await appendMany(loglet, 5)
    await loglet.seal()
    for (const n of range(0, 8)) {
      const failure = await failureOf(loglet.append(entryOf(100 + n)))
      assert.ok(failure instanceof LogletSealedError, `failed with ${failure.code}`)
    }
    assert.deepEqual(await loglet.checkTail(), { tail: 5, sealed: true })
    await expectEntries(loglet, 0, range(0, 5))
  })

  rule(api, fixture, 'seals an empty loglet', async loglet => {
    await loglet.seal()
    assert.deepEqual(await loglet.checkTail(), { tail: 0, sealed: true })
  })

  rule(api, fixture, 'is sealed for ever, however often that is asked', async loglet => {
    await appendMany(loglet, 3)
    await Promise.all([loglet.seal(), loglet.seal(), loglet.seal()])
    await loglet.seal()
    for (const _ of range(0, 3))
      assert.deepEqual(await loglet.checkTail(), { tail: 3, sealed: true })
  })

  rule(api, fixture, 'drains appends in flight before it says where it is sealed', async loglet => {
    await appendMany(loglet, 7)
    const outcomes: (number | LogletSealedError)[] = []
    const appends = range(7, 60).map(n =>
      loglet.append(entryOf(n)).then(
        at => void outcomes.push(at),
        error => void outcomes.push(error as LogletSealedError),
      ),
    )
    const sealing = loglet.seal()
    const late = range(60, 70).map(n => loglet.append(entryOf(n)).catch(error => error as unknown))
    await sealing
    const { tail, sealed } = await loglet.checkTail()
    const settledBy = outcomes.length
    assert.equal(sealed, true)
    assert.equal(settledBy, appends.length, 'an append was in flight when the tail was published')
    for (const outcome of outcomes)
      if (typeof outcome === 'number')
        assert.ok(outcome < tail, `${outcome} was acked, sealed at ${tail}`)
      else assert.ok(outcome instanceof LogletSealedError)
    for (const outcome of await Promise.all(late))
      assert.ok(outcome instanceof LogletSealedError || (outcome as number) < tail)
    await expectHeld(loglet, tail, outcomes)
    assert.deepEqual(await loglet.checkTail(), { tail, sealed: true })
  })

  rule(
    api,
    fixture,
    'acks nothing past the first sealed tail while many append and one seals',
    async loglet => {
      const acked: number[] = []
      const append = async (worker: number): Promise<void> => {
        for (let n = 0; ; n++) {
          try {
            acked.push(await loglet.append(entryOf(worker * 1000 + n)))
          } catch (error) {
            assert.ok(error instanceof LogletSealedError)
            return
          }
        }
      }
      const seal = async (): Promise<number> => {
        await loglet.waitTail(20 as never)
        await loglet.seal()
        const { tail, sealed } = await loglet.checkTail()
        assert.equal(sealed, true)
        return tail
      }
      const [tail] = await Promise.all([seal(), ...range(0, 6).map(append)])
      assert.ok(acked.every(at => at < tail))
      assert.equal(new Set(acked).size, acked.length)
      assert.equal((await readAll(loglet, 0, tail)).length > 0, true)
    },
  )

  rule(
    api,
    fixture,
    'is still sealed after it was opened again',
    async (loglet, { reopen, durable }) => {
      if (reopen === undefined || !durable) return
      await appendMany(loglet, 4)
      await loglet.seal()
      await loglet.close()
      const again = await reopen(loglet)
      assert.deepEqual(await again.checkTail(), { tail: 4, sealed: true })
      assert.ok((await failureOf(again.append(entryOf(9)))) instanceof LogletSealedError)
      assert.deepEqual(await again.checkTail(), { tail: 4, sealed: true })
      await expectEntries(again, 0, range(0, 4))
      await again.close()
    },
  )
}

/** Acked entries are where they were acked; whatever else lies there was attempted once. */
async function expectHeld(
  loglet: Parameters<typeof readAll>[0],
  tail: number,
  outcomes: readonly unknown[],
): Promise<void> {
  const items = await readAll(loglet, 0, tail)
  const seen = new Set<number>()
  const held = new Map<number, Uint8Array>()
  for (const item of items)
    if (item.kind === 'entry') {
      const bytes = plain(item.bytes)
      const n = new DataView(bytes.buffer).getUint32(0)
      assert.deepEqual(bytes, bytesOf(n))
      assert.ok(n < 70 && !seen.has(n), `entry ${n} lies there twice, or was never appended`)
      seen.add(n)
      held.set(item.position, bytes)
    }
  for (const outcome of outcomes)
    if (typeof outcome === 'number') assert.ok(held.has(outcome), `acked ${outcome} is not there`)
}
