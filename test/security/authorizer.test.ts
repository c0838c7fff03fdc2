// The authorizer against a model that is as plain as the rules, and what it keeps.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AclBinding } from '../../broker/security/acl.ts'
import { Authorizer } from '../../broker/security/authorizer.ts'
import { operationsOn, readBinding } from '../../broker/security/check-binding.ts'
import { aclOperations, type Grant, resourceTypes } from '../../broker/security/grant.ts'
import { literalPrefix } from '../../broker/security/literal-prefix.ts'
import type { Principal } from '../../broker/security/principal.ts'
import { checkPattern, matchesPattern } from '../../broker/state/groups/pattern.ts'

class Acls {
  aclVersion = 0
  bindings: readonly AclBinding[] = []
  acls = (): readonly AclBinding[] => this.bindings

  set(...bindings: readonly AclBinding[]): void {
    this.bindings = bindings
    this.aclVersion++
  }
}

const principalOf = (name: string, more: Partial<Principal> = {}): Principal => ({
  name,
  mechanism: 'api-key',
  superUser: false,
  ...more,
})

/** The rules, word by word. */
function modelCovers(pattern: string, name: string, actual: string): boolean {
  if (pattern === 'literal') return name === '*' || name === actual
  return actual.slice(0, name.length) === name
}

function modelScope(scope: readonly Grant[], resource: string, name: string, wanted: string) {
  for (const grant of scope)
    for (const operation of grant.operations)
      if (
        grant.resource === resource &&
        modelCovers(grant.pattern, grant.name, name) &&
        (operation === wanted || (wanted === 'describe' && operation !== 'create'))
      )
        return true
  return false
}

function modelVerdict(
  bindings: readonly AclBinding[],
  principal: string,
  resource: string,
  name: string,
  wanted: string,
): 'allow' | 'deny' | 'none' {
  const about = bindings.filter(
    each =>
      (each.principal === principal || each.principal === 'User:*') &&
      each.resource === resource &&
      modelCovers(each.pattern, each.name, name),
  )
  if (about.some(each => each.permission === 'deny' && each.operation === wanted)) return 'deny'
  const isAllowed = about.some(
    ({ permission, operation }) =>
      permission === 'allow' &&
      (operation === wanted || (wanted === 'describe' && operation !== 'create')),
  )
  return isAllowed ? 'allow' : 'none'
}

const names = fc.constantFrom('*', 'a', 'ab', 'abc', 'b', '', 'abcd', 'ac')
const people = fc.constantFrom('User:alice', 'User:bob', 'User:*')
const bindings = fc.array(
  fc.record<AclBinding>({
    principal: people,
    permission: fc.constantFrom('allow', 'allow', 'deny'),
    resource: fc.constantFrom(...resourceTypes),
    pattern: fc.constantFrom('literal', 'prefixed'),
    name: names,
    operation: fc.constantFrom(...aclOperations),
  }),
  { maxLength: 12 },
)
const scopes = fc.option(
  fc.array(
    fc.record<Grant>({
      resource: fc.constantFrom(...resourceTypes),
      pattern: fc.constantFrom('literal', 'prefixed'),
      name: names,
      operations: fc.subarray([...aclOperations], { minLength: 1 }),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  { nil: undefined },
)
const actuals = fc.constantFrom('a', 'ab', 'abc', 'abd', 'b', 'zz')

describe('the authorizer', () => {
  it('decides as the rules say, asked once or again, before and after a change', () => {
    const acls = new Acls()
    const authorizer = new Authorizer(acls, ['User:root'])
    fc.assert(
      fc.property(
        bindings,
        scopes,
        fc.constantFrom('User:alice', 'User:bob', 'User:root'),
        fc.boolean(),
        (list, scope, name, superUser) => {
          acls.set(...list)
          const principal = principalOf(name, {
            superUser,
            ...(scope === undefined ? {} : { scope }),
          })
          const access = authorizer.accessOf(principal)
          const isSuper = superUser || name === 'User:root'
          if (access === undefined) {
            expect(isSuper && scope === undefined).toBe(true)
            return
          }
          for (const resource of resourceTypes)
            for (const actual of ['a', 'ab', 'abc', 'abd', 'b', 'zz'])
              for (const operation of aclOperations) {
                const inScope =
                  scope === undefined || modelScope(scope, resource, actual, operation)
                const expected =
                  inScope &&
                  (isSuper || modelVerdict(list, name, resource, actual, operation) === 'allow')
                expect(access.may(resource, actual, operation)).toBe(expected)
                expect(access.may(resource, actual, operation)).toBe(expected)
              }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('lets a topic be created by its own right or that of the cluster, unless denied of the topic', () => {
    const acls = new Acls()
    const authorizer = new Authorizer(acls, [])
    fc.assert(
      fc.property(bindings, scopes, actuals, (list, scope, topic) => {
        acls.set(...list)
        const principal = principalOf('User:alice', scope === undefined ? {} : { scope })
        const own = modelVerdict(list, 'User:alice', 'topic', topic, 'create')
        const any = modelVerdict(list, 'User:alice', 'cluster', 'logloom', 'create')
        const inScope =
          scope === undefined ||
          modelScope(scope, 'topic', topic, 'create') ||
          modelScope(scope, 'cluster', 'logloom', 'create')
        const expected = inScope && (own === 'allow' || (own === 'none' && any === 'allow'))
        expect(authorizer.allowsCreate(principal, topic)).toBe(expected)
      }),
      { numRuns: 500 },
    )
  })

  it('says that all of a prefix is allowed only where each name of it is', () => {
    const acls = new Acls()
    const authorizer = new Authorizer(acls, [])
    fc.assert(
      fc.property(bindings, scopes, fc.constantFrom('', 'a', 'ab'), (list, scope, prefix) => {
        acls.set(...list)
        const principal = principalOf('User:alice', scope === undefined ? {} : { scope })
        if (!authorizer.allowsAll(principal, 'topic', prefix, 'read')) return
        for (const rest of ['', 'a', 'b', 'c', 'bc', 'bcd', 'zzz', '*']) {
          const permission = { resource: 'topic', name: prefix + rest, operation: 'read' } as const
          expect(authorizer.allows(principal, permission)).toBe(true)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('does say it where one rule covers the prefix', () => {
    const acls = new Acls()
    const authorizer = new Authorizer(acls, [])
    const alice = principalOf('User:alice')
    const rule = (more: Partial<AclBinding>): AclBinding => ({
      principal: 'User:alice',
      permission: 'allow',
      resource: 'topic',
      pattern: 'prefixed',
      name: 'orders',
      operation: 'read',
      ...more,
    })
    acls.set(rule({}))
    expect(authorizer.allowsAll(alice, 'topic', 'orders-', 'read')).toBe(true)
    expect(authorizer.allowsAll(alice, 'topic', 'order', 'read')).toBe(false)
    acls.set(rule({ pattern: 'literal', name: '*', principal: 'User:*' }))
    expect(authorizer.allowsAll(alice, 'topic', '', 'read')).toBe(true)
    acls.set(rule({}), rule({ permission: 'deny', pattern: 'literal', name: 'orders-eu' }))
    expect(authorizer.allowsAll(alice, 'topic', 'orders-', 'read')).toBe(false)
    expect(authorizer.allowsAll(alice, 'topic', 'orders-us', 'read')).toBe(true)
  })

  it('names principal, operation and resource, the same whether there is such a thing or not', () => {
    const access = new Authorizer(new Acls(), []).accessOf(principalOf('User:alice'))
    expect(() => access?.must('topic', 'orders', 'write')).toThrow(
      'User:alice may not write topic orders',
    )
    expect(access?.denial('topic', 'x'.repeat(1e6), 'read').message.length).toBeLessThan(200)
  })

  it('keeps no decision longer than the rules that it came from', () => {
    const acls = new Acls()
    const access = new Authorizer(acls, []).accessOf(principalOf('User:alice'))
    const may = (): boolean | undefined => access?.may('topic', 't', 'read')
    const rule = {
      principal: 'User:alice',
      resource: 'topic',
      pattern: 'literal',
      name: 't',
    } as const
    expect(may()).toBe(false)
    acls.set({ ...rule, permission: 'allow', operation: 'read' })
    expect(may()).toBe(true)
    acls.set()
    expect(may()).toBe(false)
  })

  it('keeps few decisions, and none about names that nothing can have', () => {
    const acls = new Acls()
    const access = new Authorizer(acls, []).accessOf(principalOf('User:alice'))
    const kept = (): number =>
      (access as unknown as { kept: (Map<string, boolean> | undefined)[] }).kept.reduce(
        (sum, map) => sum + (map?.size ?? 0),
        0,
      )
    for (let i = 0; i < 1000; i++) access?.may('topic', `t${i}`, 'read')
    expect(kept()).toBeLessThanOrEqual(128)
    acls.set()
    access?.may('topic', 'x'.repeat(250), 'read')
    expect(kept()).toBe(0)
  })
})

describe('what all names of a pattern begin with', () => {
  it.each([
    ['orders', 'orders'],
    ['orders-.*', 'orders-'],
    ['^orders\\.eu.+', 'orders.eu'],
    ['orders*', 'order'],
    ['orders?', 'order'],
    ['orders+', 'orders'],
    ['orders{0,2}', 'order'],
    ['a|b', ''],
    ['orders-(eu|us)', ''],
    ['.*', ''],
    ['(?i)orders', ''],
    ['\\Qorders', ''],
    ['\\d+', ''],
    ['[ab]c', ''],
    ['or[ab]c', 'or'],
    ['orders(?)?', 'order'],
    ['orders(?i)*', 'order'],
    ['orders+(?)?', 'order'],
    ['orders\\Q\\E?', 'order'],
    ['orders-(?:eu)+', 'orders'],
  ])('%s: %j', (pattern, prefix) => {
    expect(literalPrefix(pattern)).toBe(prefix)
  })

  it('is a beginning of every name that matches', () => {
    const pieces = fc.constantFrom(
      'a',
      'b',
      '-',
      '\\.',
      '.',
      '*',
      '+',
      '?',
      '|',
      '(',
      ')',
      '[ab]',
      '{2}',
      '^',
      '$',
      '(?)',
      '(?i)',
      '(?:',
      '\\Q',
      '\\E',
    )
    const patterns = fc.array(pieces, { minLength: 1, maxLength: 7 }).map(list => list.join(''))
    const topics = fc.stringMatching(/^[ab.-]{1,6}$/)
    let matched = 0
    fc.assert(
      fc.property(patterns, fc.array(topics, { maxLength: 30 }), (pattern, candidates) => {
        try {
          checkPattern(pattern)
        } catch {
          return
        }
        const prefix = literalPrefix(pattern)
        for (const name of candidates)
          if (matchesPattern(pattern, name)) {
            matched++
            expect(name.startsWith(prefix), `${pattern} ${name}`).toBe(true)
          }
      }),
      { numRuns: 3000 },
    )
    expect(matched).toBeGreaterThan(30)
  })
})

it('operations that can be bound are those that the rules ask for', () => {
  for (const resource of resourceTypes)
    for (const operation of aclOperations) {
      const name = resource === 'cluster' ? 'logloom' : 'x'
      const make = (): AclBinding => readBinding({ principal: 'User:a', resource, name, operation })
      if (operationsOn[resource].includes(operation)) expect(make().name).toBe(name)
      else expect(make).toThrow('means nothing')
    }
})
