// What a caller may ask of a reader, and how values come out.
//
// This file holds types, defaults and the choice of a decoder; it does not read anything.

import { LogloomError } from '../wire/index.ts'
import { amount } from './amount.ts'
import { isResumeToken, parseResumeToken } from './positions.ts'
import type { ReadRecord } from './read-record.ts'

/** How keys and values of untyped topics are decoded: text is UTF-8; json parses the value, its key stays text. */
export type ReadAs = 'bytes' | 'text' | 'json'

/** Where reading starts; a text that is no word is a resume token. Integer offsets and `last` are per partition. */
export type ReadFrom =
  | 'beginning'
  | 'end'
  | 'earliest'
  | 'latest'
  | number
  | { readonly timestamp: number }
  | { readonly last: number }
  | (string & {})

/** Offsets `[offset, next)` that hold nothing readable, and why. */
export interface ReadGap {
  readonly topic: string
  readonly partition: number
  readonly type: 'trimmed' | 'compacted' | 'lost' | 'corrupt'
  readonly offset: number
  readonly next: number
}

export interface ReadOptions {
  /** Default: all partitions. */
  readonly partition?: number
  /** Default `'end'`; with `asOf` `'beginning'`. */
  readonly from?: ReadFrom
  /**
   * Read the topics as they were at this log position, see {@link Client.snapshot}: the records that took effect below it and no others, to the
   * end that each partition had then. Implies `until: 'end'`.
   */
  readonly asOf?: number
  /** `'end'`: stop at the end offsets found at the start. Default: read for ever. */
  readonly until?: 'end'
  /** Bytes that may wait unread in this reader, all partitions together; default 1 MiB. */
  readonly maxBytes?: number
  /** Ends the iteration by throwing the signal's reason. */
  readonly signal?: AbortSignal
  /** Default: the typed topic's codec, else `'text'`. */
  readonly as?: ReadAs
  /** Records dropped by retention before they were read. Default `'error'` unless `onGap` is given. */
  readonly onTrimmed?: 'error' | 'skip'
  /** A batch that cannot be decoded. Default `'error'`. */
  readonly onCorrupt?: 'error' | 'skip'
  /** A value that the typed topic's codec or JSON refuses. Default `'error'`; a function is given it as bytes, and awaited before what follows is read. */
  readonly onInvalid?: OnInvalid
  /** Hears of every gap. Gaps of type lost and trimmed then no longer end the read, unless `onTrimmed` is `'error'`. */
  readonly onGap?: (gap: ReadGap) => void
  /**
   * Hears why a partition cannot be read now (LOG_UNAVAILABLE: too few nodes answer). The reader goes on trying, with back-off, and goes on where
   * it was; to stop, abort it.
   */
  readonly onRetry?: (retry: ReadRetry) => void
}

/** What to do with a record that cannot be decoded. */
export type OnInvalid =
  | 'error'
  | 'skip'
  | ((record: ReadRecord<Uint8Array, Uint8Array>, error: LogloomError) => unknown)

/** A partition that cannot be read now, and why. */
export interface ReadRetry {
  readonly topic: string
  readonly partition: number
  readonly error: LogloomError
}

/** A starting point of the protocol (protocol.md 6.1), or positions from a token. */
export type Start =
  | { readonly from: unknown; readonly positions?: undefined }
  | { readonly positions: ReadonlyMap<string, number> }

export interface ReadSettings {
  readonly topics: readonly string[]
  readonly partition: number | undefined
  readonly start: Start
  readonly untilEnd: boolean
  readonly asOf: number | undefined
  readonly maxBytes: number
  readonly onTrimmed: 'error' | 'skip'
  readonly onLost: 'error' | 'skip'
  readonly onCorrupt: 'error' | 'skip'
  readonly onInvalid: OnInvalid
  readonly onGap: (gap: ReadGap) => void
  readonly onRetry: (retry: ReadRetry) => void
}

/** Checks options and fills in defaults. @throws INVALID_REQUEST */
export function readSettings(topics: readonly string[], o: ReadOptions): ReadSettings {
  if (topics.length === 0) throw new LogloomError('INVALID_REQUEST', 'name a topic to read')
  const { asOf } = o
  if (asOf !== undefined && !(Number.isSafeInteger(asOf) && asOf >= 0))
    throw new LogloomError('INVALID_REQUEST', `asOf ${String(asOf)}: positions are counted from 0`)
  return {
    topics: [...new Set(topics)],
    partition: o.partition,
    start: startOf(o.from ?? (asOf === undefined ? 'end' : 'beginning')),
    untilEnd: o.until === 'end' || asOf !== undefined,
    asOf,
    maxBytes: amount('maxBytes', o.maxBytes, 1 << 20, 1),
    onTrimmed: o.onTrimmed ?? (o.onGap ? 'skip' : 'error'),
    onLost: o.onGap ? 'skip' : 'error',
    onCorrupt: o.onCorrupt ?? 'error',
    onInvalid: o.onInvalid ?? 'error',
    onGap: o.onGap ?? (() => {}),
    onRetry: o.onRetry ?? (() => {}),
  }
}

function startOf(from: ReadFrom): Start {
  if (from === 'earliest') return { from: 'beginning' }
  if (from === 'latest') return { from: 'end' }
  if (typeof from !== 'string' || from === 'beginning' || from === 'end') return { from }
  if (!isResumeToken(from)) {
    const known = `'beginning', 'end', an offset, { timestamp }, { last } or a resume token`
    throw new LogloomError('INVALID_REQUEST', `from is ${known}, not ${JSON.stringify(from)}`)
  }
  const positions = new Map<string, number>()
  for (const { topic, partition, next } of parseResumeToken(from)) {
    positions.set(`${topic}-${partition}`, next)
  }
  return { positions }
}

/** Where one partition starts. A partition that a token does not name was not read yet: from its beginning. */
export function startOfPartition(start: Start, topic: string, partition: number): unknown {
  if (!start.positions) return start.from
  return start.positions.get(`${topic}-${partition}`) ?? 'beginning'
}

/** How keys and values become what the caller sees. Values are never passed null. */
export interface Decoder {
  readonly key: (bytes: Uint8Array) => unknown
  readonly value: (bytes: Uint8Array) => unknown
}

/** A topic as far as reading goes. */
export type SomeTopic =
  | string
  | { readonly name: string; readonly deserialize: (bytes: Uint8Array) => unknown }

/** The decoder of a topic: its codec, unless `as` says otherwise. */
export function decoderOf(topic: SomeTopic, as: ReadAs | undefined): Decoder {
  const text = new TextDecoder('utf-8', { ignoreBOM: true })
  const decodeText = (bytes: Uint8Array): string => text.decode(bytes)
  if (as === 'bytes') return { key: bytes => bytes, value: bytes => bytes }
  if (as === 'json') return { key: decodeText, value: bytes => JSON.parse(text.decode(bytes)) }
  if (as === undefined && typeof topic !== 'string') {
    return { key: decodeText, value: topic.deserialize }
  }
  return { key: decodeText, value: decodeText }
}
