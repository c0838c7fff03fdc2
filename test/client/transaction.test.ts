// Exactly once from topic to topic: workers that fail, are put out of the group and begin again; every input is in the output once.

import { describe, expect, it } from 'vitest'
import type { Client } from '../../client/index.ts'
import { useMemoryBroker } from './memory-broker.ts'

const { broker, client } = useMemoryBroker()

const options = {
  groupId: 'g',
  topics: 'in',
  autoOffsetReset: 'earliest',
  autoCommit: false,
} as const

async function values(topic: string): Promise<string[]> {
  const found: string[] = []
  for await (const { value } of (await client()).read(topic, { from: 'beginning', until: 'end' }))
    found.push(value as string)
  return found
}

describe('a transaction', () => {
  it('sends nothing when its function throws, and all of it in one append when not', async () => {
    const one = await client()
    await one.admin().createTopic({ topic: 'a', partitions: 3 })
    await expect(
      one.transaction(tx => {
        tx.send('a', { value: 'x' })
        throw new Error('no')
      }),
    ).rejects.toThrow('no')
    const acks = await one.transaction(tx => {
      for (let i = 0; i < 6; i++) tx.send('a', { key: `${i}`, value: `${i}` })
      tx.send('b', { value: 'other' })
    })
    expect(new Set(acks.map(({ lsn }) => lsn)).size).toBe(1)
    expect((await values('a')).sort()).toEqual(['0', '1', '2', '3', '4', '5'])
    expect(await values('b')).toEqual(['other'])
  })

  it('of an earlier user of its name is refused, whole', async () => {
    const [old, young] = [await client(), await client()]
    const send = (by: Client, value: string) =>
      by.transaction(tx => tx.send('a', { value }), { transactionalId: 'x' })
    await send(old, '1')
    await send(young, '2')
    await expect(send(old, '3')).rejects.toMatchObject({ code: 'PRODUCER_FENCED' })
    expect(await values('a')).toEqual(['1', '2'])
  })

  it('that commits for a partition which another member has by now writes nothing', async () => {
    const one = await client()
    await one.admin().createTopic('in')
    await one.producer().send('in', { value: '1' })
    const a = one.consumer({ ...options, rebalanceTimeoutMs: 1, sessionTimeoutMs: 60_000 })
    for await (const record of a) {
      const [memberId = ''] = broker().broker.group('g')?.members.keys() ?? []
      const transaction = one.transaction(async tx => {
        tx.send('out', { value: 'made' })
        tx.commit(record)
        await broker().broker.propose({ type: 'leaveGroup', group: 'g', memberId })
      })
      await expect(transaction).rejects.toMatchObject({
        code: expect.stringMatching(/UNKNOWN_MEMBER|STALE_GENERATION/),
      })
      break
    }
    const topics = await one.admin().listTopics()
    expect(topics.find(({ topic }) => topic === 'out')?.records ?? 0).toBe(0)
  })

  it('does not commit a record before those ahead of it in its partition are done', async () => {
    const one = await client()
    await one.admin().createTopic('in')
    const producer = one.producer()
    for (const key of ['a', 'b']) await producer.send('in', { key, value: key })
    let release: () => void = () => {}
    const first = new Promise<void>(resolve => {
      release = resolve
    })
    const errors: unknown[] = []
    const consumer = one.consumer(options)
    const running = consumer.run(
      async record => {
        if (record.value === 'a') return first
        await one.transaction(tx => tx.commit(record)).catch(error => errors.push(error))
        await record.commit().catch(error => errors.push(error))
        release()
        return undefined
      },
      { concurrency: 2 },
    )
    await first
    await consumer.close()
    await running
    expect(errors).toMatchObject([{ code: 'INVALID_REQUEST' }, { code: 'INVALID_REQUEST' }])
  })

  it('makes consume, transform, produce exactly once, whatever happens to the workers', async () => {
    const count = 600
    const one = await client()
    await one.admin().createTopic({ topic: 'in', partitions: 4 })
    await one.admin().createTopic({ topic: 'out', partitions: 2 })
    const producer = one.producer()
    for (let i = 0; i < count; i++) producer.enqueue('in', { key: `k${i % 20}`, value: `${i}` })
    await producer.flush()
    const state = { ended: false }
    let failures = 0
    let turn = 0
    const work = async (name: string): Promise<void> => {
      const own = await client()
      while (!state.ended) {
        const consumer = own.consumer(options)
        const stop = setInterval(() => {
          if (state.ended) void consumer.close()
        }, 5)
        try {
          await consumer.run(
            async record => {
              await own.transaction(
                tx => {
                  tx.send('out', { key: record.key, value: record.value })
                  tx.commit(record)
                  // Before anything is sent …
                  if (++turn % 37 === 0) throw new Error('before')
                },
                { transactionalId: name },
              )
              // … and after it took effect.
              if (turn % 53 === 0) throw new Error('after')
            },
            { concurrency: 4, order: 'partition' },
          )
        } catch {
          failures++
        } finally {
          clearInterval(stop)
        }
      }
    }
    const expel = setInterval(() => {
      const [memberId] = broker().broker.group('g')?.members.keys() ?? []
      if (memberId !== undefined)
        void broker().broker.propose({ type: 'leaveGroup', group: 'g', memberId })
    }, 150)
    const workers = ['w1', 'w2', 'w3'].map(work)
    const lag = async (): Promise<number> => {
      const { partitions } = await one.admin().describeGroup('g')
      const rest = partitions.map(p => p.endOffset - (p.offset ?? 0))
      return partitions.length < 4 ? count : rest.reduce((a, b) => a + b, 0)
    }
    while ((await lag().catch(() => count)) > 0)
      await new Promise(resolve => setTimeout(resolve, 10))
    clearInterval(expel)
    state.ended = true
    await Promise.all(workers)
    expect(failures).toBeGreaterThan(5)
    const out = await values('out')
    expect(out.sort((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: count }, (_, i) => `${i}`),
    )
  }, 60_000)
})
