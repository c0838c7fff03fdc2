// A world that grows with its inputs is closed and made anew after so many, and never while there is none.

import { expect, it } from 'vitest'
import { WorldHolder } from './world-holder.ts'

it('one world takes so many inputs, then the next one; each is closed once', async () => {
  const told: string[] = []
  let opened = 0
  const holder = new WorldHolder(() => {
    const name = `w${++opened}`
    return Promise.resolve({
      name,
      give: (input: Uint8Array) => told.push(`${name} ${input[0]}`) > 0,
      close: async () => void told.push(`${name} closed`),
    })
  }, 2)
  const looked: string[] = []
  const { run, check, close } = holder.target(({ name }) => void looked.push(name))
  await check?.()
  await close()
  for (let i = 0; i < 5; i++) {
    expect(await run(Uint8Array.of(i))).toBe(true)
    await check?.()
  }
  await close()
  expect(told.join()).toBe('w1 0,w1 1,w1 closed,w2 2,w2 3,w2 closed,w3 4,w3 closed')
  expect(looked.join()).toBe('w1,w1,w2,w2,w3')
})
