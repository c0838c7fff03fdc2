// CloudEvents 1.0 as records, by its Kafka protocol binding: attributes in `ce_*` headers and the data as the value (binary mode), or all of it as JSON in the
// value (structured mode, read only). Both ends may be other people's programs, so what is read is checked. It does not know topics.
//
//   binary       headers  ce_specversion ce_id ce_source ce_type … content-type      value  the data
//   structured   headers  content-type: application/cloudevents+json                 value  { specversion, id, …, data | data_base64 }

import { LogloomError } from '../wire/index.ts'
import type { OutgoingRecord } from './records.ts'

type AttributeValue = string | number | boolean

export interface CloudEventOptions {
  /** Unique together with the source; default a random UUID. */
  readonly id?: string
  /** Default now. */
  readonly time?: Date
  readonly subject?: string
  /** URI of the schema of the data. */
  readonly dataschema?: string
  /** Default: `application/json`; of text `text/plain`, of bytes `application/octet-stream`. */
  readonly datacontenttype?: string
  /** More attributes; names are lower-case letters and digits. */
  readonly extensions?: Readonly<Record<string, AttributeValue>>
  /** Of the record: what belongs together, in order. */
  readonly key?: string | Uint8Array
}

/** An event as it was read. Attributes that the specification does not name are in `extensions`, as text. */
export interface CloudEvent {
  readonly specversion: string
  readonly id: string
  readonly source: string
  readonly type: string
  readonly time?: Date
  readonly subject?: string
  readonly dataschema?: string
  readonly datacontenttype?: string
  readonly extensions: Readonly<Record<string, string>>
  /** JSON as what it means, text as a string, else bytes; undefined for an event without data. */
  readonly data: unknown
}

/** What is needed of a record that was read. */
interface ReadableRecord {
  readonly value: unknown
  readonly headers: readonly (readonly [string, Uint8Array])[]
}

const structuredType = 'application/cloudevents+json'

const notExtensions = new Set([
  'specversion',
  'id',
  'source',
  'type',
  'time',
  'subject',
  'dataschema',
  'datacontenttype',
  'data',
  'data_base64',
])

/**
 * An event as a record in binary mode: `producer.send('orders', ce('order.placed', '/shop', { id: 1 }))`. Without data the value is null.
 * @throws INVALID_REQUEST naming the attribute
 */
export function ce(
  type: string,
  source: string,
  data?: unknown,
  o: CloudEventOptions = {},
): OutgoingRecord<string | Uint8Array> {
  const attributes: Record<string, AttributeValue> = {
    specversion: '1.0',
    id: o.id ?? globalThis.crypto.randomUUID(),
    source,
    type,
    time: (o.time ?? new Date()).toISOString(),
    ...(o.subject !== undefined && { subject: o.subject }),
    ...(o.dataschema !== undefined && { dataschema: o.dataschema }),
  }
  for (const [name, value] of Object.entries(o.extensions ?? {})) {
    if (!/^[a-z0-9]+$/.test(name) || notExtensions.has(name))
      throw invalid(`extension ${name}: names are lower-case letters and digits, and not taken`)
    attributes[name] = value
  }
  for (const name of ['id', 'source', 'type'])
    if (typeof attributes[name] !== 'string' || attributes[name] === '')
      throw invalid(`${name} must be text that is not empty`)
  const contentType = o.datacontenttype ?? contentTypeOf(data)
  const headers = Object.entries(attributes).map(
    ([name, value]) => [`ce_${name}`, String(value)] as const,
  )
  return {
    ...(o.key !== undefined && { key: o.key }),
    value: valueOf(data, contentType),
    headers: data === undefined ? headers : [...headers, ['content-type', contentType] as const],
  }
}

/**
 * The event that a record is, in either mode; undefined for a record that is none. Read data that is not text with `as: 'bytes'`.
 * @throws INVALID_RECORD for one that says that it is an event and lacks what every event has
 */
export function fromCloudEvent({ value, headers }: ReadableRecord): CloudEvent | undefined {
  const texts = new Map<string, string>()
  for (const [name, bytes] of headers) {
    const key = name.toLowerCase()
    if (key === 'content-type' || key.startsWith('ce_')) texts.set(key, text(bytes))
  }
  const contentType = texts.get('content-type')
  if (contentType?.toLowerCase().startsWith(structuredType)) return structured(value)
  if (!texts.has('ce_specversion')) return undefined
  const attributes = new Map<string, string>()
  for (const [name, each] of texts)
    if (name.startsWith('ce_')) attributes.set(name.slice('ce_'.length), each)
  if (contentType !== undefined) attributes.set('datacontenttype', contentType)
  return eventOf(attributes, dataOf(value, contentType))
}

/** @throws INVALID_RECORD */
function structured(value: unknown): CloudEvent {
  const found = isPlain(value) ? value : parsed(value)
  if (!isPlain(found)) throw malformed('a structured event is a JSON object')
  const attributes = new Map<string, string>()
  for (const [name, each] of Object.entries(found))
    if (name !== 'data' && name !== 'data_base64' && each !== null)
      attributes.set(name, typeof each === 'string' ? each : JSON.stringify(each))
  const encoded = found['data_base64']
  if (encoded === undefined) return eventOf(attributes, found['data'])
  if (typeof encoded !== 'string') throw malformed('data_base64 is not text')
  try {
    const bytes = Uint8Array.from(atob(encoded), character => character.charCodeAt(0))
    return eventOf(attributes, dataOf(bytes, attributes.get('datacontenttype')))
  } catch (cause) {
    throw cause instanceof LogloomError ? cause : malformed('data_base64 is not base64', cause)
  }
}

/** @throws INVALID_RECORD */
function eventOf(attributes: ReadonlyMap<string, string>, data: unknown): CloudEvent {
  const needed = (name: string): string => {
    const value = attributes.get(name)
    if (value === undefined || value === '') throw malformed(`it has no ${name}`)
    return value
  }
  const optional = (name: string): object => {
    const value = attributes.get(name)
    return value === undefined ? {} : { [name]: value }
  }
  const time = attributes.get('time')
  if (time !== undefined && Number.isNaN(Date.parse(time))) throw malformed(`time ${time} is none`)
  const extensions = [...attributes].filter(([name]) => !notExtensions.has(name))
  return {
    specversion: needed('specversion'),
    id: needed('id'),
    source: needed('source'),
    type: needed('type'),
    ...(time !== undefined && { time: new Date(time) }),
    ...optional('subject'),
    ...optional('dataschema'),
    ...optional('datacontenttype'),
    extensions: Object.fromEntries(extensions),
    data,
  }
}

function contentTypeOf(data: unknown): string {
  if (data instanceof Uint8Array) return 'application/octet-stream'
  return typeof data === 'string' ? 'text/plain' : 'application/json'
}

/** @throws INVALID_REQUEST */
function valueOf(data: unknown, contentType: string): string | Uint8Array | null {
  if (data === undefined) return null
  if (data instanceof Uint8Array) return data
  if (isJson(contentType)) return JSON.stringify(data)
  if (typeof data === 'string') return data
  throw invalid(`data of ${contentType} must be text or bytes`)
}

function dataOf(value: unknown, contentType: string | undefined): unknown {
  if (value === null || value === undefined) return undefined
  if (isJson(contentType ?? 'application/json')) return parsed(value)
  return contentType?.startsWith('text/') && value instanceof Uint8Array ? text(value) : value
}

/** What a reader has decoded already is taken as it is. @throws INVALID_RECORD */
function parsed(value: unknown): unknown {
  if (typeof value !== 'string' && !(value instanceof Uint8Array)) return value
  try {
    return JSON.parse(typeof value === 'string' ? value : text(value)) as unknown
  } catch (cause) {
    throw malformed('its JSON cannot be read', cause)
  }
}

const isJson = (contentType: string): boolean => /[/+]json\b/i.test(contentType)

const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  !(value instanceof Uint8Array)

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

const invalid = (what: string): LogloomError =>
  new LogloomError('INVALID_REQUEST', `CloudEvent: ${what}`)

const malformed = (what: string, cause?: unknown): LogloomError =>
  new LogloomError(
    'INVALID_RECORD',
    `CloudEvent: ${what}`,
    {},
    { cause, hint: 'skip the record, or give it to a dead-letter topic' },
  )
