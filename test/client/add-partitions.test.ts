// Partitions are added to a topic while producers and readers use it: each key's records stay in order, none is lost, none comes twice.

import { array, assert, asyncProperty, constantFrom, integer } from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Client,
  connect,
  type GroupRecord,
  type LogloomError,
  type ProducerOptions,
  type ReadRecord,
} from '../../client/index.ts'
import { partitionForKey } from '../../wire/partitioner.ts'
import { CuttingProxy } from './cutting-proxy.ts'
import { useMemoryBroker } from './memory-broker.ts'

const { broker, client } = useMemoryBroker()
const quick = { retryBackoffMs: 1, retryBackoffMaxMs: 5 }
const keysEach = 7

type Seen = Pick<ReadRecord<string>, 'key' | 'value'>

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
const keyOf = (name: string, i: number): string => `${name}${i % keysEach}`
const valueOf = (i: number): string => String(Math.floor(i / keysEach))

/** Keeps many batches under way, over keys of its own, each key's records numbered from 0. */
async function sendPipelined(from: Client, topic: string, name: string, o: SendPlan) {
  const producer = from.producer({ lingerMs: 0, batchSize: 120, ...o.options })
  const acked = []
  for (let i = 0; i < o.records; i++) {
    acked.push(producer.enqueue(topic, { key: keyOf(name, i), value: valueOf(i) }).acked)
    // Without a key, in between, in the same batches.
    if (i % 5 === 0) acked.push(producer.enqueue(topic, { value: '-' }).acked)
    if (i % 6 === 5) await turn()
    o.onSent()
  }
  await Promise.all(acked)
  // By now it knows, or it learns it.
  const partitions = await o.changed()
  const later = Array.from({ length: o.records }, (_, n) => o.records + n)
  const acks = await Promise.all(
    later.map(n => {
      const record = { key: keyOf(name, n), value: valueOf(n) }
      return producer.enqueue(topic, record).acked
    }),
  )
  for (const [n, { partition }] of acks.entries()) {
    const key = keyOf(name, o.records + n)
    expect(partition).toBe(partitionForKey(new TextEncoder().encode(key), partitions))
  }
}

/** One atomic unit after the other, of two records each. */
async function publishEach(from: Client, topic: string, name: string, o: SendPlan) {
  for (let i = 0; i < o.records; i++) {
    await from.transaction(tx => {
      for (const n of [2 * i, 2 * i + 1]) tx.send(topic, { key: keyOf(name, n), value: valueOf(n) })
    })
    o.onSent()
  }
}

interface SendPlan {
  readonly records: number
  readonly options: ProducerOptions
  readonly onSent: () => void
  /** Resolves once partitions were added for the last time, with how many there are. */
  readonly changed: () => Promise<number>
}

/** Commits the record, again if nobody knows whether it was, unless it is another member's by now. */
async function committed(record: GroupRecord<string>): Promise<void> {
  for (;;) {
    try {
      await record.commit()
      return
    } catch (error) {
      const { code } = error as LogloomError
      if (code !== 'CONNECTION_CLOSED' && code !== 'TIMEOUT') return
      if (record.signal.aborted) return
    }
  }
}

/** Adds partitions, four at a time, whenever so many records were sent. */
function adder(from: Client, topic: string, changes: readonly number[]) {
  let sent = 0
  const due = changes.toSorted((a, b) => a - b)
  const adding: Promise<{ readonly partitions: number }>[] = []
  const add = (): void => {
    due.shift()
    adding.push(from.admin().createPartitions(topic, 4 * adding.length + 4))
  }
  return {
    onSent: (): void => {
      sent++
      while (due[0] !== undefined && due[0] <= sent) add()
    },
    changed: async (): Promise<number> => {
      while (due.length > 0) add()
      return (await Promise.all(adding)).at(-1)?.partitions ?? 0
    },
  }
}

function expectWhole(records: readonly Seen[], names: readonly string[], each: number): void {
  const keyed = records.filter(({ key }) => key !== null)
  const byKey = new Map<string, string[]>()
  for (const { key, value } of keyed) {
    const values = byKey.get(key as string) ?? []
    values.push(value as string)
    byKey.set(key as string, values)
  }
  for (const [key, values] of byKey)
    expect(values, `values of ${key}`).toEqual(values.map((_, i) => String(i)))
  expect(keyed.length).toBe(names.length * each)
}

async function take(reader: AsyncIterable<ReadRecord<string>>, count: number) {
  const records: ReadRecord<string>[] = []
  let keyed = 0
  for await (const record of reader) {
    records.push(record)
    if (record.key !== null && ++keyed === count) break
  }
  return records
}

describe('a producer that does not know of added partitions', () => {
  it('is flushed and closed once what it chose again is written', async () => {
    const [one, two] = [await client(), await client()]
    await one.admin().createTopic('t', { partitions: 2 })
    const producer = one.producer({ lingerMs: 60_000, batchSize: 200 })
    await Promise.all([producer.enqueue('t', { key: 'k', value: '0' }).acked, producer.flush()])
    const send = (first: number): Promise<unknown>[] =>
      Array.from({ length: 50 }, (_, i) => {
        const value = String(first + i)
        return producer.enqueue('t', { key: `k${i % 5}`, value }).acked
      })
    await two.admin().createPartitions('t', 6)
    const flushed = send(0)
    await producer.flush()
    await Promise.all(flushed)
    await two.admin().createPartitions('t', 8)
    const closed = send(50)
    await producer.close()
    await Promise.all(closed)
    expect(producer.inflightBytes).toBe(0)
    const seen: string[] = []
    for await (const { key, value } of two.read('t', { from: 'beginning', until: 'end' }))
      if (key === 'k3') seen.push(value as string)
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => String(5 * i + 3)))
  })

  it('hears of them when it expects an offset, and can go on', async () => {
    const [one, two] = [await client(), await client()]
    await one.admin().createTopic('t', { partitions: 2 })
    const producer = one.producer()
    await producer.send('t', { key: 'k', value: '0' })
    await two.admin().createPartitions('t', 6)
    const expecting = () => producer.send('t', { key: 'k9', value: '1' }, { expect: { offset: 0 } })
    await expect(expecting()).rejects.toMatchObject({
      code: 'STALE_PARTITIONS',
      retriable: true,
      details: { topic: 't', partitions: 6, actual: 2 },
    })
    const partition = partitionForKey(new TextEncoder().encode('k9'), 6)
    expect(await expecting()).toMatchObject({ partition, offset: 0 })
    const atomic = (offset: number) =>
      producer.sendBatch([{ topic: 't', key: 'k9', value: '2' }], {
        atomic: true,
        expect: [{ topic: 't', partition, offset }],
      })
    await two.admin().createPartitions('t', 7)
    await expect(atomic(1)).rejects.toMatchObject({ code: 'STALE_PARTITIONS' })
    expect(await atomic(1)).toMatchObject([{ topic: 't' }])
  })

  it('rejects what its partitioner cannot choose again', async () => {
    const [one, two] = [await client(), await client()]
    await one.admin().createTopic('t', { partitions: 1 })
    const rejected: number[] = []
    const producer = one.producer({
      lingerMs: 0,
      // Never chooses of more than one.
      partitioner: (_topic, _key, partitions) => (partitions === 1 ? 0 : -1),
      onRejected: (_error, { count }) => rejected.push(count),
    })
    await producer.send('t', { key: 'k', value: '0' })
    await two.admin().createPartitions('t', 2)
    await expect(producer.send('t', { key: 'k', value: '1' })).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
    })
    expect(rejected).toEqual([1])
    const ends = await two.admin().listOffsets('t', 'end')
    expect(ends.map(({ offset }) => offset)).toEqual([1, 0])
    await producer.close()
    expect(producer.inflightBytes).toBe(0)
  })
})

describe('adding partitions to a topic in use', () => {
  it('keeps the records of each key in order for every reader, through cuts of connections', async () => {
    let topics = 0
    await assert(
      asyncProperty(
        array(integer({ min: 0, max: 150 }), { minLength: 1, maxLength: 3 }),
        integer({ min: 20, max: 90 }),
        constantFrom('none' as const, 'gzip' as const),
        array(integer({ min: 300, max: 9000 }), { maxLength: 5 }),
        async (changes, each, compressionType, cuts) => {
          const own = await client()
          const topic = `t${topics++}`
          await own.admin().createTopic(topic, { partitions: 3 })
          const left = [...cuts]
          const proxy = await CuttingProxy.start(broker().port, () => left.shift())
          const clients = await Promise.all(
            [broker().url, proxy.url, proxy.url, proxy.url].map(url => connect(url, quick)),
          )
          const [near, far, publishing, reading] = clients as [Client, Client, Client, Client]
          const names = ['near', 'far', 'unnumbered', 'publishing']
          const whole = 2 * each
          const live = [own, reading].map(one =>
            take(one.read(topic, { from: 'beginning' }), names.length * whole),
          )
          const { onSent, changed } = adder(own, topic, changes)
          const options = { compressionType }
          const plan = { records: each, options, onSent, changed }
          const careless = { ...plan, options: { ...options, enableIdempotence: false } }
          await Promise.all([
            sendPipelined(near, topic, 'near', plan),
            sendPipelined(far, topic, 'far', plan),
            sendPipelined(near, topic, 'unnumbered', careless),
            publishEach(publishing, topic, 'publishing', plan),
          ])
          for (const records of await Promise.all(live)) expectWhole(records, names, whole)
          const later = await connect(broker().url)
          const records: ReadRecord<string>[] = []
          for await (const record of later.read(topic, { from: 'beginning', until: 'end' }))
            records.push(record)
          expectWhole(records, names, whole)
          await Promise.all([...clients, later].map(one => one.close()))
          await proxy.stop()
        },
      ),
      { numRuns: 25 },
    )
  })

  it('keeps them in order for the members of a group, also when one leaves in the middle', async () => {
    let topics = 0
    await assert(
      asyncProperty(
        array(integer({ min: 0, max: 200 }), { minLength: 1, maxLength: 3 }),
        integer({ min: 20, max: 90 }),
        integer({ min: 1, max: 4 }),
        integer({ min: 0, max: 120 }),
        constantFrom('commits' as const, 'autoCommit' as const),
        array(integer({ min: 600, max: 9000 }), { maxLength: 3 }),
        async (changes, each, concurrency, leaveAt, mode, cuts) => {
          const own = await client()
          const topic = `g${topics++}`
          await own.admin().createTopic(topic, { partitions: 3 })
          const left = [...cuts]
          const proxy = await CuttingProxy.start(broker().port, () => left.shift())
          const clients = await Promise.all(
            [broker().url, proxy.url, broker().url].map(url => connect(url, quick)),
          )
          const names = ['one', 'two']
          const whole = 2 * each * names.length
          const seen: Seen[] = []
          const known = new Set<string>()
          let wake = (): void => {}
          const all = new Promise<void>(resolve => {
            wake = resolve
          })
          const consumers = clients.map(one =>
            one.consumer({
              groupId: topic,
              topics: topic,
              autoOffsetReset: 'earliest',
              autoCommit: mode === 'autoCommit',
              autoCommitIntervalMs: 20,
            }),
          )
          const running = consumers.map(consumer =>
            consumer.run(
              async record => {
                // What was not committed may come again: where the work on it began first counts.
                const name = `${record.key} ${record.value}`
                if (record.key !== null && !known.has(name)) {
                  known.add(name)
                  seen.push({ key: record.key, value: record.value })
                }
                await turn()
                if (mode === 'commits') await committed(record)
                if (known.size === leaveAt) void consumers[2]?.close()
                if (known.size === whole) wake()
              },
              mode === 'commits' ? {} : { concurrency },
            ),
          )
          const { onSent, changed } = adder(own, topic, changes)
          const plan = { records: each, options: {}, onSent, changed }
          await Promise.all(names.map(name => sendPipelined(own, topic, name, plan)))
          await all
          expectWhole(seen, names, 2 * each)
          await Promise.all(consumers.map(one => one.close()))
          await Promise.all(running)
          await Promise.all(clients.map(one => one.close()))
          await proxy.stop()
        },
      ),
      { numRuns: 20 },
    )
  })
})
