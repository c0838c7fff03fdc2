// What striping gains in failures borne at equal throughput (Delos: "double the failure threshold"), with network cards of limited bandwidth and
// without.

import { type NodeOptions, startCluster } from '../brokers.ts'
import { alternate } from '../context.ts'
import { barsSvg } from '../report/bars.ts'
import { number, spread, table, timesSpread } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { ratioOf, type Spread, spreadOf } from '../stats.ts'
import { patientBroker, shapeText, throughputWith } from './switched-load.ts'

interface Params {
  readonly rounds: number
  readonly seconds: number
  /** MB/s that each node sends. */
  readonly network: number
}

interface Row {
  readonly spec: string
  /** Nodes whose loss it bears. */
  readonly bears: number
  readonly limited: Spread
  readonly free: Spread
  /** Beside the first. */
  readonly limitedRatio: Spread
  readonly freeRatio: Spread
}

interface Result {
  readonly rows: readonly Row[]
}

const nodes = 5
const sides = [
  { spec: 'native,replicas=3', bears: 1 },
  { spec: 'native,replicas=5', bears: 2 },
  { spec: 'striped:5,servers=shared:native,replicas=5', bears: 2 },
] as const

export const striping = scenario<Params, Result>({
  name: 'paper-striping',
  group: 'paper',
  title: 'Failure threshold: striping over the same servers',
  shows:
    'More replicas bear more failures but make the one sequencer send more copies. A striped loglet gives each server a sequencer of its own over all of them, so the copies leave from everywhere.',
  params: {
    tiny: { rounds: 1, seconds: 0.3, network: 24 },
    short: { rounds: 5, seconds: 1.2, network: 24 },
    full: { rounds: 15, seconds: 10, network: 24 },
  },
  seconds: p => 13 + p.rounds * 6 * (p.seconds + 1.1),
  run: async (p, context) => {
    const clusterOf = (
      env: Readonly<Record<string, string>>,
    ): Promise<{ urls: readonly string[] }> => {
      // One broker: others would read the whole log over the network, which is not what is compared.
      const rest: NodeOptions = { roles: ['logserver'], env }
      return startCluster(context, 'native', [
        { env, args: patientBroker },
        ...Array.from({ length: nodes - 1 }, () => rest),
      ])
    }
    const limited = await clusterOf({ BENCH_NIC_MB: String(p.network) })
    const free = await clusterOf({})
    const both = [limited, free].flatMap(({ urls: [url = ''] }) =>
      sides.map(({ spec }) => ({ url, spec })),
    )
    const found = await alternate(context, p.rounds, both, ({ url, spec }) =>
      throughputWith(url, spec, p.seconds),
    )
    const at = (i: number): readonly number[] => found[i] ?? []
    return {
      rows: sides.map(({ spec, bears }, i) => ({
        spec,
        bears,
        limited: spreadOf(at(i)),
        free: spreadOf(at(sides.length + i)),
        limitedRatio: ratioOf(at(i), at(0)),
        freeRatio: ratioOf(at(sides.length + i), at(sides.length)),
      })),
    }
  },
  section: ({ rows }, p): Section => ({
    body: [
      `${nodes} nodes; load: ${shapeText}; every record synced on a majority; the broker lets writes wait for longer than it would by default (\`queueTimeTargetMs\`). **Emulated** in the first columns: each node's network card sends ${p.network} MB/s (a token bucket before every write to a socket), which makes the sequencer's copies the bottleneck, as in the paper. In the last columns nothing is limited: all nodes share two cores and a disk, so the work of all replicas adds up and more of them can only cost.`,
      table(
        [
          'protocol',
          'bears the loss of',
          `MB/s, network of ${p.network} MB/s`,
          'beside the first',
          'MB/s, nothing limited',
          'beside the first',
        ],
        rows.map(({ spec, bears, limited, free, limitedRatio, freeRatio }) => [
          `\`${spec}\``,
          bears === 1 ? '1 node' : `${bears} nodes`,
          spread(limited),
          timesSpread(limitedRatio),
          spread(free),
          timesSpread(freeRatio),
        ]),
      ),
      '{plot:throughput}',
      'The paper: a striped loglet doubles the failure threshold without losing throughput. That takes enough records in flight: an append to a striped loglet is acked only once every earlier position on all stripes is filled, so with few in flight it waits more than it sends.',
    ].join('\n\n'),
    plots: [
      {
        name: 'throughput',
        alt: 'Throughput with three and five replicas and with stripes',
        svg: barsSvg({
          title: 'Throughput and failures borne, five nodes',
          axis: 'MB/s acked',
          series: [`network of ${p.network} MB/s per node (emulated)`, 'nothing limited'],
          groups: rows.map(({ spec, bears, limited, free }) => ({
            name: `${spec.replace(',servers=shared', '')}, bears ${bears}`,
            values: [limited, free],
          })),
        }),
      },
    ],
    headlines: [
      {
        what: 'Throughput with striping at twice the failure threshold (emulated network)',
        value: `${number(rows[2]?.limitedRatio.median ?? Number.NaN)}×`,
        beside: `Delos: 1×; five replicas without striping: ${number(rows[1]?.limitedRatio.median ?? Number.NaN)}×`,
      },
    ],
  }),
})
