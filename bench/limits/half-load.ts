// Latency at half of the full load, beside the disk's own: how much of what a producer waits for is the broker.

import { type Server, startBroker, startLoop } from '../brokers.ts'
import { alternate, type BenchContext } from '../context.ts'
import { barsSvg } from '../report/bars.ts'
import { number, spread, table, timesSpread } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { type PacedResult, runLoad, runPaced } from '../speed/options.ts'
import type { Pace } from '../speed/pace.ts'
import { medianOf, ratioOf, type Spread, spreadOf } from '../stats.ts'
import { syncLoop } from './hardware.ts'
import type { PacedDiskOptions } from './paced-disk.ts'

interface Params {
  readonly rounds: number
  readonly seconds: number
}

interface Side {
  readonly name: string
  readonly p50: Spread
  readonly p99: Spread
  /** Beside the disk's p99 under the same load, of the same round. */
  readonly ratio: Spread
}

interface Result {
  readonly sides: readonly Side[]
  /** Batches per second. */
  readonly rate: number
}

const shape = { recordBytes: 1024, batchBytes: 65_536 } as const
const sides = [
  { side: 'disk', name: 'the disk, back to back' },
  { side: 'paced', name: 'the disk under this load' },
  { side: 'loop', name: 'bare loop' },
  { side: 'broker', name: 'broker, `file`' },
] as const

async function pacedDisk(context: BenchContext, pace: Pace): Promise<PacedResult> {
  const directory = context.directory('paced')
  const options: PacedDiskOptions = { ...pace, directory, bytes: shape.batchBytes }
  try {
    return await runPaced('limits/paced-disk.js', options)
  } finally {
    context.remove(directory)
  }
}

export const halfLoad = scenario<Params, Result>({
  name: 'limits-half-load',
  group: 'limits',
  title: 'Latency at half load',
  shows:
    'A broker that is not overloaded should cost its producers little more than the disk does. Load: half of what the broker takes at most, in batches of 64 KB that are due one after the other, each timed from when it was due.',
  params: {
    tiny: { rounds: 1, seconds: 0.2 },
    short: { rounds: 5, seconds: 1.2 },
    full: { rounds: 15, seconds: 10 },
  },
  seconds: p => 3 + 4 * (p.seconds + 0.3) + p.rounds * 4 * (p.seconds + 0.3),
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
    const measure = (side: (typeof sides)[number]['side']): Promise<PacedResult> => {
      const pace = { rate, seconds: p.seconds }
      if (side === 'disk') return syncLoop(context, shape.batchBytes, 1, p.seconds)
      if (side === 'paced') return pacedDisk(context, pace)
      const { inFlight: _, ...load } = loadOf(side === 'loop' ? loop : broker)
      return runPaced('speed/paced-client.js', { ...load, ...pace })
    }
    const found = await alternate(context, p.rounds, sides, ({ side }) => measure(side))
    const disk = (found[1] ?? []).map(m => m.p99)
    return {
      rate,
      sides: sides.map(({ name }, i) => {
        const p99 = (found[i] ?? []).map(m => m.p99)
        return {
          name,
          p50: spreadOf((found[i] ?? []).map(m => m.p50)),
          p99: spreadOf(p99),
          ratio: ratioOf(p99, disk),
        }
      }),
    }
  },
  section: ({ sides, rate }): Section => ({
    body: [
      `Half load was ${number(rate)} batches of 64 KB per second (${number((rate * shape.batchBytes) / 1e6)} MB/s). "The disk under this load" is a program without any socket that writes what is due and syncs it: what a producer would wait for if all but the disk were free, and what the others are compared with. A timer that is up to a millisecond late makes what is due, for all three alike. "Back to back" is the same disk with one write after the other and nobody who is late. The client sends frames that were made beforehand, so that its own processor time is not measured as the broker's.`,
      table(
        ['', 'p50 ms', 'p99 ms', "p99 beside the disk's under this load"],
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
            name: name.replaceAll('`', ''),
            values: [p50, p99],
          })),
        }),
      },
    ],
    headlines: [
      {
        what: "p99 of a produce at half load beside the disk's own p99 under the same load",
        value: `${number(sides[3]?.ratio.median ?? Number.NaN)}×`,
        beside: `goal: under 2×; the bare loop: ${number(sides[2]?.ratio.median ?? Number.NaN)}×`,
      },
    ],
  }),
})
