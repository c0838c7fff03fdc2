// One producer at full speed and 1, 10 and 50 consumers that follow it, beside the bare loop that sends every frame to as many.

import { type Server, startBroker, startLoop } from '../brokers.ts'
import { alternate } from '../context.ts'
import { scriptOf, startProcess } from '../processes.ts'
import { linesSvg } from '../report/lines.ts'
import { number, spread, table, timesSpread } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { megabytesPerSecond, runLoad } from '../speed/options.ts'
import { ratioOf, type Spread, spreadOf } from '../stats.ts'

interface Params {
  readonly rounds: number
  readonly seconds: number
  readonly consumers: readonly number[]
}

interface Row {
  readonly side: 'bare loop' | 'broker'
  readonly consumers: number
  /** MB/s. */
  readonly produced: Spread
  readonly delivered: Spread
  /** Delivered, beside the bare loop. */
  readonly ratio: Spread
}

interface Result {
  readonly rows: readonly Row[]
}

const shape = { recordBytes: 1024, batchBytes: 65_536, inFlight: 8 } as const

export const fanOut = scenario<Params, Result>({
  name: 'limits-fan-out',
  group: 'limits',
  title: 'Fan-out',
  shows:
    'Every consumer gets every record. Broker and bare loop send the same bytes to each; the broker keeps to the credit that consumers give it.',
  params: {
    tiny: { rounds: 1, seconds: 0.3, consumers: [1, 3] },
    short: { rounds: 5, seconds: 0.8, consumers: [1, 10, 50] },
    full: { rounds: 15, seconds: 8, consumers: [1, 10, 50, 200] },
  },
  seconds: p => 3 + p.rounds * 2 * p.consumers.length * (p.seconds + 0.9),
  run: async (p, context) => {
    const loop = await startLoop(context)
    const broker = await startBroker(context, { loglet: 'file' })
    const sides = p.consumers.flatMap(consumers => [
      { side: 'bare loop' as const, server: loop, consumers },
      { side: 'broker' as const, server: broker, consumers },
    ])
    for (const server of [loop, broker]) await measure(server, server === broker, 1, 0.3)
    const found = await alternate(context, p.rounds, sides, ({ server, consumers }) =>
      measure(server, server === broker, consumers, p.seconds),
    )
    return {
      rows: sides.map(({ side, consumers }, i) => {
        const of = found[i] ?? []
        const base = found[side === 'broker' ? i - 1 : i] ?? []
        return {
          side,
          consumers,
          produced: spreadOf(of.map(m => m.produced)),
          delivered: spreadOf(of.map(m => m.delivered)),
          ratio: ratioOf(
            of.map(m => m.delivered),
            base.map(m => m.delivered),
          ),
        }
      }),
    }
  },
  section: ({ rows }): Section => ({
    body: [
      'All consumers are connections of one more process, which reads what arrives and counts it. Delivered: all consumers together, until the producer stopped.',
      table(
        ['', 'consumers', 'produced MB/s', 'delivered MB/s', 'delivered, beside the loop'],
        rows.map(r => [
          r.side,
          r.consumers,
          spread(r.produced),
          spread(r.delivered),
          timesSpread(r.ratio),
        ]),
      ),
      '{plot:delivered}',
    ].join('\n\n'),
    plots: [
      {
        name: 'delivered',
        alt: 'Delivered MB/s against consumers',
        svg: linesSvg({
          title: 'Fan-out: what all consumers get together',
          xAxis: 'consumers',
          yAxis: 'MB/s delivered',
          label: String,
          series: (['bare loop', 'broker'] as const).map(side => ({
            name: side,
            points: rows
              .filter(r => r.side === side)
              .map(r => ({ x: r.consumers, y: r.delivered })),
          })),
        }),
      },
    ],
    headlines: rows
      .filter(r => r.side === 'broker')
      .slice(-1)
      .map(r => ({
        what: `Delivered to ${r.consumers} consumers beside the bare loop`,
        value: `${number(r.ratio.median)}× (${number(r.delivered.median)} MB/s)`,
        beside: '1×',
      })),
  }),
})

async function measure(
  { url }: Server,
  isBroker: boolean,
  consumers: number,
  seconds: number,
): Promise<{ produced: number; delivered: number }> {
  const topic = isBroker ? 'bench' : '-'
  if (isBroker) await runLoad({ ...shape, url, hello: true, topic, seconds: 0.01 })
  const follower = startProcess(scriptOf('speed/follow-client.js'), [url, topic, String(consumers)])
  try {
    await follower.line()
    const load = await runLoad({ ...shape, url, hello: isBroker, topic, seconds })
    follower.tell('count')
    const { bytes } = JSON.parse(await follower.line()) as { bytes: number }
    return { produced: megabytesPerSecond(load), delivered: bytes / 1e6 / load.seconds }
  } finally {
    await follower.stop()
  }
}
