// Memory and start-up bounds, by the process's own numbers in /proc. Usage: node bounded.js memory [GB=10] | restart [BATCHES=1000000] | idle [SUBSCRIBERS=5000]

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { connect } from '../../client/index.ts'
import { encodeBatch, openSocket, packFrame, RequestChannel } from '../../wire/index.ts'
import { startBrokerProcess, withDirectory } from './broker-process.ts'

interface Memory {
  readonly rssAnonMb: number
  readonly rssMb: number
}

export async function memoryOf(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const kb = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? Number.NaN)
  return { rssAnonMb: kb('RssAnon') / 1024, rssMb: kb('VmRSS') / 1024 }
}

export interface MemoryReport {
  readonly gigabytes: number
  readonly topics: number
  readonly partitions: number
  readonly seconds: number
  readonly megabytesPerSecond: number
  readonly rssAnonMaxMb: number
  readonly rssMaxMb: number
  readonly slowConsumerRecords: number
}

/** `gigabytes` of 1 KB records through 1,000 topics × 4 partitions, with one consumer that reads slowly from the beginning. */
export function memoryUnderLoad(
  gigabytes: number,
  topics = 1000,
  partitions = 4,
): Promise<MemoryReport> {
  return withDirectory(async directory => {
    const broker = await startBrokerProcess({ data: join(directory, 'data') })
    const client = await connect(broker.url)
    const admin = client.admin()
    for (let t = 0; t < topics; t++) await admin.createTopic({ topic: `load-${t}`, partitions })
    const slow = new AbortController()
    let slowConsumerRecords = 0
    const consuming = (async () => {
      const reader = await connect(broker.url)
      try {
        for await (const record of reader.read('load-0', {
          from: 'beginning',
          signal: slow.signal,
        })) {
          slowConsumerRecords += record === undefined ? 0 : 1
          await new Promise(resolve => setTimeout(resolve, 20))
        }
      } catch (error) {
        if (!slow.signal.aborted) throw error
      } finally {
        await reader.close()
      }
    })()
    const channel = new RequestChannel(await openSocket(broker.url))
    await channel.request('hello', { protocol: 1, client: 'bounded' })
    const batch = encodeBatch(
      Array.from({ length: 63 }, () => ({ value: 'x'.repeat(1024) })),
      { now: Date.now() },
    )
    const total = Math.ceil((gigabytes * 1e9) / batch.length)
    let rssAnonMaxMb = 0
    let rssMaxMb = 0
    const sampler = setInterval(() => {
      void memoryOf(broker.pid).then(m => {
        rssAnonMaxMb = Math.max(rssAnonMaxMb, m.rssAnonMb)
        rssMaxMb = Math.max(rssMaxMb, m.rssMb)
      })
    }, 100)
    const started = performance.now()
    let next = 0
    const lane = async (): Promise<void> => {
      for (let n = next++; n < total; n = next++)
        await channel.request('produce', {
          topic: `load-${n % topics}`,
          partition: Math.floor(n / topics) % partitions,
          batch,
        })
    }
    await Promise.all(Array.from({ length: 16 }, lane))
    const seconds = (performance.now() - started) / 1000
    clearInterval(sampler)
    slow.abort()
    await consuming
    channel.close()
    await client.close()
    await broker.kill('SIGTERM')
    return {
      gigabytes: (total * batch.length) / 1e9,
      topics,
      partitions,
      seconds,
      megabytesPerSecond: (total * batch.length) / 1e6 / seconds,
      rssAnonMaxMb,
      rssMaxMb,
      slowConsumerRecords,
    }
  })
}

export interface RestartReport {
  readonly batches: number
  readonly afterStopMs: number
  readonly afterKillMs: number
}

/** Time to ready with `batches` batches in the log, after a graceful stop and after kill -9. */
export function restartTime(batches: number): Promise<RestartReport> {
  return withDirectory(async directory => {
    const data = join(directory, 'data')
    const broker = await startBrokerProcess({ data })
    const fill = async (url: string, count: number): Promise<void> => {
      const channel = new RequestChannel(await openSocket(url))
      await channel.request('hello', { protocol: 1, client: 'restart' })
      const batch = encodeBatch([{ value: 'a small record' }], { now: Date.now() })
      const frames = Array.from({ length: 64 }, (_, p) => ({
        topic: `restart-${p % 16}`,
        partition: 0,
        batch,
      }))
      let next = 0
      const lane = async (): Promise<void> => {
        for (let n = next++; n < count; n = next++) await channel.request('produce', frames[n % 64])
      }
      await Promise.all(Array.from({ length: 512 }, lane))
      channel.close()
    }
    await fill(broker.url, batches)
    await broker.kill('SIGTERM')
    const timed = async (): Promise<{
      ms: number
      broker: Awaited<ReturnType<typeof startBrokerProcess>>
    }> => {
      const started = performance.now()
      const next = await startBrokerProcess({ data })
      return { ms: performance.now() - started, broker: next }
    }
    const afterStop = await timed()
    await fill(afterStop.broker.url, Math.min(batches, 50_000))
    await afterStop.broker.kill('SIGKILL')
    const afterKill = await timed()
    await afterKill.broker.kill('SIGTERM')
    return { batches, afterStopMs: afterStop.ms, afterKillMs: afterKill.ms }
  })
}

export interface IdleReport {
  readonly subscribers: number
  readonly rssAnonKbEach: number
  readonly rssKbEach: number
}

/** Memory per idle subscriber, each with a connection of its own. */
export function idleSubscribers(subscribers: number): Promise<IdleReport> {
  return withDirectory(async directory => {
    const broker = await startBrokerProcess({ data: join(directory, 'data') })
    const client = await connect(broker.url)
    await client.producer().send('idle', { value: 'x' }, { partition: 0 })
    const settle = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 2000))
    const open = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const socket = await openSocket(broker.url)
        socket.onMessage = () => {}
        socket.send(packFrame({ op: 'hello', id: 1, protocol: 1, client: 'idle' }))
        socket.send(
          packFrame({
            op: 'subscribe',
            id: 2,
            topic: 'idle',
            partition: 0,
            from: 'end',
            credit: 65536,
          }),
        )
      }
      await settle()
    }
    // The first connections pay for code and pools, not for themselves.
    await open(Math.ceil(subscribers / 10))
    const before = await memoryOf(broker.pid)
    await open(subscribers)
    const after = await memoryOf(broker.pid)
    await client.close()
    await broker.kill('SIGKILL')
    return {
      subscribers,
      rssAnonKbEach: ((after.rssAnonMb - before.rssAnonMb) * 1024) / subscribers,
      rssKbEach: ((after.rssMb - before.rssMb) * 1024) / subscribers,
    }
  })
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [what, amount] = process.argv.slice(2)
  const n = amount === undefined ? undefined : Number(amount)
  if (what === 'memory') console.log(await memoryUnderLoad(n ?? 10))
  else if (what === 'restart') console.log(await restartTime(n ?? 1_000_000))
  else if (what === 'idle') console.log(await idleSubscribers(n ?? 5000))
  else console.error('usage: bounded memory [GB] | restart [BATCHES] | idle [SUBSCRIBERS]')
  process.exit()
}
