// Cleaning on whole brokers with small files: the disk stays bounded, everything that lives stays readable, compacted topics serve the last value of
// each key.

import { describe, expect, it } from 'vitest'
import { encodeBatch, readBatchHeader } from '../../wire/index.ts'
import { until, useFileBroker } from './file-broker.ts'

const { broker, client, logBytes, start, stop } = useFileBroker({
  retentionCheckIntervalMs: 20,
  reclaimBytesMin: 65_536,
  stateCommitIntervalMs: 50,
  logCleanerBackoffMs: 20,
  logCleanerTailBytes: 0,
})

/** They write thousands of records one by one, each of them synced: a third of a minute on a busy machine, and more on a busier one. */
const busyMs = 180_000

const value = (name: string, i: number): string => `${name} ${i} `.padEnd(1000, 'x')

async function fill(topic: string, from: number, to: number): Promise<void> {
  const producer = client().producer({ batchSize: 1 })
  for (let i = from; i < to; i++) await producer.send(topic, { value: value(topic, i) })
  await producer.close()
}

async function valuesOf(topic: string, from = 0): Promise<string[]> {
  const values: string[] = []
  for await (const { value: bytes, offset } of client().read(topic, {
    from,
    until: 'end',
  })) {
    expect(offset).toBe(from + values.length)
    values.push(Buffer.from(bytes ?? []).toString())
  }
  return values
}

const stats = () => broker().broker.cleaning
const problems = () => broker().broker.health().problems

describe('a topic with long retention', () => {
  it(
    'does not hold the disk of the others, and stays readable, also after a restart',
    async () => {
      const admin = (await start()).admin()
      await admin.createTopic('long', { config: { 'retention.ms': '-1' } })
      await admin.createTopic('short', { config: { 'retention.bytes': '100000' } })
      // A little of the one in each part of the log.
      let most = 0
      for (let part = 0; part < 20; part++) {
        await fill('long', part * 10, part * 10 + 10)
        await fill('short', 0, 100)
        most = Math.max(most, await logBytes())
      }
      await until(async () => {
        const { live, total } = broker().broker.logBytes
        return total <= 2 * live + 65_536
      })
      expect(stats().relocatedBytes).toBeGreaterThan(100_000)
      // Two times what lives (310 kB), two and a half times the slack, and files that are begun. In all 2.2 MB were written.
      expect(most).toBeLessThan(1_100_000)
      expect(await logBytes()).toBeLessThan(900_000)
      const expected = Array.from({ length: 200 }, (_, i) => value('long', i))
      expect(await valuesOf('long')).toEqual(expected)
      await stop()
      await start()
      expect(await valuesOf('long')).toEqual(expected)
      const { hash, applied } = broker().broker.stateHash()
      expect(hash).toMatch(/^[0-9a-f]{16}$/)
      expect(applied).toBeGreaterThan(0)
      expect(problems()).toEqual([])
    },
    busyMs,
  )

  it(
    'is read without a gap while its batches move',
    async () => {
      const admin = (await start({ tailCacheBytes: 0 })).admin()
      await admin.createTopic('long', { config: { 'retention.ms': '-1' } })
      await admin.createTopic('short', { config: { 'retention.bytes': '50000' } })
      await fill('long', 0, 150)
      const expected = Array.from({ length: 150 }, (_, i) => value('long', i))
      const done = new AbortController()
      const reading = (async () => {
        let rounds = 0
        while (!done.signal.aborted || rounds < 2) {
          expect(await valuesOf('long')).toEqual(expected)
          rounds++
        }
        return rounds
      })()
      while (stats().relocatedBatches < 300) await fill('short', 0, 50)
      done.abort()
      expect(await reading).toBeGreaterThan(1)
      expect(problems()).toEqual([])
    },
    busyMs,
  )

  it(
    'does not keep what a deleted topic had',
    async () => {
      const admin = (await start()).admin()
      await admin.createTopic('long', { config: { 'retention.ms': '-1' } })
      await admin.createTopic('goes', { config: { 'retention.ms': '-1' } })
      await fill('long', 0, 50)
      await fill('goes', 0, 1000)
      await fill('long', 50, 100)
      const full = await logBytes()
      expect(full).toBeGreaterThan(1_000_000)
      await admin.deleteTopic('goes')
      await until(async () => (await logBytes()) < full / 2)
      expect(await valuesOf('long')).toEqual(
        Array.from({ length: 100 }, (_, i) => value('long', i)),
      )
      expect(problems()).toEqual([])
    },
    busyMs,
  )

  it(
    'is not moved into memory',
    async () => {
      const admin = (await start()).admin()
      await admin.createTopic('long', { config: { 'retention.ms': '-1' } })
      await admin.createTopic('short', { config: { 'retention.bytes': '50000' } })
      await fill('long', 0, 50)
      await admin.switchLog('memory')
      const { relocatedBatches } = stats()
      await fill('short', 0, 400)
      // Far more than cleaning would leave, once retention has caught up.
      await until(() => {
        const { live, total } = broker().broker.logBytes
        return total > 3 * live
      })
      expect(stats().relocatedBatches).toBe(relocatedBatches)
      await admin.switchLog('file,segment.bytes=65536')
      await until(() => stats().relocatedBatches > relocatedBatches)
      expect(await valuesOf('long')).toEqual(Array.from({ length: 50 }, (_, i) => value('long', i)))
    },
    busyMs,
  )
})

describe('a compacted topic', () => {
  it(
    'serves the last value of each key, and frees what the others took',
    async () => {
      const admin = (await start()).admin()
      await admin.createTopic('state', {
        config: { 'cleanup.policy': 'compact', 'delete.retention.ms': '0' },
      })
      const producer = client().producer({ lingerMs: 2 })
      const last = new Map<string, string | null>()
      for (let round = 0; round < 30; round++) {
        const sends: Promise<unknown>[] = []
        for (let i = 0; i < 40; i++) {
          const key = `k${(round * 7 + i) % 50}`
          const isDelete = (round + i) % 11 === 0
          const text = isDelete ? null : value(key, round)
          sends.push(producer.send('state', { key, value: text }))
          last.set(key, text)
        }
        await Promise.all(sends)
      }
      await until(
        async () => (await logBytes()) < 400_000 && stats().compactionRemovedRecords > 900,
      )
      expect(stats().compactionRuns).toBeGreaterThan(1)
      await producer.close()
      const seen = new Map<string, string | null>()
      const gaps: string[] = []
      for await (const record of client().read('state', {
        from: 0,
        until: 'end',
        onGap: ({ type }) => void gaps.push(type),
      })) {
        const key = Buffer.from(record.key ?? []).toString()
        seen.set(key, record.value === null ? null : Buffer.from(record.value).toString())
      }
      for (const [key, text] of last) expect(seen.get(key) ?? null, key).toBe(text)
      expect(new Set(gaps)).toEqual(new Set(['compacted']))
      expect(problems()).toEqual([])
    },
    busyMs,
  )

  it('takes no record without key, in whichever way it comes', async () => {
    const admin = (await start()).admin()
    await admin.createTopic('state', { config: { 'cleanup.policy': 'compact,delete' } })
    const refused = { code: 'INVALID_RECORD', details: { topic: 'state', index: 0 } }
    const producer = client().producer()
    await expect(producer.send('state', { value: 'x' })).rejects.toMatchObject(refused)
    await producer.send('state', { key: 'k', value: 'x' })
    await producer.close()
    const { broker: core } = broker()
    expect(core.topicByName('state')?.partitions[0]?.next).toBe(1)
    // Changed while in use: from now on they are welcome.
    await admin.alterTopic('state', { 'cleanup.policy': 'delete' })
    const again = client().producer()
    await again.send('state', { value: 'x' })
    await again.close()
    expect(core.topicByName('state')?.partitions[0]?.next).toBe(2)
  })

  it('is opened to look for keys only when a batch does not say that it has them', () => {
    const keyed = encodeBatch([{ key: 'a' }, { key: '' }], { now: 0 })
    expect(readBatchHeader(keyed).keyed).toBe(true)
    expect(readBatchHeader(encodeBatch([{ key: 'a' }, {}], { now: 0 })).keyed).toBe(false)
  })
})
