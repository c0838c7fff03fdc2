// Producing through a broker that behaves: batching, back-pressure, refusals, atomic batches.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Client, connect, topic } from '../../client/index.ts'
import { decodeBatchSync, encodeBatch, LogloomError, readBatchHeader } from '../../wire/index.ts'
import { FakeBroker } from './fake-broker.ts'

let broker: FakeBroker
let client: Client

beforeEach(async () => {
  broker = await FakeBroker.start()
  client = await connect(broker.url, { retryBackoffMs: 1, retryBackoffMaxMs: 20 })
})

afterEach(async () => {
  await client.close({ timeoutMs: 100 })
  await broker.stop()
})

function stored(name: string, partition = 0): string[] {
  const values: string[] = []
  for (const item of broker.log.partition(name, partition).items) {
    if (!('batch' in item)) continue
    for (const { value } of decodeBatchSync(item.batch))
      values.push(new TextDecoder().decode(value ?? undefined))
  }
  return values
}

describe('producing', () => {
  it('acks a record with its place', async () => {
    broker.log.create('orders', 3)
    const producer = client.producer()
    const ack = await producer.send('orders', { key: 'k', value: 'v' }, { partition: 2 })
    expect(ack).toEqual({ topic: 'orders', partition: 2, offset: 0, lsn: 0, timestamp: 1000 })
    const second = await producer.send('orders', { value: 'w' }, { partition: 2 })
    expect(second.offset).toBe(1)
    expect(stored('orders', 2)).toEqual(['v', 'w'])
  })

  it('keeps records of one turn in one batch and numbers them', async () => {
    const producer = client.producer({ lingerMs: 0 })
    await producer.send('t', { value: 'first' })
    const tickets = ['a', 'b', 'c'].map(value => producer.enqueue('t', { value }))
    const acks = await Promise.all(tickets.map(ticket => ticket.acked))
    expect(acks.map(ack => ack.offset)).toEqual([1, 2, 3])
    expect(broker.log.partition('t', 0).items).toHaveLength(2)
  })

  it('sends a batch as soon as it is full, without waiting for linger', async () => {
    broker.log.create('t')
    const producer = client.producer({ lingerMs: 60_000, batchSize: 1000 })
    const tickets = Array.from({ length: 30 }, () =>
      producer.enqueue('t', { value: 'x'.repeat(100) }),
    )
    await tickets[0]?.acked
    const { items } = broker.log.partition('t', 0)
    expect(items.length).toBeGreaterThan(0)
    for (const item of items) expect('batch' in item && item.batch.byteLength <= 1000).toBe(true)
    await producer.flush()
    expect(stored('t')).toHaveLength(30)
  })

  it('gives a record larger than batchSize a batch of its own', async () => {
    const producer = client.producer({ batchSize: 100 })
    await producer.send('t', { value: 'y'.repeat(5000) })
    expect(stored('t')).toEqual(['y'.repeat(5000)])
  })

  it('flushes what lingers', async () => {
    const producer = client.producer({ lingerMs: 60_000 })
    const ticket = producer.enqueue('t', { value: 'v' })
    await producer.flush()
    expect(stored('t')).toEqual(['v'])
    expect((await ticket.acked).offset).toBe(0)
    expect(producer.inflightBytes).toBe(0)
  })

  it('flushes what still waits for room', async () => {
    broker.log.create('t')
    const producer = client.producer({ maxInflightBytes: 2000, batchSize: 1000, lingerMs: 60_000 })
    const acks: number[] = []
    for (let i = 0; i < 103; i++) {
      void producer.send('t', { value: 'x'.repeat(100) }).then(({ offset }) => acks.push(offset))
    }
    expect(producer.inflightBytes).toBeLessThan(3000)
    await producer.flush()
    expect(acks).toEqual(Array.from({ length: 103 }, (_, offset) => offset))
    expect(stored('t')).toHaveLength(103)
  })

  it('flushes atomic units too', async () => {
    const producer = client.producer()
    let isAcked = false
    void producer.sendBatch([{ topic: 't', value: 'a' }], { atomic: true }).then(() => {
      isAcked = true
    })
    await producer.flush()
    expect(isAcked).toBe(true)
  })

  it('does not let records linger that take all the room, while others wait for it', async () => {
    broker.log.create('t')
    const producer = client.producer({ maxInflightBytes: 2000, batchSize: 8000, lingerMs: 60_000 })
    const sent = Array.from({ length: 100 }, () => producer.send('t', { value: 'x'.repeat(100) }))
    expect((await (sent[60] as (typeof sent)[0])).offset).toBe(60)
    // The last of them had all the room that they need, and linger.
    expect(stored('t').length).toBeLessThan(100)
    await producer.flush()
    expect(await Promise.all(sent)).toHaveLength(100)
  })

  it('sends equal keys to one partition, where murmur2 of the key points, and spreads records without one', async () => {
    broker.log.create('t', 4)
    const producer = client.producer({ lingerMs: 0 })
    const places = new Set<number>()
    for (let i = 0; i < 4; i++)
      places.add((await producer.send('t', { key: 'foobar', value: 'v' })).partition)
    // Kafka's default partitioner: toPositive(-790332482) mod 4.
    expect([...places]).toEqual([(-790332482 & 0x7fffffff) % 4])
    const spread = new Set<number>()
    for (let i = 0; i < 4; i++) spread.add((await producer.send('t', { value: 'v' })).partition)
    expect(spread.size).toBe(4)
  })

  it('writes typed values as JSON and checks them against their schema', async () => {
    const positive = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: (value: unknown) =>
          typeof value === 'number' && value > 0
            ? { value }
            : { issues: [{ message: 'not positive' }] },
        types: undefined as unknown as { input: number; output: number },
      },
    }
    const amounts = topic('amounts', positive)
    const producer = client.producer()
    await producer.send(amounts, { value: 7 })
    await expect(producer.send(amounts, { value: -7 })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
    })
    expect(stored('amounts')).toEqual(['7'])
  })

  it('reports what is wrong with a record through its ticket', async () => {
    const rejected: number[] = []
    const producer = client.producer({ onRejected: (_, { count }) => rejected.push(count) })
    const bad = { key: 42 as unknown as string, value: 'v' }
    await expect(producer.enqueue('t', bad).acked).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
    })
    await expect(producer.send('no/such', { value: 'v' })).rejects.toMatchObject({
      code: 'INVALID_TOPIC_NAME',
    })
    await producer.send('t', { value: 'good' })
    expect(stored('t')).toEqual(['good'])
    expect(rejected).toEqual([1, 1])
  })

  it('creates a missing topic only where the broker does', async () => {
    broker.log.autoCreate = false
    const producer = client.producer()
    await expect(producer.send('missing', { value: 'v' })).rejects.toMatchObject({
      code: 'UNKNOWN_TOPIC',
    })
    broker.log.autoCreate = true
    await producer.send('missing', { value: 'v' })
    expect(stored('missing')).toEqual(['v'])
  })

  it('refuses records beyond maxInflightBytes until there is room', async () => {
    broker.log.create('t')
    const blocked: (() => void)[] = []
    broker.plan = op => (op === 'produce' && blocked.length === 0 ? 'silent' : 'serve')
    const producer = client.producer({
      maxInflightBytes: 2000,
      lingerMs: 0,
      batchSize: 500,
      maxBlockMs: 40,
    })
    let taken = 0
    expect(() => {
      while (taken < 1000) {
        producer.enqueue('t', { value: 'z'.repeat(100) }, { partition: 0 })
        taken++
      }
    }).toThrowError(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
    expect(taken).toBeLessThan(30)
    expect(producer.inflightBytes).toBeLessThan(2200)
    await expect(producer.ready()).rejects.toMatchObject({ code: 'TIMEOUT' })
    // The answers come once the connection is made anew.
    blocked.push(() => {})
    broker.disconnect()
    await producer.flush()
    await producer.ready()
    expect(stored('t')).toHaveLength(taken)
    expect(producer.inflightBytes).toBe(0)
  })

  it('lets waiting senders in one by one, in order, never past the bound', async () => {
    const producer = client.producer({ maxInflightBytes: 1500, lingerMs: 0 })
    let most = 0
    const sends = Array.from({ length: 200 }, async (_, i) => {
      const sent = producer.send('t', { value: `${i}:${'x'.repeat(200)}` })
      most = Math.max(most, producer.inflightBytes)
      return sent
    })
    const acks = await Promise.all(sends)
    expect(acks.map(ack => ack.offset)).toEqual(acks.map((_, i) => i))
    expect(most).toBeLessThan(1500 + 400)
  })

  it('writes under an expected offset once and reports the conflict afterwards', async () => {
    const producer = client.producer()
    await producer.send('t', { value: 'a' }, { expect: { offset: 0 } })
    const conflict = producer.send('t', { value: 'b' }, { expect: { offset: 0 } })
    await expect(conflict).rejects.toMatchObject({
      code: 'OFFSET_CONFLICT',
      details: { expected: 0, actual: 1 },
    })
    await producer.send('t', { value: 'c' })
    expect(stored('t')).toEqual(['a', 'c'])
  })

  it('publishes an atomic batch in one entry of the log', async () => {
    broker.log.create('a', 2)
    const producer = client.producer()
    const acks = await producer.sendBatch(
      [
        { topic: 'a', partition: 1, value: '1', timestamp: 2000 },
        { topic: 'b', value: '2' },
        { topic: 'a', partition: 1, value: '3', timestamp: 1000 },
        { topic: 'a', partition: 0, value: '4' },
      ],
      { atomic: true },
    )
    expect(new Set(acks.map(ack => ack.lsn)).size).toBe(1)
    expect(acks.map(({ topic, partition, offset }) => [topic, partition, offset])).toEqual([
      ['a', 1, 0],
      ['b', 0, 0],
      ['a', 1, 1],
      ['a', 0, 0],
    ])
    expect(stored('a', 1)).toEqual(['1', '3'])
    const stale = [{ topic: 'b', partition: 0, offset: 0 }]
    const refused = producer.sendBatch([{ topic: 'a', value: 'x' }], {
      atomic: true,
      expect: stale,
    })
    await expect(refused).rejects.toMatchObject({ code: 'OFFSET_CONFLICT' })
    expect(stored('a', 0)).toEqual(['4'])
  })

  it('refuses an atomic batch that fits no frame before sending it', async () => {
    const producer = client.producer()
    const entries = Array.from({ length: 3 }, () => ({ topic: 't', value: 'x'.repeat(900_000) }))
    await expect(producer.sendBatch(entries, { atomic: true })).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
    })
    expect(broker.count('publish')).toBe(0)
    expect(client.currentStatus.type).toBe('open')
  })

  it('sends encoded batches in order and leaves the bytes to their owner', async () => {
    const batch = encodeBatch([{ value: 'a' }, { value: 'b' }], { now: 1 })
    const before = batch.slice()
    const producer = client.producer()
    const sends = Array.from({ length: 8 }, () => producer.sendEncoded('t', 0, batch))
    const acks = await Promise.all(sends)
    expect(acks.map(ack => ack.offset)).toEqual([0, 2, 4, 6, 8, 10, 12, 14])
    expect(batch).toEqual(before)
  })

  it('compresses when told to', async () => {
    const producer = client.producer({ compressionType: 'gzip' })
    await producer.send('t', { value: 'x'.repeat(10_000) })
    const [item] = broker.log.partition('t', 0).items
    expect(item && 'batch' in item && readBatchHeader(item.batch).codec).toBe('gzip')
  })

  it('asks for no answer with acks 0', async () => {
    broker.log.create('t')
    const producer = client.producer({ acks: 0 })
    expect((await producer.send('t', { value: 'v' })).offset).toBe(-1)
    await client.admin().ping()
    expect(stored('t')).toEqual(['v'])
  })

  it('rejects only the batch that the broker refused before deciding, and sends the rest', async () => {
    broker.log.create('t')
    let n = 0
    const tooLarge = new LogloomError('MESSAGE_TOO_LARGE', 'too large', { limit: 1, actual: 2 })
    broker.plan = op => (op === 'produce' && ++n === 2 ? tooLarge : 'serve')
    const rejected: number[] = []
    const producer = client.producer({
      batchSize: 1,
      onRejected: (_, batch) => rejected.push(batch.count),
    })
    const tickets = Array.from({ length: 9 }, (_, i) => producer.enqueue('t', { value: `${i}` }))
    const results = await Promise.allSettled(tickets.map(ticket => ticket.acked))
    expect(results.map(result => result.status === 'fulfilled')).toEqual([
      true,
      false,
      true,
      true,
      true,
      true,
      true,
      true,
      true,
    ])
    expect(stored('t')).toEqual(['0', '2', '3', '4', '5', '6', '7', '8'])
    expect(rejected).toEqual([1])
  })

  it('starts a new identity when the broker has forgotten the old one', async () => {
    const producer = client.producer({ lingerMs: 0 })
    await producer.send('t', { value: 'a' })
    broker.log.forgetProducers()
    await producer.send('t', { value: 'b' })
    expect(stored('t')).toEqual(['a', 'b'])
    expect(broker.count('initProducer')).toBe(2)
  })

  it('starts a new identity when its place in the sequence is gone', async () => {
    const producer = client.producer({ batchSize: 1 })
    await producer.send('t', { value: 'a' })
    broker.log.forgetPlaces()
    const tickets = ['b', 'c', 'd'].map(value => producer.enqueue('t', { value }))
    await Promise.all(tickets.map(ticket => ticket.acked))
    expect(stored('t')).toEqual(['a', 'b', 'c', 'd'])
  })

  it('rejects what was sent behind a lost batch too, because nobody knows about it', async () => {
    broker.log.create('t')
    let n = 0
    broker.plan = op => (op === 'produce' && ++n <= 2 ? 'silent' : 'serve')
    const old = client.producer({ batchSize: 1, deliveryTimeoutMs: 100 })
    const first = old.enqueue('t', { value: 'a' })
    const second = old.enqueue('t', { value: 'b' })
    const third = old.enqueue('t', { value: 'c' })
    const results = await Promise.allSettled([first.acked, second.acked, third.acked])
    const codes = results.map(result =>
      result.status === 'fulfilled' ? 'acked' : (result.reason as { code: string }).code,
    )
    expect(codes[0]).toBe('TIMEOUT')
    expect(['TIMEOUT', 'OUTCOME_UNKNOWN']).toContain(codes[1])
    expect(codes[2]).toBe('acked')
    expect((await old.send('t', { value: 'd' })).offset).toBe(3)
  })

  it('rejects at the delivery timeout, says what is known, and goes on behind it', async () => {
    broker.log.create('t')
    broker.plan = op => (op === 'produce' ? 'silent' : 'serve')
    const producer = client.producer({ deliveryTimeoutMs: 60, lingerMs: 0 })
    const lost = producer.send('t', { value: 'silent' })
    await expect(lost).rejects.toMatchObject({ code: 'TIMEOUT', details: { outcome: 'unknown' } })
    broker.plan = () => 'serve'
    await producer.send('t', { value: 'after' })
    expect(stored('t')).toEqual(['silent', 'after'])
    broker.disconnect()
    await broker.stop()
    for await (const { type } of client.status()) if (type === 'recovering') break
    const never = producer.send('t', { value: 'never' })
    await expect(never).rejects.toMatchObject({
      code: 'TIMEOUT',
      details: { outcome: 'not-written' },
    })
    await broker.listen(0)
  })

  it('retries refusals that left no trace', async () => {
    broker.log.create('t')
    let n = 0
    broker.plan = op =>
      op === 'produce' && ++n <= 3 ? new LogloomError('THROTTLED', 'slow down') : 'serve'
    const producer = client.producer({ batchSize: 1 })
    const tickets = Array.from({ length: 7 }, (_, i) => producer.enqueue('t', { value: `${i}` }))
    await Promise.all(tickets.map(ticket => ticket.acked))
    expect(stored('t')).toEqual(['0', '1', '2', '3', '4', '5', '6'])
  })

  it('never causes an unhandled rejection with tickets that nobody looks at', async () => {
    const unhandled: unknown[] = []
    const note = (error: unknown): void => void unhandled.push(error)
    process.on('unhandledRejection', note)
    broker.log.autoCreate = false
    const producer = client.producer({ lingerMs: 0 })
    const ticket = producer.enqueue('missing', { value: 'v' })
    expect(ticket.acked).toBeInstanceOf(Promise)
    producer.enqueue('missing', { value: 'v' })
    await producer.flush()
    await new Promise(resolve => setImmediate(resolve))
    process.off('unhandledRejection', note)
    expect(unhandled).toEqual([])
  })

  it('writes at close what was sent before and waits for room, in order', async () => {
    broker.log.create('t')
    const producer = client.producer({ maxInflightBytes: 2000, batchSize: 1000 })
    const sent = Array.from({ length: 103 }, (_, i) =>
      producer.send('t', { value: `${i}`.padStart(100) }),
    )
    const unit = producer.sendBatch([{ topic: 'u', value: 'a' }], { atomic: true })
    const closed = producer.close()
    await expect(producer.send('t', { value: 'late' })).rejects.toMatchObject({
      code: 'CONNECTION_CLOSED',
    })
    await closed
    const acks = await Promise.all(sent)
    expect(acks.map(({ offset }) => offset)).toEqual(acks.map((_, offset) => offset))
    expect(stored('t')).toEqual(acks.map((_, i) => `${i}`.padStart(100)))
    expect(await unit).toHaveLength(1)
  })

  it('rejects after close, and flushes before', async () => {
    const producer = client.producer({ lingerMs: 60_000 })
    const ticket = producer.enqueue('t', { value: 'v' })
    await producer.close()
    expect((await ticket.acked).offset).toBe(0)
    expect(() => producer.enqueue('t', { value: 'w' })).toThrowError(
      expect.objectContaining({ code: 'CONNECTION_CLOSED' }),
    )
    await expect(producer.send('t', { value: 'w' })).rejects.toMatchObject({
      code: 'CONNECTION_CLOSED',
    })
  })

  it('stops waiting when its signal aborts', async () => {
    broker.log.create('t')
    broker.plan = op => (op === 'produce' ? 'silent' : 'serve')
    const producer = client.producer()
    const abort = new AbortController()
    const sent = producer.send('t', { value: 'v' }, { signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(sent).rejects.toThrow('enough')
  })
})
