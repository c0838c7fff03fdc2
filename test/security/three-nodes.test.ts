// Rights and keys on three brokers of one log: what one is told holds on all, and what is taken away ends everywhere.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { type Client, connect, type NewAclBinding } from '../../client/index.ts'
import { type NodeName, nodeNames, ThreeNodes } from '../cluster/three-nodes.ts'
import { type Frame, RawClient } from '../gateway/raw-client.ts'

const denied = { code: 'AUTHORIZATION_FAILED', retriable: false, principal: 'User:alice' }
const grants = [{ resource: 'topic', pattern: 'literal', name: 'shared', operations: ['read'] }]

let nodes: ThreeNodes
const admins = new Map<NodeName, Client>()
const opened: RawClient[] = []

beforeAll(async () => {
  nodes = await ThreeNodes.prepare()
  await nodes.startAll(() => ({ authentication: 'required', drainMs: 100 }))
  for (const node of nodeNames) {
    const token = readFileSync(join(nodes.data(node), 'admin.token'), 'utf8').trim()
    admins.set(node, await connect(urlOf(node), { token }))
  }
  await admin('n1').createTopic({ topic: 'shared', partitions: 2 })
}, 60_000)

afterEach(async () => {
  for (const raw of opened.splice(0)) raw.ws.terminate()
  await admin('n1').deleteAcls({})
})

afterAll(async () => {
  for (const client of admins.values()) await client.close({ timeoutMs: 0 })
  await nodes.close()
})

const urlOf = (node: NodeName): string => nodes.running.get(node)?.url ?? ''
const admin = (node: NodeName) => (admins.get(node) as Client).admin()

async function signIn(node: NodeName, token: string): Promise<RawClient> {
  const raw = await RawClient.dial(urlOf(node))
  opened.push(raw)
  await raw.call('hello', { protocol: 1, client: 'three', auth: { token } })
  return raw
}

const rule = (resource: 'topic' | 'group', name: string, operation: 'read' | 'write') =>
  ({ principal: 'User:alice', resource, name, operation }) satisfies NewAclBinding

/** Of a request that a broker may refuse until it has applied what another one was told. */
async function answered(raw: RawClient, op: string, fields: Frame, code?: string): Promise<Frame> {
  for (;;) {
    const reply = await raw.request(op, fields)
    const error = reply['error'] as Frame | undefined
    if (error?.['code'] === code) return error ?? reply
    await new Promise(resolve => setImmediate(resolve))
  }
}

it('a key that one broker made opens all, at once; its secret does', async () => {
  const { token } = await admin('n1').createToken({ principal: 'User:alice' })
  for (const node of nodeNames) {
    await (await signIn(node, token)).call('ping')
    const wrong = await RawClient.dial(urlOf(node))
    const auth = { token: `${token.slice(0, -43)}${'x'.repeat(43)}` }
    expect(await wrong.refusal('hello', { protocol: 1, client: 't', auth })).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
    })
  }
})

it('a right that one broker was told of holds on the others, and ends there when it goes', async () => {
  const { token } = await admin('n1').createToken({ principal: 'User:alice' })
  const [one, two, three] = [
    await signIn('n1', token),
    await signIn('n2', token),
    await signIn('n3', token),
  ]
  const records = { records: [{ topic: 'shared', value: 'v' }] }
  const subscribe = { topic: 'shared', partition: 0, from: 'end', credit: 1e6 }
  for (const raw of [one, two, three]) {
    expect(await raw.refusal('publish', records)).toMatchObject(denied)
    expect(await raw.refusal('subscribe', subscribe)).toMatchObject(denied)
  }
  await admin('n1').createAcls([
    rule('topic', 'shared', 'read'),
    rule('topic', 'shared', 'write'),
    rule('group', 'g', 'read'),
  ])
  await answered(two, 'publish', records)
  await answered(two, 'subscribe', subscribe)
  const join = { group: 'g', memberId: 'm', topics: ['shared'] }
  await answered(three, 'joinGroup', join)
  await answered(one, 'publish', records)

  await admin('n3').deleteAcls({ principal: 'User:alice' })
  const ended = await two.untilPushed(all => all.some(({ op }) => op === 'end'))
  expect(ended.find(({ op }) => op === 'end')).toMatchObject({ error: denied })
  const isOut = ({ op, error }: Frame): boolean => op === 'assignment' && error !== undefined
  const told = await three.untilPushed(all => all.some(isOut))
  expect(told.find(isOut)).toMatchObject({ group: 'g', memberId: 'm', error: denied })
  for (const raw of [one, two, three]) {
    await answered(raw, 'publish', records, 'AUTHORIZATION_FAILED')
    expect(await raw.refusal('joinGroup', join)).toMatchObject(denied)
  }
})

it('a key that is revoked on one broker ends its connections on all, and those of what was minted with it', async () => {
  const { token, tokenId } = await admin('n2').createToken({ principal: 'User:alice' })
  const first = await signIn('n1', token)
  const { token: minted } = await first.call('mintToken', { grants })
  const open = [first]
  for (const node of nodeNames) {
    open.push(await signIn(node, token))
    // Any broker checks what another one has minted.
    open.push(await signIn(node, String(minted)))
  }
  await admin('n3').revokeToken(tokenId)
  const codes = await Promise.all(open.map(raw => raw.closed))
  expect(codes.map(({ code }) => code)).toEqual(open.map(() => 3005))
  for (const node of nodeNames)
    for (const auth of [{ token }, { token: minted }]) {
      const raw = await RawClient.dial(urlOf(node))
      expect(await raw.refusal('hello', { protocol: 1, client: 't', auth })).toMatchObject({
        code: 'AUTHENTICATION_FAILED',
      })
    }
})

it('a group request that is sent again to another broker is checked there, and what was committed stays', async () => {
  const { token } = await admin('n1').createToken({ principal: 'User:alice' })
  const rights = [rule('topic', 'shared', 'read'), rule('group', 'again', 'read')]
  await admin('n1').createAcls(rights)
  const one = await signIn('n1', token)
  const join = { group: 'again', memberId: 'm1', topics: ['shared'] }
  const joined = await answered(one, 'joinGroup', join)
  const [place] = (joined['assigned'] as Frame[]).filter(({ partition }) => partition === 0)
  const commit = (sequence: number, offset: number): Frame => ({
    group: 'again',
    memberId: 'm1',
    sequence,
    offsets: [{ topic: 'shared', partition: 0, generation: place?.['generation'], offset }],
  })
  await one.call('commitOffsets', commit(1, 1))
  // The answer is lost: the same goes to another broker, and has effect once.
  const two = await signIn('n2', token)
  await answered(two, 'commitOffsets', commit(1, 0))
  const committed = async (node: NodeName): Promise<unknown> =>
    (await admin(node).describeGroup('again')).partitions.find(({ partition }) => partition === 0)
      ?.offset
  for (const node of nodeNames) expect(await committed(node)).toBe(1)

  await admin('n3').deleteAcls({ principal: 'User:alice' })
  const three = await signIn('n3', token)
  for (const raw of [one, two, three]) {
    // As long as a broker does not know it yet, this has no effect: the sequence was used.
    await answered(raw, 'commitOffsets', commit(1, 0), 'AUTHORIZATION_FAILED')
    expect(await raw.refusal('commitOffsets', commit(2, 0))).toMatchObject(denied)
    expect(await raw.refusal('joinGroup', join)).toMatchObject(denied)
  }
  for (const node of nodeNames) expect(await committed(node)).toBe(1)
  const isOut = ({ op, error }: Frame): boolean => op === 'assignment' && error !== undefined
  await one.untilPushed(all => all.some(isOut))
  while ((await admin('n2').describeGroup('again')).members.length > 0);

  // It is back, but the member was put out: what it sends again has no effect, wherever it goes; a new member goes on from what was committed.
  await admin('n2').createAcls(rights)
  for (const raw of [one, two, three])
    await answered(raw, 'commitOffsets', commit(2, 0), 'UNKNOWN_MEMBER')
  const heir = await answered(three, 'joinGroup', { ...join, memberId: 'm2' })
  expect(heir['assigned']).toContainEqual(
    expect.objectContaining({ topic: 'shared', partition: 0, offset: 1 }),
  )
})

it('a consumer of the SDK that loses its right is told by any broker, and begins anew on another one', async () => {
  const { token } = await admin('n1').createToken({ principal: 'User:alice' })
  const rights = [
    rule('topic', 'shared', 'read'),
    rule('topic', 'shared', 'write'),
    rule('group', 'sdk', 'read'),
  ]
  const urls = nodeNames.map(urlOf)
  for (const [i, node] of nodeNames.entries()) {
    await admin(node).createAcls(rights)
    const client = await connect([...urls.slice(i), ...urls.slice(0, i)], { token })
    try {
      const sent = await eventually(() =>
        client.producer({ lingerMs: 0 }).send('shared', { key: 'k', value: node }),
      )
      const consumer = client.consumer({
        groupId: 'sdk',
        topics: 'shared',
        autoOffsetReset: 'earliest',
      })
      const seen: string[] = []
      const running = consumer.run(async ({ offset, partition, value }) => {
        seen.push(String(value))
        if (partition !== sent.partition || offset !== sent.offset) return
        await admin(nodeNames[(i + 1) % 3] as NodeName).deleteAcls({ principal: 'User:alice' })
      })
      await expect(running).rejects.toMatchObject({ code: 'AUTHORIZATION_FAILED' })
      expect(seen).toContain(node)
    } finally {
      await client.close({ timeoutMs: 0 })
    }
  }
})

/** Once the broker has applied what another one was told. */
async function eventually<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if ((error as { code?: string }).code !== 'AUTHORIZATION_FAILED') throw error
    }
  }
}
