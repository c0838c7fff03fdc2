// The raw limits: what the disk syncs and what a WebSocket carries, without any broker.

import { closeSync, fdatasync, openSync, write } from 'node:fs'
import { join } from 'node:path'
import { alternate, type BenchContext } from '../context.ts'
import { scriptOf, startProcess } from '../processes.ts'
import { bytesText, number, spread, table } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { runLoad } from '../speed/options.ts'
import { quantileOf, type Spread, spreadOf } from '../stats.ts'

interface Params {
  readonly rounds: number
  /** Of each measurement. */
  readonly seconds: number
}

interface DiskRow {
  readonly bytes: number
  /** Files that are written and synced at the same time. */
  readonly depth: number
  readonly mb: Spread
  readonly p50: Spread
  readonly p99: Spread
}

interface SocketRow {
  readonly bytes: number
  readonly inFlight: number
  readonly mb: Spread
  readonly messages: Spread
  readonly p50: Spread
  readonly p99: Spread
}

interface Result {
  readonly disk: readonly DiskRow[]
  readonly socket: readonly SocketRow[]
}

const diskSides = [
  { bytes: 4096, depth: 1 },
  { bytes: 65_536, depth: 1 },
  { bytes: 1 << 20, depth: 1 },
  { bytes: 4096, depth: 4 },
  { bytes: 65_536, depth: 4 },
  { bytes: 1 << 20, depth: 4 },
] as const
const socketSides = [
  { bytes: 1024, inFlight: 1 },
  { bytes: 1024, inFlight: 64 },
  { bytes: 65_536, inFlight: 8 },
] as const

export const hardware = scenario<Params, Result>({
  name: 'limits-hardware',
  group: 'limits',
  title: 'Disk and socket',
  shows: 'What a durable broker in Node cannot be faster than on this machine.',
  params: {
    tiny: { rounds: 1, seconds: 0.05 },
    short: { rounds: 5, seconds: 0.4 },
    full: { rounds: 15, seconds: 3 },
  },
  seconds: p => 1 + p.rounds * (6 * p.seconds + 3 * (p.seconds + 0.25)),
  run: async (p, context) => {
    const disk = await alternate(context, p.rounds, diskSides, ({ bytes, depth }) =>
      syncLoop(context, bytes, depth, p.seconds),
    )
    const echo = startProcess(scriptOf('limits/echo-server.js'), [])
    context.defer(() => echo.stop())
    const url = await echo.line()
    const socket = await alternate(context, p.rounds, socketSides, ({ bytes, inFlight }) =>
      runLoad({
        url,
        inFlight,
        seconds: p.seconds,
        hello: false,
        topic: 'bench',
        recordBytes: bytes - 72,
        batchBytes: bytes,
      }),
    )
    return {
      disk: diskSides.map((side, i) => {
        const of = disk[i] ?? []
        return {
          ...side,
          mb: spreadOf(of.map(m => m.mb)),
          p50: spreadOf(of.map(m => m.p50)),
          p99: spreadOf(of.map(m => m.p99)),
        }
      }),
      socket: socketSides.map((side, i) => {
        const of = socket[i] ?? []
        return {
          ...side,
          mb: spreadOf(of.map(m => (m.batches * side.bytes) / 1e6 / m.seconds)),
          messages: spreadOf(of.map(m => m.batches / m.seconds)),
          p50: spreadOf(of.map(m => m.p50)),
          p99: spreadOf(of.map(m => m.p99)),
        }
      }),
    }
  },
  section,
})

interface Loop {
  readonly mb: number
  readonly p50: number
  readonly p99: number
}

/** Appends and syncs, again and again, to `depth` files at once. */
export async function syncLoop(
  context: BenchContext,
  bytes: number,
  depth: number,
  seconds: number,
): Promise<Loop> {
  const directory = context.directory('sync')
  const buffer = Buffer.alloc(bytes, 'x')
  const latencies: number[] = []
  const begun = performance.now()
  const end = begun + seconds * 1000
  const lane = async (i: number): Promise<void> => {
    const fd = openSync(join(directory, String(i)), 'w')
    for (let at = 0; performance.now() < end; at += bytes) {
      const start = performance.now()
      await call(done => write(fd, buffer, 0, bytes, at, done))
      await call(done => fdatasync(fd, done))
      latencies.push(performance.now() - start)
    }
    closeSync(fd)
  }
  await Promise.all(Array.from({ length: depth }, (_, i) => lane(i)))
  const took = (performance.now() - begun) / 1000
  context.remove(directory)
  return {
    mb: (latencies.length * bytes) / 1e6 / took,
    p50: quantileOf(latencies, 0.5),
    p99: quantileOf(latencies, 0.99),
  }
}

function call(run: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) =>
    run(error => (error === null ? resolve() : reject(error))),
  )
}

function section({ disk, socket }: Result): Section {
  return {
    body: [
      '**Disk**: append, `fdatasync`, again; to one file, or to four at once.',
      table(
        ['bytes a write', 'files', 'MB/s', 'p50 ms', 'p99 ms'],
        disk.map(r => [bytesText(r.bytes), r.depth, spread(r.mb), spread(r.p50), spread(r.p99)]),
      ),
      '**Socket**: a WebSocket on loopback, client and server each a Node process; the message goes, five bytes come back.',
      table(
        ['bytes a message', 'in flight', 'messages/s', 'MB/s', 'p50 ms', 'p99 ms'],
        socket.map(r => [
          bytesText(r.bytes),
          r.inFlight,
          number(r.messages.median),
          spread(r.mb),
          spread(r.p50),
          spread(r.p99),
        ]),
      ),
    ].join('\n\n'),
    plots: [],
    headlines: [],
  }
}
