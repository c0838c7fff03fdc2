// Producers belong to whoever asked for them. Their ids are small numbers, so that anybody can name another's: with one, it could fence the owner, take its
// sequences so that what the owner sends is answered as a duplicate and never written, and read decisions that were made for it.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { NewAclBinding } from '../../client/index.ts'
import { type Frame, handBatch, RawClient } from '../gateway/raw-client.ts'
import { SecureBroker } from './secure-broker.ts'

let broker: SecureBroker
let admin: RawClient
let alice: RawClient
let mallory: RawClient
let aliceKey = ''
const opened: RawClient[] = []

beforeAll(async () => {
  broker = await SecureBroker.start({ drainMs: 100 })
  admin = await signIn(broker.adminToken)
  for (const topic of ['hers', 'theirs', 'mine']) await admin.call('createTopic', { topic })
  const write = (who: string, name: string): NewAclBinding => ({
    principal: `User:${who}`,
    resource: 'topic',
    name,
    operation: 'write',
  })
  await admin.call('createAcls', {
    bindings: [
      write('alice', 'hers'),
      write('alice', 'theirs'),
      write('mallory', 'theirs'),
      write('mallory', 'mine'),
    ],
  })
  const helper = (await broker.connect()).admin()
  aliceKey = (await helper.createToken({ principal: 'User:alice' })).token
  alice = await signIn(aliceKey)
  mallory = await signIn((await helper.createToken({ principal: 'User:mallory' })).token)
})

afterAll(async () => {
  for (const raw of opened) raw.ws.terminate()
  await broker.close()
})

async function signIn(token: string): Promise<RawClient> {
  const raw = await RawClient.dial(broker.url)
  opened.push(raw)
  await raw.call('hello', { protocol: 1, client: 'owner', auth: { token } })
  return raw
}

async function initialized(who: RawClient, fields: Frame = {}): Promise<Identity> {
  const { producerId, producerEpoch } = await who.call('initProducer', fields)
  return { producerId: Number(producerId), producerEpoch: Number(producerEpoch) }
}

interface Identity {
  readonly producerId: number
  readonly producerEpoch: number
}

const publishing = (
  topic: string,
  { producerId, producerEpoch }: Identity,
  sequence = 0,
): Frame => ({
  records: [{ topic, value: 'v' }],
  producer: { id: producerId, epoch: producerEpoch, sequence },
})

const batchOf = (
  topic: string,
  { producerId, producerEpoch }: Identity,
  baseSequence = 0,
): Frame => ({
  topic,
  partition: 0,
  batch: handBatch([{ value: 'v' }], { producerId, producerEpoch, baseSequence }),
})

const unknown = { code: 'UNKNOWN_PRODUCER' }

describe('a producer of somebody else', () => {
  it.each([
    ['a plain one', {}],
    ['one with a transactional id', { transactionalId: 'tx' }],
  ])('is not fenced by its number: %s', async (_, fields) => {
    const hers = await initialized(alice, fields)
    const asked: Frame = { ...hers }
    expect(await mallory.refusal('initProducer', asked)).toMatchObject(unknown)
    expect(
      await mallory.refusal('initProducer', { ...asked, transactionalId: 'own' }),
    ).toMatchObject(unknown)
    const later = { ...hers, producerEpoch: hers.producerEpoch + 1 }
    expect(await mallory.refusal('publish', publishing('mine', later))).toMatchObject(unknown)
    expect(await mallory.refusal('produce', batchOf('mine', later))).toMatchObject(unknown)
    await alice.call('publish', publishing('hers', hers))
    await alice.call('produce', batchOf('hers', hers))
  })

  it('keeps its place: what its owner sends is written, not answered as a duplicate', async () => {
    const hers = await initialized(alice)
    expect(await mallory.refusal('publish', publishing('mine', hers))).toMatchObject(unknown)
    expect(await mallory.refusal('produce', batchOf('theirs', hers))).toMatchObject(unknown)
    const before = await admin.call('listOffsets', { topic: 'theirs', at: 'end' })
    await alice.call('publish', publishing('theirs', hers))
    const reply = await alice.call('produce', batchOf('theirs', hers))
    expect(reply['duplicate']).toBeUndefined()
    const after = await admin.call('listOffsets', { topic: 'theirs', at: 'end' })
    const end = ({ offsets }: Frame): number => (offsets as { offset: number }[])[0]?.offset ?? 0
    expect(end(after) - end(before)).toBe(2)
  })

  it('tells nothing of what was decided for it', async () => {
    const ours = await initialized(admin)
    const producer = { id: ours.producerId, epoch: ours.producerEpoch, sequence: 0 }
    await admin.call('deleteAcls', { filter: { principal: 'User:nobody' }, producer })
    expect(
      await mallory.refusal('publish', { records: [{ topic: 'mine', value: '' }], producer }),
    ).toMatchObject(unknown)
  })

  it('is as unknown as one that was never given out', async () => {
    const { producerId, producerEpoch } = await initialized(alice)
    const told = async (id: number): Promise<unknown> => {
      const { message, ...rest } = await mallory.refusal('initProducer', {
        producerId: id,
        producerEpoch,
      })
      return { ...rest, message: message.replaceAll(String(id), 'N'), producerId: 'N' }
    }
    expect(await told(producerId)).toEqual(await told(producerId + 1_000_000))
  })
})

describe('a page with a scoped token', () => {
  it('does not reach the producers of its principal, by number or by name', async () => {
    const grants = [
      { resource: 'topic', pattern: 'literal', name: 'theirs', operations: ['write'] },
    ]
    const { token } = await alice.call('mintToken', { grants })
    const page = await signIn(String(token))
    const hers = await initialized(alice, { transactionalId: 'server' })
    const own = await initialized(page, { transactionalId: 'server' })
    expect(own.producerId).not.toBe(hers.producerId)
    expect(
      await page.refusal('initProducer', { producerId: hers.producerId, producerEpoch: 0 }),
    ).toMatchObject(unknown)
    expect(await page.refusal('publish', publishing('theirs', hers))).toMatchObject(unknown)
    await page.call('publish', publishing('theirs', own))
    await alice.call('publish', publishing('hers', hers))
    const next = await signIn(String((await alice.call('mintToken', { grants }))['token']))
    await next.call('publish', publishing('theirs', own, 1))
  })
})

describe('the owner', () => {
  it('goes on with its producer on another connection, and fences it', async () => {
    const first = await initialized(alice)
    await alice.call('publish', publishing('hers', first))
    const again = await signIn(aliceKey)
    await again.call('publish', publishing('hers', first, 1))
    const second = await initialized(again, {
      producerId: first.producerId,
      producerEpoch: first.producerEpoch,
    })
    expect(second).toMatchObject({ producerId: first.producerId, producerEpoch: 1 })
    expect(await alice.refusal('publish', publishing('hers', first, 2))).toMatchObject({
      code: 'PRODUCER_FENCED',
    })
  })
})
