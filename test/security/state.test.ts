// API keys, ACLs and quotas as the state machine keeps them: the same after a replay, from a store and from a checkpoint; changed once by retries; bounded.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AclBinding } from '../../broker/security/acl.ts'
import { expiredKeyGraceMs } from '../../broker/security/api-key.ts'
import { restoreCheckpoint, writeCheckpoint } from '../../broker/state/checkpoint.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { levelOf } from '../../broker/state/feature-level.ts'
import { parseEntry } from '../../broker/engine/entry.ts'
import { openLmdbStore } from '../../broker/state/lmdb-store.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import type { SecurityCommand } from '../../broker/state/security/commands.ts'
import { aclBindingsMax, quotasMax } from '../../broker/state/security/security-registry.ts'
import { StateMachine } from '../../broker/state/state-machine.ts'
import { sweepTokensOnce } from '../../broker/token-sweep.ts'
import { nodeClock } from '../../loglets/node-clock.ts'
import { HandFed } from '../broker/hand-fed.ts'
import { SimDisk } from '../simulation/sim-disk.ts'

const id = (n: number): string => `key${n}`.padEnd(16, '0')
const hash = (n: number): Uint8Array => new Uint8Array(32).fill(n)

const create = (n: number, more: Partial<Command & { type: 'createToken' }> = {}): Command => ({
  type: 'createToken',
  id: id(n),
  principal: 'User:alice',
  hash: hash(n),
  description: 'a key',
  ...more,
})

const binding = (name: string, more: Partial<AclBinding> = {}): AclBinding => ({
  principal: 'User:alice',
  permission: 'allow',
  resource: 'topic',
  pattern: 'literal',
  name,
  operation: 'read',
  ...more,
})

/** Everything that can be read of it. */
function content({ security }: StateMachine) {
  const { registry } = security
  return {
    keys: [...registry.apiKeys()]
      .map(key => ({ ...key, hash: Buffer.from(key.hash).toString('hex') }))
      .sort((a, b) => (a.id < b.id ? -1 : 1)),
    acls: [...registry.acls()],
    quotas: [...registry.quotas()].sort(([a], [b]) => (a < b ? -1 : 1)),
  }
}

function fed(commands: readonly Command[]): { log: HandFed; decisions: Decision[] } {
  const log = new HandFed()
  return { log, decisions: commands.map(command => log.propose(command)) }
}

const names = fc.constantFrom('a', 'b', 'orders', 'orders-eu')
const principals = fc.constantFrom('User:alice', 'User:bob', 'User:*', 'User:grüße 日本')
const bindings: fc.Arbitrary<AclBinding> = fc.record({
  principal: principals,
  permission: fc.constantFrom('allow', 'deny'),
  resource: fc.constantFrom('topic', 'group'),
  pattern: fc.constantFrom('literal', 'prefixed'),
  name: names,
  operation: fc.constantFrom('read', 'describe'),
})
const keyNumbers = fc.integer({ min: 0, max: 5 })
const commands: fc.Arbitrary<SecurityCommand> = fc.oneof(
  fc
    .record({ n: keyNumbers, expiresAt: fc.option(fc.integer({ min: 1, max: 99 })) })
    .map(
      ({ n, expiresAt }) => create(n, expiresAt === null ? {} : { expiresAt }) as SecurityCommand,
    ),
  keyNumbers.map(n => ({ type: 'revokeToken', id: id(n) }) as const),
  fc.array(keyNumbers).map(ns => ({ type: 'sweepTokens', ids: ns.map(id) }) as const),
  fc
    .array(bindings, { maxLength: 4 })
    .map(some => ({ type: 'createAcls', bindings: some }) as const),
  fc
    .record({ name: fc.option(names, { nil: undefined }), principal: principals })
    .map(({ name, principal }) => ({
      type: 'deleteAcls' as const,
      filter: { principal, ...(name === undefined ? {} : { name }) },
    })),
  fc
    .record({ principal: principals, rate: fc.option(fc.integer({ min: 1, max: 2 ** 40 })) })
    .map(({ principal, rate }) => ({
      type: 'setQuota' as const,
      principal,
      ...(rate === null ? {} : { quota: { producerByteRate: rate } }),
    })),
)

describe('API keys, ACLs and quotas', () => {
  it('are the same after a replay, out of a store half-way, and out of a checkpoint', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(commands, { maxLength: 40 }), fc.nat(), async (list, cut) => {
        const log = new HandFed()
        for (const [i, command] of list.entries()) {
          log.stamp = i * expiredKeyGraceMs
          if (i === cut % list.length) await log.commit()
          log.propose(command)
        }
        const replayed = new StateMachine(new MemoryStore())
        for (const [lsn, bytes] of log.entries.entries()) replayed.apply(lsn, parseEntry(bytes))
        const stored = await log.rebuilt()
        for (const machine of [replayed, stored]) {
          expect(machine.digest()).toBe(log.machine.digest())
          expect(content(machine)).toEqual(content(log.machine))
        }
        await log.commit()
        const disk = new SimDisk()
        await writeCheckpoint(disk, 'c', log.store, log.machine.applied)
        const store = new MemoryStore()
        await restoreCheckpoint(disk, 'c', store)
        expect(content(new StateMachine(store))).toEqual(content(log.machine))
      }),
      { numRuns: 60 },
    )
  })

  it('come back out of LMDB', async () => {
    const { log } = fed([
      create(1),
      create(2, { expiresAt: 77 }),
      { type: 'createAcls', bindings: [binding('a'), binding('b', { permission: 'deny' })] },
      { type: 'setQuota', principal: `User:${'日'.repeat(255)}`, quota: { connections: 3 } },
    ])
    const directory = mkdtempSync(join(tmpdir(), 'logloom-security-'))
    const store = openLmdbStore(join(directory, 'state'))
    await store.commit(log.machine.takeChanges().ops)
    expect(content(new StateMachine(store))).toEqual(content(log.machine))
    await store.close()
    rmSync(directory, { recursive: true, force: true })
  })

  it('survive a lost range of the log', () => {
    const { log } = fed([create(1), { type: 'createAcls', bindings: [binding('a')] }])
    const before = content(log.machine)
    log.machine.lose(log.machine.applied, log.machine.applied + 10)
    expect(content(log.machine)).toEqual(before)
  })

  it('are part of the hash', () => {
    const digestOf = (command: Command): string => fed([command]).log.machine.digest()
    const digests = [
      create(1),
      create(1, { hash: hash(2) }),
      create(1, { principal: 'User:bob' }),
      create(1, { expiresAt: 5 }),
      { type: 'createAcls', bindings: [binding('a')] } as const,
      { type: 'createAcls', bindings: [binding('a', { permission: 'deny' })] } as const,
      { type: 'setQuota', principal: 'User:a', quota: { requestRate: 1 } } as const,
      { type: 'setQuota', principal: 'User:a', quota: { requestRate: 2 } } as const,
      { type: 'setQuota', principal: 'User:a', quota: { connections: 1 } } as const,
    ].map(digestOf)
    expect(new Set(digests).size).toBe(digests.length)
  })

  it('are not in states from before there were any, which load as ever', async () => {
    const { log } = fed([{ type: 'stamp' }])
    const { ops } = log.machine.takeChanges()
    const store = new MemoryStore()
    const { unpackOwn } = await import('../../broker/state/own-frame.ts')
    const { packFrame } = await import('../../wire/frame.ts')
    const old = ops.map(op => {
      if (op.type !== 'put' || op.key[0] !== 1) return op
      const { nextAclId: _, ...meta } = unpackOwn(op.value)
      return { ...op, value: packFrame(meta).slice() }
    })
    await store.commit(old)
    const machine = new StateMachine(store)
    expect(content(machine)).toEqual({ keys: [], acls: [], quotas: [] })
    expect(machine.security.registry.nextAclId).toBe(1)
  })

  it('need brokers that can read them', () => {
    for (const type of ['createToken', 'revokeToken', 'sweepTokens', 'createAcls'] as const)
      expect(levelOf({ type } as Command)).toBe(5)
    for (const type of ['deleteAcls', 'setQuota'] as const)
      expect(levelOf({ type } as Command)).toBe(5)
  })

  it('tell listeners once of all that came together, and only of changes', () => {
    const { log } = fed([])
    const { registry } = log.machine.security
    let heard = 0
    const stop = registry.onChange(() => heard++)
    log.propose(create(1), create(2))
    expect(heard).toBe(0)
    registry.tell()
    expect(heard).toBe(1)
    log.propose({ type: 'revokeToken', id: id(9) })
    registry.tell()
    expect(heard).toBe(1)
    stop()
    log.propose(create(3))
    registry.tell()
    expect(heard).toBe(1)
  })
})

describe('a retry with the same producer identity', () => {
  it.each([
    ['createToken', create(1)],
    ['createAcls', { type: 'createAcls', bindings: [binding('a'), binding('a')] }],
    ['deleteAcls', { type: 'deleteAcls', filter: { name: 'x' } }],
    ['revokeToken', { type: 'revokeToken', id: id(8) }],
    ['setQuota', { type: 'setQuota', principal: 'User:a', quota: { requestRate: 4 } }],
  ] as const)('of %s gets the first answer and changes nothing', (_, command) => {
    const { log } = fed([
      create(8),
      { type: 'createAcls', bindings: [binding('x')] },
      { type: 'initProducer' },
    ])
    const producer = { id: 1, epoch: 0, sequence: 0 }
    const first = log.propose({ ...command, producer } as Command)
    const { version } = log.machine.security.registry
    const again = log.propose({ ...command, producer } as Command)
    expect(first).toMatchObject({ ok: true })
    expect(again).toEqual({ ...first, duplicate: true })
    expect(log.machine.security.registry.version).toBe(version)
  })

  it('hears a refusal again, also when its cause has gone', () => {
    const { log } = fed([create(1), { type: 'initProducer' }])
    const producer = { id: 1, epoch: 0, sequence: 0 }
    const refusal = { ok: false, code: 'TOKEN_EXISTS', decided: true }
    expect(log.propose(create(1, { producer }))).toMatchObject(refusal)
    log.propose({ type: 'revokeToken', id: id(1) })
    expect(log.propose(create(1, { producer }))).toMatchObject(refusal)
  })
})

describe('bounds', () => {
  it('on bindings hold for the whole request', () => {
    const { log } = fed([])
    for (let at = 0; at < aclBindingsMax; at += 500) {
      const bindings = Array.from({ length: 500 }, (_, i) => binding(`t${at + i}`))
      log.propose({ type: 'createAcls', bindings })
    }
    const more = { type: 'createAcls', bindings: [binding('t1'), binding('new')] } as const
    expect(log.propose(more)).toMatchObject({
      ok: false,
      code: 'LIMIT_EXCEEDED',
      details: { limit: aclBindingsMax, actual: aclBindingsMax + 1 },
    })
    const known = { type: 'createAcls', bindings: [binding('t1')] } as const
    expect(log.propose(known)).toMatchObject({ ok: true, result: { created: 0 } })
    expect(log.propose({ type: 'deleteAcls', filter: {} })).toMatchObject({
      result: { more: true },
    })
    expect(log.propose(more)).toMatchObject({ ok: true, result: { created: 2 } })
  })

  it('on quotas do not keep a principal from changing its own', () => {
    const { log } = fed([])
    const set = (n: number, quota = { requestRate: 1 }): Decision =>
      log.propose({ type: 'setQuota', principal: `User:${n}`, quota })
    for (let n = 0; n < quotasMax; n++) set(n)
    expect(set(quotasMax)).toMatchObject({ ok: false, code: 'LIMIT_EXCEEDED' })
    expect(set(5, { requestRate: 7 })).toMatchObject({ ok: true })
    log.propose({ type: 'setQuota', principal: 'User:6' })
    expect(set(quotasMax)).toMatchObject({ ok: true })
  })
})

describe('a quota', () => {
  it('takes from User:* the kinds that the principal has none of', () => {
    const { log } = fed([
      { type: 'setQuota', principal: 'User:*', quota: { requestRate: 1, connections: 2 } },
      { type: 'setQuota', principal: 'User:a', quota: { requestRate: 9 } },
    ])
    const { registry } = log.machine.security
    expect(registry.quota('User:a')).toEqual({ requestRate: 9, connections: 2 })
    expect(registry.quota('User:b')).toEqual({ requestRate: 1, connections: 2 })
    log.propose({ type: 'setQuota', principal: 'User:*' })
    expect(registry.quota('User:b')).toBeUndefined()
  })
})

describe('an API key that expired', () => {
  const sweep = (log: HandFed, at: number): Promise<number> =>
    sweepTokensOnce({
      machine: log.machine,
      clock: nodeClock,
      now: () => at,
      isActing: () => true,
      propose: async command => {
        log.stamp = at
        return log.propose(command)
      },
    })

  it('is listed for a day more, then forgotten', async () => {
    const { log } = fed([create(1, { expiresAt: 1000 }), create(2)])
    expect(await sweep(log, 1000 + expiredKeyGraceMs - 1)).toBe(0)
    expect(log.machine.security.registry.apiKeyCount).toBe(2)
    expect(await sweep(log, 1000 + expiredKeyGraceMs)).toBe(1)
    expect([...log.machine.security.registry.apiKeys()].map(key => key.id)).toEqual([id(2)])
  })

  it('is kept when log time says that it is too early, whatever the proposer thought', () => {
    const { log } = fed([create(1, { expiresAt: 1000 })])
    log.stamp = 2000
    log.propose({ type: 'sweepTokens', ids: [id(1)] })
    expect(log.machine.security.registry.apiKey(id(1))).toBeDefined()
  })
})
