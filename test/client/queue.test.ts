// The SDK's queues on a real broker: members that share, fail, hang and die; what is given up.

import { describe, expect, it, vi } from 'vitest'
import type { Client, QueueOptions, QueueRecord } from '../../client/index.ts'
import { topic as typed } from '../../client/index.ts'
import { openChannel } from '../acceptance/measure.ts'
import { useMemoryBroker } from './memory-broker.ts'

const { broker, client } = useMemoryBroker()

const options = (more: Partial<QueueOptions> = {}): QueueOptions => ({
  group: 'g',
  topics: 't',
  autoOffsetReset: 'earliest',
  ...more,
})

async function topic(partitions = 1): Promise<Client> {
  const one = await client()
  await one.admin().createTopic({ topic: 't', partitions })
  await one.admin().createTopic({ topic: 'dead' })
  return one
}

async function produce(...values: readonly string[]): Promise<void> {
  const producer = (await client()).producer()
  for (const value of values) producer.enqueue('t', { key: 'k', value })
  await producer.close()
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 5))
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`)

/** Value and headers of all dead letters. */
async function letters(one: Client): Promise<(readonly [string, Record<string, string>])[]> {
  const found: (readonly [string, Record<string, string>])[] = []
  for await (const { value, headers } of one.read('dead', { from: 'beginning', until: 'end' })) {
    const texts = headers.map(([name, bytes]) => [name, new TextDecoder().decode(bytes)] as const)
    found.push([value as string, Object.fromEntries(texts)])
  }
  return found
}

const share = () => broker().broker.shareGroup('g')?.partitions.get('1/0')
const isDone = (acknowledged: number): boolean =>
  share()?.acknowledged === acknowledged && share()?.records.size === 0

/** A member that takes records and is never heard of again. */
async function takeAndDie(lockMs: number): Promise<number> {
  const channel = await openChannel(broker().url)
  const reply = await channel.request('shareFetch', {
    group: 'g',
    memberId: crypto.randomUUID(),
    maxWaitMs: 5000,
    recordLockDurationMs: lockMs,
  })
  channel.close()
  return (reply['records'] as { acquired: [number, number, number][] }[])[0]?.acquired[0]?.[2] ?? 0
}

describe('a queue', () => {
  it('gives each record of one partition to one of many members', async () => {
    await topic()
    const seen: string[] = []
    const by = new Set<number>()
    const clients = await Promise.all(Array.from({ length: 16 }, () => client()))
    const queues = clients.map(each => each.queue(options({ maxRecords: 10 })))
    const running = queues.map((queue, i) =>
      queue.run(
        async ({ value }) => {
          await new Promise(resolve => setImmediate(resolve))
          seen.push(value as string)
          by.add(i)
        },
        { concurrency: 2 },
      ),
    )
    await produce(...numbers(2000))
    await until(() => isDone(2000))
    await Promise.all(queues.map(queue => queue.close()))
    await Promise.all(running)
    expect([...seen].sort((a, b) => Number(a) - Number(b))).toEqual(numbers(2000))
    expect(by.size).toBeGreaterThan(8)
    expect(share()).toMatchObject({ delivered: 2000 + (share()?.redelivered ?? 0), archived: 0 })
  })

  it('has one member ask for one record, however many wait', async () => {
    await topic()
    const clients = await Promise.all(Array.from({ length: 12 }, () => client()))
    const queues = clients.map(each => each.queue(options({ recordLockDurationMs: 60_000 })))
    let taken = 0
    const running = queues.map(queue => queue.run(() => taken++))
    await produce('first')
    await until(() => isDone(1))
    // All of them wait again.
    await new Promise(resolve => setTimeout(resolve, 100))
    const target = broker().broker
    const propose = vi.spyOn(target, 'propose')
    for (let i = 0; i < 10; i++) {
      await produce(`${i}`)
      await until(() => isDone(2 + i))
    }
    const asked = propose.mock.calls.filter(([{ type }]) => type === 'acquireRecords')
    expect(taken).toBe(11)
    // Two now and then: who asks while the record is being given away does not know yet.
    expect(asked.length).toBeGreaterThanOrEqual(10)
    expect(asked.length).toBeLessThanOrEqual(25)
    propose.mockRestore()
    await Promise.all(queues.map(queue => queue.close()))
    await Promise.all(running)
  })

  it('delivers again what was given back, after the delay', async () => {
    const one = await topic()
    await produce('a', 'b')
    const seen: (readonly [string | null, number])[] = []
    for await (const record of one.queue(options({ maxRecords: 1 }))) {
      seen.push([record.value, record.deliveryCount])
      if (record.value === 'a' && record.deliveryCount === 1) await record.nack({ delayMs: 50 })
      else if (record.value === 'a' && record.deliveryCount === 2) await record.nack()
      else await record.ack()
      if (isDone(2)) break
    }
    expect(seen.filter(([value]) => value === 'a')).toEqual([
      ['a', 1],
      ['a', 2],
      ['a', 3],
    ])
    // What is delayed does not hold up what comes behind it.
    expect(seen[1]).toEqual(['b', 1])
  })

  it('gives a record up to the dead letters when its handler has failed too often, once', async () => {
    const one = await topic()
    await produce('0', 'bad', '2')
    const tries: (string | null)[] = []
    const queue = one.queue(options({ deliveryCountLimit: 3, deadLetter: 'dead' }))
    const running = queue.run(
      ({ value }) => {
        tries.push(value)
        if (value === 'bad') throw new Error('no')
      },
      { retry: { backoffMs: 1 } },
    )
    await until(() => isDone(3))
    await queue.close()
    await running
    expect(tries.filter(value => value === 'bad')).toHaveLength(3)
    expect(await letters(one)).toEqual([
      [
        'bad',
        {
          '__dlq.errors.topic': 't',
          '__dlq.errors.partition': '0',
          '__dlq.errors.offset': '1',
          '__dlq.errors.group': 'g',
          '__dlq.errors.delivery.count': '3',
          '__dlq.errors.message': 'no',
        },
      ],
    ])
  })

  it('archives it when there is no topic for dead letters', async () => {
    const one = await topic()
    await produce('bad')
    const queue = one.queue(options({ deliveryCountLimit: 2 }))
    const running = queue.run(
      () => {
        throw new Error('no')
      },
      { retry: { backoffMs: 1 } },
    )
    await until(() => share()?.archived === 1)
    await queue.close()
    await running
    expect(share()).toMatchObject({ delivered: 2, acknowledged: 0 })
    expect(share()?.records.size).toBe(0)
  })

  it('does not try once more what kills its members, and loses it not', async () => {
    const one = await topic()
    await produce('poison')
    const group = { group: 'g', topics: ['t'], autoOffsetReset: 'earliest' }
    const channel = await openChannel(broker().url)
    await channel.request('openShareGroup', { ...group, deliveryCountLimit: 2, keepsDead: true })
    expect(await takeAndDie(100)).toBe(1)
    expect(await takeAndDie(100)).toBe(2)
    expect(await takeAndDie(100)).toBe(3)
    const queue = one.queue(options({ deliveryCountLimit: 2, deadLetter: 'dead' }))
    const seen: unknown[] = []
    const running = queue.run(record => seen.push(record))
    await until(() => isDone(1))
    await queue.close()
    await running
    channel.close()
    expect(seen).toEqual([])
    expect(await letters(one)).toMatchObject([['poison', { '__dlq.errors.delivery.count': '3' }]])
  })

  it('gives the records of a member that died to others when the lock is over, not before', async () => {
    const one = await topic()
    await produce('a')
    const begun = performance.now()
    const channel = await openChannel(broker().url)
    const group = { group: 'g', topics: ['t'], autoOffsetReset: 'earliest' }
    await channel.request('openShareGroup', group)
    await takeAndDie(300)
    for await (const record of one.queue(options())) {
      expect(record.deliveryCount).toBe(2)
      await record.ack()
      break
    }
    channel.close()
    expect(performance.now() - begun).toBeGreaterThanOrEqual(295)
  })

  it('holds a record for as long as its handler works, and lets it go after maxProcessingMs', async () => {
    const one = await topic()
    await produce('slow', 'stuck')
    const lockMs = 500
    const seen: (readonly [string | null, number])[] = []
    let lost: QueueRecord<string> | undefined
    const queue = one.queue(options({ recordLockDurationMs: lockMs, maxProcessingMs: 4 * lockMs }))
    const running = queue.run(
      async record => {
        seen.push([record.value, record.deliveryCount])
        if (record.value === 'slow') await new Promise(resolve => setTimeout(resolve, 3 * lockMs))
        else if (record.deliveryCount === 1) {
          lost = record
          await new Promise(resolve => record.signal.addEventListener('abort', resolve))
        }
      },
      { concurrency: 2 },
    )
    await until(() => isDone(2))
    await expect(lost?.ack()).rejects.toMatchObject({ code: 'INVALID_RECORD_STATE' })
    await queue.close()
    await running
    expect(seen).toEqual([
      ['slow', 1],
      ['stuck', 1],
      ['stuck', 2],
    ])
  })

  it('acknowledges together with the records of a transaction, or not at all', async () => {
    const one = await topic()
    await one.admin().createTopic({ topic: 'out' })
    await produce('1', '2')
    let failed = false
    for await (const record of one.queue(options({ maxRecords: 1 }))) {
      const work = one.transaction(tx => {
        tx.send('out', { value: `${record.value} done` })
        tx.ack(record)
        if (record.value === '1' && !failed) throw new Error('no')
      })
      if (failed || record.value !== '1') await work
      else {
        await expect(work).rejects.toThrow('no')
        failed = true
        await record.nack()
      }
      if (isDone(2)) break
    }
    const out: unknown[] = []
    for await (const { value } of one.read('out', { from: 'beginning', until: 'end' }))
      out.push(value)
    expect(new Set(out)).toEqual(new Set(['1 done', '2 done']))
    expect(out).toHaveLength(2)
  })

  it('gives back what nobody was given when it closes', async () => {
    const one = await topic()
    await produce(...numbers(50))
    for await (const record of one.queue(options())) {
      await record.ack()
      break
    }
    const waiting = [...(share()?.records.values() ?? [])]
    expect(waiting.filter(({ holder }) => holder !== undefined)).toEqual([])
    expect(share()?.acknowledged).toBe(1)
    // As if it had not been delivered.
    expect(new Set(waiting.map(({ count }) => count))).toEqual(new Set([0]))
  })

  it('goes on with a group that was deleted, and with partitions that are added', async () => {
    const one = await topic()
    const seen: (string | null)[] = []
    const queue = one.queue(options())
    const running = queue.run(({ value }) => seen.push(value))
    await produce('1')
    await until(() => isDone(1))
    await one.admin().createPartitions('t', 3)
    const producer = one.producer()
    await producer.send('t', { value: '2' }, { partition: 2 })
    await until(() => seen.length === 2)
    await until(() => broker().broker.shareGroup('g')?.partitions.get('1/2')?.records.size === 0)
    await one.admin().deleteGroup('g')
    await producer.send('t', { value: '3' }, { partition: 0 })
    await until(() => seen.includes('3'))
    await queue.close()
    await running
  })

  it('gives up what cannot be decoded, and keeps the types of a typed topic', async () => {
    const one = await topic()
    const numbersOnly = typed<number>('t', {
      serialize: value => String(value),
      deserialize: bytes => {
        const value = Number(new TextDecoder().decode(bytes))
        if (Number.isNaN(value)) throw new Error('not a number')
        return value
      },
    })
    await produce('1', 'x', '3')
    const seen: number[] = []
    const queue = one.queue({
      ...options(),
      topics: numbersOnly,
      deliveryCountLimit: 2,
      deadLetter: 'dead',
    })
    const running = queue.run(
      ({ value }) => {
        seen.push(value ?? 0)
      },
      { retry: { backoffMs: 1 } },
    )
    await until(() => isDone(3))
    await queue.close()
    await running
    expect(seen).toEqual([1, 3])
    expect((await letters(one)).map(([value]) => value)).toEqual(['x'])
  })

  it.each([
    ['no group', { group: '' }, 'INVALID_REQUEST'],
    ['no topics', { topics: [] }, 'INVALID_REQUEST'],
    ['a lock of nothing', { recordLockDurationMs: 0 }, 'INVALID_REQUEST'],
    ['dead letters where it reads', { deadLetter: 't' }, 'INVALID_REQUEST'],
    ['a misnamed topic', { topics: 'a topic' }, 'INVALID_TOPIC_NAME'],
  ])('refuses %s', async (_, wrong, code) => {
    const one = await topic()
    expect(() => one.queue(options(wrong))).toThrow(expect.objectContaining({ code }))
  })

  it('ends with the error of the broker when the group is of the other kind', async () => {
    const one = await topic()
    const consumer = one.consumer({ groupId: 'g', topics: 't' })
    await consumer.join()
    await expect(one.queue(options()).run(() => {})).rejects.toMatchObject({
      code: 'INCONSISTENT_GROUP_PROTOCOL',
    })
    await consumer.close()
    const queue = one.queue(options({ group: 'q' }))
    const running = queue.run(() => {})
    await until(() => broker().broker.shareGroup('q') !== undefined)
    await expect(one.consumer({ groupId: 'q', topics: 't' }).join()).rejects.toMatchObject({
      code: 'INCONSISTENT_GROUP_PROTOCOL',
    })
    await queue.close()
    await running
  })
})
