// Spans of what is more than one record: switches of the log, units, batches, commits and transactions; and OpenTelemetry's metrics of it all.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as opentelemetry from '@opentelemetry/api'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startBroker } from '../../broker/index.ts'
import { type Client, connect, type TracingOptions } from '../../client/index.ts'
import { useMemoryBroker } from './memory-broker.ts'
import { type Exported, useMeter, useOpenTelemetry } from './open-telemetry.ts'

const { broker } = useMemoryBroker()
const { tracer, spans, spanOf } = useOpenTelemetry()
const { meter, measured } = useMeter()

const traced = (more: Partial<TracingOptions> = {}): Promise<Client> =>
  connect(broker().url, { clientId: 'shop', tracing: { api: opentelemetry, ...more } })

const named = (name: string) => spans().filter(span => span.name === name)
const idsOf = (name: string) => named(name).map(span => span.spanContext().spanId)

describe('a switch of the log in a trace', () => {
  it('is an event of the spans that it held up, and of no other', async () => {
    const data = await mkdtemp(join(tmpdir(), 'logloom-tracing-'))
    onTestFinished(() => rm(data, { recursive: true, force: true }))
    const onDisk = await startBroker({ data, port: 0, loglet: 'file' })
    onTestFinished(() => onDisk.close())
    const one = await connect(onDisk.url, { tracing: { api: opentelemetry } })
    onTestFinished(() => one.close())
    const producer = one.producer({ lingerMs: 0 })
    const delayed = () =>
      named('send orders').filter(({ events }) => events.some(e => e.name === 'sealed_and_retried'))
    const over = new AbortController()
    const load = Array.from({ length: 20 }, async () => {
      while (!over.signal.aborted) await producer.send('orders', { value: 'v' })
    })
    await expect.poll(() => named('send orders').length).toBeGreaterThan(10)
    expect(delayed()).toEqual([])
    const indexes: number[] = []
    // One is enough as a rule: it takes a write to the disk, during which others come.
    do {
      indexes.push((await one.admin().switchLog('striped:2:file')).sealed.index)
      await producer.flush()
    } while (delayed().length === 0 && indexes.length < 20)
    over.abort()
    await Promise.all(load)
    const [event] = delayed()[0]?.events ?? []
    expect(indexes).toContain(event?.attributes?.['logloom.segment.index'])
    expect(event?.attributes?.['logloom.pause_ms']).toBeGreaterThan(0)
    expect(
      delayed().every(({ status }) => status.code === opentelemetry.SpanStatusCode.UNSET),
    ).toBe(true)
    const before = delayed().length
    expect(before).toBeLessThan(named('send orders').length)
    await producer.send('orders', { value: 'later' })
    expect(delayed()).toHaveLength(before)
  })
})

describe('spans of more than one record', () => {
  it('are one for a unit, to which each handler belongs', async () => {
    const one = await traced()
    await one.producer().sendBatch(
      [
        { topic: 'units', value: 'a' },
        { topic: 'units', value: 'b', headers: { own: 'x' } },
      ],
      { atomic: true },
    )
    const [send] = idsOf('send units')
    expect((await spanOf('send units')).attributes).toMatchObject({
      'messaging.batch.message_count': 2,
      'messaging.operation.type': 'send',
    })
    const consumer = one.consumer({ groupId: 'g', topics: 'units', autoOffsetReset: 'earliest' })
    const headers: (string | undefined)[] = []
    const running = consumer.run(record => {
      headers.push(record.header('own'))
    })
    await expect.poll(() => named('process units').length).toBe(2)
    expect(headers).toEqual([undefined, 'x'])
    for (const { parentSpanContext } of named('process units'))
      expect(parentSpanContext?.spanId).toBe(send)
    await consumer.close()
    await running
    await one.close()
  })

  it('receive and process batches with links to all that were sent', async () => {
    const one = await traced()
    const producer = one.producer({ lingerMs: 50 })
    await Promise.all(['a', 'b', 'c'].map(value => producer.send('batches', { value })))
    const consumer = one.consumer({ groupId: 'b', topics: 'batches', autoOffsetReset: 'earliest' })
    let seen = 0
    for await (const batch of consumer.batches()) {
      seen += batch.records.length
      await batch.commit()
      if (seen === 3) break
    }
    const sent = idsOf('send batches').sort()
    for (const name of ['receive batches', 'process batches']) {
      const found = named(name)
      const linked = found.flatMap(({ links }) => links.map(({ context }) => context.spanId))
      expect(linked.sort(), name).toEqual(sent)
      const counts = found.map(({ attributes }) => attributes['messaging.batch.message_count'])
      expect(counts.reduce<number>((sum, n) => sum + Number(n), 0)).toBe(3)
      expect(found[0]?.attributes).toMatchObject({
        'messaging.consumer.group.name': 'b',
        'messaging.destination.partition.id': '0',
        'messaging.kafka.offset': 0,
      })
    }
    const commit = await spanOf('commit batches')
    expect(commit.kind).toBe(opentelemetry.SpanKind.CLIENT)
    expect(commit.attributes).toMatchObject({
      'messaging.operation.name': 'commit',
      'messaging.operation.type': 'settle',
      'messaging.consumer.group.name': 'b',
    })
    await one.close()
  })

  it.each(['record by record', 'by batches'])('read a topic without a group, %s', async how => {
    const one = await traced()
    const topic = how === 'by batches' ? 'read-batches' : 'read-records'
    const producer = one.producer({ lingerMs: 50 })
    await Promise.all(['a', 'b', 'c'].map(value => producer.send(topic, { value })))
    const reader = one.read(topic, { from: 'beginning', until: 'end' })
    let seen = 0
    if (how === 'by batches')
      for await (const { records } of reader.batches()) seen += records.length
    else for await (const _ of reader) seen++
    expect(seen).toBe(3)
    const sent = idsOf(`send ${topic}`).sort()
    for (const operation of ['receive', 'process']) {
      const found = named(`${operation} ${topic}`)
      const linked = found.flatMap(({ links }) => links.map(({ context }) => context.spanId))
      expect(linked.sort(), operation).toEqual(sent)
      const counts = found.map(({ attributes }) => attributes['messaging.batch.message_count'])
      expect(counts.reduce<number>((sum, n) => sum + Number(n), 0)).toBe(3)
      expect(found[0]?.kind).toBe(opentelemetry.SpanKind.CONSUMER)
      expect(found[0]?.attributes).toMatchObject({
        'messaging.operation.name': operation,
        'messaging.operation.type': operation,
        'messaging.destination.name': topic,
        'messaging.destination.partition.id': '0',
        'messaging.kafka.offset': 0,
      })
      expect(found[0]?.attributes).not.toHaveProperty('messaging.consumer.group.name')
    }
    await one.close()
  })

  it('end with the reading: once for what was worked on, not at all for what never came', async () => {
    const one = await traced()
    await one.producer().send('cut', { value: 'v' })
    for await (const _ of one.read('cut', { from: 'beginning' })) {
      expect(named('receive cut')).toHaveLength(1)
      expect(named('process cut')).toHaveLength(0)
      break
    }
    expect(named('process cut')).toHaveLength(1)
    const waiting = one.read('cut')
    await waiting.opened()
    const next = waiting[Symbol.asyncIterator]().next()
    await waiting.close()
    expect((await next).done).toBe(true)
    expect([named('receive cut'), named('process cut')].map(({ length }) => length)).toEqual([1, 1])
    await one.close()
  })

  it('settle what a queue was given, and tell of what was refused', async () => {
    const one = await traced()
    await one.producer().send('jobs', { value: 'v' })
    const queue = one.queue({ group: 'q', topics: 'jobs', autoOffsetReset: 'earliest' })
    for await (const record of queue) {
      await record.ack()
      break
    }
    const [sent] = idsOf('send jobs')
    const received = await spanOf('receive jobs')
    expect(received.links.map(({ context }) => context.spanId)).toEqual([sent])
    expect((await spanOf('settle jobs')).attributes).toMatchObject({
      'messaging.operation.name': 'settle',
      'messaging.batch.message_count': 1,
      'messaging.consumer.group.name': 'q',
    })
    await one.close()
  })

  it('hold together what a transaction does, and end with its error', async () => {
    const one = await traced()
    await tracer.startActiveSpan('checkout', async span => {
      await one.transaction(async tx => {
        tx.send('paid', { value: '1' })
        tx.send('shipped', { value: '1' })
        await tracer.startActiveSpan('look up', async inner => inner.end())
      })
      span.end()
    })
    const [checkout] = idsOf('checkout')
    const transaction = await spanOf('transaction')
    const id = transaction.spanContext().spanId
    expect(transaction.parentSpanContext?.spanId).toBe(checkout)
    expect((await spanOf('look up')).parentSpanContext?.spanId).toBe(id)
    // Two topics: the span of the send is named after none.
    expect((await spanOf('send')).parentSpanContext?.spanId).toBe(id)
    await expect(
      one.transaction(() => {
        throw new TypeError('no such account')
      }),
    ).rejects.toThrow('no such account')
    const failed = named('transaction').find(
      ({ status }) => status.code === opentelemetry.SpanStatusCode.ERROR,
    )
    expect(failed?.attributes['error.type']).toBe('TypeError')
    await one.close()
  })
})

describe("OpenTelemetry's metrics", () => {
  const of = (points: readonly Exported[] | undefined, attributes: object): unknown => {
    const wanted = Object.entries(attributes)
    return points?.find(point => wanted.every(([k, v]) => point.attributes[k] === v))?.value
  }

  it('count and time what is sent, received, processed and settled', async () => {
    const one = await traced({ meter })
    const producer = one.producer()
    for (let i = 0; i < 3; i++) await producer.send('measured', { key: `k${i}`, value: 'v' })
    await expect(producer.send('measured', { value: 'x'.repeat(2 << 20) })).rejects.toThrow()
    const consumer = one.consumer({ groupId: 'm', topics: 'measured', autoOffsetReset: 'earliest' })
    let handled = 0
    const running = consumer.run(async record => {
      await record.commit()
      handled++
    })
    await expect.poll(() => handled).toBe(3)
    await consumer.close()
    await running
    const found = await measured()
    const topic = { 'messaging.destination.name': 'measured' }
    const sent = found.get('messaging.client.sent.messages')
    expect(of(sent, { ...topic, 'error.type': undefined })).toBe(3)
    expect(of(sent, { ...topic, 'error.type': 'MESSAGE_TOO_LARGE' })).toBe(1)
    const group = { ...topic, 'messaging.consumer.group.name': 'm' }
    expect(of(found.get('messaging.client.consumed.messages'), group)).toBe(3)
    expect(of(found.get('messaging.process.duration'), group)).toMatchObject({ count: 3 })
    const operations = found.get('messaging.client.operation.duration')
    expect(of(operations, { 'messaging.operation.name': 'send' })).toMatchObject({ count: 3 })
    expect(of(operations, { 'messaging.operation.name': 'commit' })).toMatchObject({
      count: expect.any(Number) as number,
    })
    // What has many values is no attribute of a metric.
    for (const { attributes } of [...found.values()].flat())
      expect(
        Object.keys(attributes).filter(name => /key|offset|partition|client/.test(name)),
      ).toEqual([])
    await one.close()
  })
})
