// Snapshots and restores (protocol.md 13). The broker gives out its state at one position, holds retention and compaction meanwhile, and takes a restore
// as commands; files are the client's.

import { randomBytes } from 'node:crypto'
import { LogloomError } from '../../wire/errors.ts'
import { bin, optBin, optBool, optUint, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { chunkTypes } from '../snapshot/format.ts'
import { ItemsError, parseItems } from '../snapshot/items.ts'
import {
  packNumbers,
  parseGroups,
  parseProducers,
  parseRights,
  parseShareGroups,
  parseTopics,
  RowsError,
} from '../snapshot/rows.ts'
import type { TopicState } from '../state/topics.ts'
import { isHidden } from '../state/topics.ts'
import type { GatewayContext } from './context.ts'
import { acceptedOrThrow, checkPartitions } from './produce.ts'
import { topicConfigOf } from './topics.ts'

/** How long a hold lasts when nobody says otherwise, ms, and at most; a client renews it. */
const holdMsDefault = 60_000
const holdMsMax = 600_000
/** Characters of the name of a restore. */
const restoreIdLengthMax = 64
/** Rows of `describeRestore` in one reply. */
const restoredTopicsShown = 1000

export async function openSnapshot(context: GatewayContext, frame: Frame): Promise<Frame> {
  const { broker, settings, snapshots, version } = context
  const ms = holdMs(frame)
  const security = optBool(frame, 'security') ?? false
  snapshots.checkRoom()
  const id = randomBytes(16).toString('hex')
  const { snapshotHoldMsMax: maxMs } = settings
  const decision = acceptedOrThrow(
    await broker.propose({ type: 'holdSnapshot', hold: id, ms, maxMs, begins: true }),
  )
  try {
    // Everything acked before the request, by whichever broker.
    await broker.fresh()
    const image = broker.captureImage(security)
    snapshots.keep(id, image, ms)
    const { position, time, nextProducerId, pages } = image
    return {
      snapshot: id,
      position,
      time,
      nextProducerId,
      pages: pages.length,
      holdMs: Math.min(ms, maxMs),
      until: decision.result?.until,
      clusterId: settings.clusterId,
      version,
    }
  } catch (error) {
    await broker.propose({ type: 'releaseSnapshot', hold: id }).catch(() => {})
    throw error
  }
}

export function readSnapshot({ snapshots }: GatewayContext, frame: Frame): Frame {
  const { type, page } = snapshots.page(idOf(frame, 'snapshot'), uint(frame, 'page'))
  return { kind: type, page }
}

export async function renewSnapshot(context: GatewayContext, frame: Frame): Promise<Frame> {
  const { broker, settings, snapshots } = context
  const [hold, ms] = [idOf(frame, 'snapshot'), holdMs(frame)]
  const { snapshotHoldMsMax: maxMs } = settings
  const decision = await broker.propose({ type: 'holdSnapshot', hold, ms, maxMs, begins: false })
  const { result } = acceptedOrThrow(decision)
  snapshots.renew(hold, ms)
  return { until: result?.until, time: result?.time }
}

export async function closeSnapshot(context: GatewayContext, frame: Frame): Promise<Frame> {
  const hold = idOf(frame, 'snapshot')
  context.snapshots.drop(hold)
  const decision = await context.broker.propose({ type: 'releaseSnapshot', hold })
  return { lasted: acceptedOrThrow(decision).result?.lasted }
}

/** One topic of an archive, by its row there and under the name it is to have. */
export async function restoreTopic(context: GatewayContext, frame: Frame): Promise<Frame> {
  const restore = idOf(frame, 'restore')
  const index = uint(frame, 'index')
  const row = checked(() => parseTopics(bin(frame, 'page'))[0])
  if (row === undefined) throw invalid('page', 'holds no topic')
  const config = topicConfigOf(context, { ...row.config }, true)
  checkPartitions(context, row.ranges.length)
  const decision = await context.broker.propose({
    type: 'restoreTopic',
    restore,
    index,
    topic: row.topic,
    config,
    createdAt: row.createdAt,
    epochs: row.epochs,
    ranges: packNumbers(row.ranges.flat()),
  })
  return { ...acceptedOrThrow(decision).result }
}

export async function restoreBatches(context: GatewayContext, frame: Frame): Promise<Frame> {
  const { broker } = context
  const [restore, index] = [idOf(frame, 'restore'), uint(frame, 'index')]
  const [number, after] = [uint(frame, 'partition'), uint(frame, 'after')]
  const items = checked(() => parseItems(bin(frame, 'items'), context.settings.batchBytesMax))
  const last = items.at(-1)
  if (last === undefined) throw invalid('items', 'is empty')
  const topic = restored(context, restore, index)
  const { partition, next } = context.topics.partition(topic, number)
  // Offsets only grow, so what is there now is there.
  if (last.next <= next || !isHidden(topic)) return { next, taken: 0 }
  const decision = await broker.propose({
    type: 'restoreBatches',
    topicId: topic.id,
    partition,
    after,
    items,
  })
  return { ...acceptedOrThrow(decision).result }
}

export async function restoreState(context: GatewayContext, frame: Frame): Promise<Frame> {
  const restore = idOf(frame, 'restore')
  const page = optBin(frame, 'page')
  const nextProducerId = optUint(frame, 'nextProducerId')
  const rows = page === undefined ? {} : checked(() => rowsOf(str(frame, 'kind'), page))
  const decision = await context.broker.propose({
    type: 'restoreState',
    restore,
    ...rows,
    ...(nextProducerId === undefined ? {} : { nextProducerId }),
  })
  return { ...acceptedOrThrow(decision).result }
}

export async function finishRestore(context: GatewayContext, frame: Frame): Promise<Frame> {
  const restore = idOf(frame, 'restore')
  const topics = uint(frame, 'topics')
  const decision = await context.broker.propose({ type: 'finishRestore', restore, topics })
  context.broker.enforceRetention()
  return { ...acceptedOrThrow(decision).result }
}

export async function dropRestore(context: GatewayContext, frame: Frame): Promise<Frame> {
  const restore = idOf(frame, 'restore')
  const decision = await context.broker.propose({ type: 'dropRestore', restore })
  return { ...acceptedOrThrow(decision).result }
}

/** How far a restore has come: `next` has the offset up to which each partition is there. Without `restore` those that are not finished. */
export async function describeRestore(context: GatewayContext, frame: Frame): Promise<Frame> {
  if (frame.restore === undefined || frame.restore === null) return unfinished(context)
  const restore = idOf(frame, 'restore')
  const from = optUint(frame, 'from') ?? 0
  await context.broker.fresh()
  const made = [...context.broker.restoredTopics(restore)]
    .filter(([index]) => index >= from)
    .sort(([a], [b]) => a - b)
  const topics = made.slice(0, restoredTopicsShown).map(([index, topic]) => ({
    index,
    topic: topic.name,
    done: !isHidden(topic),
    next: packNumbers(topic.partitions.map(({ next }) => next)),
  }))
  return { topics, more: made.length > topics.length }
}

async function unfinished({ broker }: GatewayContext): Promise<Frame> {
  await broker.fresh()
  const restores = new Map<string, { topics: number; bytes: number }>()
  for (const { partitions, restore } of broker.hiddenTopics()) {
    const id = restore?.id ?? ''
    const { topics, bytes } = restores.get(id) ?? { topics: 0, bytes: 0 }
    const more = partitions.reduce((sum, partition) => sum + partition.bytes, 0)
    restores.set(id, { topics: topics + 1, bytes: bytes + more })
  }
  const rows = [...restores].map(([restore, row]) => ({ restore, ...row }))
  return { restores: rows.slice(0, restoredTopicsShown) }
}

function rowsOf(kind: string, page: Uint8Array) {
  if (kind === 'groups') return { groups: parseGroups(page) }
  if (kind === 'shares') return { shares: parseShareGroups(page) }
  if (kind === 'producers') return { producers: parseProducers(page) }
  if (kind === 'security') return { rights: parseRights(page) }
  const known = Object.keys(chunkTypes).join(', ')
  throw invalid('kind', `${JSON.stringify(kind.slice(0, 40))} is none of ${known} that is restored`)
}

/** A topic that the restore has made. Known here once it was acked to anybody who then asks here. */
function restored(context: GatewayContext, restore: string, index: number): TopicState {
  const topic = context.broker.restoredTopics(restore).get(index)
  if (topic !== undefined) return topic
  // Another broker may have made it: this one will hear of it.
  throw new LogloomError(
    'UNKNOWN_TOPIC',
    `restore ${restore} has no topic ${index} here`,
    { topic: '', autoCreate: false },
    { retriable: true, hint: 'call restoreTopic first' },
  )
}

function holdMs(frame: Frame): number {
  return Math.min(Math.max(optUint(frame, 'holdMs') ?? holdMsDefault, 1), holdMsMax)
}

function idOf(frame: Frame, key: string): string {
  const id = str(frame, key)
  if (id.length >= 1 && id.length <= restoreIdLengthMax && /^[\x21-\x7e]+$/.test(id)) return id
  throw invalid(key, `must be 1 to ${restoreIdLengthMax} visible ASCII characters`)
}

/** What a client sent and is none of it is the client's error. */
function checked<T>(parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (error instanceof RowsError || error instanceof ItemsError)
      throw new LogloomError('INVALID_REQUEST', error.message, {}, { cause: error })
    throw error
  }
}

function invalid(field: string, reason: string): LogloomError {
  return new LogloomError('INVALID_REQUEST', `field ${field} ${reason}`, { field })
}
