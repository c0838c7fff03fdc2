// What the register holds, instance after instance (delos.md 1.4; Lamport's state machine of single-decree instances).
//
//   instance   0            1            2 …          each decides the next record and the members that decide the one after it
//   version    0            1            1 …          of the value: a change of the members alone leaves it as it was

import type { MessageValue } from '../../net.ts'

/** A node that takes part, `node` or `node@store`: with a store only that data directory counts, so a lost disk cannot vote as an empty one. */
export type RegisterMember = string

export interface RegisterRecord {
  readonly instance: number
  readonly version: number
  readonly value: Uint8Array | undefined
  /** Who decides the next instance. */
  readonly members: readonly RegisterMember[]
  /** Of the proposal, unique: tells whose it was, whoever finished it. */
  readonly id: string
  /**
   * The `id` of the first record of all: names the register, and with it the cluster, whatever its nodes are called. Undefined before that,
   * and in a register that is older than the name.
   */
  readonly birth: string | undefined
}

/** A map inside a message. */
export type MessageMap = { readonly [key: string]: MessageValue }

/** Totally ordered; a node never uses one twice. */
export interface Ballot {
  readonly round: number
  /** `node/incarnation`. */
  readonly by: string
}

export const noBallot: Ballot = { round: 0, by: '' }

export function isBelow(a: Ballot, b: Ballot): boolean {
  return a.round < b.round || (a.round === b.round && a.by < b.by)
}

export function nodeOf(member: RegisterMember): string {
  return member.split('@')[0] as string
}

/** Whether two records can be of one register: not when both know when theirs began, and do not agree. */
export function isSameRegister(a: RegisterRecord, b: RegisterRecord): boolean {
  return a.birth === undefined || b.birth === undefined || a.birth === b.birth
}

/** A node, or its data directory, belongs to another cluster of the same name. */
export class ForeignRegisterError extends Error {
  override readonly name = 'ForeignRegisterError'
  readonly code = 'PEER_CLUSTER'
}

/** What a lasting disagreement about a message looks like: a peer of another version, or none. */
export class RegisterMessageError extends Error {
  override readonly name = 'RegisterMessageError'
  readonly code = 'INVALID_REQUEST'
}

export function recordMessage(record: RegisterRecord): MessageMap {
  const { instance, version, value, members, id, birth } = record
  return {
    instance,
    version,
    value: value ?? null,
    members: [...members],
    id,
    birth: birth ?? null,
  }
}

/** @throws {RegisterMessageError} */
export function recordOf(value: MessageValue | undefined): RegisterRecord {
  const { instance, version, value: content, members, id, birth } = mapOf(value)
  if (
    !isCount(instance) ||
    !isCount(version) ||
    typeof id !== 'string' ||
    !Array.isArray(members) ||
    !members.every(member => typeof member === 'string') ||
    (content !== null && content !== undefined && !(content instanceof Uint8Array)) ||
    (birth !== null && birth !== undefined && typeof birth !== 'string')
  )
    throw new RegisterMessageError('the message holds no record of a register')
  return {
    instance,
    version,
    value: content instanceof Uint8Array ? content.slice() : undefined,
    members,
    id,
    birth: birth ?? undefined,
  }
}

export function ballotMessage({ round, by }: Ballot): MessageMap {
  return { round, by }
}

/** @throws {RegisterMessageError} */
export function ballotOf(value: MessageValue | undefined): Ballot {
  const { round, by } = mapOf(value)
  if (!isCount(round) || typeof by !== 'string')
    throw new RegisterMessageError('the message holds no ballot')
  return { round, by }
}

function mapOf(value: MessageValue | undefined): MessageMap {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as MessageMap
  throw new RegisterMessageError('the message holds no map where one is needed')
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
