// What has begun and is not allowed any more ends; what cannot be checked by a name alone: patterns, creation, transactional ids. And what the log says.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { NewAclBinding } from '../../client/index.ts'
import { type Frame, handBatch, RawClient } from '../gateway/raw-client.ts'
import { SecureBroker } from './secure-broker.ts'

let broker: SecureBroker
let admin: RawClient
let key = ''
let tokenId = ''
const opened: RawClient[] = []

beforeAll(async () => {
  broker = await SecureBroker.start({ drainMs: 100 })
  admin = await signIn(broker.adminToken)
  const made = await (await broker.connect()).admin().createToken({ principal: 'User:alice' })
  key = made.token
  tokenId = made.tokenId
})

afterEach(async () => {
  for (const raw of opened.splice(1)) raw.ws.terminate()
  await admin.call('deleteAcls', { filter: {} })
})

afterAll(async () => {
  admin.ws.terminate()
  await broker.close()
})

async function signIn(token = key): Promise<RawClient> {
  const raw = await RawClient.dial(broker.url)
  opened.push(raw)
  await raw.call('hello', { protocol: 1, client: 'rights', auth: { token } })
  return raw
}

const rule = (
  resource: 'topic' | 'group' | 'cluster',
  name: string,
  operation: string,
  more: Frame = {},
): NewAclBinding =>
  ({ principal: 'User:alice', resource, name, operation, ...more }) as NewAclBinding

async function allow(...bindings: readonly NewAclBinding[]): Promise<void> {
  await admin.call('createAcls', { bindings })
}

const denied = { code: 'AUTHORIZATION_FAILED', retriable: false, principal: 'User:alice' }
const of = (operation: string, resource: string, name: string): Frame => ({
  ...denied,
  operation,
  resource,
  name,
})

/** Ways to take a right away. */
const ways = [
  ['the binding goes', () => admin.call('deleteAcls', { filter: { operation: 'read' } })],
  [
    'a deny comes',
    () =>
      allow(
        rule('topic', 'live', 'read', { permission: 'deny', principal: 'User:*' }),
        rule('group', 'live', 'read', { permission: 'deny' }),
      ),
  ],
] as const

describe.each(ways)('a right that is taken away: %s', (_, takeAway) => {
  it('ends a subscription, and the connection goes on', async () => {
    await admin.call('createTopic', { topic: 'live', ifNotExists: true })
    await allow(rule('topic', 'live', 'read'))
    const alice = await signIn()
    const { sub } = await alice.call('subscribe', {
      topic: 'live',
      partition: 0,
      from: 'end',
      credit: 1e6,
    })
    await takeAway()
    const pushes = await alice.untilPushed(all => all.some(({ op }) => op === 'end'))
    expect(pushes.at(-1)).toMatchObject({ op: 'end', sub, error: of('read', 'topic', 'live') })
    await alice.call('ping')
  })

  it('ends a fetch that waits', async () => {
    await admin.call('createTopic', { topic: 'live', ifNotExists: true })
    await allow(rule('topic', 'live', 'read'))
    const alice = await signIn()
    const fields = { topic: 'live', partition: 0, from: 'end', maxWaitMs: 30_000 }
    const waiting = alice.refusal('fetch', fields)
    await alice.call('ping')
    await takeAway()
    expect(await waiting).toMatchObject(of('read', 'topic', 'live'))
  })

  it('ends a share fetch that waits', async () => {
    await admin.call('createTopic', { topic: 'live', ifNotExists: true })
    await admin.call('openShareGroup', { group: 'work', topics: ['live'] })
    await allow(rule('topic', 'live', 'read'), rule('group', 'work', 'read'))
    const alice = await signIn()
    const waiting = alice.refusal('shareFetch', { group: 'work', memberId: 'm', maxWaitMs: 30_000 })
    await alice.call('ping')
    await takeAway()
    expect(await waiting).toMatchObject({ ...denied, operation: 'read' })
  })

  it('puts a member out of its group, and what it had is for others', async () => {
    await admin.call('createTopic', { topic: 'live', ifNotExists: true })
    await allow(rule('topic', 'live', 'read'), rule('group', 'live', 'read'))
    const alice = await signIn()
    await alice.call('joinGroup', { group: 'live', memberId: 'a', topics: ['live'] })
    await admin.call('joinGroup', { group: 'live', memberId: 'b', topics: ['live'] })
    const seen = admin.pushes.length
    await takeAway()
    const isOut = ({ op, error }: Frame): boolean => op === 'assignment' && error !== undefined
    const pushes = await alice.untilPushed(all => all.some(isOut))
    expect(pushes.find(isOut)).toMatchObject({ group: 'live', memberId: 'a', error: denied })
    const isHeir = ({ assigned }: Frame): boolean => (assigned as Frame[] | undefined)?.length === 1
    await admin.untilPushed(all => all.slice(seen).some(isHeir))
    const again = { group: 'live', memberId: 'a', topics: ['live'] }
    expect(await alice.refusal('joinGroup', again)).toMatchObject(denied)
    await admin.call('leaveGroup', { group: 'live', memberId: 'b' })
  })
})

it('a narrower token ends what it does not allow', async () => {
  await admin.call('createTopic', { topic: 'live', ifNotExists: true })
  await allow(rule('topic', '*', 'read'))
  const alice = await signIn()
  await alice.call('subscribe', { topic: 'live', partition: 0, from: 'end', credit: 1e6 })
  const { token } = await alice.call('mintToken', {
    grants: [{ resource: 'topic', pattern: 'literal', name: 'other', operations: ['read'] }],
  })
  await alice.call('authenticate', { auth: { token } })
  const pushes = await alice.untilPushed(all => all.some(({ op }) => op === 'end'))
  expect(pushes.find(({ op }) => op === 'end')).toMatchObject({
    error: {
      ...of('read', 'topic', 'live'),
      message: expect.stringContaining('at least not with this token'),
    },
  })
})

describe('a subscription by pattern', () => {
  const join = { group: 'p', memberId: 'm', topics: [], pattern: 'orders-.*' }

  it.each([
    ['all of the beginning', [rule('topic', 'orders-', 'read', { pattern: 'prefixed' })], true],
    ['a wider beginning', [rule('topic', 'ord', 'read', { pattern: 'prefixed' })], true],
    ['everything', [rule('topic', '*', 'read')], true],
    ['one topic that matches', [rule('topic', 'orders-eu', 'read')], false],
    ['a narrower beginning', [rule('topic', 'orders-e', 'read', { pattern: 'prefixed' })], false],
    ['another right', [rule('topic', 'orders-', 'write', { pattern: 'prefixed' })], false],
    [
      'all but one',
      [
        rule('topic', 'orders-', 'read', { pattern: 'prefixed' }),
        rule('topic', 'orders-secret', 'read', { permission: 'deny' }),
      ],
      false,
    ],
  ])('with the right to read %s', async (_, bindings, isAllowed) => {
    await allow(rule('group', 'p', 'read'), ...bindings)
    const alice = await signIn()
    if (isAllowed) expect(await alice.call('joinGroup', join)).toMatchObject({ group: 'p' })
    else
      expect(await alice.refusal('joinGroup', join)).toMatchObject(of('read', 'topic', 'orders-*'))
    await alice.request('leaveGroup', { group: 'p', memberId: 'm' })
  })
})

describe('what may not be seen', () => {
  it('cannot be told from what is not there, by any operation', async () => {
    await admin.call('createTopic', { topic: 'there', ifNotExists: true })
    const alice = await signIn()
    const batch = handBatch([{ value: 'v' }])
    const requests: readonly (readonly [string, (topic: string) => Frame])[] = [
      ['describeTopic', topic => ({ topic })],
      ['listOffsets', topic => ({ topic, at: 'end' })],
      ['fetch', topic => ({ topic, partition: 7, from: 'end' })],
      ['subscribe', topic => ({ topic, partition: 7, from: 'end', credit: 1 })],
      ['produce', topic => ({ topic, partition: 7, batch })],
      ['publish', topic => ({ records: [{ topic, partition: 7, value: 'v' }] })],
      ['deleteTopic', topic => ({ topic })],
      ['alterTopic', topic => ({ topic, partitions: 1 })],
      ['joinGroup', topic => ({ group: 'g', memberId: 'm', topics: [topic] })],
      ['createTopic', topic => ({ topic })],
    ]
    for (const [op, fields] of requests) {
      const [there, missing] = [
        await alice.refusal(op, fields('there')),
        await alice.refusal(op, fields('ereht')),
      ]
      expect(JSON.stringify(missing).replaceAll('ereht', 'there'), op).toBe(JSON.stringify(there))
    }
  })

  it('is not named by what a group tells', async () => {
    for (const topic of ['open', 'hidden'])
      await admin.call('createTopic', { topic, ifNotExists: true })
    const offsets = ['open', 'hidden'].map(topic => ({ topic, partition: 0, offset: 0 }))
    await admin.call('commitOffsets', { group: 'mixed', offsets })
    await admin.call('openShareGroup', { group: 'both', topics: ['open', 'hidden'] })
    await allow(
      rule('topic', 'open', 'read'),
      rule('group', '*', 'read'),
      rule('group', '*', 'alter'),
    )
    const alice = await signIn()
    const answers = [
      await alice.call('describeGroup', { group: 'mixed' }),
      await alice.call('describeGroup', { group: 'both' }),
      await alice.call('fetchOffsets', { group: 'mixed' }),
      await alice.request('resetOffsets', { group: 'mixed', to: 'end' }),
      await alice.request('resetOffsets', { group: 'both', to: 'end' }),
    ]
    for (const answer of answers) expect(JSON.stringify(answer)).not.toContain('hidden')
    expect(JSON.stringify(answers[2])).toContain('open')
    expect(answers[3]).toMatchObject({ error: denied })
    await admin.call('publish', {
      records: ['open', 'hidden'].map(topic => ({ topic, value: 'v' })),
    })
    const taken = await alice.call('shareFetch', { group: 'both', memberId: 'm', maxWaitMs: 1000 })
    expect((taken['records'] as Frame[]).map(({ topic }) => topic)).toEqual(['open'])
  })
})

describe('a missing topic', () => {
  it('is not made by who may write but not create, and the error says which right lacks', async () => {
    await allow(rule('topic', 'new-', 'write', { pattern: 'prefixed' }))
    const alice = await signIn()
    const records = [{ topic: 'new-a', value: 'v' }]
    expect(await alice.refusal('publish', { records })).toMatchObject(
      of('create', 'topic', 'new-a'),
    )
    await allow(rule('cluster', 'logloom', 'create'))
    await alice.call('publish', { records })
    await allow(rule('topic', 'new-b', 'create', { permission: 'deny' }))
    expect(await alice.refusal('createTopic', { topic: 'new-b' })).toMatchObject(denied)
  })
})

it('a transactional id is its principal’s own', async () => {
  const bob = await (await broker.connect()).admin().createToken({ principal: 'User:bob' })
  const [alice, other] = [await signIn(), await signIn(bob.token)]
  const first = await alice.call('initProducer', { transactionalId: 'tx' })
  const foreign = await other.call('initProducer', { transactionalId: 'tx' })
  const again = await (await signIn()).call('initProducer', { transactionalId: 'tx' })
  expect(foreign['producerId']).not.toBe(first['producerId'])
  expect(again).toMatchObject({ producerId: first['producerId'], producerEpoch: 1 })
})

describe('the log', () => {
  const lines = (text: string): readonly Frame[] =>
    broker.logged
      .filter(line => line.includes(text))
      .map(line => JSON.parse(line.slice(line.indexOf('{'))) as Frame)

  it('has one line for each change, with who, from where, what and how it ended, and no secret', async () => {
    await allow(rule('topic', 'audited', 'create'), rule('topic', 'audited', 'delete'))
    const alice = await signIn()
    await alice.call('createTopic', { topic: 'audited' })
    await alice.refusal('createTopic', { topic: 'audited' })
    await alice.call('deleteTopic', { topic: 'audited' })
    const who = {
      audit: true,
      principal: 'User:alice',
      mechanism: 'api-key',
      tokenId,
      address: expect.any(String),
      client: 'rights',
    }
    const subject = '{"topic":"audited"}'
    expect(lines('"audited\\"').filter(({ principal }) => principal === 'User:alice')).toEqual([
      { ...who, op: 'createTopic', subject, outcome: 'ok' },
      { ...who, op: 'createTopic', subject, outcome: 'TOPIC_EXISTS' },
      { ...who, op: 'deleteTopic', subject, outcome: 'ok' },
    ])
    const secret = key.slice(-43)
    expect(broker.logged.join('\n')).not.toContain(secret)
    expect(lines('createToken').length).toBeGreaterThan(0)
    for (const line of lines('createToken')) expect(line['subject']).not.toContain('hash')
  })

  it('does not say that a connection was closed that there is not', async () => {
    const close = (connection: unknown): Promise<Frame> =>
      admin.call('closeConnection', { connection })
    expect(await close(99_999)).toMatchObject({ closed: false })
    const victim = await signIn()
    const { connections } = await admin.call('listConnections')
    const { id } =
      (connections as Frame[]).filter(each => each['principal'] === 'User:alice').pop() ?? {}
    expect(await close(id)).toMatchObject({ closed: true })
    await victim.closed
    expect(lines('closeConnection').map(({ subject, outcome }) => [subject, outcome])).toEqual([
      ['{"connection":99999}', 'not-found'],
      [`{"connection":${String(id)}}`, 'ok'],
    ])
  })

  it('names no API key that a refused request would have made', async () => {
    const hash = new Uint8Array(32)
    const named = { tokenId: 'never0never0neve', principal: 'alice', hash }
    await admin.refusal('createToken', named)
    const good = { tokenId: 'twice0twice0twic', principal: 'User:alice', hash }
    await admin.refusal('createToken', { ...good, expiresAt: 1 })
    await admin.call('createToken', good)
    await admin.refusal('createToken', good)
    const told = lines('createToken').slice(-4)
    expect(told.map(({ subject, outcome }) => [JSON.parse(String(subject)), outcome])).toEqual([
      [{ principal: 'alice' }, 'INVALID_REQUEST'],
      [{ principal: 'User:alice', expiresAt: 1 }, 'INVALID_REQUEST'],
      [{ tokenId: good.tokenId, principal: 'User:alice' }, 'ok'],
      [{ tokenId: good.tokenId, principal: 'User:alice' }, 'TOKEN_EXISTS'],
    ])
  })

  it('says with what somebody came who was denied', async () => {
    const alice = await signIn()
    const { token } = await alice.call('mintToken', {
      grants: [{ resource: 'topic', pattern: 'literal', name: 'x', operations: ['read'] }],
    })
    const page = await signIn(String(token))
    await page.refusal('deleteTopic', { topic: 'kept' })
    expect(lines('"kept"')).toEqual([
      expect.objectContaining({
        audit: true,
        principal: 'User:alice',
        mechanism: 'scoped-token',
        tokenId,
      }),
    ])
    expect(broker.logged.join('\n')).not.toContain(token)
  })

  it('says with what an administrator came', async () => {
    await admin.call('createTopic', { topic: 'by-admin' })
    expect(lines('by-admin')).toEqual([
      expect.objectContaining({
        audit: true,
        principal: 'User:admin',
        mechanism: 'admin-token',
        tokenId: expect.stringMatching(/^admin-[0-9a-f]{16}$/),
      }),
    ])
    expect(broker.logged.join('\n')).not.toContain(broker.adminToken)
  })

  it('has a denied request once, however often it comes, and counts each', async () => {
    const count = async (): Promise<number> => {
      const page = await fetch(`${broker.httpUrl}/metrics`, {
        headers: { authorization: `Bearer ${broker.adminToken}` },
      })
      const found =
        /logloom_authorization_denied_total\{operation="alter",resource="cluster"\} (\d+)/
      return Number(found.exec(await page.text())?.[1])
    }
    const before = await count()
    const alice = await signIn()
    for (let i = 0; i < 50; i++) await alice.refusal('sealLog')
    expect(await count()).toBe(before + 50)
    const told = lines('sealLog')
    expect(told).toHaveLength(1)
    expect(told[0]).toMatchObject({
      audit: true,
      outcome: 'AUTHORIZATION_FAILED',
      principal: 'User:alice',
      op: 'sealLog',
    })
  })

  it('tells of nobody without the right on the cluster what the metrics say', async () => {
    const get = (): Promise<Response> =>
      fetch(`${broker.httpUrl}/metrics`, { headers: { authorization: `Bearer ${key}` } })
    expect((await get()).status).toBe(403)
    await allow(rule('cluster', 'logloom', 'describe'))
    expect((await get()).status).toBe(200)
  })
})
