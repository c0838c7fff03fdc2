// A server that does not keep to the credit it was given costs its connection, never the memory of whoever reads.

import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Connection } from '../../client/connection.ts'
import { gapsQueuedMax } from '../../client/credit-window.ts'
import { type ClientStatus, connect } from '../../client/index.ts'
import { openConnection } from '../../client/open-connection.ts'
import { PartitionFeed } from '../../client/partition-feed.ts'
import { encodeBatch } from '../../wire/index.ts'
import { FakeBroker } from './fake-broker.ts'

const windowBytes = 64 << 10
const options = { retryBackoffMs: 1, retryBackoffMaxMs: 5 }

let broker: FakeBroker
let connection: Connection
let feed: PartitionFeed
let offset = 0

beforeEach(async () => {
  offset = 0
  broker = await FakeBroker.start()
  broker.log.create('t')
  connection = await openConnection(broker.url, options)
})

afterEach(async () => {
  feed?.close()
  await connection.close()
  await broker.stop()
})

function open(): void {
  feed = new PartitionFeed(connection, {
    topic: 't',
    partition: 0,
    from: 'beginning',
    windowBytes,
    skipTrimmed: true,
    onRetry: () => {},
    onChange: () => {},
  })
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setImmediate(resolve))
}

/** A push of one batch; `claim` is what it says that it costs. */
function flood(bytes: number, claim = bytes): void {
  const items = [{ offset, lsn: 0, timestamp: 0, batch: new Uint8Array(bytes) }]
  broker.push({ op: 'deliver', sub: 1, items, next: ++offset, bytes: claim, end: offset })
}

/** Pushes until the connection is gone. @returns how many pushes were sent */
async function untilClosed(push: () => void, most = 100_000): Promise<number> {
  const { connections } = broker
  let sent = 0
  while (broker.connections === connections) {
    if (broker.peers > 0 && sent < most) {
      push()
      sent++
    }
    await new Promise(resolve => setImmediate(resolve))
  }
  return sent
}

const whyClosed = async (): Promise<string> => {
  await until(() => connection.lastError !== undefined)
  return connection.lastError?.message ?? ''
}

it('ends the connection of a server that pushes beyond its credit, with the reason', async () => {
  open()
  await until(() => feed.cursor !== undefined)
  await untilClosed(() => flood(8 << 10))
  expect(await whyClosed()).toMatch(
    /ended with 3000: the broker sent 8192 bytes of t\[0\] beyond the credit/,
  )
  expect(connection.lastError).toMatchObject({ code: 'CONNECTION_CLOSED' })
  expect(feed.queuedBytes).toBeGreaterThanOrEqual(windowBytes)
  expect(feed.queuedBytes).toBeLessThanOrEqual(windowBytes + (8 << 10))
})

it('does not queue more with each new connection', async () => {
  broker.log.partition('t', 0).end = 1_000_000
  open()
  for (let i = 0; i < 20; i++) {
    await until(() => broker.count('subscribe') > i)
    await untilClosed(() => flood(8 << 10))
  }
  expect(feed.queuedBytes).toBeLessThanOrEqual(windowBytes + (8 << 10))
})

it('counts batches that a push does not count', async () => {
  open()
  await until(() => feed.cursor !== undefined)
  await untilClosed(() => flood(64 << 10, 0))
  expect(await whyClosed()).toMatch(/a push of \d+ bytes that counts 64 in 1 items/)
  expect(feed.queuedBytes).toBe(0)
  await until(() => broker.count('subscribe') > 1)
  await untilClosed(() => flood(0))
  expect(await whyClosed()).toMatch(/beyond the credit/)
  expect(feed.queued).toBeLessThanOrEqual(windowBytes / 64)
})

it('bounds gaps, which cost no credit', async () => {
  open()
  await until(() => feed.cursor !== undefined)
  const gaps = (): void => {
    const items = Array.from({ length: 1000 }, () => ({ gap: 'lost', offset, next: ++offset }))
    broker.push({ op: 'deliver', sub: 1, items, next: offset, bytes: 0, end: offset })
  }
  await untilClosed(gaps)
  expect(await whyClosed()).toMatch(/gapsQueuedMax/)
  expect(feed.queued).toBeLessThanOrEqual(gapsQueuedMax / 1000)
})

it('bounds what comes ahead of the reply to a subscribe', async () => {
  broker.plan = op => (op === 'subscribe' ? 'silent' : 'serve')
  open()
  await until(() => broker.count('subscribe') > 0)
  const sent = await untilClosed(() => flood(256 << 10))
  expect(await whyClosed()).toMatch(/earlyBytesMax/)
  // 128 KiB and 4 MiB, and what was under way.
  expect(sent).toBeGreaterThan(16)
})

it('takes what it queued, and then reads on: no byte of the window is lost', async () => {
  const value = 'v'.repeat(1000)
  const batch = encodeBatch([{ value }], { now: 1 })
  const store = (): number => broker.log.append('t', 0, batch, 1, broker.log.nextLsn()).offset
  for (let i = 0; i < 700; i++) store()
  broker.deliverBytesMax = 4 << 10
  open()
  let taken = 0
  for (let round = 0; round < 5; round++) {
    // The window is full: the next connection begins without credit.
    await until(() => feed.queuedBytes >= windowBytes)
    const { connections } = broker
    broker.disconnect()
    await until(() => broker.connections > connections)
    // Emptied before the reply to the new subscribe, then behind it.
    if (round % 2 === 0) await until(() => broker.count('subscribe') > round + 1)
    for (let next = feed.take(); next !== undefined; next = feed.take()) taken += next.items.length
  }
  await until(() => {
    for (let next = feed.take(); next !== undefined; next = feed.take()) taken += next.items.length
    return taken === 700
  })
})

it('is told to the application by the status, and the reader goes on with the next server', async () => {
  const client = await connect(broker.url, options)
  const seen: ClientStatus[] = []
  const watch = (async () => {
    for await (const status of client.status()) seen.push(status)
  })()
  broker.log.append('t', 0, encodeBatch([{ value: 'a' }], { now: 1 }), 1, broker.log.nextLsn())
  const values: (string | null)[] = []
  for await (const { value } of client.read('t', { from: 'beginning', as: 'text' })) {
    values.push(value)
    if (values.length === 2) break
    // Held here while the server floods.
    offset = 1
    const items = [{ gap: 'lost', offset: 1, next: 2, junk: new Uint8Array(1 << 20) }]
    broker.push({ op: 'deliver', sub: 1, items, next: 2, bytes: 0, end: 2 })
    await until(() => seen.some(({ type }) => type === 'recovering'))
    broker.log.append('t', 0, encodeBatch([{ value: 'b' }], { now: 1 }), 1, broker.log.nextLsn())
  }
  expect(values).toEqual(['a', 'b'])
  expect(seen.find(({ type }) => type === 'recovering')).toMatchObject({
    error: { code: 'CONNECTION_CLOSED', message: expect.stringContaining('counts 0 in 1 items') },
  })
  await client.close({ timeoutMs: 100 })
  await watch
})
