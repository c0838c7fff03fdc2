// Topics with a value type: how values become bytes and come back.
//
// Without a codec strings and byte arrays pass through and everything else is JSON. A codec is either a pair of functions or any
// validator that follows Standard Schema (zod, valibot, arktype), whose values travel as JSON and are validated both ways.

import { checkTopicName, LogloomError } from '../wire/index.ts'

/** A pair of functions between values and bytes. `null` is never passed: it is a tombstone. */
export interface TopicCodec<T> {
  readonly serialize: (value: T) => Uint8Array | string
  /** `bytes` may be a view of a larger buffer; copy what is kept for long. */
  readonly deserialize: (bytes: Uint8Array) => T
}

/** The part of Standard Schema v1 that is used here; only synchronous validators. */
export interface StandardSchema<T> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => unknown
    readonly types?: { readonly input: unknown; readonly output: T } | undefined
  }
}

/** A topic's name with the type of its values. */
export interface Topic<T> extends TopicCodec<T> {
  readonly name: string
}

/** What an untyped topic takes as a value: strings and bytes as they are, anything else as JSON. */
export type PlainValue = string | Uint8Array | object | number | boolean

/**
 * Names a topic and fixes the type of its values.
 * @throws INVALID_TOPIC_NAME
 */
export function topic<T = unknown>(
  name: string,
  codec?: TopicCodec<T> | StandardSchema<T>,
): Topic<T> {
  checkTopicName(name)
  if (codec === undefined) return { name, ...json(value => value as T) }
  if ('~standard' in codec) {
    const { validate } = codec['~standard']
    return { name, ...json(value => validated(name, validate(value)) as T) }
  }
  return { name, serialize: codec.serialize, deserialize: codec.deserialize }
}

/** The name of a topic given either way. */
export function topicName(topic: string | { readonly name: string }): string {
  return typeof topic === 'string' ? topic : topic.name
}

/** Bytes or text of a value of an untyped topic; `null` and `undefined` are a tombstone. */
export function plainBytes(value: PlainValue | null | undefined): Uint8Array | string | null {
  if (typeof value === 'string' || value instanceof Uint8Array) return value
  if (value === null || value === undefined) return null
  return stringify(value)
}

function json<T>(check: (value: unknown) => T): TopicCodec<T> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  return {
    serialize: value => stringify(check(value)),
    deserialize: bytes => check(JSON.parse(decoder.decode(bytes))),
  }
}

function stringify(value: unknown): string {
  const text = JSON.stringify(value) as string | undefined
  if (text === undefined) {
    throw new LogloomError('INVALID_REQUEST', `a value of type ${typeof value} has no JSON form`)
  }
  return text
}

function validated(name: string, result: unknown): unknown {
  if (result instanceof Promise) {
    throw new LogloomError(
      'INVALID_REQUEST',
      `the schema of ${name} is asynchronous; use a synchronous one`,
    )
  }
  const { issues, value } = result as { issues?: readonly { message: string }[]; value: unknown }
  if (issues === undefined) return value
  const what = issues.map(issue => issue.message).join('; ')
  throw new LogloomError('INVALID_REQUEST', `a value does not match the schema of ${name}: ${what}`)
}
