// Topic operations (protocol.md 2).

import { LogloomError } from '../../wire/errors.ts'
import { optBool, optMap, optStr, optUint, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { checkTopicName } from '../../wire/topic-name.ts'
import type { Settings } from '../settings.ts'
import type { PartitionState, TopicState } from '../state/topics.ts'
import type { Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import { checkMemberId } from './groups.ts'
import { acceptedOrThrow, checkPartitions, producerIdentity } from './produce.ts'
import { resultOf } from './repeated.ts'
import { mustOwn, ownerName, ownTransactionalId } from './producer-owner.ts'
import { asOfPosition, offsetSpec } from './offset-spec.ts'
import { checkTopicQuota, ownerKey, ownerOf, ownership, settableConfig } from './topic-quota.ts'
import { clusterName } from '../security/grant.ts'
import type { Quota } from '../security/quota.ts'
import { epochAt } from '../state/past.ts'

/** Configuration keys that have an effect, with what they accept. All others are refused, not stored. */
const configKeys: Readonly<Record<string, ConfigKey>> = {
  'max.message.bytes': { min: 128, max: settings => settings.batchBytesMax },
  'retention.ms': { min: -1, max: unlimited },
  'retention.bytes': { min: -1, max: unlimited },
  'cleanup.policy': { values: ['delete', 'compact', 'compact,delete', 'delete,compact'] },
  'min.cleanable.dirty.ratio': { min: 0, max: () => 1, isShare: true },
  'delete.retention.ms': { min: 0, max: unlimited },
  'min.compaction.lag.ms': { min: 0, max: unlimited },
}

type ConfigKey =
  | {
      readonly min: number
      readonly max: (settings: Settings) => number
      /** Takes fractions. */
      readonly isShare?: true
    }
  | { readonly values: readonly string[] }

function unlimited(): number {
  return Number.MAX_SAFE_INTEGER
}

export async function createTopic(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const topic = str(frame, 'topic')
  checkTopicName(topic)
  const partitions = checkPartitions(
    context,
    optUint(frame, 'partitions') ?? context.settings.numPartitions,
  )
  const ifNotExists = optBool(frame, 'ifNotExists') ?? false
  const { principal } = connection
  const config = { ...topicConfig(context, frame), ...ownership(principal) }
  const { broker, load } = context
  const quotaOf = (name: string): Quota => load.accounts.quotaOf(name)
  if (broker.topicByName(topic) === undefined)
    checkTopicQuota(broker, quotaOf, principal.name, { topics: 1, partitions })
  return asCommand(context, frame, connection, async producer => {
    const decision = await context.broker.propose({
      type: 'createTopic',
      ...producer,
      topic,
      partitions,
      config,
      ifNotExists,
    })
    return resultOf(acceptedOrThrow(decision), {
      about: { topic },
      names: ['topicId', 'partitions', 'created'],
    })
  })
}

export async function deleteTopic(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const name = str(frame, 'topic')
  const topicId = await topicIdFor(context, frame, name)
  return asCommand(context, frame, connection, async producer => {
    const decision = await context.broker.propose({ type: 'deleteTopic', ...producer, topicId })
    return resultOf(acceptedOrThrow(decision), { about: { topic: name }, names: ['topicId'] })
  })
}

export async function alterTopic(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const topic = str(frame, 'topic')
  const topicId = await topicIdFor(context, frame, topic)
  const config = topicConfig(context, frame)
  const asked = optUint(frame, 'partitions')
  const partitions = asked === undefined ? undefined : checkPartitions(context, asked)
  if (Object.keys(config).length === 0 && partitions === undefined)
    throw new LogloomError(
      'INVALID_CONFIG',
      'alterTopic: neither config nor partitions were given',
      {},
      { hint: 'give at least one key=value, or a number of partitions' },
    )
  if (partitions !== undefined) checkMorePartitions(context, topicId, partitions)
  return asCommand(context, frame, connection, async producer => {
    const change = { ...producer, topicId, config }
    const decision = await context.broker.propose(
      partitions === undefined
        ? { type: 'alterTopic', ...change }
        : { type: 'addPartitions', ...change, partitions },
    )
    context.broker.enforceRetention()
    const result = resultOf(acceptedOrThrow(decision), {
      about: { topic },
      names: ['config'],
      optional: ['partitions'],
    })
    return { ...result, config: settableConfig(result.config as Record<string, string>) }
  })
}

/** They count for whoever made the topic. @throws QUOTA_EXCEEDED */
function checkMorePartitions(
  { broker, load }: GatewayContext,
  topicId: number,
  partitions: number,
): void {
  const topic = broker.topicById(topicId)
  const more = partitions - (topic?.partitions.length ?? partitions)
  if (topic === undefined || more <= 0) return
  const quotaOf = (name: string): Quota => load.accounts.quotaOf(name)
  checkTopicQuota(broker, quotaOf, ownerOf(topic), { topics: 0, partitions: more })
}

/** Kafka's DeleteRecords, of one partition. */
export async function deleteRecords(context: GatewayContext, frame: Frame): Promise<Frame> {
  const topic = await currentTopic(context, frame)
  const { partition } = context.topics.partition(topic, uint(frame, 'partition'))
  const decision = await context.broker.propose({
    type: 'deleteRecords',
    topicId: topic.id,
    partition,
    before: uint(frame, 'before'),
  })
  return { ...acceptedOrThrow(decision).result }
}

/** Those that may be described. */
export async function listTopics(
  context: GatewayContext,
  _frame: Frame,
  { access }: Connection,
): Promise<Frame> {
  await context.broker.fresh()
  const all = [...context.broker.topics()]
  const shown = access === undefined ? all : all.filter(({ name }) => access.maySee('topic', name))
  const topics = shown.map(topic => ({
    topic: topic.name,
    topicId: topic.id,
    partitions: topic.partitions.length,
    records: sum(topic, p => p.next - p.start),
    bytes: sum(topic, p => p.bytes),
  }))
  return { topics: topics.sort((a, b) => (a.topic < b.topic ? -1 : 1)) }
}

/**
 * With `allowStale` a topic that is known here is described even when nobody can say whether that is the newest. Whose quota it counts for is
 * told to those only who may describe the cluster: a page that reads a topic need not learn the names of principals.
 */
export async function describeTopic(
  context: GatewayContext,
  frame: Frame,
  { access }: Connection,
): Promise<Frame> {
  const topic = await currentTopic(context, frame).catch((error: unknown) => {
    const isUnavailable = error instanceof LogloomError && error.code === 'LOG_UNAVAILABLE'
    const known = context.broker.topicByName(str(frame, 'topic'))
    if (optBool(frame, 'allowStale') === true && isUnavailable && known !== undefined) return known
    throw error
  })
  const isOwned = topic.config[ownerKey] !== undefined
  const isOperator = access === undefined || access.may('cluster', clusterName, 'describe')
  return {
    topic: topic.name,
    topicId: topic.id,
    config: settableConfig(topic.config),
    ...(isOwned && isOperator ? { owner: ownerOf(topic) } : {}),
    createdAt: topic.createdAt,
    epochs: topic.epochs.map(epoch => ({ ...epoch })),
    partitions: topic.partitions.map(({ partition, start, next, bytes }) => ({
      partition,
      startOffset: start,
      endOffset: next,
      bytes,
    })),
  }
}

export async function listOffsets(context: GatewayContext, frame: Frame): Promise<Frame> {
  const { broker } = context
  const topic = await currentTopic(context, frame)
  const at = offsetSpec(frame, 'at')
  const asOf = await asOfPosition(context, frame)
  const asked = optUint(frame, 'partition')
  const count = asOf === undefined ? topic.partitions.length : epochAt(topic, asOf).partitions
  const partitions =
    asked === undefined
      ? topic.partitions.slice(0, count)
      : [context.topics.partition(topic, asked)]
  const offsets: { partition: number; offset: number }[] = []
  for (const { partition } of partitions) {
    const past = asOf === undefined ? undefined : broker.past(topic.id, partition, asOf)
    offsets.push({ partition, offset: await broker.offsetAt(topic.id, partition, at, past) })
  }
  return { offsets }
}

export async function initProducer(
  context: GatewayContext,
  frame: Frame,
  { principal }: Connection,
): Promise<Frame> {
  const producerId = optUint(frame, 'producerId')
  const producerEpoch = optUint(frame, 'producerEpoch')
  const transactionalId = optStr(frame, 'transactionalId')
  if (transactionalId !== undefined) checkMemberId(frame, 'transactionalId')
  if (producerId !== undefined) await mustOwn(context.broker, { principal }, producerId)
  const owner = ownerName(principal)
  const decision = await context.broker.propose({
    type: 'initProducer',
    ...(producerId === undefined ? {} : { producerId }),
    ...(producerEpoch === undefined ? {} : { producerEpoch }),
    ...(transactionalId === undefined
      ? {}
      : { transactionalId: ownTransactionalId(principal, transactionalId) }),
    ...(owner === undefined ? {} : { owner }),
  })
  return { ...acceptedOrThrow(decision).result }
}

/** No topic has this number. */
const noTopic = 0

/**
 * The number of the topic that a command is about. With a producer identity a missing topic is for the log to decide: the request may
 * be a retry of the one that deleted it, and then has its answer already.
 */
async function topicIdFor(context: GatewayContext, frame: Frame, name: string): Promise<number> {
  try {
    return (await context.topics.find(name)).id
  } catch (error) {
    const isMissing = error instanceof LogloomError && error.code === 'UNKNOWN_TOPIC'
    if (isMissing && producerIdentity(frame) !== undefined) return noTopic
    throw error
  }
}

/** The topic with everything that was acked before the request. */
async function currentTopic(context: GatewayContext, frame: Frame): Promise<TopicState> {
  const name = str(frame, 'topic')
  checkTopicName(name)
  await context.broker.fresh()
  return context.topics.find(name)
}

/** Runs a request on its producer's command lane, when it has one. */
export async function asCommand(
  { broker }: GatewayContext,
  frame: Frame,
  connection: Connection,
  run: (producer: { producer?: { id: number; epoch: number; sequence: number } }) => Promise<Frame>,
): Promise<Frame> {
  const producer = producerIdentity(frame)
  if (producer === undefined) return run({})
  const owned = mustOwn(broker, connection, producer.id)
  if (owned !== undefined) await owned
  const leave = connection.enterLane(`${producer.id}/command`)
  try {
    return await run({ producer })
  } finally {
    leave()
  }
}

function topicConfig(context: GatewayContext, frame: Frame): Record<string, string> {
  return topicConfigOf(context, optMap(frame, 'config') ?? {})
}

/**
 * The configuration as it is stored; with `keepsOwner` as it was elsewhere, whoever made the topic.
 * @throws INVALID_CONFIG for keys without effect and values outside their range
 */
export function topicConfigOf(
  context: GatewayContext,
  given: Frame,
  keepsOwner = false,
): Record<string, string> {
  const config: Record<string, string> = {}
  for (const [key, value] of Object.entries(given)) {
    if (keepsOwner && key === ownerKey) {
      config[key] = textOf(key, value)
      continue
    }
    const known = Object.hasOwn(configKeys, key) ? configKeys[key] : undefined
    if (known === undefined)
      throw new LogloomError(
        'INVALID_CONFIG',
        `configuration key ${key.slice(0, 100)} has no effect in this version`,
        {
          key,
          known: Object.keys(configKeys),
        },
      )
    config[key] = configValue(context.settings, key, known, textOf(key, value))
  }
  return config
}

/** A map or a list would say what it likes when it is asked for its text. @throws INVALID_CONFIG */
function textOf(key: string, value: unknown): string {
  if (typeof value === 'string') return value.trim()
  if (typeof value === 'number' || typeof value === 'bigint') return String(value)
  throw new LogloomError('INVALID_CONFIG', `${key}: the value is no text and no number`, { key })
}

/** The value as it is stored. @throws INVALID_CONFIG */
function configValue(settings: Settings, key: string, known: ConfigKey, value: string): string {
  const actual = value.slice(0, 100)
  if ('values' in known) {
    const name = value.replaceAll(' ', '')
    if (known.values.includes(name)) return name
    const use = known.values.slice(0, 3).join(', ')
    throw new LogloomError('INVALID_CONFIG', `${key}=${actual}: use one of ${use}`, { key, actual })
  }
  const { min, isShare = false } = known
  const max = known.max(settings)
  const number = value === '' ? Number.NaN : Number(value)
  const isKind = isShare ? Number.isFinite(number) : Number.isSafeInteger(number)
  if (isKind && number >= min && number <= max) return String(number)
  throw new LogloomError(
    'INVALID_CONFIG',
    `${key}=${actual}: use a ${isShare ? '' : 'whole '}number from ${min} to ${max}`,
    { key, limit: max, actual },
  )
}

function sum(topic: TopicState, pick: (partition: PartitionState) => number): number {
  return topic.partitions.reduce((total, p) => total + pick(p), 0)
}
