// publish: one atomic unit, placed like Kafka places records.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Frame, handBatch, RawClient, valuesOf } from './raw-client.ts'

let broker: RunningBroker
let client: RawClient
let topic = ''
let topics = 0

beforeAll(async () => {
  broker = await startBroker({ loglet: 'memory', port: 0, numPartitions: 2 })
  client = await RawClient.connect(broker.url)
})

beforeEach(async () => {
  topic = `t${topics++}`
  await client.call('createTopic', { topic, partitions: 4 })
})

afterAll(async () => {
  await client.close()
  await broker.close()
})

const publish = (records: readonly Frame[], more: Frame = {}): Promise<Frame> =>
  client.request('publish', { records: records.map(record => ({ topic, ...record })), ...more })
const placesOf = (reply: Frame): unknown[] =>
  (reply['offsets'] as Frame[]).map(
    ({ partition, offset }) => `${String(partition)}@${String(offset)}`,
  )
async function read(partition = 0, format = 'records'): Promise<Frame[]> {
  const place = { topic, partition, from: 0, maxWaitMs: 0, format }
  return (await client.call('fetch', place))['items'] as Frame[]
}
async function ends(): Promise<unknown[]> {
  const { offsets } = await client.call('listOffsets', { topic, at: 'end' })
  return (offsets as Frame[]).map(each => each['offset'])
}

describe('one publish', () => {
  it('lies in one entry of the log, whatever it touches', async () => {
    const reply = await publish([
      { partition: 0, value: 'a' },
      { partition: 3, value: 'b' },
      { topic: `${topic}-other`, partition: 1, value: 'c' },
    ])
    const [a] = await read(0, 'batches')
    const [b] = await read(3, 'batches')
    topic = `${topic}-other`
    const [c] = await read(1, 'batches')
    expect([a, b, c].map(item => item?.['lsn'])).toEqual(Array(3).fill(reply['lsn']))
    expect([a, b, c].map(item => item?.['timestamp'])).toEqual(Array(3).fill(reply['timestamp']))
  })

  it('is seen whole by whoever sees a part of it', async () => {
    const reader = await RawClient.connect(broker.url)
    for (let round = 0; round < 50; round++) {
      const poll = reader.call('fetch', {
        topic,
        partition: 0,
        from: round,
        maxWaitMs: 60_000,
      })
      const published = publish([0, 1, 2, 3].map(partition => ({ partition, value: 'v' })))
      expect(await poll).toMatchObject({ end: round + 1 })
      for (const partition of [1, 2, 3])
        expect(await reader.call('fetch', { topic, partition, from: round })).toMatchObject({
          end: round + 1,
        })
      await published
    }
    await reader.close()
  })

  it('answers with one place per record, in the request’s order', async () => {
    const partitions = [2, 0, 2, 1, 2]
    const reply = await publish(partitions.map(partition => ({ partition, value: 'v' })))
    expect(placesOf(reply)).toEqual(['2@0', '0@0', '2@1', '1@0', '2@2'])
  })

  it('keeps the order of records whose timestamps run backwards', async () => {
    const timestamps = [5000, 3000, 4000, 1, 9000]
    const reply = await publish(timestamps.map(timestamp => ({ partition: 0, timestamp })))
    expect(placesOf(reply)).toEqual(['0@0', '0@1', '0@2', '0@3', '0@4'])
    expect((await read()).map(item => item['timestamp'])).toEqual(timestamps)
  })

  it('takes whole batches in place of records', async () => {
    const batches = [
      { topic, partition: 1, batch: handBatch([{ value: 'a' }, { value: 'b' }]) },
      { topic, partition: 2, batch: handBatch([{ value: 'c' }]) },
      { topic, partition: 1, batch: handBatch([{ value: 'd' }]) },
    ]
    const reply = await client.call('publish', { batches })
    expect(placesOf(reply)).toEqual(['1@0', '2@0', '1@2'])
    expect((await read(1, 'batches')).flatMap(item => valuesOf(item['batch']))).toEqual([
      'a',
      'b',
      'd',
    ])
  })

  it('of batches writes nothing when one is bad or its topic is missing, and creates no topic', async () => {
    const batch = handBatch([{ value: 'v' }])
    const good = { topic, partition: 0, batch }
    for (const [bad, code] of [
      [{ topic: 'never-made', partition: 0, batch }, 'UNKNOWN_TOPIC'],
      [{ topic, partition: 4, batch }, 'UNKNOWN_PARTITION'],
      [{ topic, partition: 0, batch: batch.subarray(1) }, 'BATCH_CORRUPT'],
    ] as const)
      expect(await client.refusal('publish', { batches: [good, bad] })).toMatchObject({ code })
    expect(await ends()).toEqual([0, 0, 0, 0])
    expect(await client.refusal('publish', { batches: [] })).toMatchObject({
      code: 'INVALID_REQUEST',
    })
  })

  it('creates missing topics with the broker’s defaults', async () => {
    const fresh = `${topic}-fresh`
    await publish([{ topic: fresh, value: 'v' }])
    const { partitions } = await client.call('describeTopic', { topic: fresh })
    expect(partitions).toHaveLength(2)
  })
})

describe('placement', () => {
  it('is the same for a key as text and as bytes', async () => {
    const keys = ['a', 'b', 'c', 'd', 'ключ', '']
    const asText = await publish(keys.map(key => ({ key })))
    const asBytes = await publish(keys.map(key => ({ key: Buffer.from(key) })))
    const partitionsOf = (reply: Frame): unknown[] =>
      (reply['offsets'] as Frame[]).map(each => each['partition'])
    expect(partitionsOf(asText)).toEqual(partitionsOf(asBytes))
  })

  it('without key is one partition per request, rotating between requests', async () => {
    const used = new Set<unknown>()
    for (let i = 0; i < 4; i++) {
      const reply = await publish([{ value: 'a' }, { value: 'b' }, { key: null, value: 'c' }])
      const partitions = new Set((reply['offsets'] as Frame[]).map(each => each['partition']))
      expect(partitions.size).toBe(1)
      for (const partition of partitions) used.add(partition)
    }
    expect(used).toEqual(new Set([0, 1, 2, 3]))
  })
})

describe('keys, values and headers', () => {
  it('come back as bytes; nil stays nil', async () => {
    await publish([
      { partition: 0, key: 'k', value: 'ü', headers: { a: 'text', b: Buffer.from([0, 255]) } },
      { partition: 0, key: Buffer.from([0]), value: null },
      { partition: 0, key: '', value: '' },
      { partition: 0 },
    ])
    const bytes = (value: unknown): unknown =>
      value === null ? null : Buffer.from(value as Uint8Array).toString('hex')
    const items = await read()
    expect(items.map(item => [bytes(item['key']), bytes(item['value'])])).toEqual([
      ['6b', 'c3bc'],
      ['00', null],
      ['', ''],
      [null, null],
    ])
    const headers = items[0]?.['headers'] as Frame
    expect(Object.entries(headers).map(([name, value]) => [name, bytes(value)])).toEqual([
      ['a', '74657874'],
      ['b', '00ff'],
    ])
  })
})

describe('expect', () => {
  it('that holds lets the request through', async () => {
    expect(
      await publish([{ partition: 0 }], { expect: [{ topic, partition: 0, offset: 0 }] }),
    ).toMatchObject({ offsets: [{ offset: 0 }] })
    expect(
      await publish([{ partition: 1 }], { expect: [{ topic, partition: 0, offset: 1 }] }),
    ).toMatchObject({ offsets: [{ offset: 0 }] })
  })

  it('that fails for one partition keeps all of the request out', async () => {
    await publish([{ partition: 2 }])
    const refused = await publish([{ partition: 0 }, { partition: 1 }, { partition: 2 }], {
      expect: [0, 1, 2].map(partition => ({ topic, partition, offset: 0 })),
    })
    expect(refused).toMatchObject({
      error: { code: 'OFFSET_CONFLICT', topic, partition: 2, expected: 0, actual: 1 },
    })
    expect(await ends()).toEqual([0, 0, 1, 0])
  })

  it('lets exactly one of many racing writers win', async () => {
    const clients = await Promise.all(
      Array.from({ length: 8 }, () => RawClient.connect(broker.url)),
    )
    for (let offset = 0; offset < 20; offset++) {
      const replies = await Promise.all(
        clients.map((each, i) =>
          each.request('publish', {
            records: [{ topic, partition: 0, value: `${i}` }],
            expect: [{ topic, partition: 0, offset }],
          }),
        ),
      )
      const errors = replies.flatMap<Frame>(reply => (reply['error'] as Frame | undefined) ?? [])
      expect(errors.map(error => error['code'])).toEqual(Array(7).fill('OFFSET_CONFLICT'))
    }
    expect((await ends())[0]).toBe(20)
    await Promise.all(clients.map(each => each.close()))
  })
})

describe('a command lane', () => {
  it('takes five requests at once and refuses a sixth before it is ordered', async () => {
    const { producerId, producerEpoch } = await client.call('initProducer')
    const send = (sequence: number): Promise<Frame> =>
      publish([{ partition: 0, value: `${sequence}` }], {
        producer: { id: producerId, epoch: producerEpoch, sequence },
      })
    const replies = await Promise.all(client.inOnePiece(() => [0, 1, 2, 3, 4, 5].map(send)))
    expect(replies.map(reply => (reply['error'] as Frame | undefined)?.['code'] ?? 'ok')).toEqual([
      ...Array(5).fill('ok'),
      'LIMIT_EXCEEDED',
    ])
    expect(placesOf(await send(5))).toEqual(['0@5'])
  })

  it('answers a retry after a reconnect as it did the first time, refusals included', async () => {
    const { producerId, producerEpoch } = await client.call('initProducer')
    const send = (by: RawClient, sequence: number, offset: number): Promise<Frame> =>
      by.request('publish', {
        records: [{ topic, partition: 0, value: 'v' }],
        expect: [{ topic, partition: 0, offset }],
        producer: { id: producerId, epoch: producerEpoch, sequence },
      })
    const accepted = await send(client, 0, 0)
    const refused = await send(client, 1, 0)
    expect(refused).toMatchObject({ error: { code: 'OFFSET_CONFLICT', decided: true } })
    const later = await RawClient.connect(broker.url)
    expect(placesOf(await send(later, 0, 0))).toEqual(placesOf(accepted))
    expect((await send(later, 1, 0))['error']).toEqual(refused['error'])
    expect(await send(later, 2, 1)).toMatchObject({ offsets: [{ offset: 1 }] })
    await later.close()
  })

  it('carries topic operations too: a retried creation is no TOPIC_EXISTS', async () => {
    const { producerId, producerEpoch } = await client.call('initProducer')
    const producer = { id: producerId, epoch: producerEpoch, sequence: 0 }
    const create = (): Promise<Frame> =>
      client.call('createTopic', { topic: `${topic}-once`, producer })
    const first = await create()
    expect(await create()).toMatchObject({ topicId: first['topicId'], created: true })
    const drop = (): Promise<Frame> =>
      client.call('deleteTopic', {
        topic: `${topic}-once`,
        producer: { ...producer, sequence: 1 },
      })
    const dropped = await drop()
    expect(await drop()).toMatchObject({ topicId: dropped['topicId'] })
  })

  it('gives nobody the answer to another request', async () => {
    const { producerId, producerEpoch } = await client.call('initProducer')
    const producer = { id: producerId, epoch: producerEpoch, sequence: 0 }
    const name = `${topic}-other`
    const first = await client.call('createTopic', { topic: name, producer })
    const others: [string, Frame][] = [
      ['createTopic', { topic: `${name}-2` }],
      ['alterTopic', { topic: name, config: { 'retention.ms': '1000' } }],
      ['deleteTopic', { topic: name }],
      ['publish', { records: [{ topic, partition: 0, value: 'never written' }] }],
      [
        'publish',
        { batches: [{ topic, partition: 0, batch: handBatch([{ value: 'nor this' }]) }] },
      ],
      [
        'createToken',
        { principal: 'User:a', tokenId: 'aaaaaaaaaaaaaaaa', hash: new Uint8Array(32) },
      ],
      ['setQuota', { principal: 'User:a', quota: { connections: 1 } }],
      [
        'createAcls',
        {
          bindings: [
            {
              principal: 'User:a',
              resource: 'topic',
              name: 'x',
              pattern: 'literal',
              operation: 'read',
            },
          ],
        },
      ],
      ['deleteAcls', { filter: {} }],
    ]
    for (const [op, fields] of others) {
      const { error } = await client.request(op, { ...fields, producer })
      expect(error, op).toMatchObject({ code: 'INVALID_REQUEST', field: 'producer', decided: true })
    }
    expect(await client.call('createTopic', { topic: name, producer })).toMatchObject({
      topicId: first['topicId'],
    })
    const { offsets } = await client.call('listOffsets', { topic, at: 'end' })
    expect((offsets as Frame[]).every(each => each['offset'] === 0)).toBe(true)
  })

  it('tells a retry of plain records where they lie, not where they would be put now', async () => {
    const { producerId, producerEpoch } = await client.call('initProducer')
    const spread = `${topic}-spread`
    await client.call('createTopic', { topic: spread, partitions: 3 })
    const send = (): Promise<Frame> =>
      client.call('publish', {
        records: [{ topic: spread, value: 'v' }],
        producer: { id: producerId, epoch: producerEpoch, sequence: 0 },
      })
    const first = placesOf(await send())
    for (let i = 0; i < 3; i++) expect(placesOf(await send())).toEqual(first)
  })
})
