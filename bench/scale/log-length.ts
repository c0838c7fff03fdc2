// Cost of a record, time to read old records, and time to be ready after a restart, against the length of the log.

import { statfsSync } from 'node:fs'
import { connect } from '../../client/index.ts'
import { type Server, startBroker } from '../brokers.ts'
import { benchRoot, sleep } from '../context.ts'
import { linesSvg } from '../report/lines.ts'
import { bytesText, number, spread, table } from '../report/text.ts'
import { NotRunError, scenario, type Section } from '../scenario.ts'
import { runLoad } from '../speed/options.ts'
import { type Spread, spreadOf } from '../stats.ts'
import { pacedCostOf } from './cost.ts'

interface Params {
  readonly rounds: number
  readonly seconds: number
  /** Bytes of the log at which it is measured, rising. */
  readonly lengths: readonly number[]
}

interface Row {
  /** Bytes of all batches when its rounds began, and when they were over. */
  readonly length: number
  readonly lengthAfter: number
  readonly cpuUs: Spread
  readonly p99: Spread
  /** MB/s, of the oldest records. */
  readonly coldRead: Spread
  /** From the start of the process until it serves, ms: after SIGTERM, and after SIGKILL under load. */
  readonly afterStop: Spread
  readonly afterKill: Spread
}

interface Result {
  readonly rows: readonly Row[]
}

const shape = { recordBytes: 1024, batchBytes: 65_536, inFlight: 8 } as const
const topic = 'bench'
const coldBytes = 24e6
const killAfterMs = 250
/** Bytes of disk that have to stay free. */
const spareBytes = 4e9

export const logLength = scenario<Params, Result>({
  name: 'scale-log-length',
  group: 'scale',
  title: 'Length of the log, and restarts',
  shows:
    'A log that has grown must not make records dearer or restarts slower: the state is kept in a store with checkpoints, and a start reads only what came after them.',
  params: {
    tiny: { rounds: 1, seconds: 0.2, lengths: [2e6, 4e6] },
    short: { rounds: 5, seconds: 0.6, lengths: [0.2e9, 0.6e9, 2e9] },
    full: { rounds: 9, seconds: 5, lengths: [1e9, 5e9, 20e9, 50e9] },
  },
  seconds: p =>
    5 +
    (p.lengths.at(-1) ?? 0) / 90e6 +
    p.lengths.length * p.rounds * (p.seconds + 0.8 + 0.6 + 2 * 1.2),
  run: async (p, context) => {
    const longest = p.lengths.at(-1) ?? 0
    const { bavail, bsize } = statfsSync(benchRoot())
    if (bavail * bsize < longest * 1.2 + spareBytes)
      throw new NotRunError(
        `a log of ${bytesText(longest)} needs ${bytesText(longest * 1.2 + spareBytes)} of disk, ${bytesText(bavail * bsize)} are free (BENCH_DIR names another disk)`,
      )
    const data = context.directory('log')
    const args = ['--log-retention-ms', '-1']
    const start = (): Promise<Server> => startBroker(context, { loglet: 'file', data, args })
    let server = await start()
    const rows: Row[] = []
    for (const wanted of p.lengths) {
      let length = rows.at(-1)?.lengthAfter ?? 0
      while (length < wanted) {
        await fill(server, wanted - length)
        length = (await placeOf(server)).bytes
        context.tick(`log of ${bytesText(length)}`)
      }
      const measured: Measured[] = []
      for (let round = 0; round < p.rounds; round++) {
        const cost = await pacedCostOf(server, {
          recordBytes: shape.recordBytes,
          batchBytes: shape.batchBytes,
          topic,
          rate: 100,
          seconds: p.seconds,
        })
        const coldRead = await readOldest(server)
        await server.stop()
        let begun = performance.now()
        server = await start()
        const afterStop = performance.now() - begun
        await killUnderLoad(server)
        begun = performance.now()
        server = await start()
        measured.push({ ...cost, coldRead, afterStop, afterKill: performance.now() - begun })
        context.tick(`log of ${bytesText(length)}, round ${round + 1} of ${p.rounds}`)
      }
      rows.push(rowOf(length, (await placeOf(server)).bytes, measured))
    }
    await server.stop()
    return { rows }
  },
  section,
})

type Measured = Readonly<Record<Exclude<keyof Row, 'length' | 'lengthAfter'>, number>>

function rowOf(length: number, lengthAfter: number, measured: readonly Measured[]): Row {
  const of = (pick: keyof Measured): Spread => spreadOf(measured.map(m => m[pick]))
  return {
    length,
    lengthAfter,
    cpuUs: of('cpuUs'),
    p99: of('p99'),
    coldRead: of('coldRead'),
    afterStop: of('afterStop'),
    afterKill: of('afterKill'),
  }
}

/** About `bytes` more, at full speed. */
async function fill({ url }: Server, bytes: number): Promise<void> {
  // A second's worth at a time, so that it stops near the length that is wanted.
  const seconds = Math.min(2, Math.max(0.05, bytes / 100e6))
  await runLoad({ ...shape, url, hello: true, topic, seconds })
}

/** Where the partition ends, and the bytes of all its batches. */
async function placeOf({ url }: Server): Promise<{ readonly end: number; readonly bytes: number }> {
  const client = await connect(url)
  try {
    const { partitions } = await client.admin().describeTopic(topic)
    const { endOffset = 0, bytes = 0 } = partitions[0] ?? {}
    return { end: endOffset, bytes }
  } finally {
    await client.close()
  }
}

/** MB/s of the first records: long gone from the broker's memory, perhaps still in the system's. */
async function readOldest({ url }: Server): Promise<number> {
  const client = await connect(url)
  try {
    let bytes = 0
    const begun = performance.now()
    for await (const { value } of client.read(topic, {
      from: 'beginning',
      until: 'end',
      as: 'bytes',
    })) {
      bytes += value?.length ?? 0
      if (bytes >= coldBytes) break
    }
    return bytes / 1e6 / ((performance.now() - begun) / 1000)
  } finally {
    await client.close()
  }
}

async function killUnderLoad(server: Server): Promise<void> {
  const { end } = await placeOf(server)
  const load = runLoad({ ...shape, url: server.url, hello: true, topic, seconds: 60 })
  // Its client ends with the broker: that is what is wanted.
  const over = load.catch(() => {})
  // Its client takes a while to start.
  while ((await placeOf(server)).end === end) await sleep(20)
  await sleep(killAfterMs)
  await server.stop('SIGKILL')
  await over
}

function section({ rows }: Result): Section {
  const [first, last] = [rows[0], rows.at(-1)]
  return {
    body: [
      "One partition with `file`, filled to each length in turn; what is measured makes it longer, so each length is a range. The load while it is measured: 100 batches of 64 KB per second, each due at its time and timed from then, so that most have an append and a sync of their own and records cost more than at full load. *Cold read*: the first 24 MB of the log by the SDK, fetched from the loglet (the system may still have them in its page cache). *Ready*: from the start of the process until it serves, Node's own start included; after SIGKILL under full load the end of the log has to be checked and played again.",
      table(
        [
          'log',
          'broker CPU, µs per record',
          'produce p99 ms',
          'cold read MB/s',
          'ready after SIGTERM, ms',
          'ready after SIGKILL, ms',
        ],
        rows.map(r => [
          `${bytesText(r.length)} – ${bytesText(r.lengthAfter)}`,
          spread(r.cpuUs),
          spread(r.p99),
          spread(r.coldRead),
          spread(r.afterStop),
          spread(r.afterKill),
        ]),
      ),
      '{plot:ready}',
    ].join('\n\n'),
    plots: [
      {
        name: 'ready',
        alt: 'Time to be ready against the length of the log',
        svg: linesSvg({
          title: 'Time from the start of the process until it serves',
          xAxis: 'length of the log',
          yAxis: 'ms',
          label: bytesText,
          series: [
            { name: 'after SIGTERM', points: rows.map(r => ({ x: r.length, y: r.afterStop })) },
            {
              name: 'after SIGKILL under load',
              points: rows.map(r => ({ x: r.length, y: r.afterKill })),
            },
          ],
        }),
      },
    ],
    headlines:
      first === undefined || last === undefined
        ? []
        : [
            {
              what: `Ready again after SIGKILL under load, with a log of ${bytesText(first.length)} / ${bytesText(last.length)}`,
              value: `${number(first.afterKill.median)} / ${number(last.afterKill.median)} ms`,
              beside: 'the same for any length',
            },
          ],
  }
}
