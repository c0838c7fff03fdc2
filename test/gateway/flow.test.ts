// What one connection may have under way, and how connections end when the broker stops.

import { afterEach, describe, expect, it, vi } from 'vitest'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../broker/index.ts'
import { metric } from '../metrics-page.ts'
import { type Frame, handBatch, RawClient, sealBatch } from './raw-client.ts'

const started: RunningBroker[] = []

afterEach(async () => {
  await Promise.all(started.splice(0).map(broker => broker.close()))
})

async function start(options: StartBrokerOptions = {}): Promise<RunningBroker> {
  const broker = await startBroker({ loglet: 'memory', port: 0, ...options })
  started.push(broker)
  return broker
}

const longPoll = (topic: string, more: Frame = {}): Frame => ({
  topic,
  partition: 0,
  from: 'end',
  maxWaitMs: 60_000,
  ...more,
})

describe('requests in flight', () => {
  it('are answered in any order: a long poll holds nothing up', async () => {
    const broker = await start()
    const client = await RawClient.connect(broker.url)
    await client.call('createTopic', { topic: 't' })
    const first = client.call('fetch', longPoll('t'))
    await client.call('ping')
    await client.call('produce', { topic: 't', partition: 0, batch: handBatch([{ value: 'v' }]) })
    expect((await first)['next']).toBe(1)
    // hello, createTopic, ping, produce, and the fetch that was asked before them: woken by the produce, whose reply it may overtake.
    expect(client.answered.indexOf(3)).toBeGreaterThan(client.answered.indexOf(4))
    await client.close()
  })

  it('beyond requestsInFlightMax are not read until earlier ones were answered, and are not refused', async () => {
    const broker = await start({ requestsInFlightMax: 4 })
    const [client, other] = [
      await RawClient.connect(broker.url),
      await RawClient.connect(broker.url),
    ]
    await other.call('createTopic', { topic: 't' })
    const polls = [1, 2, 3, 4].map(() => client.call('fetch', longPoll('t')))
    await vi.waitFor(async () =>
      expect(await metric(broker, 'logloom_ws_paused_connections')).toBe(1),
    )
    const late = client.call('ping')
    // Others go on.
    await other.call('ping')
    expect(client.answered).toEqual([1])
    await other.call('publish', { records: [{ topic: 't', value: 'v' }] })
    await Promise.all([...polls, late])
    expect(client.answered.at(-1)).toBe(6)
    expect(await metric(broker, 'logloom_ws_paused_connections')).toBe(0)
    await Promise.all([client.close(), other.close()])
  })

  it('beyond bytesInFlightMax are not read until earlier ones were answered', async () => {
    const broker = await start({ bytesInFlightMax: 10_000 })
    const [client, other] = [
      await RawClient.connect(broker.url),
      await RawClient.connect(broker.url),
    ]
    await other.call('createTopic', { topic: 't' })
    const poll = client.call('fetch', longPoll('t', { padding: Buffer.alloc(20_000) }))
    await vi.waitFor(async () =>
      expect(await metric(broker, 'logloom_ws_paused_connections')).toBe(1),
    )
    const late = client.call('ping')
    await other.call('publish', { records: [{ topic: 't', value: 'v' }] })
    await Promise.all([poll, late])
    await Promise.all([client.close(), other.close()])
  })

  it('of one lane are at most five; a sixth is refused and leaves no trace', async () => {
    const broker = await start()
    const client = await RawClient.connect(broker.url)
    await client.call('createTopic', { topic: 't', partitions: 2 })
    const { producerId, producerEpoch } = (await client.call('initProducer')) as Record<
      string,
      number
    >
    const send = (partition: number, baseSequence: number): Promise<Frame> => {
      const identity = {
        producerId: producerId ?? -1,
        producerEpoch: producerEpoch ?? -1,
        baseSequence,
      }
      const batch = handBatch([{ value: `${baseSequence}` }], identity)
      return client.request('produce', { topic: 't', partition, batch })
    }
    const replies = await Promise.all(
      client.inOnePiece(() => [...[0, 1, 2, 3, 4, 5].map(i => send(0, i)), send(1, 0)]),
    )
    expect(replies.map(reply => (reply['error'] as Frame | undefined)?.['code'] ?? 'ok')).toEqual([
      'ok',
      'ok',
      'ok',
      'ok',
      'ok',
      'LIMIT_EXCEEDED',
      'ok',
    ])
    expect(replies[5]?.['error']).toMatchObject({ limit: 5, actual: 6 })
    expect(await send(0, 5)).toMatchObject({ offset: 5 })
    await client.close()
  })

  it('with acks 0 are never answered, not even when they are refused', async () => {
    const broker = await start()
    const client = await RawClient.connect(broker.url)
    const good = handBatch([{ value: 'v' }])
    const bad = handBatch([{ value: 'v' }])
    bad[70] = 0
    await client.call('createTopic', { topic: 't' })
    client.send({ op: 'produce', id: 100, topic: 't', partition: 0, batch: good, acks: 0 })
    client.send({ op: 'produce', id: 101, topic: 't', partition: 0, batch: bad, acks: 0 })
    client.send({ op: 'publish', id: 102, records: [{ topic: 't', value: 'w' }], acks: 0 })
    client.send({ op: 'publish', id: 103, records: [{ topic: '/', value: 'w' }], acks: 0 })
    const { items } = await client.call('fetch', {
      topic: 't',
      partition: 0,
      from: 0,
      minBytes: 180,
      maxWaitMs: 30_000,
    })
    expect(items).toHaveLength(2)
    expect(client.pushes).toEqual([])
    expect(client.answered).toEqual([1, 2, 3])
    await client.close()
  })

  it('create a missing topic once, however many produce to it', async () => {
    const broker = await start({ numPartitions: 3 })
    const clients = await Promise.all([0, 1, 2, 3].map(() => RawClient.connect(broker.url)))
    const replies = await Promise.all(
      clients.flatMap(client =>
        [0, 1, 2].map(partition =>
          client.call('produce', { topic: 'fresh', partition, batch: handBatch([{ value: 'v' }]) }),
        ),
      ),
    )
    expect(replies).toHaveLength(12)
    const [client] = clients
    const { topics } = (await client?.call('listTopics')) ?? {}
    expect(topics).toMatchObject([{ topic: 'fresh', partitions: 3, records: 12 }])
    await Promise.all(clients.map(each => each.close()))
  })

  it('say that a missing topic would be created, or that it would not', async () => {
    for (const autoCreateTopicsEnable of [true, false]) {
      const broker = await start({ autoCreateTopicsEnable })
      const client = await RawClient.connect(broker.url)
      const missing = { code: 'UNKNOWN_TOPIC', topic: 'none', autoCreate: autoCreateTopicsEnable }
      expect(await client.refusal('fetch', longPoll('none'))).toMatchObject(missing)
      const produced = await client.request('produce', {
        topic: 'none',
        partition: 0,
        batch: handBatch([{ value: 'v' }]),
      })
      if (autoCreateTopicsEnable) expect(produced).toMatchObject({ offset: 0 })
      else expect(produced['error']).toMatchObject(missing)
      await client.close()
    }
  })

  it('tell refusals that were decided from those that were not', async () => {
    const broker = await start()
    const client = await RawClient.connect(broker.url)
    await client.call('createTopic', { topic: 't' })
    const { producerId, producerEpoch } = (await client.call('initProducer')) as Record<
      string,
      number
    >
    const identity = { producerId: producerId ?? -1, producerEpoch: producerEpoch ?? -1 }
    const expected = { topic: 't', partition: 0, expect: { offset: 9 } }
    const batch = handBatch([{ value: 'v' }], { ...identity, baseSequence: 0 })
    const conflict = await client.refusal('produce', { ...expected, batch })
    expect(conflict).toMatchObject({
      code: 'OFFSET_CONFLICT',
      decided: true,
      expected: 9,
      actual: 0,
    })
    // The same sequence gets the same answer, though the condition would hold now.
    expect(await client.refusal('produce', { topic: 't', partition: 0, batch })).toEqual(conflict)
    const gap = handBatch([{ value: 'v' }], { ...identity, baseSequence: 7 })
    const early = await client.refusal('produce', { topic: 't', partition: 0, batch: gap })
    expect(early).toMatchObject({ code: 'OUT_OF_ORDER_SEQUENCE', decided: false, retriable: true })
    const broken = handBatch([{ value: 'v' }], { ...identity, baseSequence: 1 })
    broken[broken.length - 1] = 9
    const corrupt = await client.refusal('produce', { topic: 't', partition: 0, batch: broken })
    expect(corrupt['code']).toBe('BATCH_CORRUPT')
    expect(corrupt['decided']).toBeUndefined()
    await client.close()
  })
})

describe('a batch', () => {
  const alter = (change: (batch: DataView) => void): Uint8Array => {
    const batch = handBatch([{ value: 'v' }])
    change(new DataView(batch.buffer, batch.byteOffset, batch.length))
    return batch
  }
  const wrong: readonly (readonly [string, Uint8Array, string])[] = [
    ['that is empty', new Uint8Array(0), 'BATCH_CORRUPT'],
    ['that is cut off', handBatch([{ value: 'v' }]).slice(0, 63), 'BATCH_CORRUPT'],
    ['with a flipped bit', alter(b => b.setUint8(66, b.getUint8(66) ^ 1)), 'BATCH_CORRUPT'],
    ['with another magic', sealBatch(alter(b => b.setUint8(0, 1))), 'BATCH_CORRUPT'],
    ['with a body length that lies', sealBatch(alter(b => b.setUint32(12, 9999))), 'BATCH_CORRUPT'],
    ['without records', sealBatch(alter(b => b.setUint32(16, 0))), 'BATCH_CORRUPT'],
    ['whose span lies', sealBatch(alter(b => b.setUint32(20, 2 ** 31))), 'BATCH_CORRUPT'],
    ['with an unknown codec', sealBatch(alter(b => b.setUint8(8, 77))), 'UNSUPPORTED_CODEC'],
    ['larger than the topic takes', handBatch([{ value: 'v'.repeat(1000) }]), 'MESSAGE_TOO_LARGE'],
  ]

  it('that is wrong is refused with its code, and nothing is stored', async () => {
    const broker = await start()
    const client = await RawClient.connect(broker.url)
    await client.call('createTopic', { topic: 't', config: { 'max.message.bytes': '1000' } })
    for (const [name, batch, code] of wrong) {
      const refusal = await client.refusal('produce', { topic: 't', partition: 0, batch })
      expect(refusal.code, name).toBe(code)
      if (code === 'MESSAGE_TOO_LARGE')
        expect(refusal).toMatchObject({ limit: 1000, actual: batch.length })
    }
    const { offsets } = await client.call('listOffsets', { topic: 't', at: 'end' })
    expect(offsets).toEqual([{ partition: 0, offset: 0 }])
    await client.close()
  })

  it('whose body is broken under a good CRC is a gap for readers of records, and nobody stops there', async () => {
    const broker = await start()
    const client = await RawClient.connect(broker.url)
    const broken = sealBatch(alter(b => b.setUint8(64, 0xc1)))
    for (const batch of [handBatch([{ value: 'a' }]), broken, handBatch([{ value: 'b' }])])
      await client.call('produce', { topic: 't', partition: 0, batch })
    const { items } = await client.call('fetch', {
      topic: 't',
      partition: 0,
      from: 0,
      format: 'records',
    })
    expect(items).toMatchObject([
      { offset: 0 },
      { gap: 'corrupt', offset: 1, next: 2 },
      { offset: 2 },
    ])
    await client.close()
  })
})

describe('large replies', () => {
  it('never wait in heaps: many fetches on one connection are all answered', async () => {
    const broker = await start()
    const client = await RawClient.connect(broker.url)
    const batch = handBatch([{ value: 'x'.repeat(900_000) }])
    for (let i = 0; i < 8; i++) await client.call('produce', { topic: 't', partition: 0, batch })
    // 64 replies of up to 4 MiB: thirty times what may wait.
    const replies = await Promise.all(
      client.inOnePiece(() =>
        Array.from({ length: 64 }, () =>
          client.call('fetch', { topic: 't', partition: 0, from: 0, maxBytes: 100 << 20 }),
        ),
      ),
    )
    for (const { items } of replies) expect(items).toHaveLength(4)
    await client.close()
  })

  it('of records come in frames that any receiver takes', async () => {
    const broker = await start()
    const client = await RawClient.connect(broker.url)
    const records = Array.from({ length: 5000 }, (_, i) => ({ value: `${i}` }))
    await client.call('produce', { topic: 't', partition: 0, batch: handBatch(records) })
    const seen: unknown[] = []
    let frames = 0
    for (let from = 0; from < 5000; frames++) {
      const { items, next } = await client.call('fetch', {
        topic: 't',
        partition: 0,
        from,
        format: 'records',
      })
      seen.push(...(items as Frame[]).map(item => item['offset']))
      from = next as number
    }
    expect(seen).toEqual(records.map((_, i) => i))
    expect(frames).toBeGreaterThan(2)
    await client.close()
  })
})

describe('subscriptions of one connection', () => {
  it('take turns: a long backlog of one does not hold up another', async () => {
    const broker = await start()
    const client = await RawClient.connect(broker.url)
    await client.call('createTopic', { topic: 't', partitions: 3 })
    const batch = handBatch([{ value: 'x'.repeat(200_000) }])
    const batches = 60
    for (let i = 0; i < batches; i++)
      await Promise.all(
        [0, 1, 2].map(partition => client.call('produce', { topic: 't', partition, batch })),
      )
    const subscribed = await Promise.all(
      client.inOnePiece(() =>
        [0, 1, 2].map(partition =>
          client.call('subscribe', { topic: 't', partition, from: 0, credit: 64 << 20 }),
        ),
      ),
    )
    const subs = subscribed.map(reply => reply['sub'])
    const ends = (pushes: readonly Frame[]): number =>
      subs.filter(sub => pushes.some(push => push['sub'] === sub && push['next'] === batches))
        .length
    const pushes = await client.untilPushed(all => ends(all) === 3)
    // When the first one has everything, the others have at least half.
    const firstEnd = pushes.findIndex(push => push['next'] === batches)
    const seen = pushes.slice(0, firstEnd + 1)
    for (const sub of subs)
      expect(seen.filter(push => push['sub'] === sub).at(-1)?.['next']).toBeGreaterThan(batches / 2)
    await client.close()
  })
})

describe('a stop', () => {
  it('says goaway, answers what is in flight, refuses what comes later, and closes with 1001', async () => {
    const broker = await start()
    const client = await RawClient.connect(broker.url)
    await client.call('createTopic', { topic: 't' })
    const poll = client.call('fetch', longPoll('t'))
    const produced = client.call('produce', {
      topic: 't',
      partition: 0,
      batch: handBatch([{ value: 'v' }]),
    })
    await produced
    const second = client.call('fetch', longPoll('t'))
    await client.call('ping')
    const closing = broker.close()
    const late = client
      .untilPushed(all => all.some(push => push['op'] === 'goaway'))
      .then(() => client.request('ping').catch(() => 'closed'))
    expect(await poll).toMatchObject({ next: 1 })
    expect(await second).toMatchObject({ items: [], next: 1 })
    const { code } = await client.closed
    expect(code).toBe(1001)
    const answer = await late
    if (answer !== 'closed')
      expect(answer).toMatchObject({ error: { code: 'SHUTTING_DOWN', retriable: true } })
    await closing
  })

  it('does not wait for peers that are idle', async () => {
    const broker = await start({ drainMs: 3_600_000 })
    const client = await RawClient.connect(broker.url)
    await client.call('publish', { records: [{ topic: 't', value: 'v' }] })
    await client.call('subscribe', { topic: 't', partition: 0, from: 'end', credit: 1000 })
    await broker.close()
    expect(await client.closed).toMatchObject({ code: 1001 })
  })

  it('drops peers that do not take the close frame', async () => {
    const broker = await start({ drainMs: 50 })
    const client = await RawClient.connect(broker.url)
    client.ws.pause()
    await broker.close()
    client.ws.resume()
    await client.closed
  })
})
