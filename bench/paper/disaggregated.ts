// What log servers of their own gain in throughput (Delos: converged 15 K puts/s, disaggregated 150 K/s), with disks of limited bandwidth.

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
  /** MB/s of each node's disk. */
  readonly disk: number
}

interface Result {
  readonly sides: readonly {
    readonly name: string
    readonly spec: string
    /** MB/s. */
    readonly throughput: Spread
    /** Beside the first. */
    readonly gain: Spread
  }[]
}

/** Bytes that the database writes for each byte of the log, on the disk that they share. */
const databaseShare = 1
const stripes = 2

/** MB/s that the disks of a side let through. */
const allowed = (side: number, { disk }: Params): number =>
  side === 0 ? disk / (1 + databaseShare) : disk * (side === 1 ? 1 : stripes)

export const disaggregated = scenario<Params, Result>({
  name: 'paper-disaggr',
  group: 'paper',
  title: 'Throughput: a disaggregated loglet',
  shows:
    "In Delos' first deployments the log servers shared disks with the database (*converged*). Moving the log to machines of its own (*disaggregated*) is one reconfiguration, and freed the disks.",
  params: {
    tiny: { rounds: 1, seconds: 0.3, disk: 10 },
    short: { rounds: 5, seconds: 1.5, disk: 12 },
    full: { rounds: 15, seconds: 10, disk: 10 },
  },
  seconds: p => 12 + p.rounds * 3 * (p.seconds + 1.2),
  run: async (p, context) => {
    const disk = { BENCH_DISK_MB: String(p.disk) }
    const shared: NodeOptions = {
      env: { ...disk, BENCH_DISK_FACTOR: String(1 + databaseShare) },
      args: patientBroker,
    }
    const logServer: NodeOptions = { roles: ['logserver'], env: disk }
    const converged = await startCluster(context, 'native', [shared, shared, shared])
    const apart = await startCluster(context, 'native', [
      { roles: ['broker'], args: patientBroker },
      ...Array.from({ length: 3 * stripes }, () => logServer),
    ])
    const sides = [
      { name: 'converged, 3 nodes', spec: 'native', url: converged.urls[0] },
      { name: 'disaggregated, 3 log servers', spec: 'native', url: apart.urls[0] },
      {
        name: `disaggregated, ${3 * stripes} log servers`,
        spec: `striped:${stripes},servers=disjoint:native`,
        url: apart.urls[0],
      },
    ]
    const found = await alternate(context, p.rounds, sides, ({ url = '', spec }) =>
      throughputWith(url, spec, p.seconds),
    )
    return {
      sides: sides.map(({ name, spec }, i) => ({
        name,
        spec,
        throughput: spreadOf(found[i] ?? []),
        gain: ratioOf(found[i] ?? [], found[0] ?? []),
      })),
    }
  },
  section: ({ sides }, p): Section => ({
    body: [
      `**Emulated:** each node is a process of its own whose disk takes ${p.disk} MB/s (a token bucket before every write; the bytes go to the real disk and are synced there). In the converged cluster, something that writes as much again as the log is on the same disks, as a database would be: each byte of the log is charged twice. Load: ${shapeText}, three replicas; brokers let writes wait for longer than they would by default (\`queueTimeTargetMs\`).`,
      table(
        ['', 'protocol', 'MB/s', 'beside converged', 'what the disks allow'],
        sides.map(({ name, spec, throughput, gain }, i) => [
          name,
          `\`${spec}\``,
          spread(throughput),
          timesSpread(gain),
          `${number(allowed(i, p))} (${Math.round((100 * throughput.median) / allowed(i, p))} % of it reached)`,
        ]),
      ),
      '{plot:throughput}',
      `The paper: 15 K puts/s converged, 150 K/s disaggregated, on production hardware where the database and its compactions starve the log (139 K/s and 190 K/s on dedicated NVMe). How large the gain can be follows from how busy the shared disk is: here it is ${1 + databaseShare}× by construction, and ${stripes} times that with ${stripes} times the log servers. What is measured is how much of that the protocols reach, on a log that is switched between them while it is written to.`,
    ].join('\n\n'),
    plots: [
      {
        name: 'throughput',
        alt: 'Throughput with converged and disaggregated log servers',
        svg: barsSvg({
          title: `Throughput with disks of ${p.disk} MB/s (emulated)`,
          axis: 'MB/s acked',
          series: ['throughput'],
          groups: sides.map(({ name, throughput }) => ({ name, values: [throughput] })),
        }),
      },
    ],
    headlines: [
      {
        what: 'Throughput of disaggregated log servers beside converged ones (emulated disks), 3 / 6 servers',
        value: sides
          .slice(1)
          .map(({ gain }) => `${number(gain.median)}×`)
          .join(' / '),
        beside: 'Delos: up to 10×, where the database is busier',
      },
    ],
  }),
})
