// Rules of `append`: order, acks, what is refused, who owns the buffers.

import assert from 'node:assert/strict'
import { entryBytesMax, position } from '../contract.ts'
import {
  appendMany,
  bytesOf,
  entryOf,
  expectEntries,
  failureOf,
  plain,
  range,
  rule,
  type Rules,
} from './suite.ts'

export const appendRules: Rules = (fixture, api) => {
  rule(
    api,
    fixture,
    'gives dense positions from 0 to appends that wait for each other',
    async loglet => {
      for (let n = 0; n < 10; n++) assert.equal(await loglet.append(entryOf(n)), n)
      await expectEntries(loglet, 0, range(0, 10))
    },
  )

  rule(api, fixture, 'gives rising positions to calls that do not wait', async loglet => {
    assert.deepEqual(await appendMany(loglet, 300), range(0, 300))
    await expectEntries(loglet, 0, range(0, 300))
  })

  rule(api, fixture, 'acks in the order of positions', async loglet => {
    const acked: number[] = []
    await Promise.all(range(0, 100).map(n => loglet.append(entryOf(n)).then(at => acked.push(at))))
    assert.deepEqual(acked, range(0, 100))
  })

  rule(api, fixture, 'has every earlier position when it acks one', async loglet => {
    await Promise.all(
      range(0, 64).map(async n => {
        const at = await loglet.append(entryOf(n))
        const { tail } = await loglet.checkTail()
        assert.ok(tail > at, `tail ${tail} does not cover the ack of ${at}`)
        await expectEntries(loglet, 0, range(0, at + 1))
      }),
    )
  })

  rule(
    api,
    fixture,
    'joins the buffers of an entry in order, empty ones included',
    async loglet => {
      const whole = bytesOf(7, 5000)
      const pieces = range(0, 2500).flatMap(i => [
        whole.subarray(i * 2, i * 2 + 2),
        new Uint8Array(0),
      ])
      const at = await loglet.append(pieces)
      const [item] = await loglet.readNext(at, position(at + 1), 1 << 20)
      assert.equal(item?.kind, 'entry')
      if (item?.kind === 'entry') assert.deepEqual(plain(item.bytes), whole)
    },
  )

  rule(api, fixture, 'takes entries of 1 MiB, several at once', async loglet => {
    const whole = range(0, 3).map(n => bytesOf(n, 1 << 20))
    await Promise.all(whole.map(bytes => loglet.append([bytes])))
    for (const n of range(0, 3)) {
      const [item] = await loglet.readNext(position(n), position(n + 1), 4 << 20)
      assert.ok(item?.kind === 'entry' && Buffer.compare(item.bytes, whole[n] as Uint8Array) === 0)
    }
  })

  rule(api, fixture, 'lets the caller reuse its buffers once the append settled', async loglet => {
    const buffer = bytesOf(1)
    await loglet.append([buffer])
    buffer.fill(0xff)
    await loglet.append([buffer])
    await expectEntries(loglet, 0, [1])
  })

  rule(api, fixture, 'refuses an empty entry without a trace', async loglet => {
    for (const empty of [[], [new Uint8Array(0)], [new Uint8Array(0), new Uint8Array(0)]]) {
      const failure = await failureOf(loglet.append(empty))
      assert.equal(failure.code, 'LOGLET_REFUSED')
      assert.equal(failure.outcome, 'refused')
    }
    assert.deepEqual(await loglet.checkTail(), { tail: 0, sealed: false })
    assert.equal(await loglet.append(entryOf(1)), 0)
    await expectEntries(loglet, 0, [1])
  })

  rule(api, fixture, 'refuses an entry above the limit without a trace', async loglet => {
    const half = new Uint8Array(entryBytesMax / 2)
    const failure = await failureOf(loglet.append([half, half, Uint8Array.of(1)]))
    assert.equal(failure.code, 'LOGLET_REFUSED')
    assert.equal(failure.outcome, 'refused')
    assert.deepEqual(await appendMany(loglet, 8), range(0, 8))
    await expectEntries(loglet, 0, range(0, 8))
  })

  rule(api, fixture, 'goes on after a refusal in the middle of others', async loglet => {
    const settled = await Promise.allSettled(
      range(0, 20).map(n => loglet.append(n === 9 ? [] : entryOf(n))),
    )
    assert.deepEqual(
      settled.map(s => s.status),
      range(0, 20).map(n => (n === 9 ? 'rejected' : 'fulfilled')),
    )
    const { tail } = await loglet.checkTail()
    for (const s of settled) if (s.status === 'fulfilled') assert.ok(s.value < tail)
    assert.equal(
      new Set(settled.flatMap(s => (s.status === 'fulfilled' ? [s.value] : []))).size,
      19,
    )
  })
}
