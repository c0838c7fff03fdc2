// The ACL matrix (docs/reliability.md, row 21): every operation of the protocol against every way in which a right can be there or lack, each cell
// tried through a real socket at a broker that asks who one is. What each operation needs stands here once more, written from protocol.md 12.3.
//
// A denied cell must leave no trace: the hash of the replicated state is the same after it.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { operations } from '../../broker/gateway/operations.ts'
import { permissions } from '../../broker/gateway/permissions.ts'
import { operationsOn } from '../../broker/security/check-binding.ts'
import {
  type AclOperation,
  aclOperations,
  implies,
  type ResourceType,
} from '../../broker/security/grant.ts'
import { type Frame, handBatch, RawClient } from '../gateway/raw-client.ts'
import { SecureBroker } from './secure-broker.ts'

type Need = readonly [resource: ResourceType, name: string, operation: AclOperation]

/** Names of one cell: none is used twice. */
interface Names {
  readonly topic: string
  /** Another one. */
  readonly second: string
  readonly group: string
}

interface Row {
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

const rows: readonly Row[] = [
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
    fields: () => ({ auth: { token: aliceKey } }),
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

interface Grant {
  readonly resource: ResourceType
  readonly pattern: 'literal' | 'prefixed'
  readonly name: string
  readonly operations: readonly AclOperation[]
}

interface Cell {
  readonly column: string
  readonly acls: readonly Frame[]
  readonly scope?: readonly Grant[]
  readonly allowed: boolean
  readonly missing?: boolean
}

const alice = 'User:alice'
/** Of a scope that allows nothing that a row needs. */
const elsewhere: Grant = {
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
const granted = ([resource, name, operation]: Need): Grant => ({
  resource,
  pattern: 'literal',
  name,
  operations: [operation],
})
const otherName = ([resource, name]: Need): string => (resource === 'cluster' ? name : `${name}x`)

/** All that a row is tried with. Where it needs several rights, each lacks in turn. */
function cellsOf(needs: readonly Need[]): readonly Cell[] {
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

let broker: SecureBroker
let admin: RawClient
let aliceKey = ''
let rootKey = ''
let client: RawClient
let supers: RawClient
let tried = 0
let denied = 0
let used = 0

async function signIn(token: string): Promise<RawClient> {
  const raw = await RawClient.dial(broker.url)
  await raw.call('hello', { protocol: 1, client: 'matrix', auth: { token } })
  return raw
}

beforeAll(async () => {
  broker = await SecureBroker.start({ superUsers: ['User:root'], drainMs: 100 })
  admin = await signIn(broker.adminToken)
  aliceKey = (await (await broker.connect()).admin().createToken({ principal: alice })).token
  client = await signIn(aliceKey)
  rootKey = (await (await broker.connect()).admin().createToken({ principal: 'User:root' })).token
  supers = await signIn(rootKey)
})

afterAll(async () => {
  console.log(`ACL matrix: ${tried} cells tried, ${denied} of them denied, ${rows.length} rows`)
  for (const each of [admin, client, supers]) each.ws.terminate()
  await broker.close()
})

async function prepare({ topic: first, second, group: name }: Names, row: Row): Promise<void> {
  await admin.call('createTopic', { topic: second, ifNotExists: true })
  if (row.given === 'no topic') return
  await admin.call('createTopic', { topic: first, ifNotExists: true })
  const offsets = [{ topic: first, partition: 0, offset: 0 }]
  if (row.given === 'offsets') await admin.call('commitOffsets', { group: name, offsets })
  if (row.given === 'share') await admin.call('openShareGroup', { group: name, topics: [first] })
}

/** Presents a token that can do what the scope says at most. */
async function narrow(of: RawClient, scope: readonly Grant[]): Promise<void> {
  const { token } = await of.call('mintToken', { grants: scope })
  await of.call('authenticate', { auth: { token } })
}

async function tryCell(row: Row, cell: Cell): Promise<void> {
  const n = ++used
  const names = { topic: `t${n}-a`, second: `t${n}-b`, group: `g${n}` }
  const named = cellsOf(row.needs(names)).find(({ column }) => column === cell.column)
  const { scope, acls: bindings, allowed, missing } = named as Cell
  if (missing !== true) await prepare(names, row)
  if (bindings.length > 0) await admin.call('createAcls', { bindings })
  const isSuper = cell.column.startsWith('super user')
  const who = isSuper ? supers : client
  if (scope !== undefined) await narrow(who, scope)
  const state = (): string => broker.running?.broker.stateHash().hash ?? ''
  const before = state()
  const reply = await who.request(row.op, row.fields(names))
  const error = reply['error'] as { code: string; message: string } | undefined
  const what = `${row.op}, ${cell.column}: ${error?.message ?? 'ok'}`
  if (allowed) {
    if (error !== undefined) expect(row.may ?? [], what).toContain(error.code)
  } else {
    expect(error?.code, what).toBe('AUTHORIZATION_FAILED')
    expect(error?.message, what).toMatch(
      /^User:(alice|root) may not (read|write|create|delete|alter|describe) (topic|group|cluster) /,
    )
    expect(state(), `${what}: left a trace`).toBe(before)
    denied++
  }
  tried++
  if (scope !== undefined && row.op !== 'authenticate') {
    await who.call('authenticate', { auth: { token: isSuper ? rootKey : aliceKey } })
  }
  await admin.call('deleteAcls', { filter: { principal: alice } })
  await admin.call('deleteAcls', { filter: { principal: 'User:bob' } })
  await admin.call('deleteAcls', { filter: { principal: 'User:*' } })
}

describe('the matrix', () => {
  it('has every operation, and a rule for each', () => {
    const known = [...operations.keys()].sort()
    const listings = ['listTopics', 'listGroups']
    expect([...new Set([...rows.map(({ op }) => op), ...listings])].sort()).toEqual(known)
    expect([...permissions.keys()].sort()).toEqual(known)
  })

  for (const [i, row] of rows.entries()) {
    const example = row.needs({ topic: 't-a', second: 't-b', group: 'g' })
    const needs = example.map(([resource, , operation]) => `${resource} ${operation}`).join(' and ')
    it(`${i} ${row.op} needs ${needs || 'nothing'}`, async () => {
      for (const cell of cellsOf(example)) await tryCell(row, cell)
    })
  }
})

describe('what listings show', () => {
  const visible = { topic: 'shown', group: 'seen' }
  /** What allows what is shown to be described, and what does not. */
  const columns: readonly (readonly [string, boolean, readonly Frame[]])[] = [
    ['allowed exactly', true, [{}]],
    ['allowed by prefix', true, [{ pattern: 'prefixed', prefix: true }]],
    ['allowed by *', true, [{ name: '*' }]],
    ['allowed to everybody', true, [{ principal: 'User:*' }]],
    ['implied by read', true, [{ operation: 'read' }]],
    ['no rule', false, []],
    ['wrong resource', false, [{ name: 'other' }]],
    ['denied', false, [{}, { permission: 'deny' }]],
    ['denied by *', false, [{}, { permission: 'deny', name: '*' }]],
  ]
  it.each([
    ['listTopics', 'topics', 'topic'],
    ['listGroups', 'groups', 'group'],
  ] as const)('%s: what may be described', async (op, list, resource) => {
    await admin.call('createTopic', { topic: 'shown', ifNotExists: true })
    const offsets = [{ topic: 'shown', partition: 0, offset: 0 }]
    await admin.call('commitOffsets', { group: 'seen', offsets })
    const name = visible[resource]
    const listed = async (): Promise<boolean> =>
      ((await client.call(op))[list] as Frame[]).some(each => each[resource] === name)
    for (const [column, shown, rules] of columns) {
      const bindings = rules.map(({ prefix, ...more }) => ({
        principal: alice,
        resource,
        name: prefix === true ? name.slice(0, 2) : name,
        operation: 'describe',
        ...more,
      }))
      if (bindings.length > 0) await admin.call('createAcls', { bindings })
      expect(await listed(), `${op}, ${column}`).toBe(shown)
      tried++
      for (const principal of [alice, 'User:*'])
        await admin.call('deleteAcls', { filter: { principal } })
    }
    await admin.call('createAcls', {
      bindings: [{ principal: alice, resource, name, operation: 'describe' }],
    })
    await narrow(client, [elsewhere])
    expect(await listed(), `${op}, scope too narrow`).toBe(false)
    tried++
    await client.call('authenticate', { auth: { token: aliceKey } })
    await admin.call('deleteAcls', { filter: { principal: alice } })
  })
})
