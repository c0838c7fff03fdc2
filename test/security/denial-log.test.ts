// Denied requests in the log: told once, counted after that, and never more lines than a few however somebody tries.

import { beforeEach, expect, it } from 'vitest'
import { type Denial, DenialLog } from '../../broker/security/denial-log.ts'

let lines: Record<string, unknown>[]
let passMinute: () => void
let log: DenialLog

beforeEach(() => {
  lines = []
  const warn = (fields: object, message: string): number => lines.push({ ...fields, message })
  log = new DenialLog({ info: () => {}, warn, error: () => {} }, (_ms, fn) => {
    passMinute = fn
  })
})

const denial = (more: Partial<Denial> = {}): Denial => ({
  principal: 'User:alice',
  mechanism: 'api-key',
  tokenId: 'abcdefghijklmnop',
  address: '127.0.0.1',
  client: 'test',
  op: 'produce',
  operation: 'write',
  resource: 'topic',
  name: 'orders',
  audit: false,
  ...more,
})

it('tells one at once, and a minute later how often it came again', () => {
  for (let i = 0; i < 1000; i++) log.add(denial())
  const { audit, ...line } = denial()
  expect(audit).toBe(false)
  expect(lines).toEqual([{ ...line, message: 'denied' }])
  passMinute()
  expect(lines).toHaveLength(2)
  expect(lines[1]).toMatchObject({ message: 'denied again', again: 999, name: 'orders' })
  log.add(denial())
  expect(lines).toHaveLength(3)
})

it('marks attempts to administer as audit', () => {
  log.add(denial({ op: 'deleteTopic', operation: 'delete', audit: true }))
  expect(lines[0]).toMatchObject({
    audit: true,
    outcome: 'AUTHORIZATION_FAILED',
    op: 'deleteTopic',
  })
})

it('does not fill the log for somebody who tries every name', () => {
  for (let i = 0; i < 10_000; i++) log.add(denial({ name: `t${i}` }))
  expect(lines).toHaveLength(20)
  log.add(denial({ principal: 'User:bob' }))
  expect(lines).toHaveLength(21)
  // What somebody tries to administer is told all the same.
  log.add(denial({ op: 'sealLog', audit: true }))
  expect(lines).toHaveLength(22)
  passMinute()
  expect(lines.at(-1)).toEqual({ omitted: 9980, message: 'more requests were denied' })
})

it('nor for many who do', () => {
  for (let i = 0; i < 5000; i++) log.add(denial({ principal: `User:${i}` }))
  expect(lines).toHaveLength(500)
})
