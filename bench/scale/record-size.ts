// Cost of a record, and of a megabyte, against the size of records.

import { startBroker } from '../brokers.ts'
import { alternate } from '../context.ts'
import { linesSvg } from '../report/lines.ts'
import { bytesText, count, number, spread, table } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { type Spread, spreadOf } from '../stats.ts'
import { costOf } from './cost.ts'

interface Params {
  readonly rounds: number
  readonly seconds: number
  readonly sizes: readonly number[]
}

interface Result {
  readonly rows: readonly {
    readonly bytes: number
    readonly cpuUs: Spread
    /** CPU ms of the broker per MB. */
    readonly cpuMsPerMb: Spread
    readonly recordsPerSecond: Spread
    readonly mb: Spread
  }[]
}

const batchBytes = 65_536

export const recordSize = scenario<Params, Result>({
  name: 'scale-record-size',
  group: 'scale',
  title: 'Record size',
  shows:
    'Records travel in batches that the broker never opens, so what it does should grow with bytes and batches, not with records.',
  params: {
    tiny: { rounds: 1, seconds: 0.2, sizes: [100, 1024] },
    short: { rounds: 5, seconds: 0.8, sizes: [10, 100, 1000, 10_000, 100_000] },
    full: { rounds: 15, seconds: 8, sizes: [10, 100, 1000, 10_000, 100_000, 500_000] },
  },
  seconds: p => 2 + (p.rounds + 0.5) * p.sizes.length * (p.seconds + 0.4),
  run: async (p, context) => {
    const server = await startBroker(context, { loglet: 'file' })
    const measure = (bytes: number, seconds: number): ReturnType<typeof costOf> =>
      costOf(server, {
        topic: 'bench',
        recordBytes: bytes,
        inFlight: 8,
        seconds,
        batchBytes: Math.max(batchBytes, bytes + 72),
      })
    for (const bytes of p.sizes) await measure(bytes, p.seconds / 2)
    const found = await alternate(context, p.rounds, p.sizes, bytes => measure(bytes, p.seconds))
    return {
      rows: p.sizes.map((bytes, i) => {
        const of = found[i] ?? []
        return {
          bytes,
          cpuUs: spreadOf(of.map(m => m.cpuUs)),
          cpuMsPerMb: spreadOf(of.map(m => (m.cpuUs * m.recordsPerSecond) / 1000 / m.mb)),
          recordsPerSecond: spreadOf(of.map(m => m.recordsPerSecond)),
          mb: spreadOf(of.map(m => m.mb)),
        }
      }),
    }
  },
  section: ({ rows }): Section => ({
    body: [
      `One producer, batches of ${bytesText(batchBytes)} or one record, eight in flight, \`file\`. What surrounds a record in its batch (some ten bytes) is not counted in MB/s, which is what small records pay with.`,
      table(
        ['record', 'broker CPU, µs per record', 'broker CPU, ms per MB', 'records/s', 'MB/s'],
        rows.map(r => [
          `${count(r.bytes)} B`,
          spread(r.cpuUs),
          spread(r.cpuMsPerMb),
          number(r.recordsPerSecond.median),
          spread(r.mb),
        ]),
      ),
      '{plot:cost}',
    ].join('\n\n'),
    plots: [
      {
        name: 'cost',
        alt: 'CPU per record against its size',
        svg: linesSvg({
          title: 'What a record costs the broker, by its size',
          xAxis: 'bytes of a record',
          yAxis: 'µs of CPU per record',
          label: count,
          logY: true,
          series: [{ name: 'broker CPU', points: rows.map(r => ({ x: r.bytes, y: r.cpuUs })) }],
        }),
      },
    ],
    headlines: [],
  }),
})
