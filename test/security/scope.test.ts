// Scopes of tokens: as text, one within another, and what tokens with one say; the bounds of what failures leave behind.

import { describe, expect, it } from 'vitest'
import { FailureLog } from '../../broker/security/failure-log.ts'
import type { Grant } from '../../broker/security/grant.ts'
import { GuessBrake } from '../../broker/security/guess-brake.ts'
import type { Principal } from '../../broker/security/principal.ts'
import { isWithin, parseGrant, readScope, scopeGrantsMax } from '../../broker/security/scope.ts'
import { clusterTokenKey, ScopedTokens } from '../../broker/security/scoped-tokens.ts'
import { hasSecret } from '../../broker/security/url-secrets.ts'

const grant = (text: string): Grant => {
  const found = parseGrant(text)
  if (found === undefined) throw new Error(`no grant: ${text}`)
  return found
}

describe('a scope in a request', () => {
  it.each([{ toString: 1, valueOf: 1 }, ['read'], null, 7])('has operations, not %j', operation => {
    const grants = [
      { resource: 'topic', pattern: 'literal', name: 't', operations: ['read', operation] },
    ]
    expect(() => readScope({ op: 'mintToken', grants })).toThrowError(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    )
  })
})

describe('a grant as text', () => {
  it('is read', () => {
    expect(grant('topic:orders:read,write')).toEqual({
      resource: 'topic',
      pattern: 'literal',
      name: 'orders',
      operations: ['read', 'write'],
    })
    expect(grant('group:a:b*:read')).toMatchObject({ pattern: 'prefixed', name: 'a:b' })
    expect(grant('topic:*:describe')).toMatchObject({ pattern: 'literal', name: '*' })
  })

  it.each(['', 'openid', 'email', 'topic:orders', 'topic::read', 'topic:a:fly', 'planet:a:read'])(
    '%j is none',
    text => expect(parseGrant(text)).toBeUndefined(),
  )
})

describe('a scope', () => {
  const within = [
    ['topic:a:read', 'topic:a:read'],
    ['topic:a:describe', 'topic:a:read'],
    ['topic:chat-1:read', 'topic:chat-*:read,write'],
    ['topic:chat-1*:read', 'topic:chat-*:read'],
    ['topic:anything*:write', 'topic:*:write'],
  ] as const
  it.each(within)('%s lies within %s', (inner, outer) =>
    expect(isWithin([grant(inner)], [grant(outer)])).toBe(true),
  )

  const beyond = [
    ['topic:a:write', 'topic:a:read'],
    ['topic:a:read,write', 'topic:a:read'],
    ['topic:b:read', 'topic:a:read'],
    ['group:a:read', 'topic:a:read'],
    ['topic:chat*:read', 'topic:chat-*:read'],
    ['topic:*:read', 'topic:a*:read'],
    ['topic:a*:read', 'topic:a:read'],
    ['topic:a:read', 'topic:a:describe'],
  ] as const
  it.each(beyond)('%s goes beyond %s', (inner, outer) =>
    expect(isWithin([grant(inner)], [grant(outer)])).toBe(false),
  )

  it('in a request is checked', () => {
    const right = { resource: 'topic', pattern: 'literal', name: 'a', operations: ['read'] }
    expect(readScope({ grants: [right] })).toEqual([right])
    for (const wrong of [
      [],
      [1],
      [{ ...right, resource: 'planet' }],
      [{ ...right, operations: [] }],
      [{ ...right, operations: ['fly'] }],
      [{ ...right, name: '' }],
      [{ ...right, name: 'x'.repeat(250) }],
    ])
      expect(() => readScope({ grants: wrong })).toThrow(/mintToken/)
    const many = Array.from({ length: scopeGrantsMax + 1 }, () => right)
    expect(() => readScope({ grants: many })).toThrow(/scopeGrantsMax/)
  })
})

describe('a scoped token', () => {
  const alice: Principal = {
    name: 'User:alice',
    mechanism: 'api-key',
    superUser: false,
    tokenId: 'k',
  }
  const scope = [grant('topic:a:read')]

  it('is known to all brokers of a cluster, and to no other', () => {
    const one = new ScopedTokens(clusterTokenKey('a secret of the cluster', 'c'))
    const same = new ScopedTokens(clusterTokenKey('a secret of the cluster', 'c'))
    const token = one.mint(alice, scope, 2000)
    expect(same.check(token, 1000)).toEqual({
      ...alice,
      mechanism: 'scoped-token',
      expiresAt: 2000,
      scope,
    })
    expect(same.check(token, 2000)).toMatch(/expired/)
    for (const [secret, cluster] of [
      ['another secret of it', 'c'],
      ['a secret of the cluster', 'd'],
    ] as const) {
      const other = new ScopedTokens(clusterTokenKey(secret, cluster))
      expect(other.check(token, 1000)).toMatch(/no broker/)
    }
  })

  it('cannot be changed', () => {
    const tokens = new ScopedTokens(new Uint8Array(32))
    const token = tokens.mint(alice, scope, 2000)
    for (let i = 4; i < token.length; i++) {
      const changed = `${token.slice(0, i)}${token[i] === 'A' ? 'B' : 'A'}${token.slice(i + 1)}`
      // The last character of base64url has bits that mean nothing.
      if (i < token.length - 1) expect(tokens.check(changed, 0), String(i)).toMatch(/no broker/)
    }
  })
})

describe('failures', () => {
  it('are answered the later the more an address has, and forgotten', () => {
    let now = 0
    const brake = new GuessBrake(
      () => now,
      () => 1,
    )
    const delays = Array.from({ length: 8 }, () => brake.failed('10.0.0.1'))
    expect(delays).toEqual([100, 200, 400, 800, 1600, 2000, 2000, 2000])
    expect(brake.failed('10.0.0.2')).toBe(100)
    expect(brake.failed('2001:db8:1:2:3::4')).toBe(100)
    expect(brake.failed('2001:db8:1:2:9::9')).toBe(200)
    expect(brake.failed('2001:db8::1')).toBe(100)
    expect(brake.failed('2001:db8::2')).toBe(200)
    expect(brake.failed('::ffff:10.0.0.2')).toBe(200)
    now = 60_001
    expect(brake.failed('10.0.0.1')).toBe(100)
    for (let i = 0; i < 10_000; i++) brake.failed(`10.1.${i >> 8}.${i % 256}`)
    expect(brake.size).toBe(4096)
  })

  it('fill no log', () => {
    const lines: string[] = []
    const logger = {
      info: () => {},
      warn: (_: object, text: string) => lines.push(text),
      error: () => {},
    }
    let now = 0
    const log = new FailureLog(logger, () => now)
    const failure = { mechanism: 'jwt', address: 'a', cause: 'c' } as const
    for (let i = 0; i < 1000; i++) log.add(failure)
    expect(lines).toHaveLength(20)
    now = 10_000
    log.add(failure)
    expect(lines.slice(20)).toEqual(['more authentications failed', 'authentication failed'])
  })
})

describe('a URL', () => {
  it.each([
    '/?token=',
    '/?Access_Token=x',
    '/?a=b&api-key=c',
    '/?x=llk_a',
    '/topics/t/events?from=%6clk_a',
    '/?%74oken=a',
    '/llt_x',
    '/?p=eyJhbGci.eyJzdWIi',
  ])('%s seems to carry a secret', url => expect(hasSecret(url)).toBe(true))
  it.each(['/', '/metrics?names=kafka_exporter', '/console/', '/?key=1', '/?tokens=3'])(
    '%s does not',
    url => expect(hasSecret(url)).toBe(false),
  )
})
