// The broker beside the bare loop at full speed: throughput, latency and how late the event loop is.

import { type Server, startBroker, startLoop } from '../brokers.ts'
import { alternate } from '../context.ts'
import { barsSvg } from '../report/bars.ts'
import { number, spread, table, timesSpread } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { megabytesPerSecond, recordsPerSecond, runLoad } from '../speed/options.ts'
import { ratioOf, type Spread, spreadOf } from '../stats.ts'

interface Params {
  readonly rounds: number
  readonly seconds: number
}

interface Row {
  readonly side: string
  readonly bytes: number
  readonly mb: Spread
  readonly records: Spread
  readonly p50: Spread
  readonly p99: Spread
  readonly loopDelayP99: Spread
  /** Throughput beside the bare loop. */
  readonly ratio: Spread
}

interface Result {
  readonly rows: readonly Row[]
}

const shape = { batchBytes: 65_536, inFlight: 8 } as const
const sizes = [1024, 100] as const
const sideNames = ['bare loop', 'file', 'striped:2:file', 'file, by the SDK'] as const

export const throughput = scenario<Params, Result>({
  name: 'limits-throughput',
  group: 'limits',
  title: 'The broker beside the bare loop',
  shows:
    'The same client sends the same frames as fast as answers come, to the bare loop and to brokers.',
  params: {
    tiny: { rounds: 1, seconds: 0.2 },
    short: { rounds: 5, seconds: 1 },
    full: { rounds: 15, seconds: 8 },
  },
  seconds: p => 4 + p.rounds * 8 * (p.seconds + 0.35),
  run: async (p, context) => {
    const servers: readonly Server[] = [
      await startLoop(context),
      await startBroker(context, { loglet: 'file' }),
      await startBroker(context, { loglet: 'striped:2:file' }),
    ]
    const [, file] = servers as readonly [Server, Server, Server]
    const sides = sizes.flatMap(bytes =>
      [...servers, file].map((server, i) => ({ bytes, server, i })),
    )
    const measure = async (
      { bytes, server, i }: (typeof sides)[number],
      seconds: number,
    ): Promise<{ mb: number; records: number; p50: number; p99: number; delay: number }> => {
      const load = { ...shape, url: server.url, hello: i > 0, topic: 'bench', recordBytes: bytes }
      await server.gauges()
      const result = await runLoad(
        { ...load, seconds },
        i === sideNames.length - 1 ? 'sdk' : 'frames',
      )
      const { delayP99: delay } = await server.gauges()
      const { p50, p99 } = result
      return { mb: megabytesPerSecond(result), records: recordsPerSecond(result), p50, p99, delay }
    }
    for (const side of sides) await measure(side, p.seconds / 3)
    const found = await alternate(context, p.rounds, sides, side => measure(side, p.seconds))
    return {
      rows: sides.map(({ bytes, i }, n) => {
        const of = found[n] ?? []
        const base = found[n - i] ?? []
        return {
          side: sideNames[i] as string,
          bytes,
          mb: spreadOf(of.map(m => m.mb)),
          records: spreadOf(of.map(m => m.records)),
          p50: spreadOf(of.map(m => m.p50)),
          p99: spreadOf(of.map(m => m.p99)),
          loopDelayP99: spreadOf(of.map(m => m.delay)),
          ratio: ratioOf(
            of.map(m => m.mb),
            base.map(m => m.mb),
          ),
        }
      }),
    }
  },
  section,
})

function section({ rows }: Result): Section {
  const name = ({ side }: Row): string => (side === 'bare loop' ? side : `broker, ${side}`)
  return {
    body: [
      'One connection; batches of 64 KB made beforehand, eight in flight. *By the SDK*: plain records, one `enqueue` each, that the client process encodes on the same two cores. Every batch is synced before its ack. *Event-loop delay* is how late a timer of 1 ms is in the server process at that load.',
      table(
        [
          '',
          'record',
          'MB/s',
          'beside the loop',
          'records/s',
          'p50 ms',
          'p99 ms',
          'event-loop delay p99 ms',
        ],
        rows.map(r => [
          name(r),
          `${r.bytes} B`,
          spread(r.mb),
          timesSpread(r.ratio),
          number(r.records.median),
          r.p50.min < 0 ? '' : spread(r.p50),
          r.p99.min < 0 ? '' : spread(r.p99),
          spread(r.loopDelayP99),
        ]),
      ),
      '{plot:throughput}',
    ].join('\n\n'),
    plots: [
      {
        name: 'throughput',
        alt: 'Throughput of the bare loop and of brokers',
        svg: barsSvg({
          title: 'Throughput with a sync before every ack',
          axis: 'MB/s acked',
          series: sizes.map(bytes => `${bytes} B records`),
          groups: sideNames.map(side => ({
            name: side === 'bare loop' ? side : `broker, ${side}`,
            values: sizes.map(bytes => rows.find(r => r.side === side && r.bytes === bytes)?.mb),
          })),
        }),
      },
    ],
    headlines: [
      {
        what: 'Throughput beside a bare loop of frame → append → sync → reply, 1 KB / 100 B records (`file`)',
        value: sizes
          .map(bytes => {
            const row = rows.find(r => r.side === 'file' && r.bytes === bytes)
            return row === undefined ? '–' : `${number(row.ratio.median)}×`
          })
          .join(' / '),
        beside: 'goal: at least 0.75×',
      },
    ],
  }
}
