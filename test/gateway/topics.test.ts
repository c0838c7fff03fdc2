// Topics over the wire: what is listed, configured and left after a deletion.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Frame, handBatch, RawClient } from './raw-client.ts'

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

describe('a listing', () => {
  it('counts records and the bytes of their batches', async () => {
    const batch = handBatch([{ value: 'a' }, { value: 'b' }])
    await client.call('createTopic', { topic: 'sized', partitions: 2 })
    await client.call('produce', { topic: 'sized', partition: 1, batch })
    await client.call('produce', { topic: 'sized', partition: 1, batch })
    const { topics } = await client.call('listTopics')
    expect((topics as Frame[]).find(each => each['topic'] === 'sized')).toMatchObject({
      partitions: 2,
      records: 4,
      bytes: 2 * batch.length,
    })
    const { partitions, createdAt } = await client.call('describeTopic', { topic: 'sized' })
    expect(partitions).toEqual([
      { partition: 0, startOffset: 0, endOffset: 0, bytes: 0 },
      { partition: 1, startOffset: 0, endOffset: 4, bytes: 2 * batch.length },
    ])
    expect(createdAt).toBeTypeOf('number')
  })

  it('reflects what was acked before it, from any connection', async () => {
    const other = await RawClient.connect(broker.url)
    for (let i = 0; i < 50; i++) {
      const topic = `seen-${i}`
      await client.call('createTopic', { topic })
      const { topics } = await other.call('listTopics')
      expect((topics as Frame[]).map(each => each['topic'])).toContain(topic)
      await client.call('publish', { records: [{ topic, value: 'v' }] })
      const { offsets } = await other.call('listOffsets', { topic, at: 'end' })
      expect(offsets).toEqual([{ partition: 0, offset: 1 }])
    }
    await other.close()
  })

  it('is in order of names', async () => {
    for (const topic of ['zz', 'aa', 'Mm', 'a-a', 'a.a'])
      await client.call('createTopic', { topic })
    const { topics } = await client.call('listTopics')
    const names = (topics as Frame[]).map(each => each['topic'] as string)
    expect(names).toEqual([...names].sort())
  })
})

describe('offsets', () => {
  it('are found by word, time and distance from the end', async () => {
    const topic = 'offsets'
    for (let i = 0; i < 5; i++)
      await client.call('publish', {
        records: [{ topic, value: `${i}`, timestamp: 1_700_000_000_000 + i }],
      })
    const at = async (spec: unknown): Promise<unknown> => {
      const { offsets } = await client.call('listOffsets', { topic, partition: 0, at: spec })
      return (offsets as Frame[])[0]?.['offset']
    }
    expect(await at('beginning')).toBe(0)
    expect(await at('end')).toBe(5)
    expect(await at({ last: 2 })).toBe(3)
    expect(await at({ last: 99 })).toBe(0)
    expect(await at({ last: 0 })).toBe(5)
    expect(await at({ timestamp: 0 })).toBe(0)
    expect(await at({ timestamp: 1_700_000_000_003 })).toBe(3)
    expect(await at({ timestamp: 2 ** 50 })).toBe(5)
  })
})

describe('configuration', () => {
  it('that has no effect is refused and not stored', async () => {
    for (const config of [
      { 'segment.ms': '1000' },
      { 'cleanup.policy': 'shred' },
      { 'cleanup.policy': '' },
      { 'cleanup.policy': 'compact,compact' },
      { 'min.cleanable.dirty.ratio': '1.5' },
      { 'min.cleanable.dirty.ratio': '-0.1' },
      { 'min.cleanable.dirty.ratio': '' },
      { 'delete.retention.ms': '-1' },
      { 'min.compaction.lag.ms': '0.5' },
      { 'retention.ms': '-2' },
      { 'max.message.bytes': '1000', nonsense: 'x' },
      { 'max.message.bytes': 'many' },
      { 'max.message.bytes': '127' },
      { 'max.message.bytes': '-1' },
      { 'max.message.bytes': `${2 ** 40}` },
      { toString: '1' },
      { 'cleanup.policy': { toString: 'compact' } },
      { 'retention.ms': [1000] },
      { 'retention.ms': null },
    ]) {
      const refused = await client.refusal('createTopic', { topic: 'configured', config })
      expect(refused.code, JSON.stringify(config)).toBe('INVALID_CONFIG')
    }
    expect(await client.refusal('describeTopic', { topic: 'configured' })).toMatchObject({
      code: 'UNKNOWN_TOPIC',
    })
  })

  it('of cleaning is stored as it will be read', async () => {
    const topic = 'cleaned'
    await client.call('createTopic', {
      topic,
      config: {
        'cleanup.policy': 'compact, delete',
        'min.cleanable.dirty.ratio': '.25',
        'delete.retention.ms': '1e3',
        'min.compaction.lag.ms': '0',
      },
    })
    expect((await client.call('describeTopic', { topic })).config).toEqual({
      'cleanup.policy': 'compact,delete',
      'min.cleanable.dirty.ratio': '0.25',
      'delete.retention.ms': '1000',
      'min.compaction.lag.ms': '0',
    })
  })

  it('with compaction takes records with keys only, in whichever way they come', async () => {
    const topic = 'keyed'
    await client.call('createTopic', { topic, config: { 'cleanup.policy': 'compact' } })
    await client.call('createTopic', { topic: 'plain' })
    const records = [
      { topic: 'plain', value: 'x' },
      { topic, key: 'k', value: 'x' },
      { topic, value: 'no key' },
    ]
    const refusal = { code: 'INVALID_RECORD', topic, retriable: false }
    expect(await client.refusal('publish', { records })).toMatchObject({ ...refusal, index: 2 })
    // This client does not know of the flag: its batches are opened.
    const without = handBatch([{ key: 'k', value: 'x' }, { value: 'no key' }])
    const batches = [{ topic, partition: 0, batch: without }]
    const produce = { topic, partition: 0, batch: without }
    expect(await client.refusal('produce', produce)).toMatchObject({ ...refusal, index: 1 })
    expect(await client.refusal('publish', { batches })).toMatchObject({ ...refusal, index: 1 })
    const batch = handBatch([{ key: 'k', value: 'x' }])
    expect(await client.call('produce', { topic, partition: 0, batch })).toMatchObject({
      offset: 0,
    })
    expect(await client.call('listOffsets', { topic: 'plain', at: 'end' })).toMatchObject({
      offsets: [{ offset: 0 }],
    })
  })

  it('takes effect at once', async () => {
    const topic = 'narrow'
    await client.call('createTopic', { topic, config: { 'max.message.bytes': '200' } })
    const produce = { topic, partition: 0, batch: handBatch([{ value: 'x'.repeat(300) }]) }
    expect(await client.refusal('produce', produce)).toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
      limit: 200,
    })
    const records = [{ topic, value: 'x'.repeat(300) }]
    expect(await client.refusal('publish', { records })).toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
      limit: 200,
    })
    await client.call('alterTopic', { topic, config: { 'max.message.bytes': '2000' } })
    expect(await client.call('produce', produce)).toMatchObject({ offset: 0 })
  })
})

describe('a topic that was deleted', () => {
  it('can be made again and is another one, without its records', async () => {
    const topic = 'phoenix'
    const { topicId } = await client.call('createTopic', { topic })
    await client.call('publish', { records: [{ topic, value: 'old' }] })
    await client.call('deleteTopic', { topic })
    expect(await client.refusal('deleteTopic', { topic })).toMatchObject({ code: 'UNKNOWN_TOPIC' })
    const again = await client.call('createTopic', { topic, partitions: 2 })
    expect(again['topicId']).not.toBe(topicId)
    const place = { topic, partition: 0, from: 'beginning', maxWaitMs: 0 }
    expect(await client.call('fetch', place)).toMatchObject({ items: [], start: 0, end: 0 })
  })
})

describe('creations that race', () => {
  it('make one topic, and one of them made it', async () => {
    const clients = await Promise.all(
      Array.from({ length: 5 }, () => RawClient.connect(broker.url)),
    )
    const replies = await Promise.all(
      clients.map((each, i) =>
        each.call('createTopic', { topic: 'raced', partitions: i + 1, ifNotExists: true }),
      ),
    )
    expect(replies.filter(reply => reply['created'] === true)).toHaveLength(1)
    const [first] = replies
    for (const reply of replies)
      expect(reply).toMatchObject({
        topicId: first?.['topicId'],
        partitions: first?.['partitions'],
      })
    await Promise.all(clients.map(each => each.close()))
  })
})
