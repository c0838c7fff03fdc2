// What each operation needs (protocol.md 12.3): one rule per operation of operations.ts, read from the request before it is handled. An operation
// without a rule is denied.
//
// Names are looked at, never whether there is something of that name: an unknown topic and a forbidden one are the same to whoever may not see it.
// What a request does not name (all topics of a group, what a listing shows) its handler looks at.

import { LogloomError } from '../../wire/errors.ts'
import { array, optArray, optMap, optStr, str } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import type { Access } from '../security/authorizer.ts'
import { type AclOperation, clusterName } from '../security/grant.ts'
import { literalPrefix } from '../security/literal-prefix.ts'

/** @throws AUTHORIZATION_FAILED; INVALID_REQUEST where the request does not say what it is about */
export type Rule = (access: Access, frame: Frame) => void

/** Nothing beyond being known: it is about the connection itself, or about what everybody may know. */
const open: Rule = () => {}

const topic =
  (operation: AclOperation): Rule =>
  (access, frame) =>
    access.must('topic', str(frame, 'topic'), operation)

const group =
  (operation: AclOperation): Rule =>
  (access, frame) =>
    access.must('group', str(frame, 'group'), operation)

const cluster =
  (operation: AclOperation): Rule =>
  access =>
    access.must('cluster', clusterName, operation)

/** A member of a group: its topics must be readable, by pattern all that could match. Also asked when rights change. */
export function mayJoin(access: Access, frame: Frame): void {
  access.must('group', str(frame, 'group'), 'read')
  for (const name of names(frame, 'topics')) access.must('topic', name, 'read')
  const pattern = optStr(frame, 'pattern')
  if (pattern !== undefined) access.mustAll('topic', literalPrefix(pattern), 'read')
}

function commit(access: Access, frame: Frame): void {
  access.must('group', str(frame, 'group'), 'read')
  eachTopic(access, frame, 'offsets', 'read')
}

function acknowledge(access: Access, frame: Frame): void {
  access.must('group', str(frame, 'group'), 'read')
  eachTopic(access, frame, 'records', 'read')
}

function groupAndTopics(operation: AclOperation): Rule {
  return (access, frame) => {
    access.must('group', str(frame, 'group'), operation)
    for (const name of names(frame, 'topics')) access.must('topic', name, 'read')
  }
}

function publish(access: Access, frame: Frame): void {
  eachTopic(access, frame, frame.batches === undefined ? 'records' : 'batches', 'write')
  // Whether it holds tells where the partition ends.
  if (optArray(frame, 'expect') !== undefined) eachTopic(access, frame, 'expect', 'describe')
  const consumed = optMap(frame, 'commit')
  if (consumed !== undefined) commit(access, consumed)
  const acks = optMap(frame, 'ack')
  if (acks !== undefined) acknowledge(access, acks)
}

export const permissions: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  // Both create a topic that is missing only if that may be created: topic-directory.ts.
  ['produce', topic('write')],
  ['publish', publish],
  // Transactional ids belong to their principal: see producer-owner.ts.
  ['initProducer', open],
  ['fetch', topic('read')],
  ['subscribe', topic('read')],
  ['unsubscribe', open],
  ['createTopic', (access, frame) => access.mustCreate(str(frame, 'topic'))],
  ['deleteTopic', topic('delete')],
  ['alterTopic', topic('alter')],
  ['deleteRecords', topic('delete')],
  // Shows what may be described.
  ['listTopics', open],
  ['describeTopic', topic('describe')],
  ['listOffsets', topic('describe')],
  ['joinGroup', mayJoin],
  ['leaveGroup', group('read')],
  ['releasePartitions', group('read')],
  ['commitOffsets', commit],
  ['fetchOffsets', group('describe')],
  ['openShareGroup', groupAndTopics('read')],
  ['shareFetch', groupAndTopics('read')],
  ['shareAcknowledge', acknowledge],
  ['leaveShareGroup', group('read')],
  ['listGroups', open],
  ['describeGroup', group('describe')],
  ['resetOffsets', groupAndTopics('alter')],
  ['deleteGroup', group('delete')],
  ['describeLog', cluster('describe')],
  // A position alone: what is read as of it needs the topic's right.
  ['snapshot', open],
  // A snapshot is everything that there is, hashes of API keys included.
  ['openSnapshot', cluster('alter')],
  ['readSnapshot', cluster('alter')],
  ['renewSnapshot', cluster('alter')],
  ['closeSnapshot', cluster('alter')],
  ['restoreTopic', cluster('alter')],
  ['restoreBatches', cluster('alter')],
  ['restoreState', cluster('alter')],
  ['describeRestore', cluster('alter')],
  ['finishRestore', cluster('alter')],
  ['dropRestore', cluster('alter')],
  ['switchLog', cluster('alter')],
  ['sealLog', cluster('alter')],
  ['trimLog', cluster('alter')],
  ['verifyLog', cluster('alter')],
  ['describeCluster', cluster('describe')],
  ['describeBroker', cluster('describe')],
  ['listConnections', cluster('describe')],
  ['closeConnection', cluster('alter')],
  ['addNode', cluster('alter')],
  ['removeNode', cluster('alter')],
  ['createToken', cluster('alter')],
  ['revokeToken', cluster('alter')],
  ['listTokens', cluster('describe')],
  ['createAcls', cluster('alter')],
  ['deleteAcls', cluster('alter')],
  ['listAcls', cluster('describe')],
  ['setQuota', cluster('alter')],
  ['listQuotas', cluster('describe')],
  ['authenticate', open],
  // The token is bound by what its principal may, and by the scope of the one it is minted with.
  ['mintToken', open],
  ['health', open],
  ['ping', open],
])

/** @throws AUTHORIZATION_FAILED, INVALID_REQUEST */
export function permit(op: string, access: Access, frame: Frame): void {
  const rule = permissions.get(op) ?? cluster('alter')
  rule(access, frame)
}

/** Every topic that the rows of a list name. */
function eachTopic(access: Access, frame: Frame, key: string, operation: AclOperation): void {
  let last: string | undefined
  for (const [i, row] of array(frame, key).entries()) {
    const name = str(
      typeof row === 'object' && row !== null ? (row as Frame) : wrong(frame, key, i),
      'topic',
    )
    // Rows of one topic mostly come together.
    if (name !== last) access.must('topic', name, operation)
    last = name
  }
}

function names(frame: Frame, key: string): readonly string[] {
  return (optArray(frame, key) ?? []).map((name, i) =>
    typeof name === 'string' ? name : wrong(frame, key, i),
  )
}

function wrong(frame: Frame, key: string, index: number): never {
  throw new LogloomError(
    'INVALID_REQUEST',
    `${String(frame.op)}: ${key}[${index}] names no topic`,
    {
      field: key,
    },
  )
}
