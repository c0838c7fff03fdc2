// Long polls: when they answer, and with how much.

import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { encodeBatch } from '../../wire/index.ts'
import { type Frame, handBatch, RawClient, sealBatch } from './raw-client.ts'

let broker: RunningBroker
let client: RawClient
let topic = ''
let topics = 0

beforeAll(async () => {
  broker = await startBroker({ loglet: 'memory', port: 0, fetchBytesMax: 5000 })
  client = await RawClient.connect(broker.url)
})

afterAll(async () => {
  await client.close()
  await broker.close()
})

async function newTopic(): Promise<void> {
  topic = `t${topics++}`
  await client.call('createTopic', { topic })
}

const fetchFrom = (from: unknown, more: Frame = {}): Promise<Frame> =>
  client.request('fetch', { topic, partition: 0, from, maxWaitMs: 60_000, ...more })
const publish = (...values: string[]): Promise<Frame> =>
  client.call('publish', { records: values.map(value => ({ topic, value })) })
const itemsOf = (reply: Frame): Frame[] => reply['items'] as Frame[]

/** A batch of one record, gzipped by hand. */
function gzipBatch(value: string): Uint8Array {
  const plain = Buffer.from(handBatch([{ value }]))
  const body = gzipSync(plain.subarray(64))
  const batch = Buffer.concat([plain.subarray(0, 64), body])
  batch[8] = 1
  batch.writeUInt32BE(body.length, 12)
  return sealBatch(batch)
}

describe('a long poll', () => {
  it('wakes when something is appended', async () => {
    await newTopic()
    const poll = fetchFrom('end')
    await client.call('ping')
    await publish('a')
    expect(await poll).toMatchObject({ items: [{ offset: 0 }], next: 1, start: 0, end: 1 })
  })

  it('is not woken by another partition or topic', async () => {
    await newTopic()
    const poll = fetchFrom('end')
    const watched = topic
    await newTopic()
    await publish('elsewhere')
    await client.call('ping')
    topic = watched
    await publish('here')
    expect(itemsOf(await poll)).toMatchObject([{ offset: 0 }])
  })

  it('answers with nothing at its deadline, and not before', async () => {
    await newTopic()
    const start = performance.now()
    expect(await fetchFrom('end', { maxWaitMs: 150 })).toMatchObject({ items: [], next: 0, end: 0 })
    expect(performance.now() - start).toBeGreaterThanOrEqual(149)
  })

  it('with maxWaitMs 0 answers at once', async () => {
    await newTopic()
    expect(await fetchFrom('end', { maxWaitMs: 0 })).toMatchObject({ items: [], next: 0 })
  })

  it('waits for minBytes, and takes what there is at the deadline', async () => {
    await newTopic()
    const poll = fetchFrom(0, { minBytes: 1000 })
    await publish('little')
    await client.call('ping')
    const partly = await fetchFrom(0, { minBytes: 1000, maxWaitMs: 50 })
    expect(itemsOf(partly)).toHaveLength(1)
    await publish('x'.repeat(1000))
    expect(itemsOf(await poll)).toHaveLength(2)
  })

  it('with minBytes beyond maxBytes waits for maxBytes only', async () => {
    await newTopic()
    const poll = fetchFrom(0, { minBytes: 1e9, maxBytes: 300 })
    await publish('x'.repeat(400))
    expect(itemsOf(await poll)).toHaveLength(1)
  })

  it('ends when its topic is deleted', async () => {
    await newTopic()
    const poll = fetchFrom('end')
    await client.call('ping')
    await client.call('deleteTopic', { topic })
    expect(await poll).toMatchObject({ error: { code: 'UNKNOWN_TOPIC', topic } })
  })
})

describe('maxBytes', () => {
  it('bounds a reply, but one item is always in it', async () => {
    await newTopic()
    for (let i = 0; i < 10; i++) await publish('x'.repeat(1000))
    expect(itemsOf(await fetchFrom(0, { maxBytes: 1 }))).toHaveLength(1)
    expect(itemsOf(await fetchFrom(0, { maxBytes: 2500 })).length).toBeLessThan(4)
    // fetchBytesMax cuts it.
    const cut = await fetchFrom(0, { maxBytes: 1e9 })
    expect(itemsOf(cut).length).toBeLessThan(6)
    const rest = await fetchFrom(cut['next'])
    expect(itemsOf(rest)[0]).toMatchObject({ offset: cut['next'] })
  })
})

describe('format "records"', () => {
  it('begins at the very offset, within a batch', async () => {
    await newTopic()
    await publish('a', 'b', 'c')
    const items = itemsOf(await fetchFrom(1, { format: 'records' }))
    expect(items.map(item => item['offset'])).toEqual([1, 2])
  })

  it('opens compressed batches', async () => {
    await newTopic()
    await client.call('produce', { topic, partition: 0, batch: gzipBatch('squeezed') })
    const [item] = itemsOf(await fetchFrom(0, { format: 'records' }))
    expect(Buffer.from(item?.['value'] as Uint8Array).toString()).toBe('squeezed')
  })
})

describe('records of a compressed batch that is large once it is open', () => {
  const count = 3000
  const value = (i: number): string => `${i} `.repeat(100 + (i % 400))

  /** Broken behind its last record, or not. */
  function large(isBroken: boolean): Uint8Array {
    const list = Array.from({ length: count }, (_, i) => ({ value: value(i), timestamp: 1000 + i }))
    const plain = Buffer.from(encodeBatch(list, { now: 1 }))
    // The token of its time, which is an u16: 0xc1 is none.
    if (isBroken) plain[plain.length - 3] = 0xc1
    const batch = Buffer.concat([plain.subarray(0, 64), gzipSync(plain.subarray(64))])
    batch[8] = 1
    batch.writeUInt32BE(batch.length - 64, 12)
    return sealBatch(batch)
  }

  it('come frame by frame, each with as many as it has room for', async () => {
    await newTopic()
    await publish('before')
    await client.call('produce', { topic, partition: 0, batch: large(false) })
    const found: string[] = []
    let frames = 0
    for (let from = 0; from <= count; frames++) {
      const reply = await fetchFrom(from, { format: 'records' })
      const items = itemsOf(reply)
      const values = items.map(item => Buffer.from(item['value'] as Uint8Array).toString())
      expect(values.join('').length).toBeLessThanOrEqual(1 << 20)
      expect(items[0]).toMatchObject({ offset: from })
      found.push(...values)
      from = reply['next'] as number
    }
    expect(found).toEqual(['before', ...Array.from({ length: count }, (_, i) => value(i))])
    expect(frames).toBeGreaterThan(4)
  })

  it('do not come at all when it is broken behind them', async () => {
    await newTopic()
    await publish('before')
    await client.call('produce', { topic, partition: 0, batch: large(true) })
    await publish('behind')
    for (const from of [1, 700])
      expect(itemsOf(await fetchFrom(from, { format: 'records' }))[0]).toEqual({
        gap: 'corrupt',
        offset: from,
        next: 1 + count,
      })
  })

  it('are found by their time', async () => {
    await newTopic()
    await client.call('produce', { topic, partition: 0, batch: large(false) })
    const found = await fetchFrom({ timestamp: 1000 + 1234 }, { format: 'records' })
    expect(itemsOf(found)[0]).toMatchObject({ offset: 1234, timestamp: 1000 + 1234 })
  })
})

describe('codecs', () => {
  it('that the reader does not list end the read with UNSUPPORTED_CODEC', async () => {
    await newTopic()
    await publish('plain')
    await client.call('produce', { topic, partition: 0, batch: gzipBatch('squeezed') })
    const refused = await fetchFrom(1, { codecs: ['none'] })
    expect(refused).toMatchObject({ error: { code: 'UNSUPPORTED_CODEC', codec: 'gzip' } })
    expect(itemsOf(await fetchFrom(0, { codecs: ['none', 'gzip'] }))).toHaveLength(2)
  })

  it('that the reader does list are served up to the first batch in another one', async () => {
    await newTopic()
    await publish('plain')
    await client.call('produce', { topic, partition: 0, batch: gzipBatch('squeezed') })
    expect(await fetchFrom(0, { codecs: ['none'] })).toMatchObject({
      items: [{ offset: 0 }],
      next: 1,
    })
  })
})

describe('a range that was trimmed', () => {
  it('is refused by number with the range that is left, and skipped by "beginning"', async () => {
    await newTopic()
    await publish('gone')
    const { tail } = await client.call('describeLog')
    await client.call('trimLog', { lsn: tail, force: true })
    await publish('kept')
    expect(await fetchFrom(0)).toMatchObject({
      error: { code: 'OFFSET_TRIMMED', start: 1, end: 2 },
    })
    expect(await fetchFrom('beginning')).toMatchObject({ items: [{ offset: 1 }], next: 2 })
  })
})
