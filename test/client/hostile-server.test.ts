// A server that sends what no broker sends: it loses the connection, the application reads on, and nothing is thrown where nobody catches it.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deliveredOf, epochsOf, partitionCount, refusedOf } from '../../client/checked.ts'
import { type Client, connect } from '../../client/index.ts'
import { encodeBatch } from '../../wire/index.ts'
import { FakeBroker } from './fake-broker.ts'

let broker: FakeBroker
let client: Client

beforeEach(async () => {
  broker = await FakeBroker.start()
  broker.log.create('t')
  client = await connect(broker.url, { retryBackoffMs: 1, retryBackoffMaxMs: 5 })
})
afterEach(async () => {
  await client.close({ timeoutMs: 100 })
  await broker.stop()
})

function store(value: string): void {
  broker.log.append('t', 0, encodeBatch([{ value }], { now: 1 }), 1, broker.log.nextLsn())
}

const items = [{ offset: 1, batch: new Uint8Array(4) }]
const whole = { op: 'deliver', sub: 1, items, next: 2, bytes: 4, end: 2 }

describe('a malformed push', () => {
  it.each([
    { ...whole, items: 7 },
    { op: 'deliver', sub: 1 },
    { ...whole, items: [null] },
    { ...whole, items: [{ offset: 1 }] },
    { ...whole, items: [{ offset: { valueOf: 1, toString: 1 }, batch: new Uint8Array() }] },
    { ...whole, items: [...items, ...items] },
    { ...whole, next: 1 },
    { ...whole, next: 0.5 },
    { ...whole, bytes: -1 },
    { ...whole, sub: { valueOf: 1, toString: 1 } },
    { ...whole, items: [], partitions: 2 ** 40 },
    { op: 'end', sub: 1 },
    { op: 'end', sub: 1, error: { code: 7 } },
    { op: 'assignment', group: 'g', memberId: 'm', assigned: 7 },
    { op: 'assignment', group: 'g', memberId: 'm', assigned: [{ topic: {} }] },
    { op: 'assignment', group: 'g', memberId: 'm', error: 'no' },
  ])('ends the connection, and the reader goes on: %j', async frame => {
    store('a')
    const values: (string | null)[] = []
    for await (const { value } of client.read('t', { from: 'beginning', as: 'text' })) {
      values.push(value)
      if (values.length === 2) break
      const connections = broker.connections
      broker.push(frame)
      while (broker.connections === connections) await new Promise(resolve => setImmediate(resolve))
      store('b')
    }
    expect(values).toEqual(['a', 'b'])
  })

  it('of a kind that is not known is passed over', async () => {
    const { connections } = broker
    broker.push({ op: 'news', sub: 1, items: 7 })
    await client.snapshot().catch(() => {})
    expect(broker.connections).toBe(connections)
  })
})

it('a reader ends with its connection, also when all that is queued waits for records that never come', async () => {
  // The broker says that partition 1 was added when 0 had ten records, and then leaves out the last nine of them without a gap.
  const topic = broker.log.create('grown', 2)
  topic.epochs = [
    { partitions: 1, lsn: 0, ends: [] },
    { partitions: 2, lsn: 5, ends: [10] },
  ]
  const put = (partition: number, end: number): void => {
    const batch = encodeBatch([{ value: `${partition}` }], { now: 1 })
    broker.log.partition('grown', partition).end = end
    broker.log.append('grown', partition, batch, 1, broker.log.nextLsn())
  }
  put(0, 0)
  const values: (string | null)[] = []
  const read = async (): Promise<void> => {
    for await (const { value } of client.read('grown', { from: 'beginning', as: 'text' })) {
      values.push(value)
      put(0, 20)
      put(1, 0)
    }
  }
  const done = expect(read()).rejects.toMatchObject({ code: 'AUTHORIZATION_FAILED' })
  const queuedAt = 3 * encodeBatch([{ value: '0' }], { now: 1 }).length
  while (broker.deliveredBytes < queuedAt) await new Promise(resolve => setImmediate(resolve))
  // What is under way has come when this is answered.
  await client.admin().describeTopic('grown')
  broker.disconnect(1008, 'AUTHORIZATION_FAILED')
  await done
  expect(values).toEqual(['0'])
})

it.each([{ producerId: 1, producerEpoch: 2 ** 53 - 1 }, { producerId: -1, producerEpoch: 0 }, {}])(
  'a producer id that is none costs its sends, not the process: %j',
  async reply => {
    broker.log.newProducer = () => reply
    const producer = client.producer({ lingerMs: 0, deliveryTimeoutMs: 100 })
    await expect(producer.send('t', { value: 'v' })).rejects.toMatchObject({
      code: 'TIMEOUT',
      details: { outcome: 'not-written' },
      cause: { code: 'BAD_FRAME' },
    })
    await producer.close({ timeoutMs: 0 })
  },
)

describe('what a member of a share group is given', () => {
  const row = { topic: 't', partition: 0, acquired: [[0, 2, 1]], items: [] }
  const refused = expect.objectContaining({ code: 'BAD_FRAME' }) as Error

  it.each([
    { records: 7 },
    { records: [null] },
    { records: [{ ...row, topic: {} }] },
    { records: [{ ...row, partition: -1 }] },
    { records: [{ ...row, items: [{ offset: 0, batch: 'x' }] }] },
    { records: [{ ...row, acquired: 7 }] },
    { records: [{ ...row, acquired: [[0, 2]] }] },
    { records: [{ ...row, acquired: [[0, 0, 1]] }] },
    { records: [{ ...row, acquired: [[0, { valueOf: 1 }, 1]] }] },
    { records: [{ ...row, acquired: [[0, 2 ** 53 - 1, 1]] }] },
    { records: [row, { ...row, acquired: Array.from({ length: 9 }, (_, i) => [i, 1, 1]) }] },
    { records: [], waitedMs: 'x' },
  ])('is no more than it asked for: %j', reply => {
    expect(() => deliveredOf({ waitedMs: 0, ...reply }, 10)).toThrowError(refused)
  })

  it('is taken when it is as asked for', () => {
    expect(deliveredOf({ waitedMs: 0, records: [row, row] }, 4)).toEqual([row, row])
  })

  it.each([
    { refused: 7 },
    { refused: [{ topic: 't', partition: 0, offset: 0 }] },
    { refused: [{ topic: 't', partition: 0, offset: 0, count: 2 ** 53 - 1 }] },
    {
      refused: Array.from({ length: 3 }, () => ({ topic: 't', partition: 0, offset: 0, count: 1 })),
    },
  ])('is refused for no more than it said: %j', reply => {
    expect(() => refusedOf(reply, 2)).toThrowError(refused)
  })
})

describe('the partitions of a topic', () => {
  const refused = expect.objectContaining({ code: 'BAD_FRAME' }) as Error

  it.each([0, -1, 1.5, 200_001, 2 ** 53, 'many', null, undefined, [], {}])('are not %j', given => {
    expect(() => partitionCount({ partitions: given })).toThrowError(refused)
    const epochs = [{ partitions: given, lsn: 0, ends: [] }]
    expect(() => epochsOf({ epochs })).toThrowError(refused)
  })

  it('are a count, or are listed', () => {
    expect(partitionCount({ partitions: 3 })).toBe(3)
    expect(partitionCount({ partitions: [{}, {}] })).toBe(2)
    expect(epochsOf({})).toBeUndefined()
  })
})
