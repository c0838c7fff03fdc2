// Operations of consumer groups (protocol.md 10). Offsets and members are commands in the log; here requests become commands, and names become ids.

import { LogloomError } from '../../wire/errors.ts'
import { array, optArray, optBool, optInt, optStr, optUint, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { checkTopicName } from '../../wire/topic-name.ts'
import type { GroupCommit, OffsetCommit } from '../state/groups/commands.ts'
import { type Assignor, assignors } from '../state/groups/group.ts'
import { checkPattern } from '../state/groups/pattern.ts'
import type { TopicState } from '../state/topics.ts'
import type { Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import {
  groupNameLengthMax,
  groupSessionTimeoutMsMax,
  memberIdLengthMax,
  offsetMetadataLengthMax,
  offsetsPerCommitMax,
  rebalanceTimeoutMsMax,
  topicsPerMemberMax,
} from './group-limits.ts'
import { Membership } from './membership.ts'
import { memberKey } from './memberships.ts'
import { mayJoin } from './permissions.ts'
import { acceptedOrThrow } from './produce.ts'

const sessionTimeoutMsDefault = 45_000
const rebalanceTimeoutMsDefault = 300_000

/** Joins, or attaches this connection to a member that is known. */
export async function joinGroup(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const group = groupName(frame)
  const memberId = checkMemberId(frame, 'memberId')
  const instanceId = optStr(frame, 'groupInstanceId')
  if (instanceId !== undefined) checkMemberId(frame, 'groupInstanceId')
  const topics = topicNames(frame)
  const pattern = optStr(frame, 'pattern')
  if (pattern !== undefined) checkPattern(pattern)
  if (topics.length === 0 && pattern === undefined)
    throw new LogloomError('INVALID_REQUEST', 'joinGroup: name topics, or give a pattern', {
      field: 'topics',
    })
  const assignor = (optStr(frame, 'assignor') ?? 'sticky') as Assignor
  if (!assignors.includes(assignor))
    throw new LogloomError(
      'INVALID_REQUEST',
      `joinGroup: assignor ${JSON.stringify(assignor.slice(0, 40))} is none of ${assignors.join(', ')}`,
      { field: 'assignor' },
    )
  const command = {
    type: 'joinGroup',
    group,
    memberId,
    ...(instanceId === undefined ? {} : { instanceId }),
    topics,
    ...(pattern === undefined ? {} : { pattern }),
    assignor,
    sessionTimeoutMs: timeOf(
      frame,
      'sessionTimeoutMs',
      sessionTimeoutMsDefault,
      groupSessionTimeoutMsMax,
    ),
    rebalanceTimeoutMs: timeOf(
      frame,
      'rebalanceTimeoutMs',
      rebalanceTimeoutMsDefault,
      rebalanceTimeoutMsMax,
    ),
  } as const
  // Not the frame, which may hold more.
  const asked = { op: 'joinGroup', group, topics, pattern }
  const key = memberKey(group, memberId)
  const { memberships } = connection
  const join = memberships.beginJoin(key)
  try {
    const { result = {} } = acceptedOrThrow(await context.broker.propose(command))
    const membership = new Membership(context, connection, {
      group,
      memberId,
      instanceId,
      attachment: Number(result['attachment']),
      mayJoin: access => mayJoin(access, asked),
    })
    memberships.add(join, membership, connection.leaving)
    const view = membership.view()
    // Rights may have gone while the log took it.
    connection.recheck()
    return { group, memberId, ...view }
  } finally {
    memberships.endJoin(join)
  }
}

export async function leaveGroup(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const [group, memberId] = [groupName(frame), checkMemberId(frame, 'memberId')]
  const key = memberKey(group, memberId)
  if (optBool(frame, 'stay') === true) {
    connection.memberships.detach(key)
    return {}
  }
  connection.memberships.leave(key)
  acceptedOrThrow(await context.broker.propose({ type: 'leaveGroup', group, memberId }))
  return {}
}

/** Partitions that were asked back are free for their next owner. */
export async function releasePartitions(context: GatewayContext, frame: Frame): Promise<Frame> {
  const [group, memberId] = [groupName(frame), checkMemberId(frame, 'memberId')]
  const partitions: [number, number, number][] = []
  for (const row of rowsOf(frame, 'partitions')) {
    const topic = context.broker.topicByName(str(row, 'topic'))
    if (topic !== undefined)
      partitions.push([topic.id, uint(row, 'partition'), uint(row, 'generation')])
  }
  acceptedOrThrow(
    await context.broker.propose({ type: 'releasePartitions', group, memberId, partitions }),
  )
  return {}
}

export async function commitOffsets(context: GatewayContext, frame: Frame): Promise<Frame> {
  const commit = await commitOf(context, frame)
  const decision = acceptedOrThrow(
    await context.broker.propose({ type: 'commitOffsets', ...commit }),
  )
  countCommit(context, commit.group)
  return { lsn: decision.lsn }
}

function countCommit({ stats, settings }: GatewayContext, group: string): void {
  const { groupCommits } = stats
  const isKnown = groupCommits.has(group) || groupCommits.size < settings.metricsTopicsMax
  const name = isKnown ? group : '_other'
  groupCommits.set(name, (groupCommits.get(name) ?? 0) + 1)
}

/** The `commit` of a publish, or the fields of `commitOffsets`. @throws INVALID_REQUEST, UNKNOWN_TOPIC, LIMIT_EXCEEDED */
export async function commitOf(context: GatewayContext, frame: Frame): Promise<GroupCommit> {
  const group = groupName(frame)
  const memberId = optStr(frame, 'memberId')
  const sequence = optUint(frame, 'sequence')
  const offsets: OffsetCommit[] = []
  for (const row of rowsOf(frame, 'offsets')) {
    const topic = await topicOf(context, row)
    const metadata = optStr(row, 'metadata') ?? ''
    if (metadata.length > offsetMetadataLengthMax)
      throw new LogloomError(
        'LIMIT_EXCEEDED',
        `metadata of ${metadata.length} characters, the limit is ${offsetMetadataLengthMax} (offsetMetadataLengthMax)`,
        { limit: offsetMetadataLengthMax, actual: metadata.length },
      )
    const generation = optInt(row, 'generation') ?? -1
    const { partition } = await context.topics.partitionSoon(topic, uint(row, 'partition'))
    offsets.push([topic.id, partition, uint(row, 'offset'), generation, metadata])
  }
  return {
    group,
    ...(memberId === undefined ? {} : { memberId: checkMemberId(frame, 'memberId') }),
    ...(sequence === undefined ? {} : { sequence }),
    offsets,
  }
}

/** Of topics that may be described. */
export async function fetchOffsets(
  context: GatewayContext,
  frame: Frame,
  { access }: Connection,
): Promise<Frame> {
  const name = groupName(frame)
  await context.broker.fresh()
  const group = context.broker.group(name)
  const offsets: Frame[] = []
  for (const [topicId, ofTopic] of group?.offsets ?? []) {
    const topic = context.broker.topicById(topicId)?.name
    if (topic !== undefined && access?.maySee('topic', topic) === false) continue
    for (const [partition, { offset, metadata, committedAt }] of ofTopic)
      if (topic !== undefined) offsets.push({ topic, partition, offset, metadata, committedAt })
  }
  return { offsets }
}

export async function deleteGroup(context: GatewayContext, frame: Frame): Promise<Frame> {
  const group = groupName(frame)
  acceptedOrThrow(await context.broker.propose({ type: 'deleteGroup', group }))
  return { group }
}

/** @throws INVALID_GROUP */
export function groupName(frame: Frame): string {
  const name = str(frame, 'group')
  if (/^[\x21-\x7e]+$/.test(name) && name.length <= groupNameLengthMax) return name
  throw new LogloomError(
    'INVALID_GROUP',
    `group name ${JSON.stringify(name.slice(0, 40))} is not allowed: 1 to ${groupNameLengthMax} visible ASCII characters (groupNameLengthMax)`,
    { limit: groupNameLengthMax, actual: name.length },
  )
}

/** A topic that the request names in `topic`, looked up afresh when it is not known. */
export async function topicOf(context: GatewayContext, row: Frame): Promise<TopicState> {
  const name = str(row, 'topic')
  checkTopicName(name)
  return context.topics.find(name)
}

/** The maps of a list. @throws LIMIT_EXCEEDED, INVALID_REQUEST */
export function rowsOf(frame: Frame, key: string): readonly Frame[] {
  const rows = array(frame, key)
  if (rows.length > offsetsPerCommitMax)
    throw new LogloomError(
      'LIMIT_EXCEEDED',
      `${rows.length} ${key}, the limit is ${offsetsPerCommitMax} (offsetsPerCommitMax)`,
      { limit: offsetsPerCommitMax, actual: rows.length },
    )
  return rows.map(row => {
    if (typeof row === 'object' && row !== null && !Array.isArray(row)) return row as Frame
    throw new LogloomError('INVALID_REQUEST', `each of ${key} must be a map`, { field: key })
  })
}

/** A name that a client made up for itself. @throws INVALID_REQUEST */
export function checkMemberId(frame: Frame, key: string): string {
  const id = str(frame, key)
  if (/^[\x21-\x7e]+$/.test(id) && id.length <= memberIdLengthMax) return id
  throw new LogloomError(
    'INVALID_REQUEST',
    `field ${key}: use 1 to ${memberIdLengthMax} visible ASCII characters (memberIdLengthMax)`,
    { field: key, limit: memberIdLengthMax, actual: id.length },
  )
}

function topicNames(frame: Frame): readonly string[] {
  const names = optArray(frame, 'topics') ?? []
  if (names.length > topicsPerMemberMax)
    throw new LogloomError(
      'LIMIT_EXCEEDED',
      `${names.length} topics, the limit is ${topicsPerMemberMax} (topicsPerMemberMax)`,
      { limit: topicsPerMemberMax, actual: names.length },
    )
  for (const name of names) {
    if (typeof name !== 'string')
      throw new LogloomError('INVALID_REQUEST', 'joinGroup: each of topics must be a string', {
        field: 'topics',
      })
    checkTopicName(name)
  }
  return [...new Set(names as string[])].sort()
}

function timeOf(frame: Frame, key: string, byDefault: number, max: number): number {
  const ms = optUint(frame, key) ?? byDefault
  if (ms <= max) return ms
  throw new LogloomError(
    'INVALID_REQUEST',
    `field ${key}: ${ms} ms is more than ${max} (${key}Max)`,
    { field: key, limit: max, actual: ms },
  )
}
