// A record as a CloudEvent in the JSON event format: what its writer made an event (binary or structured mode of the Kafka binding) as it is, any other record
// wrapped in an event of our own, so that no record is passed over. Each says where it stands, in extension attributes.
//
//   binary       ce_* headers, content-type, value   ─►  { …attributes, data | data_base64 }
//   structured   value                               ─►  the value
//   no event     key, value                          ─►  { type: "logloom.record", id: "PARTITION-OFFSET", source: "/topics/TOPIC", … }

import { membersWithout } from './json-members.ts'

/** Where a record stands. */
export interface Place {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** A record of the format "records" (protocol.md 6.2). */
export interface PlainRecord {
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: Readonly<Record<string, Uint8Array>>
}

type Attributes = Record<string, string | number>

const structuredType = 'application/cloudevents+json'
const needed = ['specversion', 'id', 'source', 'type']
/** Of the Distributed Tracing extension, as W3C headers are named. */
const traced = ['traceparent', 'tracestate']

/** The event's JSON text. */
export function recordEvent(place: Place, record: PlainRecord): string {
  const headers = new Map(
    Object.entries(record.headers).map(([name, bytes]) => [name.toLowerCase(), bytes]),
  )
  const contentType = lossy(headers.get('content-type'))
  const more = extensions(place, record, headers)
  const isStructured = contentType?.toLowerCase().startsWith(structuredType) === true
  return (
    (isStructured ? structured(record, more) : binary(record, headers, contentType, more)) ??
    wrapped(place, record, more)
  )
}

/** An event of ours about the stream: `logloom.gap`, `logloom.error`. */
export function ownEvent(
  type: 'gap' | 'error',
  id: string,
  topic: string,
  data: object,
  more: Attributes = {},
): string {
  const attributes = {
    specversion: '1.0',
    id,
    source: `/topics/${topic}`,
    type: `logloom.${type}`,
    ...more,
  }
  return JSON.stringify({ ...attributes, datacontenttype: 'application/json', data })
}

/** Attributes that say where the record with this offset stands. An offset does not fit CloudEvents' integers. */
export function placeAttributes({ partition, offset }: Omit<Place, 'topic'>): Attributes {
  return { logloompartition: partition, logloomoffset: String(offset) }
}

/** Attributes that are added, unless the event has them already; the place is always ours. */
function extensions(
  place: Place,
  { key }: PlainRecord,
  headers: ReadonlyMap<string, Uint8Array>,
): { readonly place: Attributes; readonly defaults: Attributes } {
  const defaults: Attributes = {}
  const partitionKey = key === null ? undefined : textOf(key)
  if (partitionKey !== undefined && partitionKey !== '') defaults['partitionkey'] = partitionKey
  for (const name of traced) {
    const value = lossy(headers.get(name))
    if (value !== undefined) defaults[name] = value
  }
  return { place: placeAttributes(place), defaults }
}

type Extensions = ReturnType<typeof extensions>

function binary(
  { value }: PlainRecord,
  headers: ReadonlyMap<string, Uint8Array>,
  contentType: string | undefined,
  more: Extensions,
): string | undefined {
  if (!headers.has('ce_specversion')) return undefined
  const attributes: Attributes = {}
  for (const [name, bytes] of headers)
    if (/^ce_[a-z0-9]+$/.test(name) && !/^ce_data(_base64)?$/.test(name))
      attributes[name.slice('ce_'.length)] = lossy(bytes) ?? ''
  if (needed.some(name => attributes[name] === undefined || attributes[name] === ''))
    return undefined
  if (contentType !== undefined) attributes['datacontenttype'] = contentType
  return eventText({ ...more.defaults, ...attributes, ...more.place }, dataText(value, contentType))
}

/** The value itself, place added in front, and without the place that it had if it came out of a log before: numbers in it keep their digits. */
function structured({ value }: PlainRecord, more: Extensions): string | undefined {
  const text = value === null ? undefined : textOf(value)?.trim()
  const found = text === undefined ? undefined : parsed(text)
  if (text === undefined || typeof found !== 'object' || found === null || Array.isArray(found))
    return undefined
  const event = found as Readonly<Record<string, unknown>>
  if (needed.some(name => typeof event[name] !== 'string' || event[name] === '')) return undefined
  const added = { ...more.place, ...more.defaults }
  for (const name of Object.keys(more.defaults)) if (Object.hasOwn(event, name)) delete added[name]
  const placed = new Set(Object.keys(more.place).filter(name => Object.hasOwn(event, name)))
  const kept = placed.size === 0 ? text.slice(1, -1) : membersWithout(text, placed)
  return `${JSON.stringify(added).slice(0, -1)},${kept}}`
}

function wrapped(
  { topic, partition, offset }: Place,
  record: PlainRecord,
  more: Extensions,
): string {
  const { value, timestamp } = record
  const contentType = contentTypeOf(value)
  const attributes = {
    specversion: '1.0',
    id: `${partition}-${offset}`,
    source: `/topics/${topic}`,
    type: 'logloom.record',
    ...timeOf(timestamp),
    ...more.defaults,
    ...more.place,
    ...(contentType !== undefined && { datacontenttype: contentType }),
  }
  return eventText(attributes, dataText(value, contentType))
}

/** Whatever a producer wrote as time, a date has bounds. */
function timeOf(timestamp: number): { time?: string } {
  const time = new Date(timestamp)
  return Number.isNaN(time.getTime()) ? {} : { time: time.toISOString() }
}

function contentTypeOf(value: Uint8Array | null): string | undefined {
  if (value === null) return undefined
  const text = textOf(value)
  if (text === undefined) return 'application/octet-stream'
  return parsed(text) === undefined ? 'text/plain' : 'application/json'
}

/** `attributes` and the member with the data. */
function eventText(attributes: Attributes, data: string | undefined): string {
  const head = JSON.stringify(attributes)
  return data === undefined ? head : `${head.slice(0, -1)},${data}}`
}

/** The member that carries the data; JSON goes as it was written. */
function dataText(value: Uint8Array | null, contentType: string | undefined): string | undefined {
  if (value === null) return undefined
  // Without a type the format takes data for JSON.
  const isJson = contentType === undefined || /[/+]json\b/i.test(contentType)
  const isText = contentType !== undefined && /^text\/|[/+]xml\b/i.test(contentType)
  const text = isJson || isText ? textOf(value) : undefined
  if (text !== undefined && isJson && parsed(text) !== undefined) return `"data":${text}`
  const quoted = text !== undefined && isText ? JSON.stringify(text) : undefined
  const encodedLength = Math.ceil(value.length / 3) * 4
  // Text full of control characters would grow sixfold.
  if (quoted !== undefined && quoted.length <= Math.max(encodedLength, 64))
    return `"data":${quoted}`
  return `"data_base64":"${Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64')}"`
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Undefined for bytes that are no UTF-8. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes)
  } catch {
    return undefined
  }
}

const lossy = (bytes: Uint8Array | undefined): string | undefined =>
  bytes && new TextDecoder().decode(bytes)

/** Undefined for what is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
