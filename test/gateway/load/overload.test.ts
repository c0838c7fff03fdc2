// A broker that holds too much, or is asked for more than a quota gives: who waits, who is refused, who does not notice.

import { afterEach, describe, expect, it, vi } from 'vitest'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../../broker/index.ts'
import { metric } from '../../metrics-page.ts'
import { type Frame, RawClient } from '../raw-client.ts'

const kib = 1024
const started: RunningBroker[] = []

afterEach(async () => {
  await Promise.all(started.splice(0).map(broker => broker.close()))
})

async function start(options: StartBrokerOptions = {}): Promise<RunningBroker> {
  const broker = await startBroker({ loglet: 'memory', port: 0, ...options })
  started.push(broker)
  return broker
}

/** Holds `bytes` of the broker's memory until it is ended: a long poll with a lot of padding. */
async function hold(broker: RunningBroker, bytes: number): Promise<RawClient> {
  const client = await RawClient.connect(broker.url)
  const padding = Buffer.alloc(bytes)
  const fields = { topic: 'quiet', partition: 0, from: 0, maxWaitMs: 60_000, padding }
  client.request('fetch', fields).catch(() => {})
  await vi.waitFor(async () =>
    expect(await metric(broker, 'logloom_held_bytes{kind="requests"}')).toBeGreaterThan(bytes),
  )
  return client
}

const small: StartBrokerOptions = { memoryBudgetBytes: 1024 * kib, fetchBytesMax: 64 * kib }

describe('above three quarters of the budget', () => {
  it('writes are refused and leave no trace; all else passes; below it writes go on', async () => {
    const broker = await start(small)
    const client = await RawClient.connect(broker.url)
    await client.call('createTopic', { topic: 'quiet' })
    await client.call('publish', { records: [{ topic: 't', value: 'before' }] })
    const holder = await hold(broker, 900 * kib)
    expect(
      await client.refusal('publish', { records: [{ topic: 't', value: 'refused' }] }),
    ).toMatchObject({
      code: 'THROTTLED',
      retriable: true,
      retryAfterMs: expect.any(Number),
      message: expect.stringContaining('memoryBudgetBytes'),
    })
    await client.call('ping')
    await client.call('createTopic', { topic: 'made' })
    await client.call('joinGroup', { group: 'g', memberId: 'm', topics: ['t'] })
    expect(await client.refusal('publish', { batches: [] })).toMatchObject({
      code: 'INVALID_REQUEST',
    })
    const { items } = await client.call('fetch', { topic: 't', partition: 0, from: 0 })
    expect(items).toHaveLength(1)
    expect(await metric(broker, 'logloom_shed_total{reason="memory"}')).toBe(1)
    await holder.close()
    await vi.waitFor(() => client.call('publish', { records: [{ topic: 't', value: 'after' }] }))
    const read = await client.call('fetch', { topic: 't', partition: 0, from: 0 })
    expect(read['next']).toBe(2)
    expect(await metric(broker, 'logloom_held_bytes{kind="partial"}')).toBe(0)
    await client.close()
  })
})

describe('above the whole budget', () => {
  it('reads wait, pushes as well, and go on once something was given back', async () => {
    const broker = await start(small)
    const client = await RawClient.connect(broker.url)
    await client.call('createTopic', { topic: 'quiet' })
    await client.call('publish', { records: [{ topic: 't', value: 'v' }] })
    const holders = [await hold(broker, 700 * kib), await hold(broker, 700 * kib)]
    const order: string[] = []
    const fetched = client
      .call('fetch', { topic: 't', partition: 0, from: 0 })
      .then(() => order.push('fetch'))
    await client.call('subscribe', { topic: 't', partition: 0, from: 0, credit: 1000 })
    await client.call('ping').then(() => order.push('ping'))
    expect(client.pushes).toEqual([])
    expect(order).toEqual(['ping'])
    await Promise.all(holders.map(holder => holder.close()))
    await fetched
    expect(order).toEqual(['ping', 'fetch'])
    expect(await client.untilPushed(all => all.length > 0)).toMatchObject([{ next: 1 }])
    await client.close()
  })
})

describe('a quota', () => {
  it('of bytes produced is told with the reply, and holds up this connection alone', async () => {
    const broker = await start({ quotaProducerByteRate: 10_000 })
    const client = await RawClient.connect(broker.url)
    const other = await RawClient.connect(broker.url)
    const publish = (from: RawClient, value: string): Promise<Frame> =>
      from.call('publish', { records: [{ topic: 't', value }] })
    expect(await publish(other, 'v')).not.toHaveProperty('throttleMs')
    const begun = performance.now()
    const { throttleMs } = await publish(client, 'x'.repeat(14_000))
    expect(throttleMs).toBeGreaterThan(300)
    const answered: string[] = []
    const held = client.call('ping').then(() => answered.push('client'))
    await other.call('ping').then(() => answered.push('other'))
    await held
    expect(answered).toEqual(['other', 'client'])
    expect(performance.now() - begun).toBeGreaterThan(Number(throttleMs))
    const kind = 'logloom_quota_throttle_seconds_total{kind="produce"}'
    expect(await metric(broker, kind)).toBeCloseTo(Number(throttleMs) / 1000, 3)
    await Promise.all([client.close(), other.close()])
  })

  it('of bytes read slows pushes and fetches, and loses none', async () => {
    const broker = await start({ quotaConsumerByteRate: 50_000 })
    const client = await RawClient.connect(broker.url)
    const value = 'x'.repeat(20_000)
    for (let i = 0; i < 5; i++) await client.call('publish', { records: [{ topic: 't', value }] })
    await client.call('subscribe', { topic: 't', partition: 0, from: 0, credit: 1_000_000 })
    const pushes = await client.untilPushed(all => all.at(-1)?.['next'] === 5)
    expect(pushes.some(push => Number(push['throttleMs']) > 0)).toBe(true)
    expect(pushes.flatMap(push => push['items'] as Frame[])).toHaveLength(5)
    const fetched = await client.call('fetch', { topic: 't', partition: 0, from: 0 })
    expect(fetched['throttleMs']).toBeGreaterThan(0)
    await client.close()
  })

  it('of requests counts all but pings', async () => {
    const broker = await start({ quotaRequestRate: 2 })
    const client = await RawClient.connect(broker.url)
    const replies: Frame[] = []
    for (let i = 0; i < 5; i++) replies.push(await client.call('ping'))
    expect(replies.every(reply => reply['throttleMs'] === undefined)).toBe(true)
    const listed = [1, 2, 3].map(() => client.call('listTopics'))
    const [first, , third] = await Promise.all(listed)
    expect(first).not.toHaveProperty('throttleMs')
    expect(third?.['throttleMs']).toBeGreaterThan(0)
    await client.close()
  })

  it('of bytes in flight stops the reading of the socket until replies went out', async () => {
    const broker = await start({ quotaInFlightBytes: 5000 })
    const client = await RawClient.connect(broker.url)
    await client.call('createTopic', { topic: 'quiet' })
    const padding = Buffer.alloc(10_000)
    const fields = { topic: 'quiet', partition: 0, from: 0, maxWaitMs: 60_000, padding }
    const poll = client.call('fetch', fields)
    await vi.waitFor(async () =>
      expect(await metric(broker, 'logloom_ws_paused_connections')).toBe(1),
    )
    const late = client.call('ping')
    const other = await RawClient.connect(broker.url)
    await other.call('publish', { records: [{ topic: 'quiet', value: 'v' }] })
    await Promise.all([poll, late])
    await Promise.all([client.close(), other.close()])
  })
})
