// From the caller's record to what a batch holds: values serialised, everything checked.
//
// The batch builder writes what it is given without looking, so this is where a wrong type or time is found, before any byte is
// written. It does not know partitions.

import { type HeadersInput, LogloomError, type RecordInput } from '../wire/index.ts'
import type { OutgoingRecord } from './records.ts'
import { type PlainValue, plainBytes, type Topic } from './topic.ts'

/** @throws INVALID_REQUEST naming the field, or what the topic's codec throws */
export function recordInput<T>(topic: string | Topic<T>, record: OutgoingRecord<T>): RecordInput {
  const { key = null, headers, timestamp } = record
  if (!isBytesOrText(key) && key !== null) throw invalid('key', 'text, bytes or null', key)
  const value = valueBytes(topic, record.value ?? null)
  if (headers === undefined && timestamp === undefined) return { key, value }
  return {
    key,
    value,
    ...(headers === undefined ? {} : { headers: checkedHeaders(headers) }),
    ...(timestamp === undefined ? {} : { timestamp: checkedTimestamp(timestamp) }),
  }
}

/** The record as it is now, whatever its owner does to the bytes: for one that waits. A batch copies what it takes by itself. */
export function keptInput({ key, value, headers, ...rest }: RecordInput): RecordInput {
  const pairs = headers && (Array.isArray(headers) ? headers : Object.entries(headers))
  return {
    ...rest,
    key: kept(key ?? null),
    value: kept(value ?? null),
    ...(pairs && {
      headers: (pairs as readonly (readonly [string, string | Uint8Array])[]).map(
        ([name, bytes]) => [name, kept(bytes)] as const,
      ),
    }),
  }
}

function kept<V>(part: V): V {
  return (part instanceof Uint8Array ? new Uint8Array(part) : part) as V
}

function valueBytes<T>(topic: string | Topic<T>, value: T | null): string | Uint8Array | null {
  if (typeof topic === 'string') return plainBytes(value as PlainValue | null)
  if (value === null) return null
  const bytes: unknown = topic.serialize(value)
  if (isBytesOrText(bytes)) return bytes
  throw invalid(`serialized value of ${topic.name}`, 'text or bytes', bytes)
}

function checkedHeaders(headers: HeadersInput): HeadersInput {
  const pairs = Array.isArray(headers) ? (headers as readonly unknown[][]) : Object.entries(headers)
  for (const [name, value] of pairs) {
    if (typeof name !== 'string') throw invalid('header name', 'text', name)
    if (!isBytesOrText(value)) throw invalid(`header ${name}`, 'text or bytes', value)
  }
  return headers
}

function checkedTimestamp(timestamp: number): number {
  if (Number.isSafeInteger(timestamp) && timestamp >= 0) return timestamp
  throw invalid('timestamp', 'whole milliseconds since 1970', timestamp)
}

function isBytesOrText(value: unknown): value is string | Uint8Array {
  return typeof value === 'string' || value instanceof Uint8Array
}

function invalid(field: string, expected: string, actual: unknown): LogloomError {
  const got = typeof actual === 'number' ? String(actual) : typeof actual
  return new LogloomError('INVALID_REQUEST', `${field}: expected ${expected}, got ${got}`, {
    field,
  })
}
