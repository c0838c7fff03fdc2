// `logloom acl` and `logloom quota`.

import { describe, expect, it } from 'vitest'
import { startBroker } from './cli-process.ts'

interface Bindings {
  readonly bindings: readonly Record<string, string>[]
}

describe('logloom acl', () => {
  it('creates every combination, shows first what it would do, and deletes what fits', async () => {
    const broker = await startBroker()
    const acl = (...words: readonly string[]) => broker.run(['acl', ...words])
    const json = async (...words: readonly string[]): Promise<unknown> =>
      JSON.parse((await acl(...words, '--format', 'json')).stdout)
    const rules = ['--allow-principal', 'User:alice', '--allow-principal', 'User:bob'].concat([
      '--operation',
      'read,write',
      '--topic',
      'orders',
      '--topic',
      'bills',
    ])
    const dry = await acl('create', ...rules, '--dry-run')
    expect(dry).toMatchObject({ code: 0, stdout: expect.stringContaining('would create 8 rules') })
    expect(await json('list')).toEqual({ bindings: [] })
    expect(await json('create', ...rules)).toMatchObject({ created: 8 })
    expect((await acl('create', ...rules)).stdout).toContain('created 0 rules, 8 were there')
    await acl(
      'create',
      '--deny-principal',
      'User:*',
      '--operation',
      'read',
      '--topic',
      'or',
      '--pattern',
      'prefixed',
    )
    await acl('create', '--allow-principal', 'User:ops', '--operation', 'alter', '--cluster')
    const match = (await json('list', '--topic', 'orders', '--pattern', 'match')) as Bindings
    expect(match.bindings.map(({ name, permission }) => `${permission} ${name}`).sort()).toEqual([
      ...Array.from({ length: 4 }, () => 'allow orders'),
      'deny or',
    ])
    expect((await acl('list', '--cluster')).stdout).toMatch(
      /PRINCIPAL +PERMISSION.*\nUser:ops +allow +alter +cluster +literal +logloom\n$/,
    )
    const alice = ['delete', '--allow-principal', 'User:alice', '--topic', 'orders']
    expect((await acl(...alice, '--dry-run')).stdout).toContain('would delete 2 rules')
    expect((await acl(...alice)).stdout).toContain('deleted 2 rules')
    expect(((await json('list')) as Bindings).bindings).toHaveLength(8)
    expect((await acl('delete', '--all')).stdout).toContain('deleted 8 rules')
  })

  it.each([
    [['create', '--operation', 'read', '--topic', 't'], '--allow-principal'],
    [['create', '--allow-principal', 'User:a', '--topic', 't'], '--operation'],
    [['create', '--allow-principal', 'User:a', '--operation', 'read'], '--topic'],
    [['create', '--operation', 'eat'], 'describe, or all'],
    [['create', '--pattern', 'match'], 'literal or prefixed'],
    [['delete'], '--all'],
    [['delete', '--all', '--topic', 't'], '--all'],
  ])('%j is wrong usage', async (words, why) => {
    const broker = await startBroker()
    const result = await broker.run(['acl', ...words])
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining(why) })
  })

  it('tells what the broker has against it', async () => {
    const broker = await startBroker()
    const words = ['--allow-principal', 'alice', '--operation', 'read', '--topic', 't']
    const result = await broker.run(['acl', 'create', ...words])
    expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining('User:NAME') })
  })
})

describe('logloom quota', () => {
  it('sets limits one by one, takes one away, and all', async () => {
    const broker = await startBroker()
    const quota = async (...words: readonly string[]): Promise<unknown> =>
      JSON.parse((await broker.run(['quota', ...words, '--format', 'json'])).stdout)
    await quota('set', 'User:a', '--producer-byte-rate', '1000', '--connections', '2')
    expect(await quota('set', 'User:a', '--request-rate', '7')).toEqual({
      principal: 'User:a',
      quota: { producerByteRate: 1000, connections: 2, requestRate: 7 },
    })
    await quota('set', 'User:a', '--connections', 'none')
    expect(await quota('list')).toEqual({
      quotas: [{ principal: 'User:a', quota: { producerByteRate: 1000, requestRate: 7 } }],
    })
    expect((await broker.run(['quota', 'list'])).stdout).toMatch(/User:a +1000 +- +7 +- /)
    expect((await broker.run(['quota', 'delete', 'User:a'])).code).toBe(0)
    expect(await quota('list')).toEqual({ quotas: [] })
    const none = await broker.run(['quota', 'set', 'User:a'])
    expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining('--request-rate') })
    const bad = await broker.run(['quota', 'set', 'User:a', '--connections', '0'])
    expect(bad).toMatchObject({ code: 2, stderr: expect.stringContaining('at least 1') })
  })
})
