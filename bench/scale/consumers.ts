// Cost of a record against the number of connected consumers that share the partitions of a topic: each record goes to one of them.

import { settingsTable } from '../../broker/settings.ts'
import { connect } from '../../client/index.ts'
import { startBroker } from '../brokers.ts'
import { alternate, type BenchContext } from '../context.ts'
import { scriptOf, startProcess } from '../processes.ts'
import { linesSvg } from '../report/lines.ts'
import { count, spread, table } from '../report/text.ts'
import { NotRunError, scenario, type Section } from '../scenario.ts'
import { type Spread, spreadOf } from '../stats.ts'
import { type Cost, costOf } from './cost.ts'

interface Params {
  readonly rounds: number
  readonly seconds: number
  readonly consumers: readonly number[]
}

interface Result {
  readonly rows: readonly {
    readonly consumers: number
    readonly cpuUs: Spread
    readonly recordsPerSecond: Spread
    readonly p99: Spread
  }[]
}

/** In place of the broker's own limit, in this scenario only. */
const handshakesPerSecondMax = 20_000
const shape = { recordBytes: 100, batchBytes: 1144, inFlight: 32 } as const

export const consumers = scenario<Params, Result>({
  name: 'scale-consumers',
  group: 'scale',
  title: 'Consumers',
  shows:
    'Thousands of connections, each following a partition of its own. Every record goes to one of them, so the work is the same; what do the connections add?',
  params: {
    tiny: { rounds: 1, seconds: 0.2, consumers: [1, 10] },
    short: { rounds: 5, seconds: 1, consumers: [1, 100, 1000, 5000] },
    full: { rounds: 15, seconds: 8, consumers: [1, 10, 100, 1000, 5000] },
  },
  seconds: p =>
    4 +
    p.consumers.reduce((sum, n) => sum + n * 0.002, 0) +
    (p.rounds + 0.5) * p.consumers.length * (p.seconds + 0.2),
  run: async (p, context) => {
    const sides: {
      readonly consumers: number
      readonly measure: (seconds: number) => Promise<Cost>
    }[] = []
    for (const count of p.consumers)
      sides.push({ consumers: count, measure: await withConsumers(context, count) })
    for (const { measure } of sides) await measure(p.seconds / 2)
    const found = await alternate(context, p.rounds, sides, side => side.measure(p.seconds))
    return {
      rows: sides.map(({ consumers: count }, i) => {
        const of = found[i] ?? []
        return {
          consumers: count,
          cpuUs: spreadOf(of.map(m => m.cpuUs)),
          recordsPerSecond: spreadOf(of.map(m => m.recordsPerSecond)),
          p99: spreadOf(of.map(m => m.p99)),
        }
      }),
    }
  },
  section: ({ rows }): Section => ({
    body: [
      `One producer sends batches of ten records of ${shape.recordBytes} bytes to all partitions in turn, ${shape.inFlight} in flight; as many partitions as consumers, a broker with \`file\` for each number. All consumers are connections of one more process, so from some number on that process is what is busy. They come all at once, before anything is measured: for that the brokers of this scenario have \`handshakesPerSecondMax\` ${count(handshakesPerSecondMax)} in place of ${count(settingsTable.handshakesPerSecondMax.default)}.`,
      table(
        [
          'consumers',
          'broker CPU, µs per record produced and delivered',
          'records/s',
          'produce p99 ms',
        ],
        rows.map(r => [
          count(r.consumers),
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
        alt: 'CPU per record against consumers',
        svg: linesSvg({
          title: 'What a record costs the broker, by connected consumers',
          xAxis: 'consumers, each with a connection and a partition of its own',
          yAxis: 'µs of CPU per record',
          label: count,
          series: [{ name: 'broker CPU', points: rows.map(r => ({ x: r.consumers, y: r.cpuUs })) }],
        }),
      },
    ],
    headlines: [],
  }),
})

async function withConsumers(
  context: BenchContext,
  count: number,
): Promise<(seconds: number) => Promise<Cost>> {
  // All of them come at once, from one process.
  const args = ['--handshakes-per-second-max', String(handshakesPerSecondMax)]
  const server = await startBroker(context, { loglet: 'file', args })
  const client = await connect(server.url)
  await client.admin().createTopic({ topic: 'bench', partitions: count })
  await client.close()
  const follower = startProcess(scriptOf('speed/follow-client.js'), [
    server.url,
    'bench',
    String(count),
    String(count),
  ])
  context.defer(() => follower.stop())
  try {
    await follower.line()
  } catch (error) {
    if (/EMFILE|ENFILE/.test((error as Error).message))
      throw new NotRunError(`${count} connections need more open files than \`ulimit -n\` allows`)
    throw error
  }
  return seconds => costOf(server, { ...shape, topic: 'bench', partitions: count, seconds })
}
