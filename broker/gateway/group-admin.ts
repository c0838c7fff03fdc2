// What operators ask about consumer groups (protocol.md 10.4): list, describe, reset. Lag is exact: records from the committed offset to the end, and the
// age of the first record that was not committed, by its append time.

import { LogloomError } from '../../wire/errors.ts'
import { optArray, optBool, optInt } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { checkTopicName } from '../../wire/topic-name.ts'
import type { Access } from '../security/authorizer.ts'
import { claimKey, committed, type Group, membersOf, placesIn } from '../state/groups/group.ts'
import { placeKey } from '../state/share/share-group.ts'
import type { PartitionState } from '../state/topics.ts'
import type { Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import { groupName } from './groups.ts'
import { offsetSpec } from './offset-spec.ts'
import { shareDescription, shareListing, sharePlaces } from './share-admin.ts'
import { acceptedOrThrow } from './produce.ts'

/** Those that may be described. */
export async function listGroups(
  context: GatewayContext,
  _frame: Frame,
  { access }: Connection,
): Promise<Frame> {
  const { broker } = context
  await broker.fresh()
  const isShown = ({ name }: { readonly name: string }): boolean =>
    access?.maySee('group', name) !== false
  const groups = [...broker.groups()].filter(isShown).map(group => ({
    group: group.name,
    type: 'consumer',
    state: stateOf(group),
    members: group.members.size,
    assignor: group.assignor,
    generation: group.generation,
    lag: lagOf(context, group),
  }))
  const shares = [...broker.shareGroups()]
    .filter(isShown)
    .map(group => shareListing(context, group))
  return { groups: [...groups, ...shares].sort((a, b) => (a.group < b.group ? -1 : 1)) }
}

/** Topics that may not be described are left out. */
export async function describeGroup(
  context: GatewayContext,
  frame: Frame,
  { access }: Connection,
): Promise<Frame> {
  const { broker } = context
  const name = groupName(frame)
  await broker.fresh()
  const share = broker.shareGroup(name)
  const isShown = (topic: string): boolean => access?.maySee('topic', topic) !== false
  if (share !== undefined) return shareDescription(context, share, isShown)
  const group = existing(context, name)
  return {
    group: name,
    type: 'consumer',
    state: stateOf(group),
    assignor: group.assignor,
    generation: group.generation,
    members: membersOf(group).map(member => ({
      memberId: member.id,
      groupInstanceId: member.instanceId ?? null,
      attached: member.session !== undefined,
      node: broker.nodeOfSession(member.session) ?? null,
      topics: member.topics.filter(isShown),
      pattern: member.pattern ?? null,
      partitions: [...group.claims.values()].filter(({ owner }) => owner === member.id).length,
    })),
    partitions: placesOf(context, group).filter(({ topic }) => isShown(topic)),
  }
}

/** `to` as `from` of a read, or `{ shift: N }` from where each partition is. With `dryRun` nothing is changed. */
export async function resetOffsets(
  context: GatewayContext,
  frame: Frame,
  { access }: Connection,
): Promise<Frame> {
  const { broker } = context
  const name = groupName(frame)
  await broker.fresh()
  const group = broker.group(name)
  const share = broker.shareGroup(name)
  const topics = optArray(frame, 'topics')
  if (group === undefined && share === undefined && topics === undefined) existing(context, name)
  const offsets: { topic: string; partition: number; from: number | null; to: number }[] = []
  const rows: [number, number, number][] = []
  const places =
    topics === undefined
      ? (sharePlaces(context, share) ?? committedPlaces(context, group))
      : topics.flatMap(topic => partitionsOf(context, topic))
  for (const { topicId } of places) mustReadOne(access, broker.topicById(topicId)?.name ?? '')
  for (const state of places) {
    const { topicId, partition } = state
    const from =
      share === undefined
        ? group && committed(group, topicId, partition)?.offset
        : share.partitions.get(placeKey(topicId, partition))?.start
    const to = await targetOf(context, frame, state, from)
    rows.push([topicId, partition, to])
    const topic = broker.topicById(topicId)?.name ?? ''
    offsets.push({ topic, partition, from: from ?? null, to })
  }
  if (optBool(frame, 'dryRun') !== true)
    acceptedOrThrow(await broker.propose({ type: 'resetOffsets', group: name, offsets: rows }))
  return { group: name, offsets }
}

interface GroupPlace {
  readonly topic: string
  readonly partition: number
  readonly offset: number | null
  readonly startOffset: number
  readonly endOffset: number
  /** Null as long as nothing was committed. */
  readonly lag: number | null
  readonly lagMs: number | null
  readonly memberId: string | null
  readonly revoking: boolean
  readonly committedAt: number | null
}

/** Records that the group has not committed. */
function lagOf({ broker }: GatewayContext, group: Group): number {
  let sum = 0
  for (const [topicId, ofTopic] of group.offsets)
    for (const [partition, { offset }] of ofTopic)
      sum += broker.lagRecords(topicId, partition, offset)
  return sum
}

/** Every partition that the group holds or has committed to, by topic and number. */
function placesOf({ broker }: GatewayContext, group: Group): readonly GroupPlace[] {
  const places: GroupPlace[] = []
  for (const [topicId, partition] of placesIn(group)) {
    const topic = broker.topicById(topicId)
    const state = topic?.partitions[partition]
    if (topic === undefined || state === undefined) continue
    const commit = committed(group, topicId, partition)
    const offset = commit?.offset
    const claim = group.claims.get(claimKey(topicId, partition))
    places.push({
      topic: topic.name,
      partition,
      offset: offset ?? null,
      startOffset: state.start,
      endOffset: state.next,
      lag: offset === undefined ? null : broker.lagRecords(topicId, partition, offset),
      lagMs: offset === undefined ? null : broker.lagMs(topicId, partition, offset),
      memberId: claim?.owner ?? null,
      revoking: claim?.owner !== undefined && claim.owner !== claim.target,
      committedAt: commit?.committedAt ?? null,
    })
  }
  return places.sort((a, b) =>
    a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1,
  )
}

function stateOf(group: Group): 'empty' | 'stable' | 'rebalancing' {
  if (group.members.size === 0) return 'empty'
  const moves = [...group.claims.values()].some(({ owner, target }) => owner !== target)
  return moves ? 'rebalancing' : 'stable'
}

function existing({ broker }: GatewayContext, name: string): Group {
  const group = broker.group(name)
  if (group !== undefined) return group
  throw new LogloomError('UNKNOWN_GROUP', `group ${name} does not exist`, { group: name })
}

/** Of a topic that the request did not name. */
function mustReadOne(access: Access | undefined, topic: string): void {
  if (access?.may('topic', topic, 'read') === false)
    throw access.hiddenDenial('topic', topic, 'read')
}

function committedPlaces(
  { broker }: GatewayContext,
  group: Group | undefined,
): readonly PartitionState[] {
  return [...(group?.offsets ?? [])].flatMap(([topicId, ofTopic]) =>
    [...ofTopic.keys()].flatMap(partition => {
      const state = broker.topicById(topicId)?.partitions[partition]
      return state === undefined ? [] : [state]
    }),
  )
}

function partitionsOf({ broker }: GatewayContext, name: unknown): readonly PartitionState[] {
  if (typeof name !== 'string')
    throw new LogloomError('INVALID_REQUEST', 'resetOffsets: each of topics must be a string', {
      field: 'topics',
    })
  checkTopicName(name)
  const topic = broker.topicByName(name)
  if (topic === undefined)
    throw new LogloomError('UNKNOWN_TOPIC', `topic ${name} does not exist`, { topic: name })
  return topic.partitions
}

async function targetOf(
  { broker }: GatewayContext,
  frame: Frame,
  { topicId, partition, start, next }: PartitionState,
  from: number | undefined,
): Promise<number> {
  const { to } = frame
  const within = (offset: number): number => Math.min(Math.max(offset, start), next)
  if (typeof to === 'object' && to !== null && 'shift' in to)
    return within((from ?? start) + (optInt(to, 'shift') ?? 0))
  const spec = offsetSpec(frame, 'to')
  // An offset that one of many partitions does not have is its nearest.
  if (typeof spec === 'number') return within(spec)
  return broker.offsetAt(topicId, partition, spec)
}
