// The CloudEvents endpoint: every record as an event that others can read, and what is refused.

import * as fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { recordEvent } from '../../broker/gateway/cloud-events/event-json.ts'
import { EventSocket } from '../../broker/gateway/cloud-events/event-socket.ts'
import { startBroker } from '../../broker/index.ts'
import { ce, connect } from '../../client/index.ts'
import { useMemoryBroker } from '../client/memory-broker.ts'
import { packFrame, unpackFrame } from '../../wire/index.ts'
import { FakeSocket } from '../fuzz/fake-socket.ts'
import { httpUrl } from '../metrics-page.ts'
import { EventReader } from './event-reader.ts'

const { broker, client } = useMemoryBroker()
const open: EventReader[] = []

function read(path: string, o: ConstructorParameters<typeof EventReader>[1] = {}): EventReader {
  const reader = new EventReader(broker().url.replace(/\/$/, '') + path, o)
  open.push(reader)
  return reader
}

describe('subscriptions of all connections', () => {
  it('are refused when they would cost more than the memory for clients, and make room when they end', async () => {
    const small = await startBroker({ loglet: 'memory', port: 0, memoryBudgetBytes: 12 << 20 })
    try {
      const one = await connect(small.url)
      await one.admin().createTopic('wide', { partitions: 3000 })
      const all = () => {
        const reader = new EventReader(`${small.url.replace(/\/$/, '')}/topics/wide/events`)
        open.push(reader)
        return reader
      }
      const subscriptions = async () => {
        const { connections } = await one.admin().listConnections()
        return connections.reduce((sum, { subscriptions }) => sum + subscriptions, 0)
      }
      const first = all()
      await expect.poll(subscriptions, { timeout: 20_000 }).toBe(3000)
      // 6144 of all; the second has as many as are free once it has half of what is left.
      const [code, reason] = await all().closed
      expect([code, reason]).toEqual([
        1013,
        expect.stringMatching(
          /^THROTTLED: User:ANONYMOUS has 1572 subscriptions open; of the 6144 /,
        ),
      ])
      await expect.poll(subscriptions).toBe(3000)
      first.ws.terminate()
      await expect.poll(subscriptions).toBe(0)
      all()
      await expect.poll(subscriptions, { timeout: 20_000 }).toBe(3000)
      await one.close()
    } finally {
      await small.close()
    }
  })
})

afterEach(() => {
  for (const reader of open.splice(0)) reader.ws.terminate()
})

const place = (offset: number, partition = 0) => ({
  logloompartition: partition,
  logloomoffset: String(offset),
})

describe('records as CloudEvents', () => {
  it('are what they were made, in binary and in structured mode', async () => {
    const producer = (await client()).producer()
    const time = new Date('2026-01-31T12:00:00Z')
    const fields = { id: 'e1', time, subject: 'o1', key: 'k', extensions: { comexample: 'x' } }
    await producer.send('made', ce('order.placed', '/shop', { total: 1 }, fields))
    const structured = {
      specversion: '1.0',
      id: 'e2',
      source: '/other',
      type: 'order.paid',
      data: 7,
    }
    await producer.send('made', {
      // A number that JavaScript cannot hold.
      value: JSON.stringify(structured).replace('7', '12345678901234567890'),
      headers: { 'content-type': 'application/cloudevents+json; charset=utf-8' },
    })
    const reader = read('/topics/made/events?from=beginning')
    const [binary, other] = await reader.first(2)
    expect(reader.ws.protocol).toBe('cloudevents.json')
    expect(binary).toEqual({
      specversion: '1.0',
      id: 'e1',
      source: '/shop',
      type: 'order.placed',
      time: time.toISOString(),
      subject: 'o1',
      comexample: 'x',
      datacontenttype: 'application/json',
      partitionkey: 'k',
      data: { total: 1 },
      ...place(0),
    })
    expect(other).toMatchObject({ id: 'e2', source: '/other', type: 'order.paid', ...place(1) })
    expect(reader.texts[1]).toContain('"data":12345678901234567890')
  })

  it('are wrapped when they were made none, whatever is in them', async () => {
    const producer = (await client()).producer()
    const values = ['{"a":1}', 'no json', null, new Uint8Array([0xff, 0xfe]), '\u0001'.repeat(1000)]
    for (const value of values) await producer.send('plain', { key: 'k', value })
    // One that says that it is an event and lacks what every event has; one that is no object.
    await producer.send('plain', { value: 'x', headers: { ce_specversion: '1.0', ce_id: '1' } })
    const type = { 'content-type': 'application/cloudevents+json' }
    await producer.send('plain', { value: '[]', headers: { ...type, traceparent: '00-1-2-01' } })
    const reader = read('/topics/plain/events?from=0&partition=0')
    const events = await reader.first(7)
    expect(events[0]).toEqual({
      specversion: '1.0',
      id: '0-0',
      source: '/topics/plain',
      type: 'logloom.record',
      time: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      partitionkey: 'k',
      datacontenttype: 'application/json',
      data: { a: 1 },
      ...place(0),
    })
    expect(events[1]).toMatchObject({ datacontenttype: 'text/plain', data: 'no json' })
    expect(events[2]).not.toHaveProperty('data')
    expect(events[3]).toMatchObject({ data_base64: '//4=' })
    // Control characters would grow sixfold.
    expect(events[4]).toHaveProperty('data_base64')
    expect(reader.texts[4]?.length).toBeLessThan(2000)
    expect(events[5]).toMatchObject({ type: 'logloom.record', data: 'x' })
    expect(events[6]).toMatchObject({ type: 'logloom.record', data: [], traceparent: '00-1-2-01' })
  })

  it('say where they stand even when they say something else', async () => {
    const producer = (await client()).producer()
    const headers = { 'content-type': 'application/cloudevents+json' }
    const event = { logloomoffset: '99', specversion: '1.0', id: 'a', source: 's', type: 't' }
    await producer.send('placed', { value: JSON.stringify(event), headers })
    await producer.send('placed', ce('t', 's', 1, { extensions: { logloompartition: 9 } }))
    const events = await read('/topics/placed/events?from=beginning').first(2)
    expect(events.map(({ logloomoffset }) => logloomoffset)).toEqual(['0', '1'])
    expect(events.map(({ logloompartition }) => logloompartition)).toEqual([0, 0])
  })

  it('do not end the reading, however deep what they carry is nested', async () => {
    const producer = (await client()).producer()
    const headers = { 'content-type': 'application/cloudevents+json' }
    const nested = '['.repeat(50_000) + ']'.repeat(50_000)
    const event = { logloomoffset: '9', specversion: '1.0', id: 'a', source: 's', type: 't' }
    const value = `${JSON.stringify(event).slice(0, -1)},"data":${nested}}`
    await producer.send('nested', { value, headers })
    await producer.send('nested', { value: 'after' })
    const events = await read('/topics/nested/events?from=beginning').first(2)
    expect(events).toMatchObject([
      { type: 't', id: 'a', ...place(0) },
      { data: 'after', ...place(1) },
    ])
  })

  it('keep every digit when they came out of a log before', async () => {
    const producer = (await client()).producer()
    const headers = { 'content-type': 'application/cloudevents+json' }
    const needed = '"specversion":"1.0","id":"a","source":"s","type":"t"'
    const number = '12345678901234567890'
    const odd = `"data": {"logloomoffset": ${number}, "s": "\\",}", "n": [1.0, 1e400, {}]}`
    const values = [
      `{"logloomoffset": ${number} , ${needed},${odd}}`,
      `{${odd}, ${needed},"\u006cogloomoffset":[{"a":1},"]"],"logloompartition":7}`,
      `{"logloomoffset":"1",${needed},"logloomoffset":"2",${odd},"logloompartition":${number} }`,
    ]
    for (const value of values) await producer.send('digits', { value, headers })
    const reader = read('/topics/digits/events?from=beginning')
    const events = await reader.first(values.length)
    for (const [i, event] of events.entries()) {
      expect(event).toMatchObject({ id: 'a', source: 's', type: 't', ...place(i) })
      expect(reader.texts[i]).toContain(odd)
      expect(reader.texts[i]?.match(/"(?:l|\\u006c)ogloom(?:offset|partition)"/g)).toHaveLength(3)
    }
  })

  it('come from all partitions, also those that are added, and go on where it is asked', async () => {
    const one = await client()
    await one.admin().createTopic('many', { partitions: 3 })
    const producer = one.producer()
    for (let i = 0; i < 9; i++) await producer.send('many', { value: `${i}` }, { partition: i % 3 })
    const reader = read('/topics/many/events?from=-2')
    const events = await reader.first(6)
    for (const partition of [0, 1, 2])
      expect(
        events.filter(e => e['logloompartition'] === partition).map(e => e['logloomoffset']),
      ).toEqual(['1', '2'])
    await one.admin().createPartitions('many', 5)
    for (let i = 0; i < 5; i++) await producer.send('many', { value: 'new' }, { partition: i })
    const added = (await reader.first(11)).slice(6)
    expect(new Set(added.map(e => e['logloompartition']))).toEqual(new Set([0, 1, 2, 3, 4]))
    const rest = await read('/topics/many/events?partition=1&from=2').first(2)
    expect(rest.map(e => e['logloomoffset'])).toEqual(['2', '3'])
  })

  it('are pushed far beyond one window of credit', async () => {
    const producer = (await client()).producer()
    const value = 'x'.repeat(1000)
    const sent = Array.from({ length: 2000 }, (_, i) =>
      producer.send('long', { key: `${i}`, value }),
    )
    await Promise.all(sent)
    const events = await read('/topics/long/events?from=beginning').first(2000)
    expect(events.map(e => e['logloomoffset'])).toEqual(events.map((_, i) => String(i)))
  })

  it('that are gone end the reading, which says where the others begin', async () => {
    const one = await client()
    const producer = one.producer({ lingerMs: 0 })
    for (const value of ['a', 'b', 'c']) await producer.send('cut', { value })
    await one.admin().deleteRecords('cut', 0, 2)
    const reader = read('/topics/cut/events?from=0')
    expect(await reader.closed).toEqual([1008, expect.stringMatching(/^OFFSET_TRIMMED/)])
    expect(reader.events).toMatchObject([{ data: { code: 'OFFSET_TRIMMED', start: 2 } }])
    expect(await read('/topics/cut/events?from=beginning').first(1)).toMatchObject([
      { type: 'logloom.record', data: 'c', ...place(2) },
    ])
  })

  it('that were lost or compacted leave an event that says so', async () => {
    const sent: string[] = []
    const asked: Record<string, unknown>[] = []
    const peer = new FakeSocket(bytes => sent.push(Buffer.from(bytes).toString()))
    const socket = new EventSocket(peer, { topic: 't', partition: 0, from: 'beginning' })
    socket.onMessage = bytes => asked.push(unpackFrame(bytes))
    socket.start(undefined)
    await expect.poll(() => asked.length).toBe(1)
    socket.send(packFrame({ id: asked[0]?.['id'] }))
    await expect.poll(() => asked.length).toBe(2)
    socket.send(packFrame({ id: asked[1]?.['id'], sub: 5, partitions: 9 }))
    const items = [{ gap: 'lost', offset: 4, next: 2 ** 33 }]
    socket.send(packFrame({ op: 'deliver', sub: 5, items, next: 2 ** 33, bytes: 0, end: 2 ** 33 }))
    expect(sent.map(text => JSON.parse(text) as unknown)).toEqual([
      {
        specversion: '1.0',
        id: '0-4-gap',
        source: '/topics/t',
        type: 'logloom.gap',
        datacontenttype: 'application/json',
        data: { gap: 'lost', offset: 4, next: 2 ** 33 },
        ...place(4),
      },
    ])
  })

  it('are valid events whatever a record holds', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.json().map(text => new TextEncoder().encode(text)),
      fc.string({ unit: 'binary' }).map(text => new TextEncoder().encode(text)),
    )
    const names = ['ce_specversion', 'ce_id', 'ce_source', 'ce_type', 'ce_time', 'ce_data', 'CE_ID']
    const name = fc.oneof(fc.constantFrom(...names, 'content-type', 'traceparent'), fc.string())
    const type = fc
      .constantFrom('application/cloudevents+json', 'application/json', 'text/plain', 'image/png')
      .map(text => new TextEncoder().encode(text))
    const headers = fc
      .tuple(fc.dictionary(name, bytes), fc.option(type))
      .map(([all, found]) => (found === null ? all : { ...all, 'content-type': found }))
    const record = fc.record({
      timestamp: fc.oneof(fc.integer(), fc.constant(Number.MAX_SAFE_INTEGER)),
      key: fc.option(bytes),
      value: fc.option(bytes),
      headers,
    })
    fc.assert(
      fc.property(record, each => {
        const event = JSON.parse(
          recordEvent({ topic: 't', partition: 3, offset: 2 ** 40 }, each),
        ) as Record<string, unknown>
        for (const needed of ['specversion', 'id', 'source', 'type']) {
          expect(event[needed], needed).toBeTypeOf('string')
          expect(event[needed], needed).not.toBe('')
        }
        expect(event).toMatchObject(place(2 ** 40, 3))
        expect('data' in event && 'data_base64' in event).toBe(false)
      }),
      { numRuns: 1000 },
    )
  })
})

describe('the CloudEvents endpoint refuses', () => {
  it.each([
    ['/topics/a/events?from=sometime', 'from=sometime must be'],
    ['/topics/a/events?from=@sometime', 'from=@sometime must be'],
    ['/topics/a/events?from=99999999999999999999', 'must be'],
    ['/topics/a/events?partition=x', 'partition=x is no number'],
    ['/topics/a/events?partition=0&partition=1', 'once each'],
    ['/topics/a/events?form=1', 'parameter form'],
    ['/topics/a%20b/events', 'topic'],
    ['/topics//events', 'topic'],
    ['/', 'is spoken at /topics/NAME/events'],
  ])('%s before the upgrade, with the reason', async (path, message) => {
    const [status, { error }] = await read(path).refused
    expect(status).toBe(400)
    expect(error.code).toMatch(/INVALID_REQUEST|INVALID_TOPIC_NAME/)
    expect(error.message).toContain(message)
  })

  it('another subprotocol, and a plain request', async () => {
    const [status, { error }] = await read('/topics/a/events', { protocols: ['mqtt'] }).refused
    expect([status, error.message]).toEqual([400, expect.stringContaining('cloudevents.json')])
    const answer = await fetch(httpUrl(broker(), '/topics/a/events'))
    expect(answer.status).toBe(426)
    expect(await answer.json()).toMatchObject({ error: { code: 'INVALID_REQUEST' } })
  })

  it('a topic, a partition and an offset that are not there, as an event and in the close frame', async () => {
    await (await client()).producer().send('there', { value: 'v' })
    for (const [path, code] of [
      ['/topics/absent/events', 'UNKNOWN_TOPIC'],
      ['/topics/there/events?partition=7', 'UNKNOWN_PARTITION'],
      ['/topics/there/events?from=70', 'OFFSET_OUT_OF_RANGE'],
    ] as const) {
      const reader = read(path)
      const [closed, reason] = await reader.closed
      expect([closed, reason.split(':')[0]]).toEqual([1008, code])
      expect(reader.events).toMatchObject([{ type: 'logloom.error', data: { code } }])
    }
  })

  it('every message: it is read-only', async () => {
    await (await client()).producer().send('quiet', { value: 'v' })
    for (const message of ['{}', Buffer.from([0x80])]) {
      const reader = read('/topics/quiet/events?from=beginning')
      await reader.first(1)
      reader.ws.send(message)
      expect(await reader.closed).toEqual([1008, expect.stringContaining('read-only')])
    }
  })
})
