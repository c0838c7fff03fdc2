// A restored cluster is the one that the snapshot was of: every batch byte for byte at its offset and time, every gap, every group.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createSnapshot } from '../../broker/cli/snapshot-create.ts'
import { restoreSnapshot } from '../../broker/cli/snapshot-restore.ts'
import { startBroker } from '../../broker/index.ts'
import { encodeBatch, compressBatch } from '../../wire/batch.ts'
import { sceneOfEachTest } from './scene.ts'
import { connected, type Dump, dump } from './dump.ts'

const scene = sceneOfEachTest()
const { broker, clientOf } = scene

/** Takes a snapshot of one and restores it into the other. @returns what both hold */
async function through(from: string, to: string): Promise<{ before: Dump; after: Dump }> {
  const taken = await connected(from, connection => createSnapshot(connection, scene.snapshot))
  const before = await connected(from, connection => dump(connection, taken.position))
  const restored = await connected(to, connection => restoreSnapshot(connection, scene.snapshot))
  expect(restored.outcome).toBe('restored')
  return { before, after: await connected(to, connection => dump(connection)) }
}

const value = (i: number): string => `value ${i} `.repeat(20)

/** Topics of all kinds, groups of both. */
async function fill(url: string): Promise<void> {
  const client = await clientOf(url)
  const admin = client.admin()
  await admin.createTopic({ topic: 'empty', partitions: 3 })
  await admin.createTopic({ topic: 'plain', partitions: 4, config: { 'retention.ms': '-1' } })
  await admin.createTopic({ topic: 'trimmed', partitions: 1 })
  await admin.createTopic({ topic: 'gone', partitions: 1 })
  await admin.createTopic({ topic: 'deleted' })
  for (const codec of ['none', 'gzip'] as const) {
    const producer = client.producer({ compressionType: codec, lingerMs: 1 })
    const sent = Array.from({ length: 300 }, (_, i) =>
      producer.send('plain', {
        key: i % 3 === 0 ? null : `k${i}`,
        value: i % 7 === 0 ? null : value(i),
        headers: { trace: String(i), kind: codec },
        timestamp: 1_700_000_000_000 + i,
      }),
    )
    await Promise.all(sent)
  }
  await connected(url, async connection => {
    for (const topic of ['trimmed', 'gone', 'deleted'])
      for (let n = 0; n < 5; n++) {
        const records = Array.from({ length: 10 }, (_, i) => ({ value: value(n * 10 + i) }))
        const batch = await compressBatch(encodeBatch(records, { now: 1000 + n }), 'gzip')
        await connection.call('produce', { topic, partition: 0, batch })
      }
    // In the midst of a batch, which stays.
    await connection.call('deleteRecords', { topic: 'trimmed', partition: 0, before: 23 })
    await connection.call('deleteRecords', { topic: 'gone', partition: 0, before: 50 })
    const offsets = [0, 1, 2, 3].map(partition => ({
      topic: 'plain',
      partition,
      offset: 10 + partition,
      metadata: `here ${partition}`,
    }))
    await connection.call('commitOffsets', { group: 'readers', offsets })
    await connection.call('commitOffsets', {
      group: 'gone-too',
      offsets: [{ topic: 'deleted', partition: 0, offset: 1 }],
    })
    await connection.call('openShareGroup', {
      group: 'workers',
      topics: ['plain'],
      autoOffsetReset: 'earliest',
      deliveryCountLimit: 7,
      keepsDead: true,
    })
    const fetched = await connection.call('shareFetch', {
      group: 'workers',
      memberId: 'm1',
      maxRecords: 20,
    })
    const held = (
      fetched['records'] as { topic: string; partition: number; acquired: number[][] }[]
    ).flatMap(({ acquired, partition, topic }) =>
      acquired.map(([offset, count]) => ({ topic, partition, offset, count })),
    )
    await connection.call('shareAcknowledge', {
      group: 'workers',
      memberId: 'm1',
      records: held.map(run => ({ ...run, count: 3, type: 'accept' })),
    })
    await connection.call('leaveShareGroup', { group: 'workers', memberId: 'm1' })
    await connection.call('initProducer', { transactionalId: 'payments' })
    await connection.call('alterTopic', { topic: 'plain', partitions: 6 })
  })
  await admin.deleteTopic('deleted')
}

describe('a snapshot and its restore', () => {
  it('gives back every batch, gap, time, configuration, epoch and group, from memory to a file', async () => {
    const from = await broker({ loglet: 'memory' })
    await fill(from.url)
    const to = await broker({ loglet: 'striped:2:file', data: join(scene.directory, 'to') })
    const { before, after } = await through(from.url, to.url)
    expect(Object.keys(before.topics).sort()).toEqual(['empty', 'gone', 'plain', 'trimmed'])
    expect(before.topics['plain']?.dumped[0]?.items.length).toBeGreaterThan(0)
    expect(before.groups['readers']).toHaveLength(6)
    expect(after).toEqual(before)
    // A restart reads the same from its store.
    const again = await (async () => {
      await to.close()
      return broker({ loglet: 'striped:2:file', data: join(scene.directory, 'to') })
    })()
    expect(await connected(again.url, connection => dump(connection))).toEqual(before)
  })

  it('lets the restored cluster go on: new records follow, groups read on, owners of transactional ids are fenced', async () => {
    const from = await broker({ loglet: 'memory' })
    await fill(from.url)
    const old = await connected(from.url, connection =>
      connection.call('initProducer', { transactionalId: 'payments' }),
    )
    const to = await broker({ loglet: 'memory' })
    const { before } = await through(from.url, to.url)
    await connected(to.url, async connection => {
      const end = before.topics['plain']?.dumped[0]?.end
      const batch = encodeBatch([{ value: 'new' }], { now: Date.now() })
      const reply = await connection.call('produce', { topic: 'plain', partition: 0, batch })
      expect(reply['offset']).toBe(end)
      const fresh = await connection.call('initProducer', { transactionalId: 'payments' })
      expect(fresh['producerId']).toBe(old['producerId'])
      expect(fresh['producerEpoch']).toBeGreaterThan(Number(old['producerEpoch']) + 1)
      const other = await connection.call('initProducer', {})
      expect(other['producerId']).toBeGreaterThan(Number(old['producerId']))
      const joined = await connection.call('joinGroup', {
        group: 'readers',
        memberId: 'm',
        topics: ['plain'],
      })
      const assigned = joined['assigned'] as { partition: number; offset: number }[]
      expect(assigned.find(({ partition }) => partition === 2)?.offset).toBe(12)
    })
  })

  it('does so with 1000 topics', async () => {
    const from = await broker({ loglet: 'memory' })
    await connected(from.url, async connection => {
      for (let i = 0; i < 1000; i++)
        await connection.call('createTopic', { topic: `t${i}`, partitions: 1 + (i % 3) })
      for (let i = 0; i < 1000; i += 7) {
        const batch = encodeBatch([{ value: `v${i}` }], { now: 1 })
        await connection.call('produce', { topic: `t${i}`, partition: 0, batch })
      }
    })
    const to = await broker({ loglet: 'memory' })
    const { before, after } = await through(from.url, to.url)
    expect(Object.keys(after.topics)).toHaveLength(1000)
    expect(after).toEqual(before)
  })

  it('keeps what a lost range left: gaps, and offsets above 2^32', async () => {
    const data = join(scene.directory, 'from')
    const first = await startBroker({ port: 0, loglet: 'memory', data })
    const one = encodeBatch([{ value: 'lost' }], { now: 1 })
    await connected(first.url, connection =>
      connection.call('produce', { topic: 't', partition: 0, batch: one }),
    )
    await first.close()
    const from = await broker({ loglet: 'memory', data })
    await connected(from.url, async connection => {
      const batch = encodeBatch([{ value: 'kept' }], { now: 2 })
      const { offset } = await connection.call('produce', { topic: 't', partition: 0, batch })
      expect(offset).toBeGreaterThanOrEqual(2 ** 32)
    })
    const to = await broker({ loglet: 'memory' })
    const { before, after } = await through(from.url, to.url)
    expect(before.topics['t']?.dumped[0]?.items.join()).toContain('lost')
    expect(after).toEqual(before)
  })

  it('keeps what compaction left: sparse batches and holes, and no record that it would have taken only later', async () => {
    const from = await broker({
      loglet: 'memory',
      logCleanerBackoffMs: 20,
      logCleanerTailBytes: 0,
      retentionCheckIntervalMs: 20,
    })
    await connected(from.url, async connection => {
      const config = { 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0' }
      await connection.call('createTopic', { topic: 'keys', config })
      for (let n = 0; n < 30; n++) {
        const records = [0, 1, 2].map(i => ({ key: `k${(n * i) % 5}`, value: `${n}/${i}` }))
        const batch = encodeBatch(records, { now: 1000 + n })
        await connection.call('produce', { topic: 'keys', partition: 0, batch })
      }
      const isCompacted = async (): Promise<boolean> => {
        const { topics } = await dump(connection)
        const items = topics['keys']?.dumped[0]?.items ?? []
        return items.some(item => item.includes('compacted')) && items.length < 15
      }
      await expect.poll(isCompacted, { timeout: 30_000 }).toBe(true)
      // Nothing is compacted any more from here on.
      await connection.call('openSnapshot', { holdMs: 600_000 })
    })
    const to = await broker({ loglet: 'memory' })
    const { before, after } = await through(from.url, to.url)
    expect(before.topics['keys']?.dumped[0]?.end).toBe(90)
    expect(after).toEqual(before)
  })

  it('leaves a state that is the same when it is made anew from the log', async () => {
    const from = await broker({ loglet: 'memory' })
    await fill(from.url)
    const data = join(scene.directory, 'to')
    const to = await broker({ loglet: 'file', data })
    await through(from.url, to.url)
    const { applied, hash } = to.broker.stateHash()
    await to.close()
    await rm(join(data, 'state'), { recursive: true })
    const again = await broker({ loglet: 'file', data })
    expect(again.broker.replayed).toEqual({ applied, hash })
  })
})
