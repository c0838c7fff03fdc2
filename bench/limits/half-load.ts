// Latency at half of the full load, beside the disk's own: how much of what a producer waits for is the broker.

import { type Server, startBroker, startLoop } from '../brokers.ts'
import { alternate } from '../context.ts'
import { barsSvg } from '../report/bars.ts'
import { number, spread, table, timesSpread } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { runLoad } from '../speed/options.ts'
import { medianOf, ratioOf, type Spread, spreadOf } from '../stats.ts'
import { syncLoop } from './hardware.ts'

interface Params {
  readonly rounds: number
  readonly seconds: number
}

interface Side {
  readonly name: string
  readonly p50: Spread
  readonly p99: Spread
  /** Beside the disk's own p99 of the same round. */
  readonly ratio: Spread
}

interface Result {
  readonly sides: readonly Side[]
  /** Batches per second. */
  readonly rate: number
}

const shape = { recordBytes: 1024, batchBytes: 65_536 } as const

export const halfLoad = scenario<Params, Result>({
  name: 'limits-half-load',
  group: 'limits',
  title: 'Latency at half load',
  shows:
    'A broker that is not overloaded should cost its producers little more than the disk does. Load: half of what the broker takes at most, one batch of 64 KB at a time, timed from when it was due.',
  params: {
    tiny: { rounds: 1, seconds: 0.2 },
    short: { rounds: 5, seconds: 1.2 },
    full: { rounds: 15, seconds: 10 },
  },
  seconds: p => 3 + 4 * (p.seconds + 0.3) + p.rounds * 3 * (p.seconds + 0.3),
  run: async (p, context) => {
    const loop = await startLoop(context)
    const broker = await startBroker(context, { loglet: 'file' })
    const loadOf = (server: Server) => ({
      ...shape,
      url: server.url,
      hello: server === broker,
      topic: 'bench',
      inFlight: 8,
    })
    const full: number[] = []
    for (let i = 0; i < 4; i++) {
      const { batches, seconds } = await runLoad({ ...loadOf(broker), seconds: p.seconds })
      // The first warms it up.
      if (i > 0) full.push(batches / seconds)
    }
    await runLoad({ ...loadOf(loop), seconds: p.seconds / 2 })
    const rate = medianOf(full) / 2
    const sides = ['disk', 'loop', 'broker'] as const
    const measure = (side: (typeof sides)[number]): Promise<{ p50: number; p99: number }> =>
      side === 'disk'
        ? syncLoop(context, shape.batchBytes, 1, p.seconds)
        : runLoad({ ...loadOf(side === 'loop' ? loop : broker), seconds: p.seconds, rate })
    const found = await alternate(context, p.rounds, sides, measure)
    const disk = found[0] ?? []
    const names = ['the disk alone: write + fdatasync of 64 KB', 'bare loop', 'broker, `file`']
    return {
      rate,
      sides: names.map((name, i) => {
        const of = found[i] ?? []
        return {
          name,
          p50: spreadOf(of.map(m => m.p50)),
          p99: spreadOf(of.map(m => m.p99)),
          ratio: ratioOf(
            of.map(m => m.p99),
            disk.map(m => m.p99),
          ),
        }
      }),
    }
  },
  section: ({ sides, rate }): Section => ({
    body: [
      `Half load was ${number(rate)} batches of 64 KB per second (${number((rate * shape.batchBytes) / 1e6)} MB/s). The disk alone runs at its own pace, one write after the other, in the same rounds. The client's own timer, which is up to a millisecond late, counts for loop and broker alike.`,
      table(
        ['', 'p50 ms', 'p99 ms', "p99 beside the disk's"],
        sides.map(({ name, p50, p99, ratio }) => [
          name,
          spread(p50),
          spread(p99),
          timesSpread(ratio),
        ]),
      ),
      '{plot:latency}',
    ].join('\n\n'),
    plots: [
      {
        name: 'latency',
        alt: 'Latency at half load of disk, bare loop and broker',
        svg: barsSvg({
          title: 'Latency at half load',
          axis: 'ms',
          series: ['p50', 'p99'],
          groups: sides.map(({ name, p50, p99 }) => ({
            name: name.replace(/:.*/, '').replaceAll('`', ''),
            values: [p50, p99],
          })),
        }),
      },
    ],
    headlines: [
      {
        what: "p99 of a produce at half load beside the disk's own p99",
        value: `${number(sides[2]?.ratio.median ?? Number.NaN)}×`,
        beside: `goal: under 2×; the bare loop: ${number(sides[1]?.ratio.median ?? Number.NaN)}×`,
      },
    ],
  }),
})
