// Who may read a topic as CloudEvents: as over the protocol, by header or subprotocol.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EventReader } from '../gateway/event-reader.ts'
import { SecureBroker } from './secure-broker.ts'

let broker: SecureBroker
let alice = ''

beforeAll(async () => {
  broker = await SecureBroker.start({ drainMs: 100 })
  const client = await broker.connect()
  for (const topic of ['open', 'secret']) await client.producer().send(topic, { value: topic })
  alice = (await client.admin().createToken({ principal: 'User:alice' })).token
  await allow()
})

afterAll(() => broker.close())

async function allow(): Promise<void> {
  const admin = (await broker.connect()).admin()
  const grant = { resource: 'topic', name: 'open', operation: 'read' } as const
  await admin.createAcls([{ principal: 'User:alice', ...grant }])
}

const read = (topic: string, o: ConstructorParameters<typeof EventReader>[1] = {}): EventReader =>
  new EventReader(`${broker.url.replace(/\/$/, '')}/topics/${topic}/events?from=beginning`, o)

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })

describe('the CloudEvents endpoint of a broker that asks who one is', () => {
  it.each([
    ['nobody', {}, 'AUTHENTICATION_REQUIRED'],
    ['a wrong token', bearer('lla_wrong'), 'AUTHENTICATION_FAILED'],
  ])('tells %s nothing', async (_, o, code) => {
    const reader = read('open', o)
    const [closed, reason] = await reader.closed
    expect([closed, reason.split(':')[0]]).toEqual([1008, code])
    expect(reader.events).toMatchObject([{ type: 'logloom.error', data: { code } }])
  })

  it('serves whoever may read, by header or subprotocol, and nobody else', async () => {
    const auth = `logloom.auth.${Buffer.from(alice).toString('base64url')}`
    for (const o of [bearer(alice), { protocols: ['cloudevents.json', auth] }]) {
      const reader = read('open', o)
      expect(await reader.first(1)).toMatchObject([{ data: 'open' }])
      expect(reader.ws.protocol).toBe('cloudevents.json')
      reader.ws.terminate()
    }
    for (const topic of ['secret', 'absent']) {
      const reader = read(topic, bearer(alice))
      const [closed, reason] = await reader.closed
      expect([closed, reason.split(':')[0]]).toEqual([1008, 'AUTHORIZATION_FAILED'])
      expect(JSON.stringify(reader.events)).not.toContain('"data":"secret"')
    }
  })

  it('ends when the right is taken back', async () => {
    const reader = read('open', bearer(alice))
    await reader.first(1)
    await (await broker.connect()).admin().deleteAcls({})
    const [closed, reason] = await reader.closed
    expect([closed, reason.split(':')[0]]).toEqual([1008, 'AUTHORIZATION_FAILED'])
    await allow()
  })
})
