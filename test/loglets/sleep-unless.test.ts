// A sleep that several signals can end, and that leaves nothing behind at any of them.

import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { sleepUnless } from '../../loglets/abortable.ts'
import { nodeClock } from '../../loglets/node-clock.ts'

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length

describe('a sleep that signals can end', () => {
  it('ends with the first signal, and when one was aborted before', async () => {
    const [one, two] = [new AbortController(), new AbortController()]
    const begun = performance.now()
    const sleep = sleepUnless(nodeClock, 60_000, one.signal, two.signal)
    two.abort()
    await sleep
    await sleepUnless(nodeClock, 60_000, one.signal, two.signal)
    expect(performance.now() - begun).toBeLessThan(30_000)
    expect([listeners(one.signal), listeners(two.signal)]).toEqual([0, 0])
  })

  it('ends when the time is over', async () => {
    const { signal } = new AbortController()
    await sleepUnless(nodeClock, 5, signal)
    expect(signal.aborted).toBe(false)
    expect(listeners(signal)).toBe(0)
  })
})
