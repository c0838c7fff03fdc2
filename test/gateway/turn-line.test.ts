// The line of those who have more than a burst: in turn within a turn, and in the next one those first who got little in this.

import { expect, it } from 'vitest'
import { burstMessagesMax, isTurnOver, mustWait, standInLine } from '../../broker/gateway/turn.ts'

/** Each name takes what it gets, `rounds` times. @returns who took how many messages, in order */
async function served(
  names: readonly string[],
  rounds: number,
  spend: () => void,
): Promise<readonly (readonly [name: string, messages: number])[]> {
  const seen: [string, number][] = []
  // The turn in which the test itself runs may be over.
  await new Promise(setImmediate)
  await new Promise<void>(resolve => {
    let open = names.length
    for (const name of names) {
      let left = rounds
      const go = (): void => {
        let messages = 0
        do messages++
        while (!mustWait())
        seen.push([name, messages])
        spend()
        if (--left > 0) standInLine(go)
        else if (--open === 0) resolve()
      }
      standInLine(go)
    }
  })
  return seen
}

it('serves bursts in turn', async () => {
  const seen = await served(['a', 'b', 'c'], 20, () => {})
  expect(seen.map(([, messages]) => messages)).toContain(burstMessagesMax + 1)
  for (let end = 1; end <= seen.length; end++) {
    const times = ['a', 'b', 'c'].map(
      each => seen.slice(0, end).filter(([name]) => name === each).length,
    )
    expect(Math.max(...times) - Math.min(...times)).toBeLessThanOrEqual(1)
  }
})

it('begins with those who got one message when the time was over', async () => {
  const seen = await served(['a', 'b', 'c'], 3, () => {
    while (!isTurnOver());
  })
  expect(seen.map(([name]) => name)).toEqual('abcbcacab'.split(''))
  expect(seen.filter(([, messages]) => messages > 1).map(([name]) => name)).toEqual('abc'.split(''))
})

it('lets promises get on between bursts', async () => {
  const steps: string[] = []
  await served(['a', 'b'], 2, () => {
    let hops = Promise.resolve()
    for (let i = 0; i < 5; i++) hops = hops.then(() => void steps.push(`${i}`))
  })
  await new Promise(setImmediate)
  expect(steps.join('')).toBe('01234'.repeat(4))
})
