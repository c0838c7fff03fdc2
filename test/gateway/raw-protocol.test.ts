// The protocol as docs/protocol.md describes it, spoken by a client that knows nothing else.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Frame, handBatch, RawClient, valuesOf } from './raw-client.ts'

let broker: RunningBroker
let client: RawClient

beforeAll(async () => {
  broker = await startBroker({ loglet: 'memory', port: 0 })
  client = await RawClient.connect(broker.url)
})

afterAll(async () => {
  await client.close()
  await broker.close()
})

const itemsOf = (reply: Frame): Frame[] => reply['items'] as Frame[]
const text = (value: unknown): string => Buffer.from(value as Uint8Array).toString()

describe('hello', () => {
  it('tells the protocol, the codecs and every limit', async () => {
    const other = await RawClient.dial(broker.url)
    const reply = await other.call('hello', { protocol: 1, client: 'x', unknownKey: 1 })
    expect(reply).toMatchObject({ protocol: 1, codecs: expect.arrayContaining(['none', 'gzip']) })
    expect(reply['serverId']).toBeTypeOf('string')
    expect(reply['version']).toMatch(/^\d+\.\d+\.\d+/)
    expect(Object.keys(reply['limits'] as Frame).sort()).toEqual([
      'batchBytesMax',
      'bytesInFlightMax',
      'creditBytesMax',
      'frameBytesMax',
      'producerInFlightMax',
      'recordsPerPublishMax',
      'requestsInFlightMax',
      'subscriptionsMax',
    ])
    await other.close()
  })
})

describe('topics', () => {
  it('are created, listed, described, altered and deleted', async () => {
    const created = await client.call('createTopic', { topic: 'admin', partitions: 3 })
    expect(created).toMatchObject({ topic: 'admin', partitions: 3, created: true })
    const again = await client.call('createTopic', { topic: 'admin', ifNotExists: true })
    expect(again).toMatchObject({ topicId: created['topicId'], partitions: 3, created: false })
    expect(await client.refusal('createTopic', { topic: 'admin' })).toMatchObject({
      code: 'TOPIC_EXISTS',
    })
    const config = { 'max.message.bytes': '5000' }
    expect(await client.call('alterTopic', { topic: 'admin', config })).toMatchObject({ config })
    const { topics } = await client.call('listTopics')
    expect(topics).toContainEqual({
      topic: 'admin',
      topicId: created['topicId'],
      partitions: 3,
      records: 0,
      bytes: 0,
    })
    const described = await client.call('describeTopic', { topic: 'admin' })
    expect(described).toMatchObject({ topic: 'admin', config })
    expect(described['partitions']).toHaveLength(3)
    await client.call('deleteTopic', { topic: 'admin' })
    expect(await client.refusal('describeTopic', { topic: 'admin' })).toMatchObject({
      code: 'UNKNOWN_TOPIC',
    })
  })
})

describe('publish and fetch', () => {
  it('take plain records and give them back', async () => {
    const timestamp = 1_722_470_400_123
    const reply = await client.call('publish', {
      records: [
        { topic: 'plain', key: 'k', value: 'v0', headers: { h: 'one' }, timestamp },
        { topic: 'plain', key: Buffer.from('k'), value: Buffer.from([0, 255]) },
        { topic: 'plain', key: 'k', value: null },
      ],
    })
    expect(reply['offsets']).toEqual(
      [0, 1, 2].map(offset => ({ topic: 'plain', partition: 0, offset })),
    )
    const fetched = await client.call('fetch', {
      topic: 'plain',
      partition: 0,
      from: 'beginning',
      format: 'records',
    })
    expect(fetched).toMatchObject({ next: 3, start: 0, end: 3 })
    const [first = {}, second = {}, third] = itemsOf(fetched)
    expect(first).toMatchObject({ offset: 0, timestamp })
    expect([text(first['key']), text(first['value'])]).toEqual(['k', 'v0'])
    expect(text((first['headers'] as Frame)['h'])).toBe('one')
    expect([...(second['value'] as Uint8Array)]).toEqual([0, 255])
    expect(third).toMatchObject({ offset: 2, value: null, headers: {} })
  })

  it('put records with the same key into the partition of Kafka’s default partitioner', async () => {
    await client.call('createTopic', { topic: 'keyed', partitions: 10 })
    const keys = [
      '21',
      'foobar',
      'a-little-bit-long-string',
      'lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8',
    ]
    const { offsets } = await client.call('publish', {
      records: keys.map(key => ({ topic: 'keyed', key, value: '' })),
    })
    // murmur2 of these keys, from the tests of Kafka's client: -973932308, -790332482, -985981536, -58897971
    const hashes = [-973932308, -790332482, -985981536, -58897971]
    expect((offsets as Frame[]).map(o => o['partition'])).toEqual(
      hashes.map(hash => (hash & 0x7fffffff) % 10),
    )
  })

  it('write all of a request or nothing', async () => {
    await client.call('createTopic', { topic: 'whole' })
    const refused = await client.refusal('publish', {
      records: [
        { topic: 'whole', value: 'a' },
        { topic: 'whole', partition: 7, value: 'b' },
      ],
    })
    expect(refused).toMatchObject({ code: 'UNKNOWN_PARTITION' })
    const conflict = await client.refusal('publish', {
      records: [{ topic: 'whole', value: 'a' }],
      expect: [{ topic: 'whole', partition: 0, offset: 5 }],
    })
    expect(conflict).toMatchObject({ code: 'OFFSET_CONFLICT', expected: 5, actual: 0 })
    expect(await client.call('listOffsets', { topic: 'whole', at: 'end' })).toMatchObject({
      offsets: [{ partition: 0, offset: 0 }],
    })
  })

  it('give whole batches too, by default', async () => {
    const batch = handBatch([{ value: 'x' }, { value: 'y', timestampDelta: 5 }])
    const produced = await client.call('produce', { topic: 'hand', partition: 0, batch })
    expect(produced['offset']).toBe(0)
    const fetched = await client.call('fetch', { topic: 'hand', partition: 0, from: 1 })
    const [item] = itemsOf(fetched)
    // The batch begins before the offset that was asked for.
    expect(item).toMatchObject({
      offset: 0,
      lsn: produced['lsn'],
      timestamp: produced['timestamp'],
    })
    expect(Buffer.from(item?.['batch'] as Uint8Array).equals(batch)).toBe(true)
    expect(fetched['next']).toBe(2)
  })

  it('find offsets by time, to the millisecond', async () => {
    const baseTimestamp = 1_722_470_400_500
    const records = [0, 1, 2].map(timestampDelta => ({
      value: `${timestampDelta}`,
      timestampDelta,
    }))
    await client.call('produce', {
      topic: 'times',
      partition: 0,
      batch: handBatch(records, { baseTimestamp }),
    })
    const at = async (timestamp: number): Promise<unknown> =>
      (
        (await client.call('listOffsets', { topic: 'times', at: { timestamp } }))[
          'offsets'
        ] as Frame[]
      )[0]?.['offset']
    expect([
      await at(baseTimestamp),
      await at(baseTimestamp + 2),
      await at(baseTimestamp + 3),
    ]).toEqual([0, 2, 3])
    const last = await client.call('listOffsets', { topic: 'times', at: { last: 2 } })
    expect(last['offsets']).toEqual([{ partition: 0, offset: 1 }])
  })
})

describe('a producer with an identity', () => {
  it('gets its first answer again when it sends again', async () => {
    const { producerId, producerEpoch } = (await client.call('initProducer')) as Record<
      string,
      number
    >
    const identity = { producerId: producerId ?? -1, producerEpoch: producerEpoch ?? -1 }
    const send = (baseSequence: number): Promise<Frame> =>
      client.request('produce', {
        topic: 'once',
        partition: 0,
        batch: handBatch([{ value: `${baseSequence}` }], { ...identity, baseSequence }),
      })
    expect(await send(0)).toMatchObject({ offset: 0 })
    expect(await send(1)).toMatchObject({ offset: 1 })
    expect(await send(0)).toMatchObject({ offset: 0 })
    expect(await send(3)).toMatchObject({
      error: { code: 'OUT_OF_ORDER_SEQUENCE', retriable: true, expected: 2 },
    })
    expect(await send(2)).toMatchObject({ offset: 2 })
    const fenced = await client.call('initProducer', identity)
    expect(fenced).toMatchObject({ producerId, producerEpoch: (producerEpoch ?? 0) + 1 })
    expect(await send(3)).toMatchObject({ error: { code: 'PRODUCER_FENCED' } })
  })

  it('keeps the answers of its command lane', async () => {
    const { producerId, producerEpoch } = await client.call('initProducer')
    const producer = { id: producerId, epoch: producerEpoch, sequence: 0 }
    const records = [{ topic: 'lane', value: 'only once' }]
    const first = await client.call('publish', { records, producer })
    const second = await client.call('publish', { records, producer })
    expect(second['offsets']).toEqual(first['offsets'])
    const { offsets } = await client.call('listOffsets', { topic: 'lane', at: 'end' })
    expect(offsets).toEqual([{ partition: 0, offset: 1 }])
  })
})

describe('subscribe', () => {
  it('pushes what is there and what comes, in both formats', async () => {
    for (const format of ['batches', 'records']) {
      const topic = `pushed-${format}`
      const reader = await RawClient.connect(broker.url)
      await client.call('publish', { records: [{ topic, value: 'old' }] })
      const { sub, offset, end } = await reader.call('subscribe', {
        topic,
        partition: 0,
        from: 'beginning',
        credit: 1_000_000,
        format,
      })
      expect([offset, end]).toEqual([0, 1])
      await client.call('publish', { records: [{ topic, value: 'new' }] })
      const pushes = await reader.untilPushed(all => all.at(-1)?.['next'] === 2)
      expect(pushes.every(p => p['op'] === 'deliver' && p['sub'] === sub)).toBe(true)
      const items = pushes.flatMap(itemsOf)
      const values =
        format === 'records'
          ? items.map(i => text(i['value']))
          : items.flatMap(i => valuesOf(i['batch']))
      expect(values).toEqual(['old', 'new'])
      await reader.close()
    }
  })
})

describe('offsets beyond 2^32', () => {
  it('travel as integers after a memory loglet was lost', async () => {
    const data = await mkdtemp(join(tmpdir(), 'logloom-raw-'))
    const started: RunningBroker[] = []
    try {
      const first = await startBroker({ data, port: 0, loglet: 'memory' })
      started.push(first)
      const before = await RawClient.connect(first.url)
      await before.call('publish', { records: [{ topic: 'jump', value: 'forgotten' }] })
      await before.close()
      await first.close()
      const second = await startBroker({ data, port: 0, loglet: 'memory' })
      started.push(second)
      const after = await RawClient.connect(second.url)
      const { offsets } = await after.call('publish', {
        records: [{ topic: 'jump', value: 'kept' }],
      })
      const offset = (offsets as Frame[])[0]?.['offset'] as number
      expect(offset).toBeGreaterThanOrEqual(2 ** 32)
      // As a float64 on the wire, which is how many libraries send such a number.
      const fetched = await after.call('fetch', { topic: 'jump', partition: 0, from: offset })
      expect(itemsOf(fetched)[0]).toMatchObject({ offset })
      expect(fetched['next']).toBe(offset + 1)
      const all = itemsOf(await after.call('fetch', { topic: 'jump', partition: 0, from: 0 }))
      const gaps = all.filter(item => item['gap'] === 'lost')
      expect(gaps.length).toBeGreaterThan(0)
      expect(gaps.map(gap => gap['offset'])).toEqual([
        0,
        ...gaps.map(gap => gap['next']).slice(0, -1),
      ])
      expect(gaps.at(-1)?.['next']).toBe(offset)
      expect(valuesOf(all.at(-1)?.['batch'])).toEqual(['kept'])
      await after.close()
    } finally {
      for (const each of started) await each.close()
      await rm(data, { recursive: true, force: true })
    }
  })
})

describe('the log', () => {
  it('is described, switched, verified and trimmed', async () => {
    const { segments, tail } = await client.call('describeLog')
    const open = (segments as Frame[]).at(-1)
    expect(open).toMatchObject({ spec: 'memory', state: 'open', end: null, volatile: true })
    const switched = await client.call('switchLog', {
      spec: 'memory',
      expectedIndex: open?.['index'],
    })
    expect(switched).toMatchObject({
      sealed: { index: open?.['index'] },
      opened: { index: (open?.['index'] as number) + 1, spec: 'memory' },
    })
    expect(switched['pauseMs']).toBeTypeOf('number')
    const lost = await client.refusal('switchLog', {
      spec: 'memory',
      expectedIndex: open?.['index'],
    })
    expect(lost).toMatchObject({ code: 'RECONFIGURE_CONFLICT', retriable: true })
    expect(await client.refusal('switchLog', { spec: 'no-such' })).toMatchObject({
      code: 'INVALID_SPEC',
    })
    expect(await client.call('verifyLog')).toMatchObject({ ok: true, damaged: [] })
    expect(await client.refusal('trimLog', { lsn: tail })).toMatchObject({ code: 'TRIM_BLOCKED' })
    expect(await client.call('health')).toMatchObject({ status: 'ok', loglet: 'memory' })
  })
})
