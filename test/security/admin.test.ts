// API keys, ACLs and quotas through the SDK, and what requests by hand are told.

import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseApiKey } from '../../wire/api-key.ts'
import { useMemoryBroker } from '../client/memory-broker.ts'
import { RawClient } from '../gateway/raw-client.ts'

const { broker, client } = useMemoryBroker()

describe('the SDK', () => {
  it('makes, lists and revokes API keys whose secret only it knows', async () => {
    const admin = (await client()).admin()
    const made = await admin.createToken({ principal: 'User:alice', description: 'ci' })
    const text = parseApiKey(made.token)
    expect(text?.id).toBe(made.tokenId)
    const stored = broker().broker.security.apiKey(made.tokenId)
    expect(Buffer.from(stored?.hash ?? [])).toEqual(
      createHash('sha256')
        .update(text?.secret ?? '')
        .digest(),
    )
    const { token: _, ...listing } = made
    expect(await admin.listTokens()).toEqual([listing])
    expect(await admin.revokeToken(made.tokenId)).toEqual({
      tokenId: made.tokenId,
      principal: 'User:alice',
    })
    expect(await admin.listTokens()).toEqual([])
    await expect(admin.revokeToken(made.tokenId)).rejects.toMatchObject({ code: 'UNKNOWN_TOKEN' })
  })

  it('gives keys an end', async () => {
    const admin = (await client()).admin()
    const before = Date.now()
    const made = await admin.createToken({ principal: 'User:alice', ttlMs: 60_000 })
    expect(made.expiresAt).toBeGreaterThanOrEqual(before + 60_000)
    const past = { principal: 'User:alice', expiresAt: 5 }
    await expect(admin.createToken(past)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  })

  it('makes, finds and deletes ACL bindings, more than one request takes', async () => {
    const admin = (await client()).admin()
    const bindings = Array.from({ length: 1100 }, (_, n) => ({
      principal: 'User:alice',
      resource: 'topic' as const,
      name: `t${n}`,
      operation: 'read' as const,
    }))
    expect(await admin.createAcls(bindings)).toEqual({ created: 1100 })
    expect(await admin.createAcls(bindings.slice(0, 3))).toEqual({ created: 0 })
    await admin.createAcls([
      {
        principal: 'User:*',
        resource: 'topic',
        pattern: 'prefixed',
        name: 't1',
        operation: 'write',
      },
      { principal: 'User:ops', resource: 'cluster', operation: 'alter', permission: 'deny' },
    ])
    const covering = await admin.listAcls({ filter: { name: 't17', pattern: 'match' } })
    expect(covering.map(({ name, pattern }) => [name, pattern])).toEqual([
      ['t17', 'literal'],
      ['t1', 'prefixed'],
    ])
    expect(await admin.listAcls({ filter: { resource: 'cluster' } })).toEqual([
      {
        principal: 'User:ops',
        permission: 'deny',
        resource: 'cluster',
        pattern: 'literal',
        name: 'logloom',
        operation: 'alter',
      },
    ])
    const filter = { principal: 'User:alice' }
    expect(await admin.deleteAcls(filter, { dryRun: true })).toHaveLength(1100)
    expect(await admin.deleteAcls(filter)).toHaveLength(1100)
    expect(await admin.listAcls()).toHaveLength(2)
  })

  it('sets, lists and removes quotas', async () => {
    const admin = (await client()).admin()
    await admin.setQuota('User:*', { requestRate: 100 })
    await admin.setQuota('User:alice', { producerByteRate: 1e9, connections: 2 })
    await admin.setQuota('User:alice', { producerByteRate: 5 })
    expect(await admin.listQuotas()).toEqual([
      { principal: 'User:*', quota: { requestRate: 100 } },
      { principal: 'User:alice', quota: { producerByteRate: 5 } },
    ])
    expect(broker().broker.security.quota('User:alice')).toEqual({
      producerByteRate: 5,
      requestRate: 100,
    })
    expect(await admin.setQuota('User:alice', null)).toEqual({
      principal: 'User:alice',
      quota: null,
    })
    expect(await admin.listQuotas()).toHaveLength(1)
  })
})

describe('a request by hand', () => {
  let raw: RawClient
  beforeEach(async () => {
    raw = await RawClient.connect(broker().url)
  })
  afterEach(() => raw.close())

  const token = {
    tokenId: 'abcdefgh01234567',
    hash: Buffer.alloc(32, 7),
    principal: 'User:a',
  }

  it('pages through API keys', async () => {
    for (const letter of ['c', 'a', 'b'])
      await raw.call('createToken', { ...token, tokenId: letter.repeat(16) })
    const first = await raw.call('listTokens', { limit: 2 })
    expect(first).toMatchObject({ more: true, tokens: [{ tokenId: 'a'.repeat(16) }, {}] })
    const rest = await raw.call('listTokens', { limit: 2, after: 'b'.repeat(16) })
    expect(rest).toMatchObject({ more: false, tokens: [{ tokenId: 'c'.repeat(16) }] })
    expect(JSON.stringify(first)).not.toContain('hash')
  })

  it('is not told the hash, and a second key of the id is refused', async () => {
    const made = await raw.call('createToken', token)
    expect(Object.keys(made).sort()).toEqual([
      'createdAt',
      'description',
      'id',
      'principal',
      'tokenId',
    ])
    expect(await raw.refusal('createToken', token)).toMatchObject({
      code: 'TOKEN_EXISTS',
      tokenId: token.tokenId,
    })
  })

  const acl = { principal: 'User:a', resource: 'topic', name: 'orders', operation: 'read' }
  it.each([
    ['createToken', { ...token, hash: Buffer.alloc(31) }, 'SHA-256'],
    ['createToken', { ...token, hash: 'x'.repeat(32) }, 'binary'],
    ['createToken', { ...token, tokenId: 'short' }, '16 characters'],
    ['createToken', { ...token, principal: 'alice' }, 'User:NAME'],
    ['createToken', { ...token, principal: 'User:*' }, 'everybody'],
    ['createToken', { ...token, principal: `User:${'x'.repeat(256)}` }, 'principalLengthMax'],
    ['createToken', { ...token, principal: 'User:a\nb' }, 'control character'],
    ['createToken', { ...token, description: 'x'.repeat(201) }, 'tokenDescriptionLengthMax'],
    ['createToken', { ...token, ttlMs: 0 }, 'expired already'],
    ['createToken', { ...token, ttlMs: 5, expiresAt: 2 ** 50 }, 'either'],
    ['revokeToken', { tokenId: '../../etc/passwd' }, '16 characters'],
    ['listTokens', { limit: 5001 }, 'tokensListedMax'],
    ['createAcls', { bindings: [] }, 'aclsPerCommandMax'],
    ['createAcls', { bindings: Array.from({ length: 501 }, () => acl) }, 'aclsPerCommandMax'],
    ['createAcls', { bindings: [7] }, 'a map'],
    ['createAcls', { bindings: [{ ...acl, resource: 'broker' }] }, 'topic, group, cluster'],
    [
      'createAcls',
      { bindings: [{ ...acl, resource: 'group', operation: 'write' }] },
      'means nothing',
    ],
    ['createAcls', { bindings: [{ ...acl, operation: 'toString' }] }, 'none of'],
    ['createAcls', { bindings: [{ ...acl, name: 'a b' }] }, 'no name of a topic'],
    ['createAcls', { bindings: [{ ...acl, name: '' }] }, 'no name of a topic'],
    [
      'createAcls',
      { bindings: [{ ...acl, name: '*', pattern: 'prefixed' }] },
      'no name of a topic',
    ],
    ['createAcls', { bindings: [{ ...acl, resource: 'cluster' }] }, 'one name'],
    ['createAcls', { bindings: [{ ...acl, permission: 'maybe' }] }, 'allow, deny'],
    ['deleteAcls', {}, 'a map'],
    ['deleteAcls', { filter: { pattern: 'any' } }, 'none of'],
    ['deleteAcls', { filter: { principle: 'User:a' } }, 'none of principal'],
    ['setQuota', { principal: 'User:a', quota: {} }, 'limits nothing'],
    ['setQuota', { principal: 'User:a' }, 'a map'],
    ['setQuota', { principal: 'User:a', quota: { requestsRate: 1 } }, 'none of'],
    ['setQuota', { principal: 'User:a', quota: { requestRate: 0 } }, 'at least 1'],
  ])('%s %j is refused and says why', async (op, fields, why) => {
    const error = await raw.refusal(op, fields)
    expect(error.code).toBe('INVALID_REQUEST')
    expect(error.message).toContain(why)
  })
})
