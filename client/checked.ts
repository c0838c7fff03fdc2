// What comes from a server is checked before it is acted upon: pushes, and the replies that readers, members and producers build on.
//
// Guarantees: whoever gets a checked frame may use its fields as protocol.md says they are. A server that is broken, or means harm, costs its
// connection, and nothing else of the process that the SDK runs in.

import { type Frame, LogloomError, type WireError } from '../wire/index.ts'
import type { PartitionEpoch } from './epochs.ts'

/** No topic of a broker has more. */
const topicPartitionsMax = 200_000

/** A push of one of the known kinds. @throws BAD_FRAME */
export function checkPush(frame: Frame): void {
  const { op } = frame
  if (op === 'deliver') checkDelivery(frame)
  else if (op === 'end') {
    uintOf(frame, 'sub')
    wireErrorOf(frame)
  } else if (op === 'assignment') checkAssignment(frame)
}

/** Shares of a member, or why it has none any more. @throws BAD_FRAME */
export function checkAssignment(frame: Frame): void {
  if (frame['error'] !== undefined) {
    wireErrorOf(frame)
    return
  }
  for (const key of ['assigned', 'revoking']) {
    for (const row of rowsOf(frame, key)) {
      if (typeof row['topic'] !== 'string') throw bad('topic', 'a string')
      uintOf(row, 'partition')
      uintOf(row, 'generation')
      for (const field of ['offset', 'until', 'partitions'])
        if (row[field] !== undefined && row[field] !== null) uintOf(row, field)
    }
  }
}

/** @throws BAD_FRAME */
export function uintOf(frame: Frame, key: string): number {
  const value = frame[key]
  if (isUint(value)) return value
  throw bad(key, 'a whole number below 2^53')
}

/** @throws BAD_FRAME */
export function u32Of(frame: Frame, key: string): number {
  const value = uintOf(frame, key)
  if (value < 2 ** 32) return value
  throw bad(key, 'a whole number below 2^32')
}

function isUint(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** Lists are made as long as it says. */
export function isPartitionCount(value: unknown): value is number {
  return (
    Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= topicPartitionsMax
  )
}

/** The number of partitions of a topic: a count, or a list of them. @throws BAD_FRAME */
export function partitionCount({ partitions }: Frame): number {
  const count: unknown = Array.isArray(partitions) ? partitions.length : partitions
  if (isPartitionCount(count)) return count
  throw bad('partitions', `1 to ${topicPartitionsMax} partitions`)
}

/** How a topic came by its partitions; undefined when it is not said. @throws BAD_FRAME */
export function epochsOf(frame: Frame): readonly PartitionEpoch[] | undefined {
  if (frame['epochs'] === undefined) return undefined
  return rowsOf(frame, 'epochs').map(row => {
    const { ends } = row
    const areOffsets =
      Array.isArray(ends) && ends.every(end => Number.isSafeInteger(end) && end >= 0)
    if (!areOffsets) throw bad('ends', 'a list of offsets')
    return { partitions: partitionCount(row), lsn: uintOf(row, 'lsn'), ends: ends as number[] }
  })
}

/** Records of one partition as `shareFetch` brings them. */
export interface Delivered {
  readonly topic: string
  readonly partition: number
  readonly acquired: readonly (readonly [first: number, count: number, deliveryCount: number])[]
  readonly items: readonly Frame[]
}

/** What a share group's member was given: no more records than it asked for. @throws BAD_FRAME */
export function deliveredOf(reply: Frame, recordsMax: number): readonly Delivered[] {
  uintOf(reply, 'waitedMs')
  let left = recordsMax
  for (const row of rowsOf(reply, 'records')) {
    if (typeof row['topic'] !== 'string') throw bad('topic', 'a string')
    uintOf(row, 'partition')
    itemsEnd(row)
    const { acquired } = row
    if (!Array.isArray(acquired)) throw bad('acquired', 'a list')
    for (const run of acquired as readonly unknown[]) {
      const isRun = Array.isArray(run) && run.length === 3 && run.every(isUint)
      const count = isRun ? Number(run[1]) : 0
      if (count < 1) throw bad('acquired', 'runs: [offset, count, deliveryCount]')
      left -= count
    }
    if (left < 0) throw bad('acquired', `of at most ${recordsMax} records, as was asked for`)
  }
  return rowsOf(reply, 'records') as readonly unknown[] as readonly Delivered[]
}

/** Runs of records that an acknowledgement was refused for: no more than it spoke of. @throws BAD_FRAME */
export function refusedOf(reply: Frame, recordsMax: number): readonly RefusedRun[] {
  let left = recordsMax
  const rows = rowsOf(reply, 'refused')
  for (const row of rows) {
    if (typeof row['topic'] !== 'string') throw bad('topic', 'a string')
    uintOf(row, 'partition')
    uintOf(row, 'offset')
    left -= uintOf(row, 'count')
    if (left < 0) throw bad('refused', `of at most ${recordsMax} records, as were said`)
  }
  return rows as readonly unknown[] as readonly RefusedRun[]
}

export interface RefusedRun {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly count: number
}

/** Items in the order of their offsets, and where they end. */
function checkDelivery(frame: Frame): void {
  uintOf(frame, 'sub')
  if (frame['partitions'] !== undefined) partitionCount(frame)
  const from = itemsEnd(frame)
  if (from === 0) return
  uintOf(frame, 'bytes')
  uintOf(frame, 'end')
  if (uintOf(frame, 'next') < from) throw bad('next', 'behind all items')
}

/** Behind the last of the items, which are batches and gaps in the order of their offsets; 0 when there are none. @throws BAD_FRAME */
function itemsEnd(frame: Frame): number {
  if (!Array.isArray(frame['items'])) throw bad('items', 'a list')
  const items = rowsOf(frame, 'items')
  let from = 0
  for (const item of items) {
    const offset = uintOf(item, 'offset')
    if (offset < from) throw bad('items', 'in the order of their offsets')
    const { gap, next } = item
    if (gap === undefined ? !(item['batch'] instanceof Uint8Array) : typeof gap !== 'string')
      throw bad('items', 'batches and gaps')
    from = next === undefined ? offset + 1 : uintOf(item, 'next')
    if (from <= offset) throw bad('next', 'behind the offset of its item')
  }
  return from
}

function wireErrorOf(frame: Frame): WireError {
  const error = frame['error'] as Partial<WireError> | null | undefined
  const isError = typeof error?.code === 'string' && typeof error.message === 'string'
  if (!isError) throw bad('error', 'an error with code and message')
  return error as WireError
}

/** Maps of a list; none when it is absent. @throws BAD_FRAME */
export function rowsOf(frame: Frame, key: string): readonly Frame[] {
  const rows = frame[key] ?? []
  const areMaps = Array.isArray(rows) && rows.every(row => typeof row === 'object' && row !== null)
  if (!areMaps) throw bad(key, 'a list of maps')
  return rows as readonly Frame[]
}

function bad(field: string, expected: string): LogloomError {
  return new LogloomError(
    'BAD_FRAME',
    `the broker sent a frame whose field ${field} is not ${expected}`,
    { rule: 'push', field },
    { hint: 'the server does not speak this protocol, or is of another version' },
  )
}
