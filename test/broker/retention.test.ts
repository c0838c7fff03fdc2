// Retention, DeleteRecords and what they free: on whole brokers, and the choice of what goes against a model.

import { array, assert, integer, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { retainedFrom } from '../../broker/state/retention.ts'
import { Topics } from '../../broker/state/topics.ts'
import { until, useFileBroker } from './file-broker.ts'

const { broker, client, logBytes, start, stop } = useFileBroker({
  retentionCheckIntervalMs: 30,
  reclaimBytesMin: 65_536,
})

async function produce(topic: string, count: number, bytes = 1000): Promise<void> {
  const producer = client().producer({ batchSize: 1 })
  for (let i = 0; i < count; i++) await producer.send(topic, { value: 'x'.repeat(bytes) })
  await producer.close()
}

const partitionOf = async (topic: string, partition = 0) => {
  const { partitions } = await client().admin().describeTopic(topic)
  return partitions[partition] as (typeof partitions)[number]
}

describe('retention', () => {
  it('drops what is older than retention.ms, and nothing of a topic that keeps for ever', async () => {
    const admin = (await start()).admin()
    await admin.createTopic('short', { config: { 'retention.ms': '300' } })
    await admin.createTopic('for-ever', { config: { 'retention.ms': '-1' } })
    await produce('short', 5)
    await produce('for-ever', 5)
    await until(async () => (await partitionOf('short')).startOffset === 5)
    expect(await partitionOf('short')).toMatchObject({ startOffset: 5, endOffset: 5, bytes: 0 })
    expect(await partitionOf('for-ever')).toMatchObject({ startOffset: 0, endOffset: 5 })
  })

  it('keeps at least retention.bytes of each partition, and not a batch more', async () => {
    const admin = (await start()).admin()
    await admin.createTopic('small', { config: { 'retention.bytes': '5000' } })
    await produce('small', 30)
    await until(async () => {
      const { bytes, startOffset, endOffset } = await partitionOf('small')
      return bytes - bytes / (endOffset - startOffset) < 5000
    })
    // Looks that come later drop nothing more.
    await new Promise(resolve => setTimeout(resolve, 200))
    expect((await partitionOf('small')).bytes).toBeGreaterThanOrEqual(5000)
  })

  it('takes a changed limit at once, and the default where a topic says nothing', async () => {
    const settings = { retentionCheckIntervalMs: 600_000, logRetentionBytes: 3000 }
    const admin = (await start(settings)).admin()
    await admin.createTopic('t')
    await produce('t', 20)
    expect((await partitionOf('t')).startOffset).toBe(0)
    // The interval is long: only the change makes anybody look.
    await admin.alterTopic('t', { 'retention.bytes': '10000' })
    await until(async () => (await partitionOf('t')).startOffset > 0)
    expect((await partitionOf('t')).bytes).toBeGreaterThanOrEqual(10_000)
  })

  it('keeps the disk bounded, survives a restart, and frees what a deleted topic had', async () => {
    const admin = (await start()).admin()
    await admin.createTopic('bounded', { config: { 'retention.bytes': '100000' } })
    await produce('bounded', 1500)
    await until(async () => (await logBytes()) < 600_000)
    const { startOffset, endOffset } = await partitionOf('bounded')
    await stop()
    await start()
    // A look that came after the question may have dropped more.
    const again = await partitionOf('bounded')
    expect(again.endOffset).toBe(endOffset)
    expect(again.startOffset).toBeGreaterThanOrEqual(startOffset)
    await client()
      .admin()
      .createTopic('goes', { config: { 'retention.ms': '-1' } })
    await produce('goes', 500)
    const full = await logBytes()
    expect(full).toBeGreaterThan(500_000)
    await client().admin().deleteTopic('goes')
    await produce('bounded', 200)
    await until(async () => (await logBytes()) < full / 2)
    expect(broker().broker.health().problems).toEqual([])
  }, 60_000)

  it('refuses limits that make no sense', async () => {
    const admin = (await start()).admin()
    for (const config of [
      { 'retention.ms': '-2' },
      { 'retention.bytes': '1.5' },
      { 'retention.ms': 'week' },
    ])
      await expect(admin.createTopic('bad', { config })).rejects.toMatchObject({
        code: 'INVALID_CONFIG',
        message: expect.stringContaining(Object.keys(config)[0] as string),
      })
  })

  it('chooses the oldest batches, as many as the limits say, and no others', () => {
    const batch = integer({ min: 1, max: 500 })
    assert(
      property(
        array(batch, { maxLength: 60 }),
        integer({ min: -1, max: 80 }),
        integer({ min: -1, max: 5000 }),
        (lengths, ms, bytes) => {
          const topics = new Topics(new MemoryStore())
          const topic = topics.create('t', 1, {}, 0, 0)
          const [partition] = topic.partitions
          if (partition === undefined) throw new Error('no partition')
          lengths.forEach((length, i) =>
            topics.append(partition, {
              base: partition.next,
              span: 2,
              count: 2,
              lsn: i,
              start: 0,
              length,
              effectLsn: i,
              timestamp: i,
              maxTimestamp: i,
            }),
          )
          const time = lengths.length
          const kept = lengths.filter((_, i) => {
            const isOld = ms >= 0 && i + ms < time
            const after = lengths.slice(i + 1).reduce((sum, length) => sum + length, 0)
            return !isOld && !(bytes >= 0 && after >= bytes)
          })
          const from = retainedFrom(topics, topic, partition, { ms, bytes }, time)
          expect(from).toBe(2 * (lengths.length - kept.length))
          topics.trim(partition, from, time)
          expect(partition.bytes).toBe(kept.reduce((sum, length) => sum + length, 0))
        },
      ),
      { numRuns: 300 },
    )
  })
})

describe('deleteRecords', () => {
  it('gives up what lies below the offset, once, and tells where the partition begins', async () => {
    const admin = (await start()).admin()
    await admin.createTopic('t')
    await produce('t', 10)
    expect(await admin.deleteRecords('t', 0, 4)).toEqual({ partition: 0, startOffset: 4 })
    expect(await admin.deleteRecords('t', 0, 2)).toEqual({ partition: 0, startOffset: 4 })
    await expect(admin.deleteRecords('t', 0, 11)).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE',
      details: { start: 4, end: 10, actual: 11 },
    })
    await expect(admin.deleteRecords('t', 1, 0)).rejects.toMatchObject({
      code: 'UNKNOWN_PARTITION',
    })
    await expect(admin.deleteRecords('no', 0, 0)).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC' })
  })

  it('may cut a batch: its bytes stay until the last of its records goes', async () => {
    const admin = (await start()).admin()
    await admin.createTopic('t')
    const producer = client().producer({ lingerMs: 20 })
    await Promise.all(Array.from({ length: 10 }, () => producer.send('t', { value: 'x' })))
    const { bytes } = await partitionOf('t')
    await admin.deleteRecords('t', 0, 3)
    const values: number[] = []
    for await (const record of client().read('t', { from: 3, until: 'end' }))
      values.push(record.offset)
    expect(values).toEqual([3, 4, 5, 6, 7, 8, 9])
    expect((await partitionOf('t')).bytes).toBeGreaterThan(0)
    expect((await partitionOf('t')).bytes).toBeLessThanOrEqual(bytes)
    await admin.deleteRecords('t', 0, 10)
    expect(await partitionOf('t')).toMatchObject({ startOffset: 10, endOffset: 10, bytes: 0 })
  })
})
