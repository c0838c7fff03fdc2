// CloudEvents as records: what is written is what other programs write (the Kafka binding's own examples), and comes back as it was.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ce, fromCloudEvent } from '../../client/index.ts'
import { useMemoryBroker } from './memory-broker.ts'

const { client } = useMemoryBroker()
const utf8 = new TextEncoder()

const recordOf = (headers: Readonly<Record<string, string>>, value: unknown) => ({
  value,
  headers: Object.entries(headers).map(([name, of]) => [name, utf8.encode(of)] as const),
})

/** As a record is read that was made so. */
function read({ headers, value }: ReturnType<typeof ce>) {
  return recordOf(
    Object.fromEntries(headers as readonly (readonly [string, string])[]),
    typeof value === 'string' ? utf8.encode(value) : value,
  )
}

describe('an event', () => {
  it('is a record in binary mode', () => {
    const time = new Date('2026-01-31T12:00:00Z')
    const made = ce('order.placed', '/shop', { id: 1 }, { id: 'e1', time, subject: 'o1', key: 'k' })
    expect(made).toEqual({
      key: 'k',
      value: '{"id":1}',
      headers: [
        ['ce_specversion', '1.0'],
        ['ce_id', 'e1'],
        ['ce_source', '/shop'],
        ['ce_type', 'order.placed'],
        ['ce_time', '2026-01-31T12:00:00.000Z'],
        ['ce_subject', 'o1'],
        ['content-type', 'application/json'],
      ],
    })
  })

  it('comes back as it was, whatever its data', () => {
    const data = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }).filter(value => typeof value !== 'string'),
      fc.string(),
      fc.uint8Array(),
      fc.constant(undefined),
    )
    const name = fc.stringMatching(/^x[a-z0-9]{0,10}$/)
    fc.assert(
      fc.property(data, fc.dictionary(name, fc.string()), (given, extensions) => {
        const found = fromCloudEvent(read(ce('t', 's', given, { extensions })))
        // JSON knows no negative zero.
        const expected: unknown = given instanceof Uint8Array ? given : plain(given)
        expect(found?.data).toEqual(expected)
        expect(found?.extensions).toEqual({ ...extensions })
        expect([found?.type, found?.source]).toEqual(['t', 's'])
      }),
    )
  })

  it('goes through a broker', async () => {
    const one = await client()
    await one.producer().send('events', ce('order.placed', '/shop', { id: 1 }))
    await one.producer().send('events', { value: 'no event' })
    const found: unknown[] = []
    for await (const record of one.read('events', { from: 'beginning', until: 'end', as: 'bytes' }))
      found.push(fromCloudEvent(record)?.data)
    expect(found).toEqual([{ id: 1 }, undefined])
    for await (const record of one.read('events', { from: 'beginning', until: 'end' })) {
      expect(fromCloudEvent(record)?.data).toEqual({ id: 1 })
      break
    }
  })

  it('is refused with the name of what is wrong', () => {
    expect(() => ce('', '/shop')).toThrow('type must be text that is not empty')
    expect(() => ce('t', 's', 1, { extensions: { Trace: 'x' } })).toThrow('extension Trace')
    expect(() => ce('t', 's', 1, { extensions: { data: 'x' } })).toThrow('extension data')
    expect(() => ce('t', 's', { a: 1 }, { datacontenttype: 'text/plain' })).toThrow(
      'data of text/plain must be text or bytes',
    )
  })
})

describe('a record of others', () => {
  const event = { specversion: '1.0', id: 'e1', source: '/s', type: 't' }
  const structured = { 'content-type': 'application/cloudevents+json; charset=UTF-8' }

  it('is read in structured mode, with data as JSON or as bytes', () => {
    const json = { ...event, time: '2018-04-05T03:56:24Z', comexampleothervalue: 5, data: [1] }
    expect(fromCloudEvent(recordOf(structured, utf8.encode(JSON.stringify(json))))).toEqual({
      ...event,
      time: new Date('2018-04-05T03:56:24Z'),
      extensions: { comexampleothervalue: '5' },
      data: [1],
    })
    const bytes = { ...event, datacontenttype: 'application/octet-stream', data_base64: 'AQID' }
    const found = fromCloudEvent(recordOf(structured, JSON.stringify(bytes)))
    expect(found?.data).toEqual(Uint8Array.of(1, 2, 3))
    // A reader with as: 'json' has decoded it already.
    expect(fromCloudEvent(recordOf(structured, json))?.data).toEqual([1])
  })

  it('is none without its headers', () => {
    expect(fromCloudEvent(recordOf({}, '{}'))).toBeUndefined()
    expect(fromCloudEvent(recordOf({ 'content-type': 'application/json' }, '{}'))).toBeUndefined()
  })

  it.each([
    ['not an object', structured, '[1]', 'is a JSON object'],
    ['no JSON', structured, '{', 'its JSON cannot be read'],
    ['no value', structured, null, 'is a JSON object'],
    ['no id', structured, JSON.stringify({ ...event, id: undefined }), 'it has no id'],
    ['no base64', structured, JSON.stringify({ ...event, data_base64: '*' }), 'not base64'],
    [
      'base64 of another type',
      structured,
      JSON.stringify({ ...event, data_base64: 1 }),
      'not text',
    ],
    ['a wrong time', structured, JSON.stringify({ ...event, time: 'noon' }), 'time noon'],
    ['no source', { ce_specversion: '1.0', ce_id: '1', ce_type: 't' }, '1', 'it has no source'],
  ])('is refused for %s', (_, headers, value, message) => {
    const refusal = (): unknown => fromCloudEvent(recordOf(headers, value))
    expect(refusal).toThrow(message)
    expect(refusal).toThrow(expect.objectContaining({ code: 'INVALID_RECORD' }) as Error)
  })
})

function plain(value: unknown): unknown {
  return value === undefined || typeof value === 'string'
    ? value
    : (JSON.parse(JSON.stringify(value)) as unknown)
}
