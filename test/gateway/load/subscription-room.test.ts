// Room for subscriptions is bounded for all, and whoever has much of it leaves some to others.

import { expect, it } from 'vitest'
import { Account } from '../../../broker/gateway/load/account.ts'
import { SubscriptionRoom } from '../../../broker/gateway/load/subscription-room.ts'
import { SecureBroker } from '../../security/secure-broker.ts'
import { RawClient } from '../raw-client.ts'

const kib = 1024

/** Until it is refused. @returns how many it has */
function fill(room: SubscriptionRoom, account: Account): number {
  expect(() => {
    for (let i = 0; i <= room.limit; i++) room.add(account)
  }).toThrow(expect.objectContaining({ code: 'THROTTLED', retriable: true }))
  return account.subscriptions
}

it('one who takes all that it gets leaves half, and the next ones find room as long as there is any', () => {
  const room = new SubscriptionRoom(2000 * kib)
  expect(room.limit).toBe(1000)
  const names = Array.from({ length: 12 }, (_, i) => new Account(`User:u${i}`))
  const taken = names.map(account => fill(room, account))
  expect(taken.slice(0, 3)).toEqual([500, 250, 125])
  expect(Math.min(...taken.slice(0, 9))).toBeGreaterThanOrEqual(1)
  expect(room.open).toBe(taken.reduce((sum, each) => sum + each, 0))
  expect(room.open).toBeLessThanOrEqual(room.limit)
})

it('those who take turns get as much as each other', () => {
  const room = new SubscriptionRoom(600 * kib)
  const [one, other] = [new Account('User:one'), new Account('User:other')]
  for (let i = 0; i < 100; i++) for (const each of [one, other]) room.add(each)
  expect([fill(room, one), fill(room, other)]).toEqual([100, 100])
})

it('what ended makes room again', () => {
  const room = new SubscriptionRoom(20 * kib)
  const [one, other] = [new Account('User:one'), new Account('User:other')]
  expect([fill(room, one), fill(room, other)]).toEqual([5, 3])
  room.remove(one, 5)
  expect(fill(room, other)).toBe(5)
  expect(room.open).toBe(5)
})

it('all connections of a principal have one share; others still get in, and metrics say so', async () => {
  const broker = await SecureBroker.start({ memoryBudgetBytes: 8192 * kib })
  const admin = (await broker.connect()).admin()
  await admin.createTopic('t')
  for (const principal of ['User:greedy', 'User:modest'])
    await admin.createAcls([{ principal, resource: 'topic', name: 't', operation: 'read' }])
  const [greedy, modest] = await Promise.all(
    ['User:greedy', 'User:modest'].map(principal => admin.createToken({ principal })),
  )
  const dial = async (token = ''): Promise<RawClient> => {
    const raw = await RawClient.dial(broker.url)
    await raw.call('hello', { protocol: 1, client: 'raw', auth: { token } })
    return raw
  }
  const metric = async (name: string): Promise<number> => {
    const headers = { authorization: `Bearer ${broker.adminToken}` }
    const page = await (await fetch(`${broker.httpUrl}/metrics`, { headers })).text()
    return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(page)?.[1])
  }
  const fields = { topic: 't', partition: 0, from: 'end', credit: 1000 }
  const [first, second] = [await dial(greedy?.token), await dial(greedy?.token)]
  const open = (raw: RawClient): Promise<unknown> =>
    Promise.all(Array.from({ length: 1024 }, () => raw.call('subscribe', fields)))
  await Promise.all([open(first), open(second)])
  for (const each of [first, second])
    expect(await each.refusal('subscribe', fields)).toMatchObject({
      code: 'THROTTLED',
      retriable: true,
      limit: 2048,
      actual: 2048,
      message: expect.stringContaining('User:greedy has 2048 subscriptions open'),
    })
  const other = await dial(modest?.token)
  await open(other)
  expect(await metric('logloom_subscriptions')).toBe(3072)
  expect(await metric('logloom_subscriptions_limit')).toBe(4096)
  first.ws.terminate()
  await expect.poll(() => metric('logloom_subscriptions')).toBe(2048)
  for (const each of [second, other]) each.ws.terminate()
  await expect.poll(() => metric('logloom_subscriptions')).toBe(0)
  await broker.close()
})
