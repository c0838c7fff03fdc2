// Rules of `prefixTrim`: clamped, monotonic, idempotent; what is gone reads as a typed gap.

import assert from 'node:assert/strict'
import { position } from '../contract.ts'
import { appendMany, entryOf, expectEntries, range, readAll, rule, type Rules } from './suite.ts'

export const trimRules: Rules = (fixture, api) => {
  rule(api, fixture, 'drops a prefix and reads it as one kind of gap', async loglet => {
    await appendMany(loglet, 20)
    assert.equal(await loglet.prefixTrim(position(7)), 7)
    const items = await readAll(loglet, 0, 20)
    const gaps = items.filter(item => item.kind === 'gap')
    assert.deepEqual(
      gaps.map(gap => gap.gap),
      gaps.map(() => 'trimmed'),
    )
    assert.equal(gaps[0]?.from, 0)
    assert.equal(gaps.at(-1)?.to, 7)
    await expectEntries(loglet, 7, range(7, 20))
    const [gone, there] = await loglet.readSlices([
      { position: position(6), start: 0, length: 4 },
      { position: position(7), start: 0, length: 4 },
    ])
    assert.ok(gone !== undefined && !(gone instanceof Uint8Array) && gone.gap === 'trimmed')
    assert.ok(there instanceof Uint8Array)
  })

  rule(api, fixture, 'never goes back, and may be asked where it is', async loglet => {
    await appendMany(loglet, 10)
    assert.equal(await loglet.prefixTrim(position(0)), 0)
    assert.equal(await loglet.prefixTrim(position(6)), 6)
    assert.equal(await loglet.prefixTrim(position(3)), 6)
    assert.equal(await loglet.prefixTrim(position(6)), 6)
    assert.equal(await loglet.prefixTrim(position(0)), 6)
  })

  rule(api, fixture, 'clamps a trim to the tail and goes on from there', async loglet => {
    await appendMany(loglet, 5)
    assert.equal(await loglet.prefixTrim(position(1000)), 5)
    assert.deepEqual(await loglet.checkTail(), { tail: 5, sealed: false })
    assert.deepEqual(await appendMany(loglet, 3, 5), [5, 6, 7])
    await expectEntries(loglet, 5, [5, 6, 7])
    assert.equal(await loglet.prefixTrim(position(0)), 5)
  })

  rule(api, fixture, 'trims a sealed loglet, whole or in part', async loglet => {
    await appendMany(loglet, 6)
    await loglet.seal()
    assert.equal(await loglet.prefixTrim(position(2)), 2)
    assert.equal(await loglet.prefixTrim(position(6)), 6)
    assert.deepEqual(await loglet.checkTail(), { tail: 6, sealed: true })
  })

  rule(
    api,
    fixture,
    'remembers its trim point when it was opened again',
    async (loglet, { reopen, durable }) => {
      if (reopen === undefined || !durable) return
      await appendMany(loglet, 12)
      await loglet.prefixTrim(position(9))
      await loglet.close()
      const again = await reopen(loglet)
      assert.equal(await again.prefixTrim(position(0)), 9)
      await expectEntries(again, 9, range(9, 12))
      assert.equal(await again.append(entryOf(12)), 12)
      await again.close()
    },
  )
}
