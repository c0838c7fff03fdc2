// Quotas of principals, set while they are connected: shared by all connections of one, and of no concern to another.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Client } from '../../client/index.ts'
import { type Frame, RawClient } from '../gateway/raw-client.ts'
import { SecureBroker } from './secure-broker.ts'

let broker: SecureBroker
let admin: Client
const keys = new Map<string, string>()
const opened: RawClient[] = []

beforeAll(async () => {
  broker = await SecureBroker.start({ drainMs: 100 })
  admin = await broker.connect()
  for (const name of ['alice', 'bob']) {
    const { token } = await admin.admin().createToken({ principal: `User:${name}` })
    keys.set(name, token)
    for (const operation of ['write', 'read', 'create', 'describe'] as const)
      await admin.admin().createAcls([
        {
          principal: `User:${name}`,
          resource: 'topic',
          name: `${name}.`,
          pattern: 'prefixed',
          operation,
        },
      ])
  }
})

afterEach(async () => {
  for (const raw of opened.splice(0)) raw.ws.terminate()
  await admin.admin().setQuota('User:alice', null)
})

afterAll(() => broker.close())

async function signIn(name: string): Promise<RawClient> {
  const raw = await RawClient.dial(broker.url)
  opened.push(raw)
  await raw.call('hello', { protocol: 1, client: 'quotas', auth: { token: keys.get(name) } })
  return raw
}

const publish = (by: RawClient, topic: string, value = 'v'): Promise<Frame> =>
  by.call('publish', { records: [{ topic, value }] })

describe('a quota of a principal', () => {
  it('holds for all its connections together, from the moment it is set, and for nobody else', async () => {
    const [one, other, bob] = [await signIn('alice'), await signIn('alice'), await signIn('bob')]
    expect(await publish(one, 'alice.t', 'x'.repeat(20_000))).not.toHaveProperty('throttleMs')
    await admin.admin().setQuota('User:alice', { producerByteRate: 20_000 })
    expect((await publish(one, 'alice.t', 'x'.repeat(30_000)))['throttleMs']).toBeGreaterThan(0)
    // What one connection has used the other has to wait for.
    expect((await publish(other, 'alice.t'))['throttleMs']).toBeGreaterThan(0)
    expect(await publish(bob, 'bob.t', 'x'.repeat(30_000))).not.toHaveProperty('throttleMs')
    // Without it nobody waits any more, long before the debt is paid.
    await admin.admin().setQuota('User:alice', null)
    await Promise.all([one.call('ping'), other.call('ping')])
  })

  it('of connections refuses the hello of one too many, which may come back', async () => {
    await admin.admin().setQuota('User:alice', { connections: 1 })
    const first = await signIn('alice')
    const second = await RawClient.dial(broker.url)
    const hello = { protocol: 1, client: 'quotas', auth: { token: keys.get('alice') } }
    expect(await second.refusal('hello', hello)).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      retriable: true,
      quota: 'connections',
      principal: 'User:alice',
      limit: 1,
      actual: 2,
    })
    expect(await second.closed).toMatchObject({
      code: 1013,
      reason: expect.stringMatching(/^QUOTA_EXCEEDED/),
    })
    await signIn('bob')
    await first.close()
    await expect
      .poll(() =>
        signIn('alice').then(
          () => 'in',
          () => 'out',
        ),
      )
      .toBe('in')
  })

  it('of topics counts what this principal made, and says who made it', async () => {
    const [alice, bob] = [await signIn('alice'), await signIn('bob')]
    await publish(alice, 'alice.t')
    await admin.admin().setQuota('User:alice', { topics: 1 })
    const error = { code: 'QUOTA_EXCEEDED', quota: 'topics', limit: 1, actual: 2 }
    expect(
      await alice.refusal('publish', { records: [{ topic: 'alice.u', value: 'v' }] }),
    ).toMatchObject(error)
    expect(await alice.refusal('createTopic', { topic: 'alice.u' })).toMatchObject(error)
    await publish(bob, 'bob.u')
  })

  it('of topics tells operators who made one, in a field of its own', async () => {
    const alice = await signIn('alice')
    await admin.admin().createTopic({ topic: 'alice.own', config: { 'retention.ms': '60000' } })
    await publish(alice, 'alice.made')
    const made = await admin.admin().describeTopic('alice.made')
    expect(made).toMatchObject({ owner: 'User:alice', config: {} })
    // What is described can be given to createTopic.
    const { config } = await admin.admin().describeTopic('alice.own')
    expect(config).toEqual({ 'retention.ms': '60000' })
    await admin.admin().createTopic({ topic: 'alice.copy', config })
    expect(await admin.admin().alterTopic('alice.made', config)).toEqual({
      topic: 'alice.made',
      config,
    })
    expect(await alice.call('describeTopic', { topic: 'alice.made' })).not.toHaveProperty('owner')
  })
})
