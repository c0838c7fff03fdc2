// Rows of the state in an archive: topics, groups, share groups, transactional ids. A page is one msgpack map { rows } of at most `pageBytesMax` or one row;
// the same bytes travel in `readSnapshot` and `restoreState` (protocol.md 13).
//
// Reading trusts nothing: types, ranges, lengths and numbers of elements are checked here, on both sides of the wire.

import { type Frame, packFrame, unpackFrame } from '../../wire/frame.ts'
import { checkTopicName } from '../../wire/topic-name.ts'
import { getU64, setU64 } from '../../wire/u64.ts'
import {
  groupNameLengthMax,
  memberIdLengthMax,
  offsetMetadataLengthMax,
} from '../gateway/group-limits.ts'
import { readBinding } from '../security/check-binding.ts'
import { checkPrincipal, principalLengthMax } from '../security/principal-name.ts'
import { type Quota, quotaKinds } from '../security/quota.ts'
import { type Assignor, assignors } from '../state/groups/group.ts'
import type {
  RestoredGroup,
  RestoredProducer,
  RestoredRight,
  RestoredShareGroup,
  RestoredSharePartition,
} from '../state/restore/commands.ts'
import { partitionEpochsMax, partitionsMax } from '../state/state-machine.ts'
import { recordLocksMax } from '../state/share/share-partition.ts'

/** About as much is put on one page. */
export const pageBytesMax = 256 << 10
/** Array items and map pairs of one page. */
const pageElementsMax = 400_000
/** Offsets, or unfinished records of a share group, in one row; a group may have several rows. */
export const placesPerRowMax = 2000
/** Of one topic; the broker looks at what they mean. */
const configKeysMax = 100
/** Characters of a key or value of a configuration, or of a description. */
const configLengthMax = 1000

/** A topic at the snapshot's position. */
export interface TopicRow {
  readonly topic: string
  readonly config: Readonly<Record<string, string>>
  /** Log time, ms. */
  readonly createdAt: number
  readonly epochs: readonly (readonly [partitions: number, ends: readonly number[]])[]
  /** First readable offset and offset of the next record, of each partition. */
  readonly ranges: readonly (readonly [start: number, end: number])[]
}

const ownedIdLengthMax = principalLengthMax + 1 + memberIdLengthMax

/** Why a page cannot be what it says; whoever reads it knows where it came from. */
export class RowsError extends Error {
  override readonly name = 'RowsError'
}

/** Packs rows of any kind. */
export function packPage(rows: readonly unknown[]): Uint8Array {
  return packFrame({ rows: [...rows] })
}

export function topicRow({ topic, config, createdAt, epochs, ranges }: TopicRow): unknown {
  const e = epochs.map(([partitions, ends]) => [partitions, packNumbers(ends)])
  return { n: topic, c: { ...config }, t: createdAt, e, r: packNumbers(ranges.flat()) }
}

export function groupRow({ group, assignor, offsets }: RestoredGroup): unknown {
  return { g: group, a: assignor, o: offsets.map(offset => [...offset]) }
}

export function shareGroupRow(row: RestoredShareGroup): unknown {
  const p = row.partitions.map(([index, partition, end, counters, records]) => [
    index,
    partition,
    end,
    [...counters],
    packNumbers(records.flat()),
  ])
  return { g: row.group, l: row.deliveryCountLimit, k: row.keepsDead, t: [...row.topics], p }
}

export function producerRow({ id, epoch, transactionalId }: RestoredProducer): unknown {
  return { i: id, e: epoch, x: transactionalId }
}

export function rightRow(right: RestoredRight): unknown {
  if (right.kind === 'acl') return { k: 'acl', ...right.binding }
  if (right.kind === 'quota') return { k: 'quota', p: right.principal, q: { ...right.quota } }
  const { id, principal, hash, description, createdAt, expiresAt } = right.key
  return { k: 'key', i: id, p: principal, h: hash, d: description, c: createdAt, x: expiresAt }
}

/** @throws RowsError, INVALID_TOPIC_NAME */
export const parseTopics = (page: Uint8Array): TopicRow[] => rowsOf(page).map(topicOf)
/** @throws RowsError */
export const parseGroups = (page: Uint8Array): RestoredGroup[] => rowsOf(page).map(groupOf)
/** @throws RowsError */
export const parseShareGroups = (page: Uint8Array): RestoredShareGroup[] =>
  rowsOf(page).map(shareGroupOf)
/** @throws RowsError */
export const parseProducers = (page: Uint8Array): RestoredProducer[] => rowsOf(page).map(producerOf)

/** @throws RowsError, INVALID_REQUEST */
export const parseRights = (page: Uint8Array): RestoredRight[] => rowsOf(page).map(rightOf)

/** Numbers as u64 each. */
export function packNumbers(numbers: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(numbers.length * 8)
  const view = new DataView(bytes.buffer)
  for (const [i, number] of numbers.entries()) setU64(view, i * 8, number)
  return bytes
}

/** @throws RowsError */
export function unpackNumbers(value: unknown, countMax: number): number[] {
  if (!(value instanceof Uint8Array)) throw new RowsError('numbers must be binary')
  const count = value.length / 8
  if (!Number.isInteger(count)) throw new RowsError(`${value.length} bytes are no whole numbers`)
  if (count > countMax) throw new RowsError(`${count} numbers, the limit is ${countMax}`)
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  return Array.from({ length: count }, (_, i) => uint(getU64(view, i * 8), 'a number'))
}

function topicOf(value: unknown): TopicRow {
  const { n, c, t, e, r } = mapOf(value)
  const topic = text(n, 'a topic name', 249)
  checkTopicName(topic)
  const config = mapOf(c)
  const keys = Object.keys(config)
  if (keys.length > configKeysMax) throw new RowsError(`${keys.length} configuration keys`)
  for (const key of keys) {
    text(key, 'a configuration key', configLengthMax)
    text(config[key], 'a configuration value', configLengthMax)
  }
  const epochs = list(e, partitionEpochsMax).map((epoch): [number, number[]] => {
    const [partitions, ends] = list(epoch, 2)
    const numbers = unpackNumbers(ends, partitionsMax)
    return [count(partitions, 'partitions', partitionsMax), numbers]
  })
  const partitions = epochs.at(-1)?.[0] ?? 0
  let before = 0
  for (const [of, ends] of epochs) {
    if (of <= before || ends.length !== before)
      throw new RowsError(`epochs of topic ${topic} do not follow each other`)
    before = of
  }
  const numbers = unpackNumbers(r, partitionsMax * 2)
  if (partitions === 0 || numbers.length !== partitions * 2)
    throw new RowsError(`topic ${topic} has ${partitions} partitions and ${numbers.length} bounds`)
  const ranges = Array.from({ length: partitions }, (_, p): [number, number] => {
    const [start, end] = [numbers[p * 2] as number, numbers[p * 2 + 1] as number]
    if (start > end) throw new RowsError(`${topic}[${p}] begins at ${start} and ends at ${end}`)
    return [start, end]
  })
  for (const [, ends] of epochs)
    for (const [p, end] of ends.entries())
      if (end > (ranges[p]?.[1] ?? 0))
        throw new RowsError(`an epoch of ${topic}[${p}] ends past it`)
  return {
    topic,
    config: { ...(config as Record<string, string>) },
    createdAt: uint(t, 'a time'),
    epochs,
    ranges,
  }
}

function groupOf(value: unknown): RestoredGroup {
  const { g, a, o } = mapOf(value)
  const group = groupName(g)
  if (!assignors.includes(a as Assignor)) throw new RowsError(`group ${group} has no assignor`)
  const offsets = list(o, placesPerRowMax).map((row): RestoredGroup['offsets'][number] => {
    const [index, partition, offset, metadata, committedAt] = list(row, 5)
    return [
      count(index, 'a topic', partitionsMax),
      count(partition, 'a partition', partitionsMax),
      uint(offset, 'an offset'),
      text(metadata, 'metadata', offsetMetadataLengthMax),
      uint(committedAt, 'a time'),
    ]
  })
  return { group, assignor: a as Assignor, offsets }
}

function shareGroupOf(value: unknown): RestoredShareGroup {
  const { g, l, k, t, p } = mapOf(value)
  if (typeof k !== 'boolean') throw new RowsError('keepsDead must be a boolean')
  return {
    group: groupName(g),
    deliveryCountLimit: count(l, 'deliveryCountLimit', 1_000_000),
    keepsDead: k,
    topics: list(t, partitionsMax).map(index => count(index, 'a topic', partitionsMax)),
    partitions: list(p, placesPerRowMax).map(sharePartitionOf),
  }
}

function sharePartitionOf(value: unknown): RestoredSharePartition {
  const [index, partition, end, counters, packed] = list(value, 5)
  const last = uint(end, 'an offset')
  const numbers = unpackNumbers(packed, recordLocksMax * 2)
  if (numbers.length % 2 !== 0) throw new RowsError('a record has no delivery count')
  const records = Array.from({ length: numbers.length / 2 }, (_, i): [number, number] => {
    const [offset, times] = [numbers[i * 2] as number, numbers[i * 2 + 1] as number]
    const before = i === 0 ? -1 : (numbers[i * 2 - 2] as number)
    if (offset <= before || offset >= last) throw new RowsError(`record ${offset} is out of order`)
    return [offset, count(times, 'a delivery count', 0xffff_ffff)]
  })
  const four = list(counters, 4).map(each => uint(each, 'a counter'))
  if (four.length !== 4) throw new RowsError('counters are four')
  return [
    count(index, 'a topic', partitionsMax),
    count(partition, 'a partition', partitionsMax),
    last,
    four as unknown as RestoredSharePartition[3],
    records,
  ]
}

function producerOf(value: unknown): RestoredProducer {
  const { i, e, x } = mapOf(value)
  return {
    id: uint(i, 'a producer id'),
    epoch: count(e, 'an epoch', 0xffff_fffe),
    transactionalId: ownedId(text(x, 'a transactional id', ownedIdLengthMax)),
  }
}

function rightOf(value: unknown): RestoredRight {
  const row = mapOf(value)
  const { k, i, p, h, d, c, x, q } = row
  if (k === 'acl') return { kind: 'acl', binding: readBinding(row) }
  const principal = checkPrincipal(text(p, 'a principal', 1000), k === 'quota')
  if (k === 'quota') return { kind: 'quota', principal, quota: quotaOf(mapOf(q)) }
  if (k !== 'key') throw new RowsError('a right is a key, an acl or a quota')
  const id = text(i, 'a key id', 16)
  if (!/^[a-z0-9]{16}$/.test(id)) throw new RowsError('a key id has 16 characters a-z0-9')
  if (!(h instanceof Uint8Array) || h.length !== 32) throw new RowsError('a hash has 32 bytes')
  const expires = x === undefined || x === null ? {} : { expiresAt: uint(x, 'a time') }
  const description = text(d, 'a description', configLengthMax)
  const createdAt = uint(c, 'a time')
  return { kind: 'key', key: { id, principal, hash: h, description, createdAt, ...expires } }
}

function quotaOf(row: Frame): Quota {
  const quota: { -readonly [K in keyof Quota]: Quota[K] } = {}
  for (const kind of quotaKinds) {
    const limit = row[kind]
    if (limit !== undefined && limit !== null) quota[kind] = uint(limit, kind)
  }
  return quota
}

function rowsOf(page: Uint8Array): readonly unknown[] {
  let frame: Frame
  try {
    frame = unpackFrame(page, { elementsMax: pageElementsMax })
  } catch (error) {
    throw new RowsError((error as Error).message)
  }
  return list(frame['rows'], pageElementsMax)
}

function mapOf(value: unknown): Frame {
  const isMap =
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array)
  if (!isMap) throw new RowsError('a row must be a map')
  return value as Frame
}

function list(value: unknown, countMax: number): readonly unknown[] {
  if (!Array.isArray(value)) throw new RowsError('a list was expected')
  if (value.length > countMax)
    throw new RowsError(`${value.length} elements, the limit is ${countMax}`)
  return value as unknown[]
}

function uint(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw new RowsError(`${what} must be a whole number below 2^53`)
}

function count(value: unknown, what: string, most: number): number {
  const number = uint(value, what)
  if (number <= most) return number
  throw new RowsError(`${what} is ${number}, the limit is ${most}`)
}

function text(value: unknown, what: string, lengthMax: number): string {
  if (typeof value !== 'string') throw new RowsError(`${what} must be a text`)
  if (value.length > lengthMax)
    throw new RowsError(`${what} has ${value.length} characters, the limit is ${lengthMax}`)
  return value
}

function groupName(value: unknown): string {
  const name = visible(text(value, 'a group name', groupNameLengthMax))
  return name
}

/** A transactional id as the state has it: with the name of its principal before it where that is known. */
function ownedId(id: string): string {
  if (/^[^\p{Cc}\p{Cs}]+$/u.test(id)) return id
  throw new RowsError('a transactional id has control characters, or nothing')
}

function visible(name: string): string {
  if (/^[\x21-\x7e]+$/.test(name)) return name
  throw new RowsError(
    `${JSON.stringify(name.slice(0, 40))} has other than visible ASCII characters`,
  )
}
