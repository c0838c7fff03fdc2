// What the SDK does when a broker asks it to wait: it waits, it says so, and it neither gives up nor hurries.

import { afterEach, describe, expect, it, vi } from 'vitest'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../broker/index.ts'
import { type ClientStatus, connect } from '../../client/index.ts'
import { RetryBudget, retryAfterOf } from '../../client/retry-budget.ts'
import { systemClock } from '../../client/clock.ts'
import { LogloomError } from '../../wire/index.ts'
import { RawClient } from '../gateway/raw-client.ts'
import { metric } from '../metrics-page.ts'

const started: RunningBroker[] = []

afterEach(async () => {
  await Promise.all(started.splice(0).map(broker => broker.close()))
})

async function start(options: StartBrokerOptions = {}): Promise<RunningBroker> {
  const broker = await startBroker({ loglet: 'memory', port: 0, ...options })
  started.push(broker)
  return broker
}

async function valuesIn(url: string, topic: string): Promise<string[]> {
  const client = await connect(url)
  const values: string[] = []
  for await (const { value } of client.read(topic, { from: 'beginning', until: 'end', as: 'text' }))
    values.push(value ?? '')
  await client.close()
  return values
}

describe('the pauses between retries', () => {
  const backoff = { baseMs: 50, maxMs: 2000 }
  const at = (random: number): RetryBudget =>
    new RetryBudget(backoff, { ...systemClock, random: () => random })

  it('are no shorter than the broker asks for, and spread over as much again', () => {
    expect(at(0).pauseMs(0, 800)).toBe(800)
    expect(at(0.5).pauseMs(0, 800)).toBe(1200)
    expect(at(0.5).pauseMs(0)).toBe(25)
  })

  it('are long ones once there were more than a tenth as many as successes', () => {
    const budget = at(0.5)
    const quick = (): number => {
      let count = 0
      while (budget.pauseMs(0) === 25) count++
      return count
    }
    expect(quick()).toBe(10)
    expect(budget.pauseMs(0)).toBe(1000)
    for (let i = 0; i < 31; i++) budget.succeeded()
    expect(quick()).toBe(3)
    for (let i = 0; i < 10_000; i++) budget.succeeded()
    expect(quick()).toBe(10)
  })

  it('believe no broker that asks for an hour', () => {
    const asks = (retryAfterMs: unknown): LogloomError =>
      new LogloomError('THROTTLED', 'no', { retryAfterMs })
    expect(retryAfterOf(asks(3_600_000))).toBe(60_000)
    expect(retryAfterOf(asks(-1))).toBe(0)
    expect(retryAfterOf(asks('soon'))).toBe(0)
    expect(retryAfterOf(undefined)).toBe(0)
  })
})

describe('a quota that is used up', () => {
  it('slows a producer down without an error or a new connection, and its status says so', async () => {
    const broker = await start({ quotaProducerByteRate: 20_000 })
    // Shorter than the broker will be silent.
    const client = await connect(broker.url, { brokerTimeoutMs: 200 })
    const seen: ClientStatus[] = []
    const watching = (async () => {
      for await (const status of client.status()) seen.push(status)
    })()
    const producer = client.producer({ lingerMs: 0, batchSize: 10_000 })
    const sent = Array.from({ length: 8 }, (_, i) => `${i}`.padEnd(9000, 'x'))
    await Promise.all(sent.map(value => producer.send('slow', { value }, { partition: 0 })))
    expect(await valuesIn(broker.url, 'slow')).toEqual(sent)
    await client.close()
    await watching
    const types = seen.map(({ type }) => type)
    expect(types).toContain('throttled')
    expect(types).not.toContain('recovering')
    const told = seen.find(status => status.type === 'throttled')
    expect(told).toMatchObject({ url: broker.url, throttleMs: expect.any(Number) })
  })
})

describe('a broker that refuses writes', () => {
  it('gets them again once it takes some, each once and in order', async () => {
    const broker = await start({ memoryBudgetBytes: 1 << 20, fetchBytesMax: 64 << 10 })
    const client = await connect(broker.url)
    const producer = client.producer({ lingerMs: 0, batchSize: 1 })
    await producer.send('t', { value: 'first' }, { partition: 0 })
    const holder = await RawClient.connect(broker.url)
    const padding = Buffer.alloc(900 << 10)
    holder
      .request('fetch', { topic: 't', partition: 0, from: 1, maxWaitMs: 60_000, padding })
      .catch(() => {})
    await vi.waitFor(async () =>
      expect(await metric(broker, 'logloom_held_bytes{kind="requests"}')).toBeGreaterThan(900_000),
    )
    const sent = Array.from({ length: 20 }, (_, i) => `v${i}`)
    const acks = Promise.all(sent.map(value => producer.send('t', { value }, { partition: 0 })))
    await vi.waitFor(async () =>
      expect(await metric(broker, 'logloom_shed_total{reason="memory"}')).toBeGreaterThan(1),
    )
    await holder.close()
    await acks
    expect(await valuesIn(broker.url, 't')).toEqual(['first', ...sent])
    await client.close()
  })
})

describe('a broker that lets nobody in for now', () => {
  it('says when to come back, and the client does', async () => {
    const broker = await start({ handshakesPerSecondMax: 2 })
    const clients = await Promise.all(Array.from({ length: 6 }, () => connect(broker.url)))
    const refused = await metric(broker, 'logloom_ws_rejected_total{reason="HANDSHAKE_RATE"}')
    expect(refused).toBeGreaterThan(0)
    await Promise.all(clients.map(client => client.close()))
  })
})
