// Row 21: sockets that say nothing, or too little, or too slowly, while others connect and mean well.
//
//   silent      TCP, and not a byte                        half-open    thousands of them at once
//   slowloris   HTTP headers, a line at a time             mute         an upgrade, and no hello
//   fragment    a hello that never ends

import { connect as tcpConnect, type Socket } from 'node:net'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import { startBrokerProcess, withDirectory } from '../acceptance/broker-process.ts'
import { memoryOf } from '../acceptance/bounded.ts'
import { latencyOf, openChannel } from '../acceptance/measure.ts'
import { scrape, valueOf } from '../metrics-page.ts'
import { type Suite, suiteMain } from './suite.ts'

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
/** The demand, and what timers and a busy machine add. */
const cutMsMax = 5000
const graceMs = { short: 3000, long: 1000 }

/** A request line, then one header after the other. */
const slowly = (socket: Socket): void => {
  socket.write(socket.bytesWritten === 0 ? 'GET / HTTP/1.1\r\n' : 'x-h: y\r\n')
}

/** When a socket was opened, and how long it lived. */
interface Life {
  readonly kind: string
  readonly opened: number
  readonly ms: Promise<number>
  destroy(): void
}

function tcp(kind: string, port: number, drip?: (socket: Socket) => void): Life {
  let opened = performance.now()
  const socket = tcpConnect(port, '127.0.0.1', () => {
    opened = performance.now()
  })
  socket.on('error', () => {})
  socket.resume()
  const timer = setInterval(() => drip?.(socket), 400)
  if (drip === undefined) clearInterval(timer)
  const ms = new Promise<number>(resolve =>
    socket.on('close', () => {
      clearInterval(timer)
      resolve(performance.now() - opened)
    }),
  )
  return { kind, opened, ms, destroy: () => socket.destroy() }
}

function upgraded(kind: string, url: string, first?: (socket: WebSocket) => void): Life {
  const opened = performance.now()
  const socket = new WebSocket(url, { perMessageDeflate: false })
  socket.on('error', () => {})
  socket.on('open', () => first?.(socket))
  const ms = new Promise<number>(resolve =>
    socket.on('close', () => resolve(performance.now() - opened)),
  )
  return { kind, opened, ms, destroy: () => socket.terminate() }
}

export const run: Suite = ({ form }) =>
  withDirectory(async directory => {
    const begun = performance.now()
    const each = form === 'short' ? 20 : 200
    const halfOpen = form === 'short' ? 3000 : 10_000
    const broker = await startBrokerProcess({ data: join(directory, 'data') })
    const port = Number(new URL(broker.url.replace('ws', 'http')).port)
    const before = await memoryOf(broker.pid)
    /** Who means well: connects, says hello, asks something, goes. */
    const connecting = async (over: AbortSignal): Promise<number[]> => {
      const took: number[] = []
      while (!over.aborted) {
        const from = performance.now()
        const channel = await openChannel(broker.url)
        await channel.request('ping')
        took.push(performance.now() - from)
        channel.close()
        await sleep(20)
      }
      return took
    }
    const limit = cutMsMax + graceMs[form]
    const lived: { readonly kind: string; readonly ms: number }[] = []
    const untilCut = async (lives: readonly Life[]): Promise<void> => {
      const waits = lives.map(async ({ kind, opened, ms }) => {
        const leftMs = Math.max(0, opened + 2 * limit - performance.now())
        return { kind, ms: await Promise.race([ms, sleep(leftMs).then(() => 2 * limit)]) }
      })
      lived.push(...(await Promise.all(waits)))
      for (const life of lives) life.destroy()
    }
    const usual = latencyOf(await connecting(AbortSignal.timeout(2000)))
    const over = new AbortController()
    const legit = connecting(over.signal)
    // So few that none has to make room for another.
    await untilCut(
      Array.from({ length: each }, () => [
        tcp('silent', port),
        tcp('slowloris', port, slowly),
        upgraded('mute', broker.url),
        upgraded('fragment', broker.url, socket => socket.send(Buffer.alloc(10), { fin: false })),
      ]).flat(),
    )
    const flood: Life[] = []
    let most = 0
    for (let i = 0; i < halfOpen; i++) {
      flood.push(tcp('half-open', port))
      if (i % 250 > 0) continue
      most = Math.max(most, valueOf(await scrape(broker), 'logloom_ws_strangers'))
    }
    const during = await memoryOf(broker.pid)
    await untilCut(flood)
    over.abort()
    const attacked = latencyOf(await legit)
    const page = await scrape(broker)
    const exit = await broker.kill('SIGTERM')
    const longest = (kind: string): number =>
      Math.round(Math.max(...lived.filter(life => life.kind === kind).map(({ ms }) => ms)))
    const late = lived.filter(({ ms }) => ms > limit)
    const counts = {
      attempted: lived.length,
      slow: 4 * each,
      halfOpen,
      cutInTime: lived.length - late.length,
      cutLate: late.length,
      madeRoom: valueOf(page, 'logloom_ws_rejected_total{reason="STRANGER_LIMIT"}'),
      strangersMost: most,
      legitConnects: attacked.requests,
    }
    const figures = {
      silentMs: longest('silent'),
      slowlorisMs: longest('slowloris'),
      muteMs: longest('mute'),
      fragmentMs: longest('fragment'),
      halfOpenMs: longest('half-open'),
      legitP99UsualMs: usual.p99Ms,
      legitP99Ms: attacked.p99Ms,
      legitMaxMs: attacked.maxMs,
      rssGrowthMiB: Math.round(during.rssMb - before.rssMb),
    }
    const wrong = [
      late.length > 0 && `${late.length} sockets lived longer than ${limit} ms`,
      attacked.requests === 0 && 'nobody could connect',
      form === 'long' && attacked.p99Ms > 1000 && `connecting took ${attacked.p99Ms} ms at p99`,
      exit !== 0 && `exit code ${exit}`,
    ].filter(Boolean)
    return {
      row: 21,
      name: 'idle-sockets',
      command: `node dist/test/reliability/idle-sockets.js${form === 'short' ? ' --short' : ''}`,
      seconds: Math.round((performance.now() - begun) / 1000),
      counts,
      figures,
      passed: wrong.length === 0,
      ...(wrong.length === 0 ? {} : { notes: wrong.join('; ') }),
    }
  })

await suiteMain(import.meta.url, run)
