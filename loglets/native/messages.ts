// What log servers, sequencers and their clients say to each other (delos.md 1.5 has the rules). One verb per step of the protocol.
//
//   verb           request beyond { id, knownTail }                  reply
//   log.create     store, options, placement                         state
//   log.store      store, incarnation, at, entries, repair?          status and state
//   log.seal       store                                             state
//   log.tail       store                                             state
//   log.wait       store, known | local (a position), timeoutMs      state, once it is beyond, or at the timeout
//   log.read       store, from, to, maxBytes                         items
//   log.slices     store, slices                                     slices
//   log.trim       store, before                                     state
//   log.remove     store                                             {}
//   log.sequence   placement                                         {}             to the sequencer's node
//   log.append     incarnation, client, request, settled, entry      position       to the sequencer's node
//
// `knownTail` rides on everything: a lower bound on the global tail, merged by max. `store` must be the server's own, or it answers
// UNKNOWN_LOGLET, which counts in no quorum.

import type { Entry, GapKind, LogItem, SliceResult } from '../contract.ts'
import { position } from '../contract.ts'
import type { Message, MessageValue } from '../net.ts'

export const verbs = {
  create: 'log.create',
  store: 'log.store',
  seal: 'log.seal',
  tail: 'log.tail',
  wait: 'log.wait',
  read: 'log.read',
  slices: 'log.slices',
  trim: 'log.trim',
  remove: 'log.remove',
  sequence: 'log.sequence',
  append: 'log.append',
} as const

/** Codes of remote errors. */
export const nativeErrors = {
  /** This server has no such loglet, or not in this store. */
  unknownLoglet: 'UNKNOWN_LOGLET',
  /** It may have the loglet, and says nothing more. */
  closing: 'LOG_SERVER_CLOSING',
  /** The node does not run this sequencer (any more). Nothing was appended. */
  noSequencer: 'NO_SEQUENCER',
  sealed: 'LOGLET_SEALED',
  refused: 'LOGLET_REFUSED',
  /** A slice reaches past its entry. */
  outOfRange: 'OUT_OF_RANGE',
} as const

/** An error with a code that reaches the caller of a verb. */
export class NativeError extends Error {
  override readonly name = 'NativeError'
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** What one log server knows of one loglet. */
export interface ReplicaState {
  /** First position that is not durable here: neither proof of commit nor of having everything below. */
  readonly tail: number
  readonly sealed: boolean
  /** Everything below is globally committed. */
  readonly knownTail: number
  readonly trimmed: number
}

/**
 * `stored`: durable here. `sealed`: never will be. `sealing`: a repair came before the seal was durable. `foreign`: another sequencer's.
 * `gap`: something before it is missing. `full`: no space now.
 */
export type StoreStatus = 'stored' | 'sealed' | 'sealing' | 'foreign' | 'gap' | 'full'

export function stateOf(message: Message): ReplicaState {
  return {
    tail: count(message, 'tail'),
    sealed: message.sealed === true,
    knownTail: count(message, 'knownTail'),
    trimmed: count(message, 'trimmed'),
  }
}

export function stateMessage({ tail, sealed, knownTail, trimmed }: ReplicaState): Message {
  return { tail, sealed, knownTail, trimmed }
}

/** A safe integer from 0. @throws {NativeError} */
export function count(message: Message, key: string): number {
  const value = message[key]
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new NativeError(
    'INVALID_REQUEST',
    `${key} is ${JSON.stringify(value)}, not an integer from 0`,
  )
}

/** @throws {NativeError} */
export function text(message: Message, key: string): string {
  const value = message[key]
  if (typeof value === 'string') return value
  throw new NativeError('INVALID_REQUEST', `${key} is no text`)
}

/** @throws {NativeError} */
export function list(message: Message, key: string): readonly MessageValue[] {
  const value = message[key]
  if (Array.isArray(value)) return value as readonly MessageValue[]
  throw new NativeError('INVALID_REQUEST', `${key} is no list`)
}

/** Entries are lists of byte strings. @throws {NativeError} */
export function entryOf(value: MessageValue | undefined): Entry {
  if (Array.isArray(value) && value.every(part => part instanceof Uint8Array)) return value
  throw new NativeError('INVALID_REQUEST', 'an entry is no list of byte strings')
}

const gapKinds: readonly GapKind[] = ['trimmed', 'filler', 'lost']

/** `[position, bytes]` or `[from, to, kind]`. */
export function itemsMessage(items: readonly LogItem[]): readonly MessageValue[] {
  return items.map(item =>
    item.kind === 'entry' ? [item.position, item.bytes] : [item.from, item.to, item.gap],
  )
}

/** Checks that the items are contiguous from `from` and stay below `to`: a peer may lie. @throws {NativeError} */
export function itemsOf(values: readonly MessageValue[], from: number, to: number): LogItem[] {
  let at = from
  return values.map(value => {
    const [first, second, kind] = Array.isArray(value) ? (value as readonly MessageValue[]) : []
    if (first !== at)
      throw new NativeError('INVALID_REPLY', `an item begins at ${JSON.stringify(first)}`)
    if (second instanceof Uint8Array && at < to)
      return { kind: 'entry', position: position(at++), bytes: second }
    const gap = gapKinds.find(k => k === kind)
    if (gap === undefined || typeof second !== 'number' || second <= at || second > to)
      throw new NativeError('INVALID_REPLY', 'an item is neither an entry nor a gap')
    const item = { kind: 'gap', gap, from: position(at), to: position(second) } as const
    at = second
    return item
  })
}

/** Bytes, or the kind of the gap. */
export function slicesMessage(results: readonly SliceResult[]): readonly MessageValue[] {
  return results.map(result => (result instanceof Uint8Array ? result : result.gap))
}

/** @throws {NativeError} */
export function slicesOf(values: readonly MessageValue[]): SliceResult[] {
  return values.map(value => {
    if (value instanceof Uint8Array) return value
    const gap = gapKinds.find(k => k === value)
    if (gap === undefined) throw new NativeError('INVALID_REPLY', 'a slice has no kind')
    return { gap }
  })
}
