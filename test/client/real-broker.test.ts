// The SDK against the broker itself, with connections cut anywhere.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { array, assert, asyncProperty, constantFrom, integer } from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Ack, connect, type Ticket, topic } from '../../client/index.ts'
import { encodeBatch } from '../../wire/index.ts'
import { CuttingProxy } from './cutting-proxy.ts'

let broker: RunningBroker
let names = 0

beforeAll(async () => {
  broker = await startBroker({ loglet: 'memory', port: 0 })
})

afterAll(async () => {
  await broker.close()
})

const newName = (): string => `t${names++}`
const quick = { retryBackoffMs: 1, retryBackoffMaxMs: 10 }

async function readAll(url: string, name: string): Promise<string[][]> {
  const client = await connect(url, quick)
  const seen: string[][] = []
  for await (const { partition, offset, value } of client.read(name, {
    from: 'beginning',
    until: 'end',
  })) {
    const values = (seen[partition] ??= [])
    expect(offset).toBe(values.length)
    values.push(value ?? '')
  }
  await client.close()
  return seen
}

describe('the client with a real broker', () => {
  it('produces and reads back typed values', async () => {
    const things = topic<{ id: number }>(newName())
    const client = await connect(broker.url)
    const ack = await client
      .producer()
      .send(things, { key: 'k', value: { id: 7 }, headers: { h: '1' } })
    expect(ack).toMatchObject({ topic: things.name, partition: 0, offset: 0 })
    for await (const record of client.read(things, { from: 'beginning' })) {
      expect(record).toMatchObject({ offset: 0, key: 'k', value: { id: 7 } })
      expect(record.header('h')).toBe('1')
      break
    }
    await client.close()
  })

  it('administers topics', async () => {
    const name = newName()
    const client = await connect(broker.url)
    const admin = client.admin()
    expect(await admin.createTopic(name, { partitions: 3 })).toMatchObject({
      topic: name,
      partitions: 3,
      created: true,
    })
    await expect(admin.createTopic(name)).rejects.toMatchObject({ code: 'TOPIC_EXISTS' })
    expect(await admin.createTopic(name, { ifNotExists: true })).toMatchObject({ created: false })
    await expect(
      admin.createTopic(newName(), { config: { 'no.such': '1' } }),
    ).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
    await admin.alterTopic(name, { 'max.message.bytes': '200' })
    const producer = client.producer()
    const large = producer.send(name, { value: 'x'.repeat(500) }, { partition: 1 })
    await expect(large).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' })
    await producer.send(name, { value: 'small' }, { partition: 1 })
    expect(
      (await admin.describeTopic(name)).partitions.map(partition => partition.endOffset),
    ).toEqual([0, 1, 0])
    expect(await admin.listOffsets(name, 'end', { partition: 1 })).toEqual([
      { partition: 1, offset: 1 },
    ])
    expect((await admin.listTopics()).map(listing => listing.topic)).toContain(name)
    await admin.deleteTopic(name)
    await expect(admin.describeTopic(name)).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC' })
    expect((await admin.health()).status).toBe('ok')
    await client.close()
  })

  it('publishes atomically and under conditions', async () => {
    const [a, b] = [newName(), newName()]
    const client = await connect(broker.url)
    const producer = client.producer()
    const acks = await producer.sendBatch(
      [
        { topic: a, value: '1' },
        { topic: b, value: '2' },
      ],
      { atomic: true },
    )
    expect(acks[0]?.lsn).toBe(acks[1]?.lsn)
    await producer.send(a, { value: '3' }, { partition: 0, expect: { offset: 1 } })
    const stale = producer.send(a, { value: '4' }, { partition: 0, expect: { offset: 1 } })
    await expect(stale).rejects.toMatchObject({
      code: 'OFFSET_CONFLICT',
      details: { expected: 1, actual: 2 },
    })
    await producer.send(a, { value: '5' })
    expect(await readAll(broker.url, a)).toEqual([['1', '3', '5']])
    await client.close()
  })

  it('goes on with a topic that was deleted and made anew', async () => {
    const name = newName()
    const client = await connect(broker.url, quick)
    const producer = client.producer()
    await producer.send(name, { value: 'old' })
    await producer.send(name, { value: 'old' })
    await client.admin().deleteTopic(name)
    await client.admin().createTopic(name)
    expect((await producer.send(name, { value: 'new' })).offset).toBe(0)
    await client.close()
  })

  it('compresses, sends encoded batches, and asks for no acks', async () => {
    const name = newName()
    const client = await connect(broker.url)
    await client.producer({ compressionType: 'gzip' }).send(name, { value: 'x'.repeat(5000) })
    const encoded = encodeBatch([{ value: 'a' }, { value: 'b' }], { now: 1 })
    expect((await client.producer().sendEncoded(name, 0, encoded)).offset).toBe(1)
    await client.producer({ acks: 0 }).send(name, { value: 'c' })
    await client.admin().ping()
    expect(await readAll(broker.url, name)).toEqual([['x'.repeat(5000), 'a', 'b', 'c']])
    await client.close()
  })

  it('does not notice a switch of the log but for time', async () => {
    const name = newName()
    const client = await connect(broker.url)
    const producer = client.producer({ lingerMs: 0, batchSize: 200 })
    const tickets: Ticket[] = []
    for (let i = 0; i < 400; i++) {
      tickets.push(producer.enqueue(name, { value: String(i) }))
      if (i % 100 === 50)
        expect((await client.admin().switchLog('memory')).opened.spec).toContain('memory')
    }
    await Promise.all(tickets.map(ticket => ticket.acked))
    expect(await readAll(broker.url, name)).toEqual([tickets.map((_, i) => String(i))])
    await client.close()
  })

  it('writes once and in order, and reads so, when connections are cut after any number of bytes', async () => {
    await assert(
      asyncProperty(
        array(integer({ min: 0, max: 6000 }), { maxLength: 10 }),
        integer({ min: 1, max: 80 }),
        constantFrom(1, 300),
        async (cuts, count, batchSize) => {
          const name = newName()
          const left = [...cuts]
          const proxy = await CuttingProxy.start(broker.port, () => left.shift())
          const client = await connect(proxy.url, quick)
          await client.admin().createTopic(name, { partitions: 2, ifNotExists: true })
          const producer = client.producer({ lingerMs: 0, batchSize })
          const reader = client.read(name, { from: 'beginning' })
          const sent: Promise<Ack>[] = []
          for (let i = 0; i < count; i++) {
            const atomic = i % 5 === 4
            const record = { topic: name, partition: i % 2, value: String(i) }
            sent.push(
              atomic
                ? producer.sendBatch([record], { atomic }).then(acks => acks[0] as Ack)
                : producer.enqueue(name, record, { partition: i % 2 }).acked,
            )
            if (i % 9 === 8) await producer.flush()
          }
          const acks = await Promise.all(sent)
          const seen: string[][] = [[], []]
          let n = 0
          for await (const { partition, offset, value } of reader) {
            expect(offset).toBe(seen[partition]?.length)
            seen[partition]?.push(value ?? '')
            if (++n === count) break
          }
          for (const [i, { partition, offset }] of acks.entries())
            expect(seen[partition]?.[offset]).toBe(String(i))
          await client.close()
          await proxy.stop()
          expect((await readAll(broker.url, name)).flat()).toHaveLength(count)
        },
      ),
      { numRuns: 40 },
    )
  })

  it('carries producers over restarts of a broker with a data directory', async () => {
    const data = await mkdtemp(join(tmpdir(), 'logloom-client-'))
    let durable = await startBroker({ data, port: 0 })
    const { port, url } = durable
    const client = await connect(url, quick)
    const producer = client.producer({ lingerMs: 0, batchSize: 100 })
    const tickets: Ticket[] = []
    for (let restart = 0; restart < 3; restart++) {
      for (let i = 0; i < 50; i++)
        tickets.push(producer.enqueue('t', { value: String(tickets.length) }))
      await durable.close()
      for (let i = 0; i < 50; i++)
        tickets.push(producer.enqueue('t', { value: String(tickets.length) }))
      durable = await startBroker({ data, port })
    }
    await Promise.all(tickets.map(ticket => ticket.acked))
    expect(await readAll(url, 't')).toEqual([tickets.map((_, i) => String(i))])
    await client.close()
    await durable.close()
    await rm(data, { recursive: true })
  })
})
