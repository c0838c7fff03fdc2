// Every cell of the ACL matrix (acl-rows.ts), and what listings show.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { operations } from '../../broker/gateway/operations.ts'
import { permissions } from '../../broker/gateway/permissions.ts'
import type { Frame } from '../gateway/raw-client.ts'
import { AclMatrix } from './acl-matrix.ts'
import { alice, elsewhere, rows } from './acl-rows.ts'

let matrix: AclMatrix

beforeAll(async () => {
  matrix = await AclMatrix.start()
})

afterAll(async () => {
  const { attempted, refused } = matrix.counts
  console.log(
    `ACL matrix: ${attempted} cells tried, ${refused} of them to be denied, ${rows.length} rows`,
  )
  await matrix.close()
})

describe('the matrix', () => {
  it('has every operation, and a rule for each', () => {
    const known = [...operations.keys()].sort()
    const listings = ['listTopics', 'listGroups']
    expect([...new Set([...rows.map(({ op }) => op), ...listings])].sort()).toEqual(known)
    expect([...permissions.keys()].sort()).toEqual(known)
  })

  for (const [i, row] of rows.entries()) {
    const example = row.needs({ topic: 't-a', second: 't-b', group: 'g', key: '' })
    const needs = example.map(([resource, , operation]) => `${resource} ${operation}`).join(' and ')
    it(`${i} ${row.op} needs ${needs || 'nothing'}`, async () => {
      expect(await matrix.tryRow(row)).toEqual([])
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
    await matrix.admin.call('createTopic', { topic: 'shown', ifNotExists: true })
    const offsets = [{ topic: 'shown', partition: 0, offset: 0 }]
    await matrix.admin.call('commitOffsets', { group: 'seen', offsets })
    const name = visible[resource]
    const listed = async (): Promise<boolean> =>
      ((await matrix.alice.call(op))[list] as Frame[]).some(each => each[resource] === name)
    for (const [column, shown, rules] of columns) {
      const bindings = rules.map(({ prefix, ...more }) => ({
        principal: alice,
        resource,
        name: prefix === true ? name.slice(0, 2) : name,
        operation: 'describe',
        ...more,
      }))
      if (bindings.length > 0) await matrix.admin.call('createAcls', { bindings })
      expect(await listed(), `${op}, ${column}`).toBe(shown)
      for (const principal of [alice, 'User:*'])
        await matrix.admin.call('deleteAcls', { filter: { principal } })
    }
    await matrix.admin.call('createAcls', {
      bindings: [{ principal: alice, resource, name, operation: 'describe' }],
    })
    await matrix.narrow(matrix.alice, [elsewhere])
    expect(await listed(), `${op}, scope too narrow`).toBe(false)
    await matrix.alice.call('authenticate', { auth: { token: matrix.aliceKey } })
    await matrix.admin.call('deleteAcls', { filter: { principal: alice } })
  })
})
