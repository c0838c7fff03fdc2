// Many small requests in one piece: they are served in turns, so that others are served between them.

import { afterEach, beforeEach, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { pack, RawClient } from './raw-client.ts'

let broker: RunningBroker
const clients: RawClient[] = []

async function client(): Promise<RawClient> {
  const made = await RawClient.connect(broker.url)
  clients.push(made)
  return made
}

beforeEach(async () => {
  broker = await startBroker({ loglet: 'memory', port: 0 })
})

afterEach(async () => {
  await Promise.all(clients.splice(0).map(each => each.close()))
  await broker.close()
})

it('a thousand costly requests in one piece are all answered, in order, with others between them', async () => {
  const [greedy, other] = [await client(), await client()]
  const count = 3000
  const asked = greedy.inOnePiece(() =>
    Array.from({ length: count }, () => greedy.request('describeBroker')),
  )
  let between = 0
  const state = { isDone: false }
  const all = Promise.all(asked).then(replies => {
    state.isDone = true
    return replies
  })
  while (!state.isDone) {
    await other.call('ping')
    if (!state.isDone) between++
  }
  expect((await all).filter(reply => reply['error'] !== undefined)).toEqual([])
  expect(greedy.answered.slice(1)).toEqual(Array.from({ length: count }, (_, i) => i + 2))
  expect(between).toBeGreaterThan(2)
})

it('who sends much gets as much as others do, whoever came first', async () => {
  const [greedy, modest] = [await client(), await client()]
  const count = 6000
  const all = greedy.inOnePiece(() =>
    Array.from({ length: count }, () => greedy.request('describeBroker')),
  )
  await all[0]
  await Promise.all(
    modest.inOnePiece(() => Array.from({ length: 300 }, () => modest.request('describeBroker'))),
  )
  expect(greedy.answered.length).toBeLessThan(count / 2)
  await Promise.all(all)
})

it('what comes behind a frame that is none is not served', async () => {
  const greedy = await client()
  const other = await client()
  greedy.inOnePiece(() => {
    for (let i = 0; i < 2000; i++) greedy.request('describeBroker').catch(() => {})
    greedy.sendBytes(Uint8Array.of(0xc1))
    greedy.sendBytes(pack({ op: 'createTopic', id: 9000, topic: 'never' }))
  })
  expect((await greedy.closed).code).toBe(1008)
  const { topics } = await other.call('listTopics')
  expect(topics).toEqual([])
})
