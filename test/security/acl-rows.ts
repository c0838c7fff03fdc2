// The ACL matrix: every operation of the protocol against every way in which a right can be there or lack. What each operation needs stands here once
// more, written from protocol.md 12.3; acl-matrix.ts tries each cell.

import { operationsOn } from '../../broker/security/check-binding.ts'
import {
  type AclOperation,
  aclOperations,
  implies,
  type ResourceType,
} from '../../broker/security/grant.ts'
import { type Frame, handBatch } from '../gateway/raw-client.ts'

export type Need = readonly [resource: ResourceType, name: string, operation: AclOperation]

/** Names of one cell: none is used twice. */
export interface Names {
  readonly topic: string
  /** Another one. */
  readonly second: string
  readonly group: string
  /** The API key of who tries. */
  readonly key: string
}

export interface Row {
  readonly op: string
  readonly needs: (names: Names) => readonly Need[]
  readonly fields: (names: Names) => Frame
  /** What there must be, besides the topics. */
  readonly given?: 'offsets' | 'share' | 'no topic'
  /** Errors of requests that may be made: they get past the check, and end for want of something else. */
  readonly may?: readonly string[]
}

const none = (): readonly Need[] => []
const topic =
  (operation: AclOperation) =>
  (names: Names): readonly Need[] => [['topic', names.topic, operation]]
const group =
  (operation: AclOperation) =>
  (names: Names): readonly Need[] => [['group', names.group, operation]]
const cluster = (operation: AclOperation) => (): readonly Need[] => [
  ['cluster', 'logloom', operation],
]
const groupAndTopic =
  (operation: AclOperation) =>
  (names: Names): readonly Need[] => [
    ['group', names.group, operation],
    ['topic', names.topic, 'read'],
  ]
const nothing = (): Frame => ({})
const batch = handBatch([{ value: 'v' }])
const record = ({ topic: name }: Names): Frame => ({ topic: name, value: 'v' })
const member = (names: Names): Frame => ({ group: names.group, memberId: 'm' })
const noMember = ['UNKNOWN_MEMBER', 'UNKNOWN_GROUP']
const hold = { snapshot: 'x'.repeat(16), restore: 'x'.repeat(16) }
const wrongFields = ['INVALID_REQUEST', 'SNAPSHOT_EXPIRED', 'RESTORE_CONFLICT']

export const rows: readonly Row[] = [
  { op: 'produce', needs: topic('write'), fields: n => ({ topic: n.topic, partition: 0, batch }) },
  {
    op: 'produce',
    given: 'no topic',
    needs: n => [
      ['topic', n.topic, 'write'],
      ['topic', n.topic, 'create'],
    ],
    fields: n => ({ topic: n.topic, partition: 0, batch }),
  },
  { op: 'publish', needs: topic('write'), fields: n => ({ records: [record(n)] }) },
  {
    op: 'publish',
    needs: topic('write'),
    fields: n => ({ batches: [{ topic: n.topic, partition: 0, batch }] }),
  },
  {
    op: 'publish',
    needs: n => [
      ['topic', n.topic, 'write'],
      ['topic', n.second, 'write'],
    ],
    fields: n => ({ records: [record(n), { topic: n.second, value: 'v' }] }),
  },
  {
    op: 'publish',
    needs: n => [
      ['topic', n.topic, 'write'],
      ['topic', n.second, 'describe'],
    ],
    fields: n => ({
      records: [record(n)],
      expect: [{ topic: n.second, partition: 0, offset: 0 }],
    }),
  },
  {
    op: 'publish',
    needs: n => [
      ['topic', n.topic, 'write'],
      ['group', n.group, 'read'],
      ['topic', n.second, 'read'],
    ],
    fields: n => ({
      records: [record(n)],
      commit: { group: n.group, offsets: [{ topic: n.second, partition: 0, offset: 0 }] },
    }),
  },
  {
    op: 'publish',
    given: 'share',
    needs: n => [
      ['topic', n.second, 'write'],
      ['group', n.group, 'read'],
      ['topic', n.topic, 'read'],
    ],
    fields: n => ({
      records: [{ topic: n.second, value: 'v' }],
      ack: { ...member(n), records: [{ topic: n.topic, partition: 0, offset: 0, type: 'accept' }] },
    }),
    may: ['RECORD_NOT_HELD', 'INVALID_RECORD_STATE', 'UNKNOWN_MEMBER'],
  },
  { op: 'initProducer', needs: none, fields: nothing },
  { op: 'initProducer', needs: none, fields: () => ({ transactionalId: 'tx' }) },
  {
    op: 'fetch',
    needs: topic('read'),
    fields: n => ({ topic: n.topic, partition: 0, from: 'beginning', maxWaitMs: 0 }),
  },
  {
    op: 'fetch',
    needs: topic('read'),
    fields: n => ({ topic: n.topic, partition: 0, from: 'beginning', asOf: 1 }),
    // It did not exist then.
    may: ['UNKNOWN_TOPIC'],
  },
  {
    op: 'subscribe',
    needs: topic('read'),
    fields: n => ({ topic: n.topic, partition: 0, from: 'end', credit: 0 }),
  },
  {
    op: 'unsubscribe',
    needs: none,
    fields: () => ({ sub: 999_999 }),
    may: ['UNKNOWN_SUBSCRIPTION'],
  },
  {
    op: 'createTopic',
    given: 'no topic',
    needs: topic('create'),
    fields: n => ({ topic: n.topic }),
  },
  {
    op: 'createTopic',
    given: 'no topic',
    needs: cluster('create'),
    fields: n => ({ topic: n.topic }),
  },
  { op: 'deleteTopic', needs: topic('delete'), fields: n => ({ topic: n.topic }) },
  {
    op: 'alterTopic',
    needs: topic('alter'),
    fields: n => ({ topic: n.topic, config: { 'retention.ms': '60000' } }),
  },
  {
    op: 'alterTopic',
    needs: topic('alter'),
    fields: n => ({ topic: n.topic, partitions: 3 }),
  },
  {
    op: 'deleteRecords',
    needs: topic('delete'),
    fields: n => ({ topic: n.topic, partition: 0, before: 0 }),
  },
  { op: 'describeTopic', needs: topic('describe'), fields: n => ({ topic: n.topic }) },
  { op: 'listOffsets', needs: topic('describe'), fields: n => ({ topic: n.topic, at: 'end' }) },
  {
    op: 'joinGroup',
    needs: groupAndTopic('read'),
    fields: n => ({ ...member(n), topics: [n.topic] }),
  },
  { op: 'leaveGroup', needs: group('read'), fields: member, may: noMember },
  {
    op: 'releasePartitions',
    needs: group('read'),
    fields: n => ({ ...member(n), partitions: [] }),
    may: noMember,
  },
  {
    op: 'commitOffsets',
    needs: groupAndTopic('read'),
    fields: n => ({ group: n.group, offsets: [{ topic: n.topic, partition: 0, offset: 0 }] }),
  },
  { op: 'fetchOffsets', needs: group('describe'), fields: n => ({ group: n.group }) },
  {
    op: 'openShareGroup',
    needs: groupAndTopic('read'),
    fields: n => ({ group: n.group, topics: [n.topic] }),
  },
  {
    op: 'shareFetch',
    given: 'share',
    needs: groupAndTopic('read'),
    fields: n => ({ ...member(n), topics: [n.topic], maxWaitMs: 0 }),
  },
  {
    op: 'shareFetch',
    given: 'share',
    needs: groupAndTopic('read'),
    fields: n => ({ ...member(n), maxWaitMs: 0 }),
  },
  {
    op: 'shareAcknowledge',
    given: 'share',
    needs: groupAndTopic('read'),
    fields: n => ({
      ...member(n),
      records: [{ topic: n.topic, partition: 0, offset: 0, type: 'accept' }],
    }),
  },
  { op: 'leaveShareGroup', given: 'share', needs: group('read'), fields: member },
  {
    op: 'describeGroup',
    given: 'offsets',
    needs: group('describe'),
    fields: n => ({ group: n.group }),
  },
  {
    op: 'describeGroup',
    given: 'share',
    needs: group('describe'),
    fields: n => ({ group: n.group }),
  },
  {
    op: 'resetOffsets',
    needs: groupAndTopic('alter'),
    fields: n => ({ group: n.group, to: 'end', topics: [n.topic] }),
  },
  {
    op: 'resetOffsets',
    given: 'offsets',
    needs: groupAndTopic('alter'),
    fields: n => ({ group: n.group, to: 'end' }),
  },
  {
    op: 'resetOffsets',
    given: 'share',
    needs: groupAndTopic('alter'),
    fields: n => ({ group: n.group, to: 'end' }),
  },
  {
    op: 'deleteGroup',
    given: 'offsets',
    needs: group('delete'),
    fields: n => ({ group: n.group }),
  },
  { op: 'describeLog', needs: cluster('describe'), fields: nothing },
  { op: 'snapshot', needs: none, fields: nothing },
  { op: 'openSnapshot', needs: cluster('alter'), fields: nothing, may: ['LIMIT_EXCEEDED'] },
  { op: 'readSnapshot', needs: cluster('alter'), fields: () => hold, may: wrongFields },
  { op: 'renewSnapshot', needs: cluster('alter'), fields: () => hold, may: wrongFields },
  { op: 'closeSnapshot', needs: cluster('alter'), fields: () => hold, may: wrongFields },
  { op: 'restoreTopic', needs: cluster('alter'), fields: () => hold, may: wrongFields },
  { op: 'restoreBatches', needs: cluster('alter'), fields: () => hold, may: wrongFields },
  { op: 'restoreState', needs: cluster('alter'), fields: () => hold, may: wrongFields },
  { op: 'describeRestore', needs: cluster('alter'), fields: () => hold, may: wrongFields },
  { op: 'finishRestore', needs: cluster('alter'), fields: () => hold, may: wrongFields },
  { op: 'dropRestore', needs: cluster('alter'), fields: () => hold, may: wrongFields },
  { op: 'switchLog', needs: cluster('alter'), fields: () => ({ spec: 'memory' }) },
  { op: 'sealLog', needs: cluster('alter'), fields: nothing },
  { op: 'trimLog', needs: cluster('alter'), fields: () => ({ lsn: 0 }) },
  { op: 'verifyLog', needs: cluster('alter'), fields: nothing },
  { op: 'describeCluster', needs: cluster('describe'), fields: nothing },
  { op: 'describeBroker', needs: cluster('describe'), fields: nothing },
  { op: 'listConnections', needs: cluster('describe'), fields: nothing },
  { op: 'closeConnection', needs: cluster('alter'), fields: () => ({ connection: 2 ** 40 }) },
  {
    op: 'addNode',
    needs: cluster('alter'),
    fields: () => ({ node: 'n9', peerUrl: 'ws://127.0.0.1:1' }),
    may: ['INVALID_REQUEST'],
  },
  {
    op: 'removeNode',
    needs: cluster('alter'),
    fields: () => ({ node: 'n9' }),
    may: ['INVALID_REQUEST'],
  },
  {
    op: 'createToken',
    needs: cluster('alter'),
    fields: n => ({
      tokenId: n.topic.padEnd(16, '0').replaceAll('-', '0'),
      hash: Buffer.alloc(32),
      principal: 'User:made',
    }),
  },
  { op: 'listTokens', needs: cluster('describe'), fields: nothing },
  {
    op: 'revokeToken',
    needs: cluster('alter'),
    fields: () => ({ tokenId: 'z'.repeat(16) }),
    may: ['UNKNOWN_TOKEN'],
  },
  {
    op: 'createAcls',
    needs: cluster('alter'),
    fields: n => ({
      bindings: [
        { principal: 'User:made', resource: 'topic', name: n.topic, operation: 'describe' },
      ],
    }),
  },
  {
    op: 'deleteAcls',
    needs: cluster('alter'),
    fields: () => ({ filter: { principal: 'User:made' } }),
  },
  { op: 'listAcls', needs: cluster('describe'), fields: nothing },
  {
    op: 'setQuota',
    needs: cluster('alter'),
    fields: () => ({ principal: 'User:made', quota: { connections: 9 } }),
  },
  { op: 'listQuotas', needs: cluster('describe'), fields: nothing },
  {
    op: 'authenticate',
    needs: none,
    fields: n => ({ auth: { token: n.key } }),
  },
  {
    op: 'mintToken',
    needs: none,
    fields: n => ({
      grants: [{ resource: 'topic', pattern: 'literal', name: n.topic, operations: ['read'] }],
    }),
    // A token that is bound cannot mint one that can do more.
    may: ['AUTHORIZATION_FAILED'],
  },
  { op: 'health', needs: none, fields: nothing },
  { op: 'ping', needs: none, fields: nothing },
]

export interface ScopeGrant {
  readonly resource: ResourceType
  readonly pattern: 'literal' | 'prefixed'
  readonly name: string
  readonly operations: readonly AclOperation[]
}

export interface Cell {
  readonly column: string
  readonly acls: readonly Frame[]
  readonly scope?: readonly ScopeGrant[]
  readonly allowed: boolean
  readonly missing?: boolean
}

export const alice = 'User:alice'
/** Of a scope that allows nothing that a row needs. */
export const elsewhere: ScopeGrant = {
  resource: 'topic',
  pattern: 'literal',
  name: 'elsewhere',
  operations: aclOperations,
}

const allow = ([resource, name, operation]: Need, more: Frame = {}): Frame => ({
  principal: alice,
  resource,
  name,
  operation,
  ...more,
})
const prefixed = (need: Need): Frame =>
  need[0] === 'cluster'
    ? allow(need, { name: '*' })
    : allow(need, { pattern: 'prefixed', name: need[1].slice(0, -1) })
const granted = ([resource, name, operation]: Need): ScopeGrant => ({
  resource,
  pattern: 'literal',
  name,
  operations: [operation],
})
const otherName = ([resource, name]: Need): string => (resource === 'cluster' ? name : `${name}x`)

/** All that a row is tried with. Where it needs several rights, each lacks in turn. */
export function cellsOf(needs: readonly Need[]): readonly Cell[] {
  const exact = needs.map(need => allow(need))
  const isOpen = needs.length === 0
  const cells: Cell[] = [
    { column: 'allowed exactly', acls: exact, allowed: true },
    { column: 'allowed by prefix', acls: needs.map(prefixed), allowed: true },
    { column: 'allowed by *', acls: needs.map(need => allow(need, { name: '*' })), allowed: true },
    {
      column: 'allowed to everybody',
      acls: needs.map(need => allow(need, { principal: 'User:*' })),
      allowed: true,
    },
    {
      column: 'within its scope',
      acls: exact,
      scope: isOpen ? [elsewhere] : needs.map(granted),
      allowed: true,
    },
    { column: 'no rule', acls: [], allowed: isOpen },
    { column: 'no rule, nothing there', acls: [], allowed: isOpen, missing: true },
    {
      column: 'a rule of somebody else',
      acls: needs.map(need => allow(need, { principal: 'User:bob' })),
      allowed: isOpen,
    },
  ]
  if (isOpen) {
    const all = aclOperations.map(operation =>
      allow(['topic', '*', operation], { permission: 'deny' }),
    )
    cells.push({ column: 'denied of all topics', acls: all, allowed: true })
    return cells
  }
  for (const [i, need] of needs.entries()) {
    const [resource, name, operation] = need
    const others = exact.filter((_, j) => j !== i)
    const which = needs.length === 1 ? '' : ` (${operation} ${resource})`
    const lacking = (column: string, acls: readonly Frame[], more: Partial<Cell> = {}): void => {
      cells.push({ column: column + which, acls, allowed: false, ...more })
    }
    const deny = { permission: 'deny' }
    lacking('denied', [...exact, allow(need, deny)])
    lacking('denied by *', [...exact, allow(need, { ...deny, name: '*' })])
    lacking('denied to everybody', [...exact, allow(need, { ...deny, principal: 'User:*' })])
    lacking('denied by prefix', [...exact, { ...prefixed(need), ...deny }])
    // What the others need of the same name is theirs.
    const isElse = (held: AclOperation): boolean =>
      !implies(held, operation) &&
      !needs.some(([r, n, o], j) => j !== i && r === resource && n === name && o === held)
    const wrong = operationsOn[resource].filter(isElse)
    lacking('wrong operation', [...others, ...wrong.map(held => allow([resource, name, held]))])
    const wrongNames = resource === 'cluster' ? [] : operationsOn[resource]
    const wrongTypes = (['topic', 'group'] as const).filter(type => type !== resource)
    lacking('wrong resource', [
      ...others,
      ...wrongNames.map(held => allow([resource, otherName(need), held])),
      ...wrongTypes
        .filter(type => !needs.some(([r, n]) => r === type && n === name))
        .flatMap(type => operationsOn[type].map(held => allow([type, name, held]))),
    ])
    const rest = needs.filter((_, j) => j !== i).map(granted)
    lacking('scope too narrow', exact, { scope: [...rest, elsewhere] })
    lacking('super user, scope too narrow', [], { scope: [...rest, elsewhere] })
  }
  return cells
}
