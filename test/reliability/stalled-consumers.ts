// Row 17: consumers that stop reading while a producer writes at full speed. The same load is measured first without them.

import { join } from 'node:path'
import { WebSocket } from 'ws'
import { connect } from '../../client/index.ts'
import { packFrame } from '../../wire/index.ts'
import { startBrokerProcess, withDirectory } from '../acceptance/broker-process.ts'
import { memoryOf } from '../acceptance/bounded.ts'
import { latencyOf, openChannel } from '../acceptance/measure.ts'
import { metric } from '../metrics-page.ts'
import { type Suite, suiteMain } from './suite.ts'

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** A consumer that subscribes and never reads again. */
function stall(url: string): Promise<{ readonly closed: Promise<number>; resume(): void }> {
  const socket = new WebSocket(url, { perMessageDeflate: false })
  const closed = new Promise<number>(resolve => socket.on('close', code => resolve(code)))
  return new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('open', () => {
      socket.send(packFrame({ op: 'hello', id: 1, protocol: 1, client: 'stalled' }))
      const place = { topic: 'busy', partition: 0, from: 'end', credit: 64 << 20 }
      socket.send(packFrame({ op: 'subscribe', id: 2, ...place }))
    })
    let replies = 0
    socket.on('message', () => {
      if (++replies !== 2) return
      socket.pause()
      resolve({ closed, resume: () => socket.resume() })
    })
  })
}

/** Numbers of records that were acked and not read. */
function missingOf(numbers: readonly number[], offsets: readonly (number | undefined)[]): number[] {
  const there = new Set(numbers)
  return offsets.flatMap((offset, number) =>
    offset === undefined || there.has(number) ? [] : [number],
  )
}

/** The first of them with the offsets that their acks named, and the last offset of all. */
function told(missing: readonly number[], offsets: readonly (number | undefined)[]): string {
  const some = missing.slice(0, 10).map(number => `${number} at ${offsets[number]}`)
  return [...some, `last offset ${offsets.reduce((a = 0, b = 0) => Math.max(a, b), 0)}`].join(', ')
}

export const run: Suite = ({ form, seconds = form === 'short' ? 4 : 30 }) =>
  withDirectory(async directory => {
    const begun = performance.now()
    const count = form === 'short' ? 200 : 1000
    const slowMs = form === 'short' ? 2000 : 10_000
    const broker = await startBrokerProcess({
      data: join(directory, 'data'),
      args: ['--slow-consumer-ms', String(slowMs)],
    })
    const client = await connect(broker.url)
    await client.admin().createTopic({ topic: 'busy' })
    await client.admin().createTopic({ topic: 'others' })
    const end = new AbortController()
    let acked = 0
    let read = 0
    // At full speed: as much as the producer takes.
    const producer = client.producer({ maxInflightBytes: 4 << 20 })
    /** Where each record was put, by its number. */
    const offsets: (number | undefined)[] = []
    const writing = (async () => {
      const padding = 'x'.repeat(1024 - 10)
      let sent = 0
      while (!end.signal.aborted) {
        await producer.ready()
        for (let i = 0; i < 50; i++) {
          const number = sent++
          const value = String(number).padStart(10, '0') + padding
          void producer.send('busy', { value }).then(({ offset }) => {
            offsets[number] = offset
            acked++
          })
        }
      }
      await producer.flush()
    })()
    const reader = await connect(broker.url)
    const reading = (async () => {
      try {
        for await (const record of reader.read('busy', { from: 'beginning', signal: end.signal }))
          read += record === undefined ? 0 : 1
      } catch (error) {
        if (!end.signal.aborted) throw error
      }
    })()
    /** What somebody else's small requests take. */
    const channel = await openChannel(broker.url)
    const others = async (ms: number): Promise<number[]> => {
      const latencies: number[] = []
      for (const until = performance.now() + ms; performance.now() < until; await sleep(5)) {
        const sent = performance.now()
        await channel.request('publish', { records: [{ topic: 'others', value: 'v' }] })
        latencies.push(performance.now() - sent)
      }
      return latencies
    }
    await others(2000)
    const without = latencyOf(await others(seconds * 1000))
    const before = await memoryOf(broker.pid)
    let rssMb = before.rssMb
    const sampler = setInterval(() => {
      void memoryOf(broker.pid).then(m => {
        rssMb = Math.max(rssMb, m.rssMb)
      })
    }, 200)
    const stalled = []
    for (let i = 0; i < count; i += 50)
      stalled.push(...(await Promise.all(Array.from({ length: 50 }, () => stall(broker.url)))))
    const stalledAt = performance.now()
    const cut = async (): Promise<number> => metric(broker, 'logloom_ws_closed_total{code="3008"}')
    let closedAfterSeconds = Number.NaN
    const closing = (async () => {
      while (performance.now() - stalledAt < slowMs + 30_000) {
        if ((await cut()) === count) {
          closedAfterSeconds = (performance.now() - stalledAt) / 1000
          return
        }
        await sleep(250)
      }
    })()
    const during = latencyOf(await others(Math.max(seconds * 1000, slowMs)))
    await closing
    clearInterval(sampler)
    const closed = await cut()
    for (const each of stalled) each.resume()
    await Promise.all(stalled.map(each => each.closed))
    end.abort()
    await Promise.all([writing, reading])
    const rereader = await connect(broker.url)
    const reread = async (): Promise<readonly number[]> => {
      const numbers: number[] = []
      for await (const { value } of rereader.read('busy', { from: 'beginning', until: 'end' }))
        numbers.push(Number(String(value).slice(0, 10)))
      return numbers
    }
    const numbers = await reread()
    const found = numbers.length
    const missing = missingOf(numbers, offsets)
    // Whether they are gone, or were only not shown.
    const missingStill = missing.length === 0 ? missing : missingOf(await reread(), offsets)
    channel.close()
    await Promise.all([client.close(), reader.close(), rereader.close()])
    const exit = await broker.kill('SIGTERM')
    const ratio = Number((during.p99Ms / without.p99Ms).toFixed(2))
    const counts = {
      stalled: count,
      closedWith3008: closed,
      acked,
      read,
      lost: Math.max(0, acked - found),
      duplicate: Math.max(0, found - acked),
      othersRequests: without.requests + during.requests,
    }
    const figures = {
      closedAfterSeconds: Number(closedAfterSeconds.toFixed(1)),
      rssBeforeMiB: Math.round(before.rssMb),
      rssGrowthMiB: Math.round(rssMb - before.rssMb),
      othersP99Ms: without.p99Ms,
      othersP99StalledMs: during.p99Ms,
      othersP99Ratio: ratio,
    }
    const wrong = [
      closed !== count && `${count - closed} of ${count} were not closed with 3008`,
      form === 'long' && !(closedAfterSeconds <= 15) && `closed after ${closedAfterSeconds} s`,
      counts.lost + counts.duplicate > 0 &&
        `${acked} were acked, ${found} are there; missing ${missing.length} (${told(missing, offsets)}), at a second look ${missingStill.length}`,
      figures.rssGrowthMiB > 512 && `memory grew by ${figures.rssGrowthMiB} MiB`,
      // A few seconds on a machine with other work say little about the slowest hundredth.
      ratio > (form === 'short' ? 25 : 2) && `others' p99 is ${ratio} times as long`,
      exit !== 0 && `exit code ${exit}`,
    ].filter(Boolean)
    return {
      row: 17,
      name: 'stalled-consumers',
      command: `node dist/test/reliability/stalled-consumers.js${form === 'short' ? ' --short' : ''} --seconds ${seconds}`,
      seconds: Math.round((performance.now() - begun) / 1000),
      counts,
      figures,
      passed: wrong.length === 0,
      ...(wrong.length === 0 ? {} : { notes: wrong.join('; ') }),
    }
  })

await suiteMain(import.meta.url, run)
