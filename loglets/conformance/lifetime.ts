// Rules of closing and opening: close is idempotent and settles everything; absent storage never opens empty.

import assert from 'node:assert/strict'
import { LogletClosedError, LogletError, LogletLostError, position } from '../contract.ts'
import { appendMany, entryOf, expectEntries, failureOf, range, rule, type Rules } from './suite.ts'

export const lifetimeRules: Rules = (fixture, api) => {
  rule(
    api,
    fixture,
    'closes any number of times and refuses everything afterwards',
    async loglet => {
      await appendMany(loglet, 3)
      await Promise.all([loglet.close(), loglet.close()])
      await loglet.close()
      const calls = [
        loglet.append(entryOf(1)),
        loglet.checkTail(),
        loglet.readNext(position(0), position(1), 100),
        loglet.readSlices([{ position: position(0), start: 0, length: 1 }]),
        loglet.waitTail(position(0)),
        loglet.prefixTrim(position(1)),
        loglet.seal(),
      ]
      for (const failure of await Promise.all(calls.map(failureOf)))
        assert.ok(failure instanceof LogletClosedError, `rejected with ${failure.code}`)
    },
  )

  rule(
    api,
    fixture,
    'settles every append in flight when it is closed',
    async (loglet, { reopen, durable }) => {
      const appends = range(0, 40).map(n => loglet.append(entryOf(n)))
      const closing = loglet.close()
      const settled = await Promise.allSettled(appends)
      await closing
      const acked = settled.flatMap(s => (s.status === 'fulfilled' ? [s.value as number] : []))
      for (const s of settled)
        if (s.status === 'rejected') assert.ok(s.reason instanceof LogletError)
      if (reopen === undefined || !durable) return
      const again = await reopen(loglet)
      const { tail } = await again.checkTail()
      for (const at of acked) assert.ok(at < tail, `${at} was acked, the tail is ${tail} now`)
      await expectEntries(again, 0, acked)
      await again.close()
    },
  )

  rule(
    api,
    fixture,
    'has everything when it was opened again, and goes on',
    async (loglet, { reopen, durable }) => {
      if (reopen === undefined || !durable) return
      await appendMany(loglet, 25)
      await loglet.close()
      const again = await reopen(loglet)
      assert.deepEqual(await again.checkTail(), { tail: 25, sealed: false })
      await expectEntries(again, 0, range(0, 25))
      assert.deepEqual(await appendMany(again, 25, 25), range(25, 50))
      await again.close()
      const third = await reopen(again)
      await expectEntries(third, 0, range(0, 50))
      await third.close()
    },
  )

  rule(api, fixture, 'never opens empty what does not exist', async (loglet, { openAbsent }) => {
    await loglet.append(entryOf(0))
    if (openAbsent === undefined) return
    const failure = await failureOf(openAbsent())
    assert.ok(failure instanceof LogletLostError, `rejected with ${failure.code}`)
  })
}
