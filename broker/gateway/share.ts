// Operations of share groups (protocol.md 11). Deliveries and acknowledgements are commands in the log; here requests become commands, and what was
// acquired is read and sent along.

import { LogloomError } from '../../wire/errors.ts'
import { array, optArray, optBool, optStr, optUint, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { checkTopicName } from '../../wire/topic-name.ts'
import { type AckRun, ackTypes, type OffsetRun, type ShareAck } from '../state/share/commands.ts'
import type { ShareGroup } from '../state/share/share-group.ts'
import type { Acquired } from '../state/share/share-partition.ts'
import { placeKey } from '../state/share/share-group.ts'
import type { Call, Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import { checkMemberId, groupName, rowsOf, topicOf } from './groups.ts'
import { demandOf } from './share-demand.ts'
import { formatItems, type ReadFormat, readFormat } from './items.ts'
import { acceptedOrThrow } from './produce.ts'
import { memberKey } from './memberships.ts'
import { resultOf } from './repeated.ts'
import {
  acksPerRequestMax,
  deliveryCountLimitMax,
  partitionsPerShareFetchMax,
  recordLockDurationMsMax,
  releaseDelayMsMax,
  shareRecordsPerFetchMax,
} from './share-limits.ts'
import { topicsPerMemberMax } from './group-limits.ts'
import { asCommand } from './topics.ts'

const recordLockDurationMsDefault = 30_000
const deliveryCountLimitDefault = 5
const maxRecordsDefault = 500
const maxBytesDefault = 1 << 20
const maxWaitMsDefault = 500
/** Before a group is looked at again that seemed to have something and had not. */
const emptyPauseMs = 20

type Place = readonly [topicId: number, partition: number]
type TakenRow = readonly [...OffsetRun, deliveryCount: number]

/** Partitions of one group are asked in turn. */
let rotation = 0

/** Makes the group if there is none, and has it read these topics. */
export async function openShareGroup(context: GatewayContext, frame: Frame): Promise<Frame> {
  const group = groupName(frame)
  const names = array(frame, 'topics')
  if (names.length === 0)
    throw new LogloomError('INVALID_REQUEST', 'openShareGroup: name topics', { field: 'topics' })
  const topics: number[] = []
  for (const topic of atMost(names, 'topics', topicsPerMemberMax, 'topicsPerMemberMax'))
    topics.push((await topicOf(context, { topic })).id)
  const reset = optStr(frame, 'autoOffsetReset') ?? 'latest'
  if (reset !== 'earliest' && reset !== 'latest')
    throw new LogloomError(
      'INVALID_REQUEST',
      `field autoOffsetReset must be "earliest" or "latest", got ${JSON.stringify(reset.slice(0, 40))}`,
      { field: 'autoOffsetReset' },
    )
  const deliveryCountLimit = within(
    frame,
    'deliveryCountLimit',
    deliveryCountLimitDefault,
    deliveryCountLimitMax,
  )
  const keepsDead = optBool(frame, 'keepsDead') ?? false
  acceptedOrThrow(
    await context.broker.propose({
      type: 'openShareGroup',
      group,
      topics,
      reset,
      deliveryCountLimit,
      keepsDead,
    }),
  )
  return { group, deliveryCountLimit, keepsDead }
}

/** Requests for records that wait: whoever leaves waits no more. */
const waiting = new WeakMap<Connection, Map<string, AbortController>>()

/** Records that are the member's until their lock is over. A long poll as `fetch` is. */
export async function shareFetch(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
  call: Call,
): Promise<Frame> {
  const { settings } = context
  const name = groupName(frame)
  const memberId = checkMemberId(frame, 'memberId')
  const topics = topicNames(frame, optArray(frame, 'topics'))
  const maxRecords = within(frame, 'maxRecords', maxRecordsDefault, shareRecordsPerFetchMax)
  const lockMs = within(
    frame,
    'recordLockDurationMs',
    recordLockDurationMsDefault,
    recordLockDurationMsMax,
  )
  const maxBytes = Math.min(optUint(frame, 'maxBytes') ?? maxBytesDefault, settings.fetchBytesMax)
  const waitMs = Math.min(optUint(frame, 'maxWaitMs') ?? maxWaitMsDefault, settings.fetchWaitMsMax)
  const format = readFormat(frame)
  const left = beginToWait(connection, memberKey(name, memberId))
  const lease = { group: name, memberId, maxRecords, maxBytes, lockMs }
  try {
    return await poll(context, connection, call, {
      lease,
      topics,
      waitMs,
      format,
      left: left.signal,
    })
  } finally {
    endToWait(connection, memberKey(name, memberId), left)
  }
}

interface Poll {
  readonly lease: {
    readonly group: string
    readonly memberId: string
    readonly maxRecords: number
    readonly maxBytes: number
    readonly lockMs: number
  }
  readonly topics: readonly string[] | undefined
  readonly waitMs: number
  readonly format: ReadFormat
  readonly left: AbortSignal
}

const nothing: Frame = { waitedMs: 0, records: [] }

async function poll(
  context: GatewayContext,
  connection: Connection,
  call: Call,
  { lease, topics, waitMs, format, left }: Poll,
): Promise<Frame> {
  const { broker } = context
  const { group: name, memberId, maxBytes } = lease
  const demand = demandOf(broker)
  const begunMs = performance.now()
  const deadline = begunMs + waitMs
  if (broker.shareGroup(name) === undefined) await broker.fresh()
  for (;;) {
    connection.access?.must('group', name, 'read')
    const group = existingShareGroup(context, name)
    const places = readablePlaces(context, connection, placesOf(context, group, topics))
    const partitions = withSome(context, group, places)
    // Others may be about to take all there is.
    const isLeft = (): boolean => available(context, group, partitions) > demand.wanted(name)
    if (isLeft()) {
      const turn = connection.output.reserve(call, Math.max(maxBytes, 1))
      if (turn !== undefined) await turn
      // Whoever goes away must not lock what it will not get.
      if (connection.leaving || left.aborted) return nothing
      if (turn !== undefined && !isLeft()) {
        connection.output.release(call)
        continue
      }
      // Locks begin after this, whatever the answer takes.
      const waitedMs = Math.floor(performance.now() - begunMs)
      const end = demand.begin(name, lease.maxRecords)
      const decision = await broker
        .propose({ type: 'acquireRecords', ...lease, partitions })
        .finally(end)
      const { result = {} } = acceptedOrThrow(decision)
      const taken = result['taken'] as readonly TakenRow[]
      if (taken.length > 0)
        return {
          waitedMs,
          records: await deliver(context, { group: name, memberId }, taken, format, call),
        }
      connection.output.release(call)
    }
    const now = performance.now()
    if (now >= deadline || connection.leaving || left.aborted) return nothing
    const leftMs = Math.min(deadline - now, msToDue(context, group, places))
    const pauseMs = partitions.length > 0 ? emptyPauseMs : leftMs
    await somethingOr(context, connection, { group: name, places, ms: pauseMs, left })
    call.parkedMs += performance.now() - now
  }
}

/** @returns what was refused, because the member does not hold it; the rest took effect */
export async function shareAcknowledge(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const ack = await shareAckOf(context, frame)
  return asCommand(context, frame, connection, async producer => {
    const decision = await context.broker.propose({
      type: 'acknowledgeRecords',
      ...producer,
      ...ack,
    })
    const result = resultOf(acceptedOrThrow(decision), { optional: ['refused'] })
    const refused = (result['refused'] ?? []) as readonly OffsetRun[]
    return {
      refused: refused.map(([topicId, partition, offset, count]) => ({
        topic: context.broker.topicById(topicId)?.name ?? '',
        partition,
        offset,
        count,
      })),
    }
  })
}

/** Gives back what the member holds, besides `except`, at once and as if it had not been delivered. */
export async function leaveShareGroup(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const group = groupName(frame)
  const memberId = checkMemberId(frame, 'memberId')
  waiting.get(connection)?.get(memberKey(group, memberId))?.abort()
  const except: OffsetRun[] = []
  for (const row of optArray(frame, 'except') === undefined ? [] : rowsOf(frame, 'except')) {
    const topic = context.broker.topicByName(str(row, 'topic'))
    if (topic !== undefined)
      except.push([topic.id, uint(row, 'partition'), uint(row, 'offset'), runLength(row)])
  }
  atMostAcks(except)
  const { result = {} } = acceptedOrThrow(
    await context.broker.propose({ type: 'releaseRecords', group, memberId, except }),
  )
  return { released: result['released'] }
}

/** The fields of `shareAcknowledge`, or the `ack` of a publish. @throws INVALID_REQUEST, UNKNOWN_TOPIC, LIMIT_EXCEEDED */
export async function shareAckOf(context: GatewayContext, frame: Frame): Promise<ShareAck> {
  const acks: AckRun[] = []
  for (const row of rowsOf(frame, 'records')) {
    const topic = await topicOf(context, row)
    const { partition } = await context.topics.partitionSoon(topic, uint(row, 'partition'))
    const name = str(row, 'type')
    const type = (ackTypes as Readonly<Record<string, number | undefined>>)[name]
    if (type === undefined)
      throw new LogloomError(
        'INVALID_REQUEST',
        `records: type ${JSON.stringify(name.slice(0, 40))} is none of ${Object.keys(ackTypes).join(', ')}`,
        { field: 'type' },
      )
    const ms =
      name === 'renew'
        ? within(row, 'recordLockDurationMs', recordLockDurationMsDefault, recordLockDurationMsMax)
        : within(row, 'delayMs', 0, releaseDelayMsMax)
    acks.push([topic.id, partition, uint(row, 'offset'), runLength(row), type, ms])
  }
  atMostAcks(acks)
  return { group: groupName(frame), memberId: checkMemberId(frame, 'memberId'), acks }
}

export function existingShareGroup({ broker }: GatewayContext, name: string): ShareGroup {
  const group = broker.shareGroup(name)
  if (group !== undefined) return group
  if (broker.group(name) !== undefined)
    throw new LogloomError('INCONSISTENT_GROUP_PROTOCOL', `${name} is a consumer group`, {
      group: name,
      kind: 'consumer',
    })
  throw new LogloomError('UNKNOWN_GROUP', `share group ${name} does not exist`, { group: name })
}

/** Reads what was acquired; what cannot be read now is given back. */
async function deliver(
  context: GatewayContext,
  who: { readonly group: string; readonly memberId: string },
  taken: readonly TakenRow[],
  format: ReadFormat,
  call: Call,
): Promise<readonly Frame[]> {
  const byPlace = new Map<string, { readonly place: Place; readonly runs: Acquired[] }>()
  for (const [topicId, partition, ...run] of taken) {
    const key = placeKey(topicId, partition)
    const found = byPlace.get(key)
    if (found === undefined) byPlace.set(key, { place: [topicId, partition], runs: [run] })
    else found.runs.push(run)
  }
  try {
    const records: Frame[] = []
    for (const { place, runs } of byPlace.values()) {
      const topic = context.broker.topicById(place[0])
      if (topic === undefined) continue
      const items = await itemsOf(context, place, runs, format, call)
      records.push({ topic: topic.name, partition: place[1], acquired: runs, items })
      const traffic = context.stats.topic(topic.name)
      traffic.fetchRecords += runs.reduce((sum, [, count]) => sum + count, 0)
    }
    return records
  } catch (error) {
    const acks = taken.map(
      ([topicId, partition, first, count]): AckRun => [
        topicId,
        partition,
        first,
        count,
        ackTypes.release,
        0,
      ],
    )
    await context.broker.propose({ type: 'acknowledgeRecords', ...who, acks }).catch(() => {})
    throw error
  }
}

/** Each batch in which something of the runs lies, once; where nothing lies any more a gap. */
async function itemsOf(
  { broker, stats }: GatewayContext,
  [topicId, partition]: Place,
  runs: readonly Acquired[],
  format: ReadFormat,
  call: Call,
): Promise<readonly Frame[]> {
  const items: Frame[] = []
  const traffic = stats.topic(broker.topicById(topicId)?.name ?? '')
  let covered = 0
  for (const [first, count] of runs)
    for (let from = Math.max(first, covered); from < first + count; from = covered) {
      const start = broker.topicById(topicId)?.partitions[partition]?.start ?? 0
      if (from < start) {
        items.push({ gap: 'trimmed', offset: from, next: start })
        covered = start
        continue
      }
      const result = await broker.read(topicId, partition, from, 1)
      traffic.fetchBytes += result.bytes
      call.readBytes += result.bytes
      const formatted = await formatItems(result, from, format)
      // Views of the cache do not outlive this turn.
      for (const { batch, ...item } of formatted.items)
        items.push(batch === undefined ? item : { ...item, batch: (batch as Uint8Array).slice() })
      if (formatted.next <= from) break
      covered = formatted.next
    }
  return items
}

/** Partitions of the group's topics, or of those among them that the member names. */
function placesOf(
  { broker }: GatewayContext,
  group: ShareGroup,
  topics: readonly string[] | undefined,
): readonly Place[] {
  const places: Place[] = []
  for (const id of group.topics) {
    const topic = broker.topicById(id)
    if (topic === undefined || topics?.includes(topic.name) === false) continue
    for (const { partition } of topic.partitions) places.push([id, partition])
  }
  return places
}

/** Those of topics that the member may read. @throws AUTHORIZATION_FAILED when none of many are */
function readablePlaces(
  { broker }: GatewayContext,
  { access }: Connection,
  places: readonly Place[],
): readonly Place[] {
  if (access === undefined) return places
  const nameOf = ([topicId]: Place): string => broker.topicById(topicId)?.name ?? ''
  const readable = places.filter(place => access.may('topic', nameOf(place), 'read'))
  const [first] = places
  if (readable.length === 0 && first !== undefined)
    throw access.hiddenDenial('topic', nameOf(first), 'read')
  return readable
}

/** Those that have something to deliver, beginning at another one each time. */
function withSome(
  context: GatewayContext,
  group: ShareGroup,
  places: readonly Place[],
): readonly Place[] {
  const found: Place[] = []
  const begin = rotation++
  for (let i = 0; i < places.length && found.length < partitionsPerShareFetchMax; i++) {
    const place = places[(begin + i) % places.length] as Place
    if (availableAt(context, group, place) > 0) found.push(place)
  }
  return found
}

/** Records that an acquire would find there now; those of a partition whose lock or delay is over count as one. */
function available(context: GatewayContext, group: ShareGroup, places: readonly Place[]): number {
  return places.reduce((sum, place) => sum + availableAt(context, group, place), 0)
}

function availableAt(
  { broker }: GatewayContext,
  group: ShareGroup,
  [topicId, partition]: Place,
): number {
  const state = broker.topicById(topicId)?.partitions[partition]
  if (state === undefined) return 0
  const share = group.partitions.get(placeKey(topicId, partition))
  return share?.available(broker.now, state.next) ?? state.next - state.start
}

function msToDue({ broker }: GatewayContext, group: ShareGroup, places: readonly Place[]): number {
  let due = Number.POSITIVE_INFINITY
  for (const [topicId, partition] of places)
    due = Math.min(due, group.partitions.get(placeKey(topicId, partition))?.due ?? due)
  return Math.max(0, due - broker.now)
}

function somethingOr(
  { broker, timers }: GatewayContext,
  connection: Connection,
  wait: {
    readonly group: string
    readonly places: readonly Place[]
    readonly ms: number
    readonly left: AbortSignal
  },
): Promise<void> {
  const { group, places, ms, left } = wait
  return new Promise(resolve => {
    const wake = (): void => {
      for (const stop of stops) stop()
      left.removeEventListener('abort', wake)
      resolve()
    }
    left.addEventListener('abort', wake)
    const stops = [
      broker.onShareGroup(group, wake),
      demandOf(broker).onEnd(group, wake),
      timers.after(ms, wake),
      connection.onLeaving(wake),
      ...places.map(([topicId, partition]) => broker.onAppend(topicId, partition, wake)),
    ]
    if (connection.access !== undefined) stops.push(connection.onRecheck(wake))
  })
}

/** One request of a member waits at a time: what it asked before on this connection ends. */
function beginToWait(connection: Connection, key: string): AbortController {
  const keys = waiting.get(connection) ?? new Map<string, AbortController>()
  waiting.set(connection, keys)
  keys.get(key)?.abort()
  const left = new AbortController()
  keys.set(key, left)
  return left
}

function endToWait(connection: Connection, key: string, left: AbortController): void {
  const keys = waiting.get(connection)
  if (keys?.get(key) === left) keys.delete(key)
}

/** @throws INVALID_TOPIC_NAME, INVALID_REQUEST, LIMIT_EXCEEDED */
function topicNames(
  frame: Frame,
  names: readonly unknown[] | undefined,
): readonly string[] | undefined {
  if (names === undefined) return undefined
  return atMost(names, 'topics', topicsPerMemberMax, 'topicsPerMemberMax').map(topic => {
    const name = str({ ...frame, topics: topic }, 'topics')
    checkTopicName(name)
    return name
  })
}

/** How many neighbours a row is about: 1 unless it says otherwise. */
function runLength(row: Frame): number {
  return within(row, 'count', 1, acksPerRequestMax)
}

function atMostAcks(runs: readonly (OffsetRun | AckRun)[]): void {
  const actual = runs.reduce((sum, [, , , count]) => sum + count, 0)
  if (actual <= acksPerRequestMax) return
  throw new LogloomError(
    'LIMIT_EXCEEDED',
    `${actual} records, the limit is ${acksPerRequestMax} (acksPerRequestMax)`,
    { limit: acksPerRequestMax, actual },
  )
}

function atMost<T>(items: readonly T[], field: string, limit: number, name: string): readonly T[] {
  if (items.length <= limit) return items
  throw new LogloomError(
    'LIMIT_EXCEEDED',
    `${items.length} ${field}, the limit is ${limit} (${name})`,
    { limit, actual: items.length },
  )
}

/** A number of at least 1, or at least 0 where the default is. @throws INVALID_REQUEST */
function within(frame: Frame, key: string, byDefault: number, max: number): number {
  const value = optUint(frame, key) ?? byDefault
  const min = Math.min(1, byDefault)
  if (value >= min && value <= max) return value
  throw new LogloomError('INVALID_REQUEST', `field ${key}: ${value}: use ${min} to ${max}`, {
    field: key,
    limit: max,
    actual: value,
  })
}
