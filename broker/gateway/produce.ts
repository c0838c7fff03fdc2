// produce: the fast path (protocol.md 4). Header, CRC and limits are checked; the batch is never opened nor copied.

import { type BatchHeader, checkBatch, findKeyless } from '../../wire/batch.ts'
import { LogloomError } from '../../wire/errors.ts'
import { bin, map, optMap, optUint, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { wireLimits } from '../../wire/limits.ts'
import type { Answer } from '../engine/proposer.ts'
import type { Command } from '../state/commands.ts'
import { cleanupPolicy } from '../state/topic-policy.ts'
import type { TopicState } from '../state/topics.ts'
import type { Call, Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import { mustOwn } from './producer-owner.ts'

export function produce(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
  call: Call,
): Promise<Frame> {
  const topic = context.topics.find(str(frame, 'topic'), connection)
  return topic instanceof Promise
    ? topic.then(found => produceTo(context, frame, connection, call, found))
    : produceTo(context, frame, connection, call, topic)
}

async function produceTo(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
  call: Call,
  topic: TopicState,
): Promise<Frame> {
  const partition = uint(frame, 'partition')
  if (topic.partitions[partition] === undefined)
    await context.topics.partitionSoon(topic, partition)
  const batch = bin(frame, 'batch')
  const header = checkBatch(batch, { bytesMax: messageBytesMax(context, topic) })
  const opened = checkKeys(topic, header, batch)
  if (opened !== undefined) await opened
  const owned =
    header.producerId === 0 ? undefined : mustOwn(context.broker, connection, header.producerId)
  if (owned !== undefined) await owned
  const expectation = optMap(frame, 'expect')
  const partitions = optUint(frame, 'partitions')
  const command: Command = {
    type: 'produce',
    topicId: topic.id,
    partition,
    batch,
    header,
    ...(expectation === undefined ? {} : { expect: uint(expectation, 'offset') }),
    ...(partitions === undefined ? {} : { partitions: checkPartitions(context, partitions) }),
  }
  const leave =
    header.producerId === 0
      ? undefined
      : connection.enterLane(`${header.producerId}/${topic.id}/${partition}`)
  try {
    const decision = await context.broker.propose(command)
    call.decidedAt = performance.now()
    const accepted = acceptedOrThrow(decision)
    if (accepted.duplicate !== true) context.stats.produced(topic.name, header.count, batch.length)
    return {
      offset: accepted.offsets?.[0]?.offset ?? 0,
      lsn: accepted.lsn,
      timestamp: accepted.timestamp,
      ...(accepted.duplicate === true ? { duplicate: true } : {}),
      ...sealedAndRetried(accepted),
    }
  } finally {
    leave?.()
  }
}

/**
 * A compacted topic takes records with keys only. A batch that says so itself is believed: one that lies loses its records at the next compaction. Any
 * other is opened. @throws INVALID_RECORD
 */
export function checkKeys(
  topic: TopicState,
  header: BatchHeader,
  batch: Uint8Array,
): Promise<void> | undefined {
  if (header.keyed || !cleanupPolicy(topic).compact) return undefined
  return findKeyless(batch, header).then(index => {
    if (index >= 0) throw keyMissing(topic.name, index)
  })
}

export function keyMissing(topic: string, index: number): LogloomError {
  return new LogloomError(
    'INVALID_RECORD',
    `record ${index} has no key: ${topic} is compacted (cleanup.policy=compact), which keeps the last record of each key`,
    { topic, index },
  )
}

/** The topic's own limit, or the broker's. */
export function messageBytesMax(context: GatewayContext, topic: TopicState): number {
  const own = topic.config['max.message.bytes']
  const limit = context.settings.batchBytesMax
  return own === undefined ? limit : Math.min(Number(own), limit)
}

/** Out of how many partitions a client says that it chose. @throws INVALID_PARTITIONS */
export function checkPartitions({ settings }: GatewayContext, partitions: number): number {
  const limit = settings.partitionsPerTopicMax
  if (partitions >= 1 && partitions <= limit) return partitions
  throw new LogloomError(
    'INVALID_PARTITIONS',
    `field partitions: ${partitions} partitions: use 1 to ${limit} (partitionsPerTopicMax)`,
    { limit, actual: partitions },
  )
}

/** Turns a refusal into the error that the client sees; `decided` says that it consumed the sequence. */
export function acceptedOrThrow(decision: Answer): Answer & { ok: true } {
  if (decision.ok) return decision
  throw new LogloomError(decision.code, decision.message, {
    ...decision.details,
    decided: decision.decided,
  })
}

/** The field of a reply to a request that a reconfiguration held up (protocol.md 7.2). */
export function sealedAndRetried({ sealedAndRetried: met }: Answer): Frame | undefined {
  if (met === undefined) return undefined
  const { index, pauseMs } = met
  return { sealedAndRetried: { index, pauseMs: Math.round(pauseMs * 10) / 10 } }
}

/** The `producer` field of a request on the command lane. */
export function producerIdentity(
  frame: Frame,
): { id: number; epoch: number; sequence: number } | undefined {
  if (frame.producer === undefined || frame.producer === null) return undefined
  const producer = map(frame, 'producer')
  return {
    id: uint(producer, 'id'),
    epoch: uint(producer, 'epoch'),
    sequence: uint(producer, 'sequence'),
  }
}

/** Requests in flight per lane of one connection. */
export class LaneCounter {
  private readonly lanes = new Map<string, number>()

  /** @throws LIMIT_EXCEEDED @returns the way to leave */
  enter(lane: string): () => void {
    const limit = wireLimits.producerInFlightMax
    const inFlight = (this.lanes.get(lane) ?? 0) + 1
    if (inFlight > limit)
      throw new LogloomError(
        'LIMIT_EXCEEDED',
        `more than ${limit} requests in flight on one lane of a producer (producerInFlightMax)`,
        {
          limit,
          actual: inFlight,
        },
      )
    this.lanes.set(lane, inFlight)
    return () => {
      const left = (this.lanes.get(lane) ?? 1) - 1
      if (left === 0) this.lanes.delete(lane)
      else this.lanes.set(lane, left)
    }
  }
}
