// Requests that come right behind a hello wait until it is known who sent them, and are served in their order then.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { RawClient } from '../gateway/raw-client.ts'
import { SecureBroker } from './secure-broker.ts'

let broker: SecureBroker

beforeAll(async () => {
  broker = await SecureBroker.start({ drainMs: 100 })
})

afterAll(() => broker.close())

it.each([1, 31, 32, 33, 60, 64, 65, 80, 100, 150, 200, 240])('%i requests', async count => {
  const client = await RawClient.dial(broker.url)
  const replies = client.inOnePiece(() => [
    client.request('hello', { protocol: 1, client: 'hasty', auth: { token: broker.adminToken } }),
    ...Array.from({ length: count }, () => client.request('ping')),
  ])
  expect((await Promise.all(replies)).filter(reply => reply['error'] !== undefined)).toEqual([])
  expect(client.answered).toEqual(Array.from({ length: count + 1 }, (_, i) => i + 1))
  await client.close()
})
