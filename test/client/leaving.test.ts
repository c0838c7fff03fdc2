// Consumers and queues that end, by a close, a failure or a return, or that the broker leaves alone: what was done before counts, and nobody waits for ever.

import { describe, expect, it, vi } from 'vitest'
import { type Client, connect, type QueueRecord } from '../../client/index.ts'
import { BreakableProxy } from './breakable-proxy.ts'
import { useMemoryBroker } from './memory-broker.ts'

const { broker, client } = useMemoryBroker()

/** Nothing is committed but by a close. */
const group = {
  groupId: 'g',
  topics: 't',
  autoOffsetReset: 'earliest',
  autoCommitIntervalMs: 60_000,
} as const
const share = { group: 'q', topics: 't', autoOffsetReset: 'earliest' } as const

async function topic(partitions = 1): Promise<Client> {
  const one = await client()
  await one.admin().createTopic({ topic: 't', partitions })
  await one.admin().createTopic('dead')
  return one
}

async function produce(values: readonly string[], partition = 0): Promise<void> {
  const producer = (await client()).producer()
  for (const value of values) producer.enqueue('t', { value }, { partition })
  await producer.close()
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 5))
}

async function committed(one: Client): Promise<Record<number, number>> {
  const { offsets } = await one.admin().fetchOffsets('g')
  return Object.fromEntries(offsets.map(({ partition, offset }) => [partition, offset]))
}

async function values(one: Client, name: string): Promise<unknown[]> {
  const found: unknown[] = []
  for await (const { value } of one.read(name, { from: 'beginning', until: 'end' }))
    found.push(value)
  return found
}

/** A door that handlers wait at. */
function door() {
  let open = (): void => {}
  const opened = new Promise<void>(resolve => {
    open = resolve
  })
  return { opened, open: () => open() }
}

/** Runs `work` and counts the rejections that nobody handled meanwhile. */
async function unhandledIn(work: () => Promise<void>): Promise<unknown[]> {
  const found: unknown[] = []
  const count = (error: unknown): unknown => found.push(error)
  process.on('unhandledRejection', count)
  try {
    await work()
    await new Promise(resolve => setImmediate(resolve))
  } finally {
    process.off('unhandledRejection', count)
  }
  return found
}

describe('a consumer', () => {
  it('of which one handler fails lets the others end, and commits what they did', async () => {
    const one = await topic(2)
    await produce(['a'], 0)
    await produce(['b'], 1)
    let atWork = 0
    let isOver = false
    const { opened, open } = door()
    const running = one.consumer(group).run(
      async ({ partition }) => {
        atWork++
        if (partition === 1) return opened
        await until(() => atWork === 2)
        throw new Error('no')
      },
      { concurrency: 2, order: 'partition' },
    )
    const over = running.catch((error: Error) => {
      isOver = true
      return error.message
    })
    await until(() => atWork === 2)
    await one.admin().ping()
    expect(isOver).toBe(false)
    open()
    expect(await over).toBe('no')
    expect((await committed(one))[1]).toBe(1)
  })

  it('that cannot read a partition commits what it did of the others', async () => {
    const one = await topic(2)
    await produce(['1', '2', '3'], 0)
    let done = 0
    const running = one.consumer({ ...group, as: 'json' }).run(() => {
      done++
    })
    running.catch(() => {})
    await until(() => done === 3)
    await produce(['{no json'], 1)
    await expect(running).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    expect((await committed(one))[0]).toBe(3)
  })

  it('commits what it did of a batch of very many records', async () => {
    const one = await topic()
    const producer = one.producer({ batchSize: 1 << 20, compressionType: 'gzip' })
    for (let i = 0; i < 200_000; i++) producer.enqueue('t', { value: '' })
    await producer.close()
    let done = 0
    for await (const _ of one.consumer(group)) if (++done > 100) break
    expect((await committed(one))[0]).toBe(100)
  })

  it('does not take back what a transaction has committed meanwhile', async () => {
    const one = await topic()
    await produce(['a', 'b', 'c'])
    const consumer = one.consumer(group)
    let seen = 0
    for await (const record of consumer) {
      if (++seen < 3) continue
      let completed: Promise<unknown> = Promise.resolve()
      // The one commits all three, and is on its way when the other looks what there is to commit: two.
      await new Promise<void>(resolve => {
        completed = one.transaction(tx => {
          tx.send('dead', { value: 'x' })
          tx.commit(record)
          setImmediate(resolve)
        })
      })
      await consumer.commit()
      await completed
      break
    }
    expect((await committed(one))[0]).toBe(3)
  })

  it('whose client is closed still gives what fails to the dead letters, and completes transactions', async () => {
    const one = await topic(2)
    await produce(['bad'], 0)
    await produce(['good'], 1)
    const leaving = await connect(broker().url)
    let atWork = 0
    const { opened, open } = door()
    const running = leaving.consumer(group).run(
      async ({ value }) => {
        atWork++
        await opened
        if (value === 'bad') throw new Error('no')
        await leaving.transaction(tx => tx.send('dead', { value: 'made' }))
      },
      { concurrency: 2, deadLetter: 'dead' },
    )
    await until(() => atWork === 2)
    const closed = leaving.close()
    expect(() => leaving.producer()).toThrow(expect.objectContaining({ code: 'CONNECTION_CLOSED' }))
    open()
    await Promise.all([running, closed])
    expect((await values(one, 'dead')).map(String).sort((a, b) => a.localeCompare(b))).toEqual([
      'bad',
      'made',
    ])
    expect(await committed(one)).toEqual({ 0: 1, 1: 1 })
    await expect(leaving.transaction(() => {})).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' })
  })

  it('tells of a handler that fails while it is closed', async () => {
    const one = await topic()
    await produce(['a'])
    let isAtWork = false
    const { opened, open } = door()
    const consumer = one.consumer(group)
    const running = consumer.run(async () => {
      isAtWork = true
      await opened
      throw new Error('no')
    })
    running.catch(() => {})
    await until(() => isAtWork)
    const closed = consumer.close()
    open()
    await closed
    await expect(running).rejects.toThrow('no')
    expect((await committed(one))[0]).toBe(0)
  })

  it('can be left while it waits for a record', async () => {
    const one = await topic()
    for (const left of [
      one.consumer(group)[Symbol.asyncIterator](),
      one.consumer(group).batches(),
      one.queue(share)[Symbol.asyncIterator](),
    ]) {
      const next = left.next()
      await one.admin().ping()
      await left.return()
      expect((await next).done).toBe(true)
    }
  })
})

describe('a queue', () => {
  it('of which one handler fails for good lets the others end, and acknowledges what they did', async () => {
    const one = await topic()
    await one.admin().alterTopic('dead', { 'cleanup.policy': 'compact' })
    await produce(['bad', 'good'])
    let atWork = 0
    const { opened, open } = door()
    const queue = one.queue({ ...share, deadLetter: 'dead', deliveryCountLimit: 1 })
    const running = queue.run(
      async ({ value }) => {
        atWork++
        if (value === 'good') return opened
        await until(() => atWork === 2)
        throw new Error('no')
      },
      { concurrency: 2 },
    )
    let isOver = false
    const over = running.catch(({ code }: { code: string }) => {
      isOver = true
      return code
    })
    await until(() => atWork === 2)
    await one.admin().ping()
    expect(isOver).toBe(false)
    open()
    // Without a key it cannot be written there.
    expect(await over).toBe('INVALID_RECORD')
    expect(broker().broker.shareGroup('q')?.partitions.get('1/0')?.acknowledged).toBe(1)
  })

  it('settles what was rejected, or acknowledged by a transaction, before it is closed', async () => {
    const one = await topic()
    await produce(['a', 'b'])
    const queue = one.queue({ ...share, deadLetter: 'dead' })
    const said: Promise<unknown>[] = []
    for await (const record of queue) {
      if (record.value === 'a') said.push(record.reject('no'))
      else {
        const work = (tx: Parameters<Parameters<Client['transaction']>[0]>[0]): void => {
          tx.send('dead', { value: 'made' })
          tx.ack(record)
        }
        said.push(one.transaction(work))
        break
      }
    }
    await Promise.all(said)
    expect((await values(one, 'dead')).map(String).sort((a, b) => a.localeCompare(b))).toEqual([
      'a',
      'made',
    ])
    const partition = broker().broker.shareGroup('q')?.partitions.get('1/0')
    expect([partition?.acknowledged, partition?.records.size]).toEqual([2, 0])
  })

  it('does not end the process by a refusal that nobody waited for', async () => {
    const one = await topic()
    await produce(['a'])
    const unhandled = await unhandledIn(async () => {
      for await (const record of one.queue(share)) {
        void record.ack()
        void record.ack()
        void record.nack()
        void record.reject()
        void record.extend(1000)
        break
      }
    })
    expect(unhandled).toEqual([])
  })

  it('leaves a record as it is when a transaction cannot have all that it acknowledges', async () => {
    const one = await topic()
    await produce(['a', 'b'])
    const taken: QueueRecord<string>[] = []
    for await (const record of one.queue(share)) {
      taken.push(record)
      if (taken.length < 2) continue
      const [first, second] = taken
      await second?.ack()
      const both = one.transaction(tx => {
        for (const each of taken) tx.ack(each)
      })
      await expect(both).rejects.toMatchObject({ code: 'INVALID_RECORD_STATE' })
      await first?.ack()
      break
    }
    expect(broker().broker.shareGroup('q')?.partitions.get('1/0')?.acknowledged).toBe(2)
  })

  it('outlives any outage, at its start too', async () => {
    await topic()
    const proxy = await BreakableProxy.start(Number(new URL(broker().url).port))
    proxy.cut()
    const away = await connect(proxy.url, {
      lazy: true,
      requestTimeoutMs: 40,
      retryBackoffMaxMs: 10,
    })
    const done: string[] = []
    const running = away.queue(share).run(({ value }) => {
      done.push(value as string)
    })
    running.catch(() => {})
    for (const value of ['a', 'b']) {
      const refused = proxy.refused
      // Longer than a request may take.
      const startMs = performance.now()
      await until(() => proxy.refused > refused && performance.now() - startMs > 100)
      await produce([value])
      proxy.mend()
      await until(() => done.includes(value))
      proxy.cut()
    }
    proxy.mend()
    await away.close()
    await running
    await proxy.stop()
  })
})

describe('a reader', () => {
  it('that cannot begin leaves nothing behind, and says again why', async () => {
    const one = await topic()
    const { signal } = new AbortController()
    const added = vi.spyOn(signal, 'addEventListener')
    const removed = vi.spyOn(signal, 'removeEventListener')
    const reader = one.read('missing', { signal })
    await expect(reader.opened()).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC' })
    expect(added).toHaveBeenCalled()
    expect(removed).toHaveBeenCalledTimes(added.mock.calls.length)
    await expect(reader[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'UNKNOWN_TOPIC',
    })
  })
})
