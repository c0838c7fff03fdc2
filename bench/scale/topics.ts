// Cost of a record against the number of partitions that the load goes to.

import { connect } from '../../client/index.ts'
import { type Server, startBroker } from '../brokers.ts'
import { alternate } from '../context.ts'
import { linesSvg } from '../report/lines.ts'
import { count, number, spread, table } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { type Spread, spreadOf } from '../stats.ts'
import { costOf } from './cost.ts'

interface Params {
  readonly rounds: number
  readonly seconds: number
  readonly partitions: readonly number[]
}

interface Row {
  readonly partitions: number
  readonly recordsPerSecond: Spread
  readonly cpuUs: Spread
  readonly p99: Spread
}

interface Result {
  readonly rows: readonly Row[]
}

const shape = { recordBytes: 100, batchBytes: 1144, inFlight: 32 } as const
const recordsPerBatch = 10
/** Of one topic, for the numbers that one topic may have. */
const partitionsPerTopic = 10_000

export const topics = scenario<Params, Result>({
  name: 'scale-topics',
  group: 'scale',
  title: 'Partitions',
  shows:
    'All topics share one log, so a partition is an entry in an index and not a file. What does a record cost when the load is spread over more of them?',
  params: {
    tiny: { rounds: 1, seconds: 0.2, partitions: [1, 20] },
    short: { rounds: 5, seconds: 1, partitions: [1, 100, 1000, 10_000] },
    full: { rounds: 15, seconds: 8, partitions: [1, 10, 100, 1000, 10_000] },
  },
  seconds: p => 6 + (p.rounds + 0.5) * p.partitions.length * (p.seconds + 0.25),
  run: async (p, context) => {
    const sides: { readonly partitions: number; readonly server: Server }[] = []
    for (const partitions of p.partitions) {
      const server = await startBroker(context, { loglet: 'file' })
      const client = await connect(server.url)
      await client
        .admin()
        .createTopic({ topic: 'bench', partitions: Math.min(partitions, partitionsPerTopic) })
      await client.close()
      sides.push({ partitions, server })
    }
    const measure = (
      { partitions, server }: (typeof sides)[number],
      seconds: number,
    ): ReturnType<typeof costOf> =>
      costOf(server, { ...shape, topic: 'bench', partitions, seconds })
    for (const side of sides) await measure(side, p.seconds / 2)
    const found = await alternate(context, p.rounds, sides, side => measure(side, p.seconds))
    return {
      rows: sides.map(({ partitions }, i) => {
        const of = found[i] ?? []
        return {
          partitions,
          recordsPerSecond: spreadOf(of.map(m => m.recordsPerSecond)),
          cpuUs: spreadOf(of.map(m => m.cpuUs)),
          p99: spreadOf(of.map(m => m.p99)),
        }
      }),
    }
  },
  section: ({ rows }): Section => ({
    body: [
      `One producer sends batches of ${recordsPerBatch} records of ${shape.recordBytes} bytes to all partitions in turn, ${shape.inFlight} in flight; a broker with \`file\` for each number of partitions. Small batches, so that the cost of a batch shows.`,
      table(
        ['partitions', 'broker CPU, µs per record', 'records/s', 'p99 ms'],
        rows.map(r => [
          count(r.partitions),
          spread(r.cpuUs),
          spread(r.recordsPerSecond),
          spread(r.p99),
        ]),
      ),
      '{plot:cost}',
    ].join('\n\n'),
    plots: [
      {
        name: 'cost',
        alt: 'CPU per record against partitions',
        svg: linesSvg({
          title: 'What a record costs the broker, by partitions that the load goes to',
          xAxis: 'partitions',
          yAxis: 'µs of CPU per record',
          label: count,
          series: [
            { name: 'broker CPU', points: rows.map(r => ({ x: r.partitions, y: r.cpuUs })) },
          ],
        }),
      },
    ],
    headlines: growth(rows),
  }),
})

function growth(rows: readonly Row[]): Section['headlines'] {
  const [first, last] = [rows[0], rows.at(-1)]
  if (first === undefined || last === undefined) return []
  return [
    {
      what: `CPU per record with ${count(last.partitions)} partitions beside ${count(first.partitions)}`,
      value: `${number(last.cpuUs.median / first.cpuUs.median)}×`,
      beside: '1×',
    },
  ]
}
