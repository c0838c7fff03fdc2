// Reading: starting points, reconnects, gaps, credit, ends.

import { array, assert, asyncProperty, constantFrom, integer } from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Client, connect, type ReadGap, type ReadOptions, topic } from '../../client/index.ts'
import { compressBatch, encodeBatch } from '../../wire/index.ts'
import { FakeBroker } from './fake-broker.ts'

let broker: FakeBroker
let client: Client

beforeEach(async () => {
  broker = await FakeBroker.start()
  client = await connect(broker.url, { retryBackoffMs: 1, retryBackoffMaxMs: 5 })
})

afterEach(async () => {
  await client.close({ timeoutMs: 100 })
  await broker.stop()
})

/** Puts values straight into the fake's log, as one batch. */
function store(name: string, values: readonly string[], partition = 0): void {
  const batch = encodeBatch(
    values.map(value => ({ value })),
    { now: 1 },
  )
  broker.log.append(name, partition, batch, values.length, broker.log.nextLsn())
}

async function readAll(name: string, options: ReadOptions): Promise<string[]> {
  const values: string[] = []
  for await (const { value } of client.read(name, { until: 'end', ...options, as: 'text' }))
    values.push(value ?? '')
  return values
}

describe('reading', () => {
  it('starts at the beginning, the end, an offset or so many before the end', async () => {
    broker.log.create('t')
    store('t', ['a', 'b', 'c'])
    store('t', ['d', 'e'])
    expect(await readAll('t', { from: 'beginning' })).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(await readAll('t', { from: 'end' })).toEqual([])
    expect(await readAll('t', { from: 1 })).toEqual(['b', 'c', 'd', 'e'])
    expect(await readAll('t', { from: { last: 3 } })).toEqual(['c', 'd', 'e'])
    await expect(readAll('t', { from: 9 })).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
    await expect(readAll('missing', {})).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC' })
    expect(() => client.read('t', { from: 'nowhere' })).toThrowError(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    )
  })

  it('hands out place, time, key, value and headers', async () => {
    broker.log.create('t')
    const record = {
      key: 'k',
      value: null,
      headers: [
        ['h', '1'],
        ['h', '2'],
      ] as [string, string][],
      timestamp: 5,
    }
    broker.log.append('t', 0, encodeBatch([record], { now: 1 }), 1, 0)
    for await (const read of client.read('t', { from: 'beginning', until: 'end' })) {
      expect(read).toMatchObject({
        topic: 't',
        partition: 0,
        offset: 0,
        timestamp: 5,
        key: 'k',
        value: null,
      })
      expect(read.headers.map(([name, value]) => [name, new TextDecoder().decode(value)])).toEqual(
        record.headers,
      )
      expect(read.header('h')).toBe('1')
    }
  })

  it('sees what is written after it opened at the end', async () => {
    broker.log.create('t')
    store('t', ['old'])
    const reader = client.read('t')
    expect(await reader.opened()).toEqual([{ topic: 't', partition: 0, next: 1 }])
    store('t', ['new'])
    for await (const { value, offset } of reader) {
      expect([value, offset]).toEqual(['new', 1])
      break
    }
  })

  it('decodes typed topics, and stops or skips at values that do not fit', async () => {
    const numbers = topic<number>('n', {
      serialize: String,
      deserialize: bytes => {
        const value = Number(new TextDecoder().decode(bytes))
        if (Number.isNaN(value)) throw new Error('not a number')
        return value
      },
    })
    broker.log.create('n')
    store('n', ['1', 'x', '3'])
    const values: (number | null)[] = []
    const skipping = client.read(numbers, { from: 'beginning', until: 'end', onInvalid: 'skip' })
    for await (const { value } of skipping) values.push(value)
    expect(values).toEqual([1, 3])
    const strict = client.read(numbers, { from: 'beginning' })[Symbol.asyncIterator]()
    await expect(strict.next()).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      details: { offset: 1 },
    })
    expect(await strict.next()).toMatchObject({ done: true })
  })

  it('reads compressed batches', async () => {
    broker.log.create('t')
    const batch = encodeBatch([{ value: 'x'.repeat(1000) }], { now: 1 })
    broker.log.append('t', 0, await compressBatch(batch, 'gzip'), 1, 0)
    store('t', ['plain'])
    expect(await readAll('t', { from: 'beginning' })).toEqual(['x'.repeat(1000), 'plain'])
  })

  it('stops at the ends found at its start, also when they are gaps, and in empty partitions', async () => {
    broker.log.create('t', 3)
    store('t', ['a', 'b'], 0)
    store('t', ['c'], 1)
    broker.log.appendGap('t', 1, 'compacted', 5)
    const gaps: ReadGap[] = []
    const values = await readAll('t', { from: 'beginning', onGap: gap => gaps.push(gap) })
    expect(values.toSorted()).toEqual(['a', 'b', 'c'])
    expect(gaps).toEqual([{ topic: 't', partition: 1, type: 'compacted', offset: 1, next: 6 }])
  })

  it('reports lost and trimmed records, or fails', async () => {
    broker.log.create('t')
    store('t', ['a'])
    broker.log.appendGap('t', 0, 'lost', 10)
    store('t', ['b'])
    await expect(readAll('t', { from: 'beginning' })).rejects.toMatchObject({ code: 'LOG_LOST' })
    const gaps: ReadGap[] = []
    expect(await readAll('t', { from: 'beginning', onGap: gap => gaps.push(gap) })).toEqual([
      'a',
      'b',
    ])
    expect(gaps.map(({ type, offset, next }) => [type, offset, next])).toEqual([['lost', 1, 11]])
    broker.log.partition('t', 0).start = 11
    broker.log.partition('t', 0).items.splice(0, 2)
    const trimmed = readAll('t', { from: 0 })
    await expect(trimmed).rejects.toMatchObject({ code: 'OFFSET_TRIMMED', details: { start: 11 } })
    gaps.length = 0
    const kept = readAll('t', { from: 0, onTrimmed: 'skip', onGap: gap => gaps.push(gap) })
    expect(await kept).toEqual(['b'])
    expect(gaps.map(({ type, offset, next }) => [type, offset, next])).toEqual([['trimmed', 0, 11]])
  })

  it('skips exactly a batch that cannot be decoded, or fails', async () => {
    broker.log.create('t')
    store('t', ['a'])
    store('t', ['b', 'c'])
    store('t', ['d'])
    const item = broker.log.partition('t', 0).items[1]
    if (item && 'batch' in item) item.batch[70] = (item.batch[70] ?? 0) ^ 0xff
    await expect(readAll('t', { from: 'beginning' })).rejects.toMatchObject({
      code: 'BATCH_CORRUPT',
    })
    const gaps: ReadGap[] = []
    const options = {
      from: 'beginning',
      onCorrupt: 'skip',
      onGap: (gap: ReadGap) => gaps.push(gap),
    } as const
    expect(await readAll('t', options)).toEqual(['a', 'd'])
    expect(gaps.map(({ type, offset, next }) => [type, offset, next])).toEqual([['corrupt', 1, 3]])
  })

  it('sees every record once and in order through any losses of the connection', async () => {
    await assert(
      asyncProperty(
        array(constantFrom('serve', 'serve', 'dropBefore', 'dropAfter'), { maxLength: 30 }),
        array(integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 12 }),
        integer({ min: 1, max: 12 }),
        async (plan, sizes, early) => {
          broker.log.topics.clear()
          broker.log.create('t', 2)
          const expected: string[][] = [[], []]
          const write = (size: number, i: number): void => {
            const values = Array.from({ length: size }, (_, j) => `${i}.${j}`)
            expected[i % 2]?.push(...values)
            store('t', values, i % 2)
          }
          for (const [i, size] of sizes.slice(0, early).entries()) write(size, i)
          let at = 0
          broker.deliverBytesMax = 100
          broker.plan = op => (op === 'unsubscribe' ? 'serve' : (plan[at++] ?? 'serve'))
          const seen: string[][] = [[], []]
          const total = sizes.reduce((sum, size) => sum + size, 0)
          let count = 0
          let started = false
          for await (const record of client.read('t', { from: 'beginning', maxBytes: 200 })) {
            expect(record.offset).toBe(seen[record.partition]?.length)
            seen[record.partition]?.push(record.value ?? '')
            if (!started) {
              started = true
              for (const [i, size] of sizes.entries()) if (i >= early) write(size, i)
            }
            if (++count === total) break
          }
          broker.plan = () => 'serve'
          expect(seen).toEqual(expected)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('holds no more than its window, however slow the caller', async () => {
    broker.log.create('t')
    for (let i = 0; i < 200; i++) store('t', ['x'.repeat(1000)])
    const batchBytes = encodeBatch([{ value: 'x'.repeat(1000) }], { now: 1 }).byteLength
    broker.deliverBytesMax = 3 * batchBytes
    let count = 0
    let waitingMax = 0
    const reader = client.read('t', { from: 'beginning', until: 'end', maxBytes: 10_000 })
    for await (const batch of reader.batches()) {
      // All that is under way has arrived when a later request is answered.
      await client.admin().ping()
      waitingMax = Math.max(waitingMax, broker.deliveredBytes - count * batchBytes)
      count += batch.records.length
    }
    expect(count).toBe(200)
    // One delivery may overdraw, and the one in hand is no longer waiting.
    expect(waitingMax).toBeLessThanOrEqual(10_000 + 2 * 3 * batchBytes)
    expect(waitingMax).toBeGreaterThan(5000)
  })

  it('keeps reading where the broker allows less credit than asked for', async () => {
    broker.creditBytesMax = 3000
    const client = await connect(broker.url)
    broker.log.create('t')
    for (let i = 0; i < 50; i++) store('t', ['x'.repeat(500)])
    broker.deliverBytesMax = 1000
    let count = 0
    const options = { from: 'beginning', until: 'end', maxBytes: 1 << 20 } as const
    for await (const _ of client.read('t', options)) count++
    expect(count).toBe(50)
    await client.close()
  })

  it('continues from a resume token in every partition', async () => {
    broker.log.create('a', 2)
    broker.log.create('b')
    store('a', ['1', '2'], 0)
    store('a', ['3', '4'], 1)
    store('b', ['5', '6'])
    const seen: string[] = []
    let token = ''
    for await (const record of client.read(['a', 'b'], { from: 'beginning' })) {
      seen.push(record.value ?? '')
      token = record.resumeToken
      if (seen.length === 3) break
    }
    for await (const record of client.read(['a', 'b'], { from: token, until: 'end' }))
      seen.push(record.value ?? '')
    expect(seen.toSorted()).toEqual(['1', '2', '3', '4', '5', '6'])
  })

  it('gives batches with their end and a token behind them', async () => {
    broker.log.create('t')
    store('t', ['a', 'b'])
    store('t', ['c'])
    for await (const batch of client.read('t', { from: 'beginning', until: 'end' }).batches()) {
      expect(batch).toMatchObject({ partition: 0, next: 3, end: 3 })
      expect(batch.records.map(record => record.value)).toEqual(['a', 'b', 'c'])
      expect(await readAll('t', { from: batch.resumeToken })).toEqual([])
    }
  })

  it('leaves no subscription behind after break, abort or close', async () => {
    broker.log.create('t')
    store('t', ['a'])
    for await (const _ of client.read('t', { from: 'beginning' })) break
    const abort = new AbortController()
    const reading = (async () => {
      for await (const _ of client.read('t', { signal: abort.signal })) expect.unreachable()
    })()
    const closing = client.read('t')
    await closing.opened()
    const next = closing[Symbol.asyncIterator]().next()
    await closing.close()
    expect(await next).toMatchObject({ done: true })
    abort.abort(new Error('enough'))
    await expect(reading).rejects.toThrow('enough')
    await client.admin().ping()
    expect(broker.count('unsubscribe')).toBe(broker.count('subscribe'))
  })

  it('is used once', async () => {
    broker.log.create('t')
    const reader = client.read('t', { until: 'end' })
    for await (const _ of reader) expect.unreachable()
    expect(() => reader[Symbol.asyncIterator]()).toThrowError(
      expect.objectContaining({ code: 'INVALID_REQUEST' }),
    )
  })

  it('ends with the reason when the broker ends the subscription', async () => {
    broker.log.create('t')
    const reader = client.read('t')
    await reader.opened()
    broker.push({
      op: 'end',
      sub: 1,
      error: { code: 'UNKNOWN_TOPIC', message: 'deleted', retriable: false, hint: '' },
    })
    await expect(reader[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'UNKNOWN_TOPIC',
    })
  })
})
