// Rights and snapshots: who may take and restore one, what of API keys, ACLs and quotas is in it, and when it takes effect.

import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSnapshot } from '../../broker/cli/snapshot-create.ts'
import { restoreSnapshot } from '../../broker/cli/snapshot-restore.ts'
import type { Connection } from '../../client/connection.ts'
import { openConnection } from '../../client/open-connection.ts'
import type { Frame } from '../../wire/frame.ts'
import { SecureBroker } from '../security/secure-broker.ts'

let directory: string
let snapshot: string
const brokers: SecureBroker[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'logloom-rights-'))
  snapshot = join(directory, 'one.snapshot')
})
afterEach(async () => {
  for (const broker of brokers.splice(0)) await broker.close()
  await rm(directory, { recursive: true, force: true })
})

async function secure(): Promise<SecureBroker> {
  const broker = await SecureBroker.start()
  brokers.push(broker)
  return broker
}

async function as<T>(
  { url }: SecureBroker,
  token: string,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await openConnection(url, { token })
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}

/** Everything about rights that an operator can see. */
async function rightsOf(connection: Connection): Promise<Frame> {
  const { tokens } = await connection.call('listTokens')
  const { bindings } = await connection.call('listAcls')
  const { quotas } = await connection.call('listQuotas')
  return { tokens, bindings, quotas }
}

describe('rights in a snapshot', () => {
  it('are restored when asked for, so that keys and rules hold as before, and not otherwise', async () => {
    const from = await secure()
    const admin = (await from.connect()).admin()
    const { token } = await admin.createToken({ principal: 'User:alice' })
    const write = { resource: 'topic', pattern: 'literal', name: 't', operation: 'write' } as const
    await admin.createAcls([
      { principal: 'User:alice', permission: 'allow', ...write },
      { principal: 'User:alice', permission: 'allow', ...write, operation: 'create' },
    ])
    await admin.setQuota('User:*', { producerByteRate: 1_000_000 })
    await as(from, token, async connection => {
      await connection.call('publish', { records: [{ topic: 't', value: 'v' }] })
      await connection.call('initProducer', { transactionalId: 'payments' })
    })
    const before = await as(from, from.adminToken, async connection => {
      const { totals } = await createSnapshot(connection, snapshot)
      expect(totals).toMatchObject({ rights: 4, producers: 1 })
      return rightsOf(connection)
    })
    expect((await stat(snapshot)).mode & 0o777).toBe(0o600)
    const secret = token.split('_').at(-1) as string
    expect((await readFile(snapshot)).includes(secret)).toBe(false)

    const without = await secure()
    await as(without, without.adminToken, async connection => {
      await restoreSnapshot(connection, snapshot)
      expect(await rightsOf(connection)).toEqual({ tokens: [], bindings: [], quotas: [] })
    })
    await expect(as(without, token, c => c.call('ping'))).rejects.toMatchObject({
      code: 'AUTHENTICATION_FAILED',
    })

    const to = await secure()
    await as(to, to.adminToken, async connection => {
      await restoreSnapshot(connection, snapshot, { security: true })
      expect(await rightsOf(connection)).toEqual(before)
    })
    await as(to, token, async connection => {
      await connection.call('publish', { records: [{ topic: 't', value: 'w' }] })
      await expect(
        connection.call('publish', { records: [{ topic: 'other', value: 'w' }] }),
      ).rejects.toMatchObject({ code: 'AUTHORIZATION_FAILED' })
    })
  })

  it('are left out when that is wished', async () => {
    const from = await secure()
    await (await from.connect()).admin().createToken({ principal: 'User:alice' })
    await as(from, from.adminToken, async connection => {
      const { totals } = await createSnapshot(connection, snapshot, { security: false })
      expect(totals.rights).toBe(0)
    })
  })

  it('are not for everybody: who may not alter the cluster neither takes nor restores a snapshot', async () => {
    const from = await secure()
    const { token } = await (await from.connect()).admin().createToken({ principal: 'User:bob' })
    await as(from, from.adminToken, connection => createSnapshot(connection, snapshot))
    await as(from, token, async connection => {
      const other = join(directory, 'other.snapshot')
      const refused = { code: 'AUTHORIZATION_FAILED' }
      await expect(createSnapshot(connection, other)).rejects.toMatchObject(refused)
      await expect(restoreSnapshot(connection, snapshot)).rejects.toMatchObject(refused)
      const requests: Record<string, Frame> = {
        readSnapshot: { snapshot: 's', page: 0 },
        renewSnapshot: { snapshot: 's' },
        closeSnapshot: { snapshot: 's' },
        restoreTopic: { restore: 'r', index: 0, page: new Uint8Array() },
        restoreBatches: { restore: 'r' },
        restoreState: { restore: 'r' },
        finishRestore: { restore: 'r', topics: 0 },
        dropRestore: { restore: 'r' },
        describeRestore: { restore: 'r' },
      }
      for (const [op, fields] of Object.entries(requests))
        await expect(connection.call(op, fields), op).rejects.toMatchObject(refused)
    })
  })
})
