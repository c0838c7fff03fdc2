// publish: plain records, or batches, as one atomic unit (protocol.md 3). Records become one batch per partition here; all of them go into
// one command, so they take effect whole or not at all.

import { BatchBuilder, type RecordInput } from '../../wire/batch-builder.ts'
import { checkBatch, readBatchHeader } from '../../wire/batch.ts'
import { LogloomError } from '../../wire/errors.ts'
import { array, bin, optArray, optInt, optMap, optUint, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { partitionForKey } from '../../wire/partitioner.ts'
import type { Answer } from '../engine/proposer.ts'
import type {
  Expectation,
  PartitionBatch,
  PartitionMap,
  PartitionOffset,
} from '../state/commands.ts'
import { cleanupPolicy } from '../state/topic-policy.ts'
import type { TopicState } from '../state/topics.ts'
import type { Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import type { Creator } from './topic-directory.ts'
import { commitOf } from './groups.ts'
import { shareAckOf } from './share.ts'
import {
  acceptedOrThrow,
  checkKeys,
  checkPartitions,
  keyMissing,
  messageBytesMax,
  producerIdentity,
  sealedAndRetried,
} from './produce.ts'
import { mustOwn } from './producer-owner.ts'
import { offsetsOf } from './repeated.ts'

interface Placed {
  readonly topic: TopicState
  readonly partition: number
}

/** Records of one partition on their way into a batch. */
interface Group extends Placed {
  readonly builder: BatchBuilder
}

interface Unit {
  readonly batches: PartitionBatch[]
  /** Topics of which partitions were chosen by key, here or by the client. */
  readonly maps: readonly PartitionMap[]
  readonly places: readonly Placed[]
  /** For each element of the reply: its batch and its index in it. */
  readonly results: readonly { readonly batch: number; readonly index: number }[]
}

const utf8 = new TextEncoder()
/** Keyless records of one request and topic share a partition; requests rotate. */
let rotation = 0

export async function publish(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const isRecords = frame.batches === undefined
  let unit = await (isRecords
    ? unitOfRecords(context, frame, connection)
    : unitOfBatches(context, frame))
  const expect = await expectations(context, frame)
  const commit = optMap(frame, 'commit')
  const consumed = commit === undefined ? undefined : await commitOf(context, { ...commit })
  const ack = optMap(frame, 'ack')
  const acknowledged = ack === undefined ? undefined : await shareAckOf(context, { ...ack })
  const producer = producerIdentity(frame)
  const owned =
    producer === undefined ? undefined : mustOwn(context.broker, connection, producer.id)
  if (owned !== undefined) await owned
  const leave = producer === undefined ? undefined : connection.enterLane(`${producer.id}/command`)
  try {
    const propose = ({ batches, maps }: Unit): Promise<Answer> =>
      context.broker.propose({
        type: 'publish',
        ...(producer === undefined ? {} : { producer }),
        batches,
        expect,
        ...(maps.length === 0 ? {} : { maps }),
        ...(consumed === undefined ? {} : { commit: consumed }),
        ...(acknowledged === undefined ? {} : { ack: acknowledged }),
      })
    let made = await propose(unit)
    // Partitions were added since they were chosen, by whom else but this broker: it chooses again.
    if (isRecords)
      while (!made.ok && made.code === 'STALE_PARTITIONS') {
        unit = await unitOfRecords(context, frame, connection)
        made = await propose(unit)
      }
    const decision = acceptedOrThrow(made)
    const chosen = unit.places.map(place => place.partition)
    const offsets = offsetsOf(decision, chosen, isRecords)
    // A retry that gets its first answer again brought nothing new.
    const counted = decision.duplicate === true ? [] : unit.batches
    counted.forEach(({ header, batch }, i) => {
      context.stats.produced((unit.places[i] as Placed).topic.name, header.count, batch.length)
    })
    return {
      lsn: decision.lsn,
      timestamp: decision.timestamp,
      offsets: unit.results.map(({ batch, index }) => {
        const { topic } = unit.places[batch] as Placed
        const { partition, offset } = offsets[batch] as PartitionOffset
        return { topic: topic.name, partition, offset: offset + index }
      }),
      ...sealedAndRetried(decision),
    }
  } finally {
    leave?.()
  }
}

async function unitOfRecords(
  context: GatewayContext,
  frame: Frame,
  creator: Creator,
): Promise<Unit> {
  const records = array(frame, 'records')
  const limit = context.settings.recordsPerPublishMax
  if (records.length === 0)
    throw new LogloomError('INVALID_REQUEST', 'publish: field records is empty', {
      field: 'records',
    })
  if (records.length > limit)
    throw new LogloomError(
      'LIMIT_EXCEEDED',
      `publish: ${records.length} records, the limit is ${limit} (recordsPerPublishMax)`,
      {
        limit,
        actual: records.length,
      },
    )
  const rows = records.map((record, i) => recordOf(record, i))
  const topics = new Map<string, TopicState>()
  for (const { row } of rows) {
    const name = str(row, 'topic')
    if (!topics.has(name)) topics.set(name, await context.topics.find(name, creator))
    const asked = optUint(row, 'partition')
    if (asked !== undefined)
      await context.topics.partitionSoon(topics.get(name) as TopicState, asked)
  }
  const turn = rotation++
  const now = Date.now()
  const groups: Group[] = []
  const groupOf = new Map<string, number>()
  const maps = new Map<number, number>()
  const results = rows.map(({ row, record }, i) => {
    const topic = topics.get(str(row, 'topic')) as TopicState
    if (record.key === null && cleanupPolicy(topic).compact) throw keyMissing(topic.name, i)
    const partition = placeOf(topic, row, record, turn)
    context.topics.partition(topic, partition)
    const isByKey = (record.key ?? null) !== null && optUint(row, 'partition') === undefined
    if (isByKey) maps.set(topic.id, topic.partitions.length)
    const name = `${topic.id}/${partition}`
    let at = groupOf.get(name)
    if (at === undefined || !(groups[at] as Group).builder.tryAppend(record)) {
      // A record older than its batch's first one begins a batch of its own.
      at = groups.length
      const builder = new BatchBuilder({ bytesMax: messageBytesMax(context, topic), now })
      builder.tryAppend(record)
      groups.push({ topic, partition, builder })
      groupOf.set(name, at)
    }
    return { batch: at, index: (groups[at] as Group).builder.count - 1 }
  })
  const batches = groups.map(({ topic, partition, builder }) => {
    const batch = builder.build()
    return { topicId: topic.id, partition, batch, header: readBatchHeader(batch) }
  })
  return { batches, maps: [...maps], places: groups, results }
}

async function unitOfBatches(context: GatewayContext, frame: Frame): Promise<Unit> {
  const batches: PartitionBatch[] = []
  // A client that contradicts itself about a topic is wrong about it once at least.
  const maps = new Map<string, PartitionMap>()
  const places: Placed[] = []
  for (const [i, element] of array(frame, 'batches').entries()) {
    const row = rowOf(element, 'batches', i)
    const topic = await context.topics.find(str(row, 'topic'))
    const { partition } = await context.topics.partitionSoon(topic, uint(row, 'partition'))
    const chosenOutOf = optUint(row, 'partitions')
    if (chosenOutOf !== undefined)
      maps.set(`${topic.id}/${chosenOutOf}`, [topic.id, checkPartitions(context, chosenOutOf)])
    const batch = bin(row, 'batch')
    const header = checkBatch(batch, { bytesMax: messageBytesMax(context, topic) })
    await checkKeys(topic, header, batch)
    batches.push({ topicId: topic.id, partition, batch, header })
    places.push({ topic, partition })
  }
  if (batches.length === 0 && frame.commit === undefined && frame.ack === undefined)
    throw new LogloomError('INVALID_REQUEST', 'publish: field batches is empty', {
      field: 'batches',
    })
  return {
    batches,
    maps: [...maps.values()],
    places,
    results: batches.map((_, batch) => ({ batch, index: 0 })),
  }
}

async function expectations(context: GatewayContext, frame: Frame): Promise<Expectation[]> {
  const expect: Expectation[] = []
  for (const [i, element] of (optArray(frame, 'expect') ?? []).entries()) {
    const row = rowOf(element, 'expect', i)
    const topic = await context.topics.find(str(row, 'topic'))
    const { partition } = await context.topics.partitionSoon(topic, uint(row, 'partition'))
    expect.push({ topicId: topic.id, partition, offset: uint(row, 'offset') })
  }
  return expect
}

function recordOf(element: unknown, index: number): { row: Frame; record: RecordInput } {
  const row = rowOf(element, 'records', index)
  const headers = optMap(row, 'headers')
  const timestamp = optInt(row, 'timestamp')
  if (timestamp !== undefined && timestamp < 0)
    throw new LogloomError('INVALID_REQUEST', `publish: records[${index}].timestamp is negative`, {
      field: 'timestamp',
    })
  return {
    row,
    record: {
      key: bytesOf(row, 'key', index),
      value: bytesOf(row, 'value', index),
      ...(headers === undefined
        ? {}
        : {
            headers: Object.keys(headers).map(
              name => [name, bytesOf(headers, name, index) ?? ''] as const,
            ),
          }),
      ...(timestamp === undefined ? {} : { timestamp }),
    },
  }
}

function placeOf(topic: TopicState, row: Frame, record: RecordInput, turn: number): number {
  const asked = optUint(row, 'partition')
  if (asked !== undefined) return asked
  const { key } = record
  const { length } = topic.partitions
  if (key === null || key === undefined) return turn % length
  return partitionForKey(typeof key === 'string' ? utf8.encode(key) : key, length)
}

function bytesOf(row: Frame, key: string, index: number): Uint8Array | string | null {
  const value = row[key]
  if (value === undefined || value === null) return null
  if (typeof value === 'string' || value instanceof Uint8Array) return value
  throw new LogloomError(
    'INVALID_REQUEST',
    `publish: records[${index}].${key} must be text or binary, got ${typeof value}`,
    {
      field: key,
    },
  )
}

function rowOf(element: unknown, field: string, index: number): Frame {
  if (
    typeof element === 'object' &&
    element !== null &&
    !Array.isArray(element) &&
    !(element instanceof Uint8Array)
  )
    return element as Frame
  throw new LogloomError('INVALID_REQUEST', `publish: ${field}[${index}] must be a map`, { field })
}
