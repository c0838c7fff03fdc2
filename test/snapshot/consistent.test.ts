// A snapshot of a cluster that is at work is one state of it: transactions whole, offsets of groups exactly those of the records, nothing removed from
// under it, and nothing held for ever.

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createSnapshot } from '../../broker/cli/snapshot-create.ts'
import { restoreSnapshot } from '../../broker/cli/snapshot-restore.ts'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../broker/index.ts'
import { connect } from '../../client/index.ts'
import { encodeBatch } from '../../wire/batch.ts'
import type { Frame } from '../../wire/frame.ts'
import { sceneOfEachTest } from './scene.ts'
import { connected, dump } from './dump.ts'

const scene = sceneOfEachTest()
const { open, clientOf } = scene
const broker = (options: StartBrokerOptions = {}): Promise<RunningBroker> =>
  scene.broker({ loglet: 'memory', ...options })

async function valuesOf(url: string, topic: string, partition: number): Promise<string[]> {
  return connected(url, async connection => {
    const values: string[] = []
    for (let from: unknown = 'beginning'; ; ) {
      const fields = { topic, partition, from, maxWaitMs: 0, format: 'records' }
      const reply = await connection.call('fetch', fields)
      for (const item of reply['items'] as Frame[])
        values.push(Buffer.from(item['value'] as Uint8Array).toString())
      if (reply['next'] === reply['end']) return values
      from = reply['next']
    }
  })
}

describe('a snapshot of a cluster at work', () => {
  it('has each transaction whole or not at all, and offsets of the group that match the records made of them', async () => {
    const from = await broker()
    const client = await clientOf(from.url)
    const admin = client.admin()
    for (const topic of ['in', 'out', 'left', 'right'])
      await admin.createTopic({ topic, partitions: topic === 'in' || topic === 'out' ? 2 : 1 })
    const over = new AbortController()
    /** Numbers in order, and each of a pair in one transaction. */
    const producing = (async () => {
      for (let n = 0; !over.signal.aborted; n++)
        await client.transaction(tx => {
          tx.send('in', { key: String(n % 5), value: String(n) })
          tx.send('left', { value: String(n) })
          tx.send('right', { value: String(n) })
        })
    })()
    /** in → out, with the offsets in the same transaction. */
    const consumer = client.consumer({
      groupId: 'copy',
      topics: ['in'],
      autoOffsetReset: 'earliest',
      autoCommit: false,
    })
    const copying = (async () => {
      for await (const record of consumer) {
        const copy = { partition: record.partition, value: record.value as string }
        await client.transaction(
          tx => {
            tx.send('out', copy)
            tx.commit(record)
          },
          { transactionalId: 'copier' },
        )
        if (over.signal.aborted) return
      }
    })()
    const waitFor = async (topic: string, count: number): Promise<void> => {
      await expect
        .poll(
          async () =>
            (await admin.describeTopic(topic)).partitions.reduce((sum, p) => sum + p.endOffset, 0),
          {
            timeout: 30_000,
          },
        )
        .toBeGreaterThan(count)
    }
    await waitFor('out', 50)
    for (let round = 0; round < 4; round++) {
      const path = join(scene.directory, `${round}.snapshot`)
      const taken = await connected(from.url, connection => createSnapshot(connection, path))
      const ends = (await admin.describeTopic('left')).partitions[0]?.endOffset ?? 0
      await waitFor('left', ends + 20)
      const to = await startBroker({ port: 0, loglet: 'memory' })
      try {
        await connected(to.url, connection => restoreSnapshot(connection, path))
        const left = await valuesOf(to.url, 'left', 0)
        expect(left.length).toBeGreaterThan(0)
        expect(await valuesOf(to.url, 'right', 0)).toEqual(left)
        const inputs = [await valuesOf(to.url, 'in', 0), await valuesOf(to.url, 'in', 1)]
        expect(
          inputs
            .flat()
            .map(Number)
            .sort((a, b) => a - b),
        ).toEqual(left.map(Number))
        const committed = await connected(to.url, connection =>
          connection.call('fetchOffsets', { group: 'copy' }),
        )
        const offsets = committed['offsets'] as { partition: number; offset: number }[]
        let copied = 0
        for (const partition of [0, 1]) {
          const done = offsets.find(o => o.partition === partition)?.offset ?? 0
          expect(await valuesOf(to.url, 'out', partition)).toEqual(
            inputs[partition]?.slice(0, done),
          )
          copied += done
        }
        expect(copied).toBeGreaterThan(0)
        expect(taken.totals.lostOffsets).toBe(0)
      } finally {
        await to.close()
      }
    }
    over.abort()
    await producing
    await copying
    await consumer.close()
  })

  it('keeps retention and compaction from what it still has to read, until it is done', async () => {
    const from = await broker({
      retentionCheckIntervalMs: 20,
      logCleanerBackoffMs: 20,
      logCleanerTailBytes: 0,
      reclaimBytesMin: 0,
    })
    await connected(from.url, async connection => {
      await connection.call('createTopic', { topic: 'short', config: { 'retention.ms': '-1' } })
      const config = { 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0' }
      await connection.call('createTopic', { topic: 'keys', config: { ...config } })
      const put = async (n: number): Promise<void> => {
        const batch = encodeBatch([{ key: 'k', value: `v${n}` }], { now: Date.now() })
        await connection.call('produce', { topic: 'keys', partition: 0, batch })
        await connection.call('produce', { topic: 'short', partition: 0, batch })
      }
      const opened = await connection.call('openSnapshot', { holdMs: 600_000 })
      const asOf = opened['position'] as number
      for (let n = 0; n < 10; n++) await put(n)
      await connection.call('alterTopic', { topic: 'short', config: { 'retention.ms': '0' } })
      const second = await connection.call('snapshot')
      // Several looks of the cleaner, as far as they can be seen: by the log, which goes on.
      for (let n = 10; n < 40; n++) {
        await put(n)
        await connection.call('alterTopic', { topic: 'short', config: { 'retention.ms': '0' } })
      }
      const read = async (topic: string): Promise<Frame[]> => {
        const fields = { topic, partition: 0, from: 'beginning', maxWaitMs: 0 }
        const reply = await connection.call('fetch', { ...fields, asOf: second['position'] })
        return reply['items'] as Frame[]
      }
      expect((await read('short')).every(({ gap }) => gap === undefined)).toBe(true)
      expect(await read('keys')).toHaveLength(10)
      expect(asOf).toBeLessThan(second['position'] as number)
      const snapshotId = opened['snapshot']
      expect((await connection.call('closeSnapshot', { snapshot: snapshotId }))['lasted']).toBe(
        true,
      )
      await expect
        .poll(async () => (await read('short'))[0]?.['gap'], { timeout: 30_000 })
        .toBe('trimmed')
      await expect
        .poll(async () => (await read('keys')).some(({ gap }) => gap === 'compacted'), {
          timeout: 30_000,
        })
        .toBe(true)
    })
  })

  it('ends a hold that nobody renews, and says so to whoever comes later', async () => {
    const from = await broker({ snapshotHoldMsMax: 300 })
    await connected(from.url, async connection => {
      const { snapshot: id } = await connection.call('openSnapshot', { holdMs: 100 })
      await expect
        .poll(
          async () => {
            const renewed = connection.call('renewSnapshot', { snapshot: id, holdMs: 100 })
            return renewed.then(
              () => 'renewed',
              error => (error as { code: string }).code,
            )
          },
          { timeout: 30_000 },
        )
        .toBe('SNAPSHOT_EXPIRED')
      expect((await connection.call('closeSnapshot', { snapshot: id }))['lasted']).toBe(false)
    })
  })

  it('fails, and leaves no file, when its hold ends or what it reads is deleted on purpose', async () => {
    const from = await broker({ snapshotHoldMsMax: 1 })
    await connected(from.url, async connection => {
      const batch = encodeBatch([{ value: 'v' }], { now: 1 })
      await connection.call('produce', { topic: 't', partition: 0, batch })
      await expect(createSnapshot(connection, scene.snapshot)).rejects.toMatchObject({
        code: 'SNAPSHOT_EXPIRED',
      })
      expect(await readdir(scene.directory)).toEqual([])
    })
    const other = await broker()
    await connected(other.url, async connection => {
      const batch = encodeBatch([{ value: Buffer.alloc(200_000) }], { now: 1 })
      for (let n = 0; n < 40; n++)
        await connection.call('produce', { topic: `t${n % 20}`, partition: 0, batch })
      let isDeleted = false
      const taking = createSnapshot(connection, scene.snapshot, {
        onProgress: () => {
          if (isDeleted) return
          isDeleted = true
          void connection.call('deleteTopic', { topic: 't19' })
        },
      })
      await expect(taking).rejects.toMatchObject({
        code: 'SNAPSHOT_EXPIRED',
        details: { topic: 't19' },
      })
      expect(await readdir(scene.directory)).toEqual([])
    })
  })
})

describe('a restore', () => {
  it('shows nothing before all is there, refuses the names meanwhile, and goes on where another one ended', async () => {
    const from = await broker()
    await connected(from.url, async connection => {
      const batch = encodeBatch([{ value: Buffer.alloc(300_000) }], { now: 1 })
      for (let n = 0; n < 60; n++)
        await connection.call('produce', { topic: `t${n % 3}`, partition: 0, batch })
      await connection.call('commitOffsets', {
        group: 'g',
        offsets: [{ topic: 't1', partition: 0, offset: 7 }],
      })
      await createSnapshot(connection, scene.snapshot)
    })
    const before = await connected(from.url, connection => dump(connection))
    const data = join(scene.directory, 'to')
    let to = await startBroker({ port: 0, loglet: 'file', data })
    // Ends in the midst: the connection is closed under it.
    const cut = await connect(to.url)
    await cut.close()
    const half = await connected(to.url, async connection => {
      let seen = 0
      const restoring = restoreSnapshot(connection, scene.snapshot, {
        onProgress: (stage, done, all) => {
          if (stage === 'restoring' && done > all / 2 && seen++ === 0) void connection.close()
        },
      })
      return restoring.then(
        () => 'done',
        () => 'cut',
      )
    })
    expect(half).toBe('cut')
    await connected(to.url, async connection => {
      expect((await connection.call('listTopics'))['topics']).toEqual([])
      await expect(
        connection.call('createTopic', { topic: 't1' }, { timeoutMs: 300 }),
      ).rejects.toMatchObject({ code: 'TOPIC_RESTORING' })
      await expect(connection.call('describeTopic', { topic: 't1' })).rejects.toMatchObject({
        code: 'UNKNOWN_TOPIC',
      })
    })
    // The broker, too, begins anew.
    await to.close()
    to = await startBroker({ port: 0, loglet: 'file', data })
    open.push(to)
    const result = await connected(to.url, connection =>
      restoreSnapshot(connection, scene.snapshot),
    )
    expect(result.outcome).toBe('restored')
    expect(result.skippedBytes).toBeGreaterThan(0)
    expect(result.sentBytes).toBeGreaterThan(0)
    expect(await connected(to.url, connection => dump(connection))).toEqual(before)
    const again = await connected(to.url, connection => restoreSnapshot(connection, scene.snapshot))
    expect(again).toMatchObject({ outcome: 'already restored', sentBytes: 0 })
    expect(await connected(to.url, connection => dump(connection))).toEqual(before)
  })

  it('does the same when two run at once', async () => {
    const from = await broker()
    await connected(from.url, async connection => {
      const batch = encodeBatch([{ value: Buffer.alloc(100_000) }], { now: 1 })
      for (let n = 0; n < 50; n++)
        await connection.call('produce', { topic: `t${n % 3}`, partition: 0, batch })
      await createSnapshot(connection, scene.snapshot)
    })
    const to = await broker()
    await Promise.all(
      [1, 2].map(() =>
        connected(to.url, connection => restoreSnapshot(connection, scene.snapshot)),
      ),
    )
    const before = await connected(from.url, connection => dump(connection))
    expect(await connected(to.url, connection => dump(connection))).toEqual(before)
  })

  it('refuses names that are taken, all of them told, and takes others for them', async () => {
    const from = await broker()
    await connected(from.url, async connection => {
      const batch = encodeBatch([{ value: 'v' }], { now: 1 })
      for (const topic of ['a', 'b', 'c'])
        await connection.call('produce', { topic, partition: 0, batch })
      await connection.call('commitOffsets', {
        group: 'g',
        offsets: ['a', 'b'].map(topic => ({ topic, partition: 0, offset: 1 })),
      })
      await createSnapshot(connection, scene.snapshot)
      const { applied } = from.broker
      const taken = restoreSnapshot(connection, scene.snapshot)
      await expect(taken).rejects.toMatchObject({
        code: 'TOPIC_EXISTS',
        details: { topics: ['a', 'b', 'c'] },
      })
      expect(from.broker.applied).toBe(applied)
      const dry = await restoreSnapshot(connection, scene.snapshot, {
        prefix: 'old-',
        dryRun: true,
      })
      expect(dry).toMatchObject({ outcome: 'dry run', sentBytes: 0 })
      expect(from.broker.applied).toBe(applied)
      await restoreSnapshot(connection, scene.snapshot, {
        topics: ['a', 'c'],
        rename: { c: 'd' },
        prefix: 'old-',
      })
      const { topics } = await connection.call('listTopics')
      expect((topics as Frame[]).map(({ topic }) => topic)).toEqual(['a', 'b', 'c', 'd', 'old-a'])
      const { offsets } = await connection.call('fetchOffsets', { group: 'g' })
      const names = (offsets as Frame[]).map(({ topic }) => topic)
      expect(new Set(names)).toEqual(new Set(['a', 'b', 'old-a']))
      for (const options of [{ topics: ['x'] }, { rename: { x: 'y' } }])
        await expect(restoreSnapshot(connection, scene.snapshot, options)).rejects.toMatchObject({
          code: 'UNKNOWN_TOPIC',
        })
      await expect(
        restoreSnapshot(connection, scene.snapshot, { rename: { a: '../a' } }),
      ).rejects.toMatchObject({ code: 'INVALID_TOPIC_NAME' })
    })
  })
})
