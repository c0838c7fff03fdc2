// Spans of OpenTelemetry itself, around what is sent and handled on a real broker.

import * as opentelemetry from '@opentelemetry/api'
import { describe, expect, it } from 'vitest'
import { type Client, connect, type TracingOptions } from '../../client/index.ts'
import { useMemoryBroker } from './memory-broker.ts'
import { useOpenTelemetry } from './open-telemetry.ts'

const { broker, client: untraced } = useMemoryBroker()
const { tracer, spans, spanOf } = useOpenTelemetry()

async function traced(process: TracingOptions['process'] = 'parent'): Promise<Client> {
  return connect(broker().url, { clientId: 'shop', tracing: { api: opentelemetry, process } })
}

/** Sends one record in a span of the application, and handles it in a consumer group. */
async function roundTrip(one: Client, handler: () => unknown = () => {}): Promise<void> {
  const producer = one.producer()
  await tracer.startActiveSpan('checkout', async span => {
    await producer.send('orders', { key: 'k', value: 'v', headers: { own: 'x' } })
    span.end()
  })
  const consumer = one.consumer({ groupId: 'g', topics: 'orders', autoOffsetReset: 'earliest' })
  const handled = new Promise<void>(resolve => {
    const running = consumer.run(async () => {
      try {
        await handler()
      } finally {
        resolve()
      }
    })
    running.catch(() => {})
  })
  await handled
  await consumer.close()
}

describe('tracing', () => {
  it('ties a handler to the application that sent the record', async () => {
    const one = await traced()
    let inside: string | undefined
    await roundTrip(one, () => {
      inside = opentelemetry.trace.getActiveSpan()?.spanContext().spanId
    })
    const [app, send, work] = [
      await spanOf('checkout'),
      await spanOf('send orders'),
      await spanOf('process orders'),
    ]
    expect(send.parentSpanContext?.spanId).toBe(app.spanContext().spanId)
    expect(work.parentSpanContext?.spanId).toBe(send.spanContext().spanId)
    expect(work.spanContext().traceId).toBe(app.spanContext().traceId)
    expect(inside).toBe(work.spanContext().spanId)
    expect([send.kind, work.kind]).toEqual([
      opentelemetry.SpanKind.PRODUCER,
      opentelemetry.SpanKind.CONSUMER,
    ])
    expect(send.attributes).toMatchObject({
      'messaging.system': 'logloom',
      'messaging.operation.name': 'send',
      'messaging.destination.name': 'orders',
      'messaging.destination.partition.id': '0',
      'messaging.client.id': 'shop',
      'messaging.kafka.offset': 0,
      'messaging.kafka.message.key': 'k',
    })
    expect(work.attributes).toMatchObject({
      'messaging.operation.name': 'process',
      'messaging.consumer.group.name': 'g',
      'messaging.kafka.offset': 0,
    })
    await one.close()
  })

  it('writes the header of W3C, beside those of the record', async () => {
    const one = await traced()
    await roundTrip(one)
    const { spanId, traceId } = (await spanOf('send orders')).spanContext()
    const reader = await untraced()
    for await (const record of reader.read('orders', { from: 'beginning', until: 'end' })) {
      expect(record.header('traceparent')).toBe(`00-${traceId}-${spanId}-01`)
      expect(record.header('own')).toBe('x')
    }
    await one.close()
  })

  it('begins a trace of its own with a link, if it is asked to', async () => {
    const one = await traced('link')
    await roundTrip(one)
    const [send, work] = [await spanOf('send orders'), await spanOf('process orders')]
    expect(work.parentSpanContext).toBeUndefined()
    expect(work.spanContext().traceId).not.toBe(send.spanContext().traceId)
    expect(work.links.map(({ context }) => context.spanId)).toEqual([send.spanContext().spanId])
    await one.close()
  })

  it('tells of what failed', async () => {
    const one = await traced()
    await roundTrip(one, () => {
      throw new TypeError('no such account')
    })
    const work = await spanOf('process orders')
    expect(work.status).toMatchObject({ code: opentelemetry.SpanStatusCode.ERROR })
    expect(work.attributes['error.type']).toBe('TypeError')
    expect(work.events.map(({ name }) => name)).toEqual(['exception'])
    await expect(
      one.producer().send('orders', { value: 'x'.repeat(2 << 20) }),
    ).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' })
    await expect
      .poll(() => spans().map(span => span.attributes['error.type']))
      .toContain('MESSAGE_TOO_LARGE')
    await one.close()
  })

  it('keeps a trace that the application has written itself, and works in queues', async () => {
    const one = await traced()
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await one.producer().send('jobs', { value: 'v', headers: [['traceparent', traceparent]] })
    const queue = one.queue({ group: 'q', topics: 'jobs', autoOffsetReset: 'earliest' })
    let seen: string | undefined
    const running = queue.run(record => {
      seen = record.header('traceparent')
    })
    const work = await spanOf('process jobs')
    expect(seen).toBe(traceparent)
    expect(work.spanContext().traceId).toBe('0af7651916cd43dd8448eb211c80319c')
    expect(work.attributes['messaging.consumer.group.name']).toBe('q')
    await queue.close()
    await running
    await one.close()
  })

  it('costs nothing and writes nothing where nobody asks for it', async () => {
    const one = await untraced()
    await one.producer().send('orders', { value: 'v' })
    for await (const record of one.read('orders', { from: 'beginning', until: 'end' }))
      expect(record.headers).toEqual([])
    expect(spans()).toEqual([])
  })
})
