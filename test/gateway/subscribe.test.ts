// Subscriptions: pushes under a credit window, and how they end.

import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Frame, handBatch, RawClient, sealBatch } from './raw-client.ts'

let broker: RunningBroker
let client: RawClient
let reader: RawClient
let topic = ''
let topics = 0

beforeAll(async () => {
  broker = await startBroker({
    loglet: 'memory',
    port: 0,
    creditBytesMax: 5000,
    subscriptionsMax: 3,
  })
  client = await RawClient.connect(broker.url)
})

beforeEach(async () => {
  topic = `t${topics++}`
  await client.call('createTopic', { topic })
  reader = await RawClient.connect(broker.url)
})

afterAll(async () => {
  await broker.close()
})

const subscribe = (more: Frame = {}): Promise<Frame> =>
  reader.call('subscribe', { topic, partition: 0, from: 0, credit: 5000, ...more })
const publish = (value: string): Promise<Frame> =>
  client.call('publish', { records: [{ topic, value }] })
const bytesOf = (pushes: readonly Frame[]): number =>
  pushes.reduce((sum, push) => sum + (push['bytes'] as number), 0)
const offsetsOf = (pushes: readonly Frame[]): unknown[] =>
  pushes.flatMap(push => (push['items'] as Frame[]).map(item => item['offset']))

/** Whatever the broker was about to push has been pushed when this resolves: more than one of its turns have passed. */
async function settled(): Promise<void> {
  for (let i = 0; i < 5; i++) {
    await client.call('ping')
    await reader.call('ping')
  }
}

describe('credit', () => {
  it('of 0 pushes nothing', async () => {
    await publish('a')
    await subscribe({ credit: 0 })
    await publish('b')
    await settled()
    expect(reader.pushes).toEqual([])
  })

  it('is taken by each push; the last may overdraw, and the debt is paid before the next', async () => {
    for (let i = 0; i < 4; i++) await publish('x'.repeat(100))
    const { sub } = await subscribe({ credit: 1 })
    await reader.untilPushed(all => all.length > 0)
    expect(offsetsOf(reader.pushes)).toEqual([0])
    const bytes = bytesOf(reader.pushes)
    const items = reader.pushes.flatMap(push => push['items'] as { batch: Uint8Array }[])
    expect(items.map(item => item.batch.length)).toEqual([bytes])
    // Exactly to zero: not positive, so nothing comes.
    reader.send({ op: 'credit', sub, bytes: bytes - 1 })
    await settled()
    expect(reader.pushes).toHaveLength(1)
    reader.send({ op: 'credit', sub, bytes: 1 })
    await reader.untilPushed(all => all.length > 1)
    await settled()
    expect(offsetsOf(reader.pushes)).toEqual([0, 1])
  })

  it('beyond creditBytesMax is cut to it', async () => {
    for (let i = 0; i < 20; i++) await publish('x'.repeat(1000))
    const { sub } = await subscribe({ credit: 2 ** 40 })
    reader.send({ op: 'credit', sub, bytes: 2 ** 40 })
    await settled()
    // Twice at most: what the subscription began with and what the credit frame brought it back to. One push may overdraw.
    expect(bytesOf(reader.pushes)).toBeLessThan(2 * 5000 + 2000)
    expect(bytesOf(reader.pushes)).toBeGreaterThanOrEqual(5000)
  })

  it('for a subscription that is not there is no error', async () => {
    reader.send({ op: 'credit', sub: 99, bytes: 1 })
    await settled()
    expect(reader.pushes).toEqual([])
  })

  it('that is no number is answered with a nil id', async () => {
    const { sub } = await subscribe({ credit: 0 })
    reader.send({ op: 'credit', sub, bytes: -5 })
    reader.send({ op: 'credit', sub: 'x', bytes: 5 })
    await reader.untilPushed(all => all.length === 2)
    expect(reader.pushes.map(push => [push['id'], (push['error'] as Frame)['code']])).toEqual([
      [null, 'NUMBER_OUT_OF_RANGE'],
      [null, 'INVALID_REQUEST'],
    ])
  })
})

describe('a subscription', () => {
  it('goes on where another connection’s ended, record by record', async () => {
    for (let i = 0; i < 3; i++) await publish(`${i}`)
    await subscribe({ credit: 1, format: 'records' })
    const [push] = await reader.untilPushed(all => all.length > 0)
    await reader.close()
    reader = await RawClient.connect(broker.url)
    await subscribe({ from: push?.['next'], format: 'records' })
    await reader.untilPushed(all => all.at(-1)?.['next'] === 3)
    expect([...offsetsOf([push as Frame]), ...offsetsOf(reader.pushes)]).toEqual([0, 1, 2])
  })

  it('is one of several on a connection, each with its own place', async () => {
    await publish('a')
    await publish('b')
    const subs = [await subscribe(), await subscribe({ from: 1 }), await subscribe({ from: 'end' })]
    await publish('c')
    const reached = (all: readonly Frame[], sub: unknown): boolean =>
      all.some(push => push['sub'] === sub && push['next'] === 3)
    const pushes = await reader.untilPushed(all => subs.every(({ sub }) => reached(all, sub)))
    expect(subs.map(({ sub }) => offsetsOf(pushes.filter(push => push['sub'] === sub)))).toEqual([
      [0, 1, 2],
      [1, 2],
      [2],
    ])
    expect(
      await reader.refusal('subscribe', { topic, partition: 0, from: 0, credit: 1 }),
    ).toMatchObject({ code: 'LIMIT_EXCEEDED', limit: 3 })
  })

  it('is over after unsubscribe, and a second one is refused', async () => {
    const { sub } = await subscribe()
    await reader.call('unsubscribe', { sub })
    await publish('unseen')
    await settled()
    expect(reader.pushes).toEqual([])
    expect(await reader.refusal('unsubscribe', { sub })).toMatchObject({
      code: 'UNKNOWN_SUBSCRIPTION',
    })
  })

  it('ends with an error when its topic is deleted', async () => {
    const { sub } = await subscribe()
    await client.call('deleteTopic', { topic })
    const pushes = await reader.untilPushed(all => all.length > 0)
    expect(pushes).toMatchObject([{ op: 'end', sub, error: { code: 'UNKNOWN_TOPIC', topic } }])
    // The name may come back; the subscription does not.
    await client.call('createTopic', { topic })
    await publish('again')
    await settled()
    expect(reader.pushes).toHaveLength(1)
  })

  it('without credit ends too when its topic is deleted', async () => {
    const { sub } = await subscribe({ credit: 0 })
    await client.call('deleteTopic', { topic })
    expect(await reader.untilPushed(all => all.length > 0)).toMatchObject([{ op: 'end', sub }])
  })

  it('ends with UNSUPPORTED_CODEC at a batch that the reader cannot open, after all before it', async () => {
    await publish('plain')
    const plain = Buffer.from(handBatch([{ value: 'squeezed' }]))
    const body = gzipSync(plain.subarray(64))
    const batch = Buffer.concat([plain.subarray(0, 64), body])
    batch[8] = 1
    batch.writeUInt32BE(body.length, 12)
    await client.call('produce', { topic, partition: 0, batch: sealBatch(batch) })
    const { sub } = await subscribe({ codecs: ['none'] })
    const pushes = await reader.untilPushed(all => all.some(push => push['op'] === 'end'))
    expect(pushes).toMatchObject([
      { op: 'deliver', sub, items: [{ offset: 0 }], next: 1 },
      { op: 'end', sub, error: { code: 'UNSUPPORTED_CODEC', codec: 'gzip' } },
    ])
  })

  it('that was trimmed under its reader gets a typed gap and goes on', async () => {
    await publish('gone')
    await publish('gone too')
    const { sub } = await subscribe({ credit: 0 })
    const { tail } = await client.call('describeLog')
    await client.call('trimLog', { lsn: tail, force: true })
    await publish('kept')
    reader.send({ op: 'credit', sub, bytes: 1000 })
    const pushes = await reader.untilPushed(all => all.at(-1)?.['next'] === 3)
    expect(pushes.flatMap(push => push['items'])).toMatchObject([
      { gap: 'trimmed', offset: 0, next: 2 },
      { offset: 2 },
    ])
  })
})
