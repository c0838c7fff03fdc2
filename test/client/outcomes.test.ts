// What was asked before a close, an abort or a deadline has its outcome by then, and the one that is said.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Client, connect } from '../../client/index.ts'
import { decodeBatchSync, encodeBatch, LogloomError } from '../../wire/index.ts'
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

/** Answers nothing to requests of one kind, until the function is called that it returns. */
function silence(op: string): () => void {
  broker.plan = asked => (asked === op ? 'silent' : 'serve')
  return () => {
    broker.plan = () => 'serve'
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 2))
}

function stored(name: string): string[] {
  return broker.log
    .partition(name, 0)
    .items.flatMap(item => ('batch' in item ? decodeBatchSync(item.batch) : []))
    .map(({ value }) => new TextDecoder().decode(value ?? undefined))
}

const unit = [{ topic: 'u', value: 'a' }] as const

describe('a producer', () => {
  it('settles every record and gives room back although onRejected throws', async () => {
    broker.log.create('t')
    silence('produce')
    let calls = 0
    const producer = client.producer({
      deliveryTimeoutMs: 100,
      batchSize: 1,
      onRejected: () => {
        calls++
        throw new Error('mine')
      },
    })
    const sent = Array.from({ length: 10 }, (_, i) => producer.enqueue('t', { value: `${i}` }))
    const outcomes = await Promise.allSettled(sent.map(({ acked }) => acked))
    expect(outcomes.map(({ status }) => status)).toEqual(Array(10).fill('rejected'))
    expect(calls).toBe(10)
    expect(producer.inflightBytes).toBe(0)
    await producer.close()
  })

  it('waits for ever where it is told to', async () => {
    broker.log.create('t')
    const producer = client.producer({
      maxInflightBytes: 100,
      lingerMs: 0,
      maxBlockMs: Number.MAX_SAFE_INTEGER,
      deliveryTimeoutMs: Number.POSITIVE_INFINITY,
    })
    await producer.send('t', { value: 'first' })
    let answer = (): void => {}
    broker.plan = op => (op === 'produce' ? 'dropBefore' : 'serve')
    answer = () => {
      broker.plan = () => 'serve'
    }
    const full = producer.send('t', { value: 'x'.repeat(200) })
    const waiting = producer.send('t', { value: 'y' })
    const closed = producer.close()
    await until(() => broker.count('produce') > 3)
    answer()
    await closed
    expect([(await full).offset, (await waiting).offset]).toEqual([1, 2])
  })

  it('rejects an atomic unit at close, on an abort and at its deadline, also while its partitions are asked for', async () => {
    silence('describeTopic')
    const closing = client.producer()
    const left = closing.sendBatch(unit, { atomic: true })
    left.catch(() => {})
    await closing.close({ timeoutMs: 20 })
    await expect(left).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' })

    const abort = new AbortController()
    const aborted = client.producer().sendBatch(unit, { atomic: true, signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')

    // Others, with more time, have asked already.
    const late = client.producer({ deliveryTimeoutMs: 20 }).sendBatch(unit, { atomic: true })
    await expect(late).rejects.toMatchObject({
      code: 'TIMEOUT',
      details: { outcome: 'not-written' },
    })
  })

  it('bounds the wait of an atomic unit for room by its delivery timeout', async () => {
    broker.log.create('t')
    broker.log.create('u')
    const o = { maxInflightBytes: 100, lingerMs: 0, deliveryTimeoutMs: 200 }
    const producer = client.producer(o)
    await producer.send('t', { value: 'first' })
    silence('produce')
    // One after the other gets the room, and keeps it for as long as the unit has.
    for (let i = 0; i < 10; i++) producer.send('t', { value: 'x'.repeat(200) }).catch(() => {})
    await expect(producer.sendBatch(unit, { atomic: true })).rejects.toMatchObject({
      code: 'TIMEOUT',
    })
    expect(broker.count('publish')).toBe(0)
  })

  it('writes what gets room by the end of a record that was not answered', async () => {
    broker.log.create('t')
    const o = { maxInflightBytes: 100, lingerMs: 0, deliveryTimeoutMs: 100 }
    const producer = client.producer(o)
    await producer.send('t', { value: 'first' })
    let produced = 0
    broker.plan = op => (op === 'produce' && produced++ === 0 ? 'silent' : 'serve')
    const full = producer.send('t', { value: 'x'.repeat(200) })
    // Sent at once, since others wait for the room that it takes.
    const next = producer.send('t', { value: 'y'.repeat(200) })
    const last = producer.send('t', { value: 'last' })
    await expect(full).rejects.toMatchObject({ code: 'TIMEOUT' })
    await Promise.all([next, last])
    expect(
      stored('t')
        .map(value => value.charAt(0))
        .join(''),
    ).toBe('fxyl')
  })

  it('writes what gets room by the end of a record that was refused after it had no answer', async () => {
    await client.close()
    client = await connect(broker.url, { requestTimeoutMs: 50, retryBackoffMs: 1 })
    broker.log.create('t')
    const producer = client.producer({ maxInflightBytes: 100, lingerMs: 0 })
    await producer.send('t', { value: 'first' })
    const refused = new LogloomError('INVALID_REQUEST', 'not this one')
    const plans = ['silent', refused] as const
    let produced = 0
    broker.plan = op => (op === 'produce' ? (plans[produced++] ?? 'serve') : 'serve')
    const full = producer.send('t', { value: 'x'.repeat(200) })
    // Sent at once, since others wait for the room that it takes.
    const next = producer.send('t', { value: 'y'.repeat(200) })
    const last = producer.send('t', { value: 'last' })
    await expect(full).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    await Promise.all([next, last])
    expect(
      stored('t')
        .map(value => value.charAt(0))
        .join(''),
    ).toBe('fxyl')
  })

  it('does not fail records because another producer had less time to learn about their topic', async () => {
    broker.log.create('t')
    const speak = silence('describeTopic')
    const short = client.producer({ deliveryTimeoutMs: 50 }).send('t', { value: 'short' })
    const long = client.producer().send('t', { value: 'long' })
    await expect(short).rejects.toMatchObject({ code: 'TIMEOUT' })
    speak()
    // The second question waits for its answer as long as a request may; a new connection asks again.
    broker.disconnect()
    expect((await long).offset).toBe(0)
  })

  it('does not fail records because those before them came too early', async () => {
    broker.log.create('t')
    const speak = silence('describeTopic')
    const producer = client.producer({ deliveryTimeoutMs: 400 })
    const early = producer.send('t', { value: 'early' })
    early.catch(() => {})
    await new Promise(resolve => setTimeout(resolve, 200))
    const late = producer.send('t', { value: 'late' })
    const isAskedAgain = broker.count('describeTopic')
    await expect(early).rejects.toMatchObject({ code: 'TIMEOUT' })
    await until(() => broker.count('describeTopic') > isAskedAgain)
    speak()
    broker.disconnect()
    expect((await late).offset).toBe(0)
  })

  it('flushes records that wait for their topic', async () => {
    broker.log.create('t')
    const speak = silence('describeTopic')
    const producer = client.producer({ lingerMs: 60_000 })
    const ticket = producer.enqueue('t', { value: 'v' })
    let isFlushed = false
    const flushed = Promise.all([producer.flush(), producer.flush()]).then(() => {
      isFlushed = true
    })
    await until(() => broker.count('describeTopic') > 0)
    expect(isFlushed).toBe(false)
    speak()
    broker.disconnect()
    await flushed
    expect(stored('t')).toEqual(['v'])
    await ticket.acked
  })

  it('writes records as they were when they were sent, also those that had to wait', async () => {
    broker.log.create('t')
    broker.log.create('bytes')
    const producer = client.producer({ maxInflightBytes: 300, lingerMs: 0 })
    const state = { n: 0 }
    const sent: Promise<unknown>[] = []
    for (; state.n < 12; state.n++) sent.push(producer.send('t', { value: state }))
    await Promise.all(sent)
    expect(stored('t')).toEqual(Array.from({ length: 12 }, (_, n) => `{"n":${n}}`))
    const bytes = Buffer.alloc(8)
    const tickets = ['A', 'B', 'C'].map(letter => {
      bytes.fill(letter)
      return client.producer().enqueue('bytes', { value: bytes, headers: { h: bytes } })
    })
    await Promise.all(tickets.map(({ acked }) => acked))
    expect(stored('bytes').sort()).toEqual(['AAAAAAAA', 'BBBBBBBB', 'CCCCCCCC'])
  })

  it('leaves the bytes of a batch alone that was encoded elsewhere, a Buffer too', async () => {
    broker.log.create('t')
    const batch = Buffer.from(encodeBatch([{ value: 'v' }], { now: 0 }))
    const before = Buffer.from(batch)
    await client.producer().sendEncoded('t', 0, batch)
    expect(batch.equals(before)).toBe(true)
  })

  it('is closed in the time that the last close gives it', async () => {
    broker.log.create('t')
    silence('produce')
    const producer = client.producer()
    const sent = producer.send('t', { value: 'v' })
    sent.catch(() => {})
    const closed = producer.close()
    await client.close({ timeoutMs: 20 })
    await closed
    await expect(sent).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })
})

describe('a call', () => {
  it('ends in time although the broker asks for more', async () => {
    const busy = new LogloomError('THROTTLED', 'busy', { retryAfterMs: 60_000 })
    broker.plan = op => (op === 'listTopics' ? busy : 'serve')
    await expect(client.admin().listTopics({ timeoutMs: 50 })).rejects.toMatchObject({
      code: 'THROTTLED',
    })
  })

  it('that was aborted before it was sent never is', async () => {
    const { port } = broker
    await broker.stop()
    await until(() => client.currentStatus.type !== 'open')
    const abort = new AbortController()
    const made = client.admin().createTopic('aborted', { signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(made).rejects.toThrow('enough')
    await broker.listen(port)
    await client.admin().createTopic('next')
    expect([...broker.log.topics.keys()]).toEqual(['next'])
  })

  it('may take for ever', async () => {
    const forever = Number.POSITIVE_INFINITY
    const patient = await connect(broker.url, {
      connectTimeoutMs: forever,
      requestTimeoutMs: forever,
      deliveryTimeoutMs: forever,
      brokerTimeoutMs: forever,
      keepAliveMs: forever,
    })
    expect(
      await patient
        .admin()
        .listTopics()
        .catch(({ code }) => code),
    ).toBe('UNKNOWN_OP')
    await patient.close()
  })
})

describe('the states of a client', () => {
  it('can be left while nothing changes', async () => {
    const states = client.status()
    await states.next()
    const next = states.next()
    await states.return?.()
    expect((await next).done).toBe(true)
  })
})
