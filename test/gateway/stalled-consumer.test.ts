// Peers that do not read: what the broker keeps for them stays bounded, and nothing is lost for those who come back.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Frame, handBatch, RawClient } from './raw-client.ts'
import { metric } from '../metrics-page.ts'
import { untilMetric } from './scrape.ts'

const outputBytesHigh = 64 * 1024
const kib = 1024
const mib = 1024 * kib
/** One push (docs/limits.md). */
const pushBytesMax = 256 * kib
const frameOverhead = 64 * kib

const nextOf = (pushes: readonly Frame[]): number => (pushes.at(-1)?.['next'] as number) ?? 0
const offsetsOf = (pushes: readonly Frame[]): number[] =>
  pushes.flatMap(push => (push['items'] as Frame[]).map(item => item['offset'] as number))

/** Fills a topic with batches of one record each, far beyond what sockets hold by themselves. */
async function fill(client: RawClient, topic: string, batches: number): Promise<void> {
  const value = 'x'.repeat(100 * kib)
  for (let i = 0; i < batches; i++)
    await client.call('produce', { topic, partition: 0, batch: handBatch([{ value }]) })
}

describe('a consumer that stops reading', () => {
  let broker: RunningBroker
  let producer: RawClient

  beforeEach(async () => {
    broker = await startBroker({
      loglet: 'memory',
      port: 0,
      slowConsumerMs: 1000,
      outputBytesHigh,
    })
    producer = await RawClient.connect(broker.url)
  })

  afterEach(async () => {
    await broker.close()
  })

  it('costs a bounded output, is closed with 3008, and resumes by offset without loss', async () => {
    const batches = 500
    await fill(producer, 'much', batches)
    const stalled = await RawClient.connect(broker.url)
    await stalled.call('subscribe', {
      topic: 'much',
      partition: 0,
      from: 'beginning',
      credit: 64 * mib,
    })
    stalled.ws.pause()
    let most = 0
    await untilMetric(broker, 'logloom_ws_buffered_bytes', bytes => bytes > outputBytesHigh)
    await expect
      .poll(
        async () => {
          most = Math.max(most, await metric(broker, 'logloom_ws_buffered_bytes'))
          return metric(broker, 'logloom_ws_closed_total{code="3008"}')
        },
        { interval: 5, timeout: 30_000 },
      )
      .toBe(1)
    expect(most).toBeLessThanOrEqual(outputBytesHigh + pushBytesMax + frameOverhead)
    // Pushing stopped long before the credit was used.
    const sent = await metric(broker, 'logloom_fetch_records_total{topic="much"}')
    expect(sent).toBeLessThan(batches)

    stalled.ws.resume()
    expect(await stalled.closed).toMatchObject({
      code: 3008,
      reason: expect.stringMatching(/slowConsumerMs/),
    })
    const offsets = offsetsOf(stalled.pushes)
    const reader = await RawClient.connect(broker.url)
    await reader.call('subscribe', {
      topic: 'much',
      partition: 0,
      from: nextOf(stalled.pushes),
      credit: 64 * mib,
    })
    offsets.push(...offsetsOf(await reader.untilPushed(all => nextOf(all) === batches)))
    expect(offsets).toEqual(Array.from({ length: batches }, (_, i) => i))
    await reader.close()
  })

  it('holds nobody else up', async () => {
    await fill(producer, 'shared', 300)
    const stalled = await RawClient.connect(broker.url)
    const place = { topic: 'shared', partition: 0, from: 'beginning', credit: 64 * mib }
    await stalled.call('subscribe', place)
    stalled.ws.pause()
    await untilMetric(broker, 'logloom_ws_buffered_bytes', bytes => bytes > outputBytesHigh)
    const reader = await RawClient.connect(broker.url)
    await reader.call('subscribe', place)
    await fill(producer, 'shared', 5)
    expect(offsetsOf(await reader.untilPushed(all => nextOf(all) === 305))).toHaveLength(305)
    stalled.ws.terminate()
    await reader.close()
  })

  it('that reads slowly is not closed', async () => {
    await fill(producer, 'slow', 400)
    const slow = await RawClient.connect(broker.url)
    await slow.call('subscribe', {
      topic: 'slow',
      partition: 0,
      from: 'beginning',
      credit: 64 * mib,
    })
    // Reads for one message at a time, whenever the broker has waited for it for a while.
    while (nextOf(slow.pushes) < 400) {
      const seen = slow.pushes.length
      slow.ws.pause()
      await metric(broker, 'logloom_ws_buffered_bytes')
      slow.ws.resume()
      await slow.untilPushed(all => all.length > seen)
    }
    expect(await metric(broker, 'logloom_ws_closed_total{code="3008"}')).toBe(0)
    await slow.close()
  })
})

describe('a producer that never reads its replies', () => {
  const requestsInFlightMax = 8
  const recordsPerRequest = 1000
  /** A reply names topic, partition and offset of each record. */
  const replyBytesMax = recordsPerRequest * 48
  let broker: RunningBroker

  beforeEach(async () => {
    broker = await startBroker({
      loglet: 'memory',
      port: 0,
      slowConsumerMs: 60_000,
      outputBytesHigh,
      requestsInFlightMax,
    })
  })

  afterEach(async () => {
    await broker.close()
  })

  it('is not read any more, and gets every reply once it reads', async () => {
    const client = await RawClient.connect(broker.url)
    const records = Array.from({ length: recordsPerRequest }, () => ({ topic: 'mute', value: 'v' }))
    client.ws.pause()
    const requests = 600
    const replies = Array.from({ length: requests }, () => client.request('publish', { records }))
    await untilMetric(broker, 'logloom_ws_paused_connections', n => n === 1)
    // Requests wait in the client now. What the broker holds for it does not grow.
    await untilMetric(broker, 'logloom_ws_buffered_bytes', bytes => bytes > outputBytesHigh)
    const handled = await metric(broker, 'logloom_requests_total{api="produce",code="ok"}')
    expect(handled).toBeLessThan(requests)
    for (let i = 0; i < 20; i++)
      expect(await metric(broker, 'logloom_ws_buffered_bytes')).toBeLessThanOrEqual(
        outputBytesHigh + requestsInFlightMax * replyBytesMax,
      )
    expect(client.ws.bufferedAmount).toBeGreaterThan(0)
    // Somebody else is served meanwhile.
    const other = await RawClient.connect(broker.url)
    await other.call('publish', { records: [{ topic: 'other', value: 'v' }] })
    await other.close()

    client.ws.resume()
    const answers = await Promise.all(replies)
    const offsets = answers.flatMap(answer => (answer['offsets'] as Frame[]).map(o => o['offset']))
    expect(new Set(offsets).size).toBe(requests * recordsPerRequest)
    await client.close()
  })
})
