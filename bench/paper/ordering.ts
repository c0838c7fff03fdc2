// What a better ordering protocol gains in latency (Delos, figure 8: ZKLoglet → NativeLoglet): a live log, switched between a loglet that orders
// by general consensus and `native`, under the paper's load.

import { alternate, sleep } from '../context.ts'
import { barsSvg } from '../report/bars.ts'
import { number, spread, table, timesSpread } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { quantileOf, ratioOf, type Spread, spreadOf } from '../stats.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { openLocalCluster } from './local-cluster.ts'

interface Params {
  readonly rounds: number
  /** Of each side in a round. */
  readonly seconds: number
  /** Appends per second. */
  readonly rate: number
}

interface Side {
  readonly p50: Spread
  readonly p99: Spread
}

interface Result {
  readonly register: Side
  readonly native: Side
  /** How many times less `native` takes. */
  readonly gain: { readonly p50: Spread; readonly p99: Spread }
}

const entryBytes = 500
const settleMs = 300

export const ordering = scenario<Params, Result>({
  name: 'paper-ordering',
  group: 'paper',
  title: 'Latency: a better ordering protocol',
  shows:
    'Delos began with a loglet over ZooKeeper, which was right but slow, and later switched the running service to its own protocol, NativeLoglet. The same move here, live and in both directions.',
  params: {
    tiny: { rounds: 1, seconds: 0.3, rate: 50 },
    short: { rounds: 5, seconds: 1.5, rate: 150 },
    full: { rounds: 25, seconds: 10, rate: 150 },
  },
  seconds: p => 2 + 2 * p.rounds * (p.seconds + 0.6),
  run: async (p, context) => {
    const log = await openLocalCluster(context, 'register')
    const sides = ['register', 'native'] as const
    const found = await alternate(context, p.rounds, sides, async spec => {
      const chain = log.chain
      await log.reconfigure(chain.segments.at(-1)?.index ?? 0, spec, 'bench')
      await atRate(log, p.rate, settleMs / 1000)
      const latencies = await atRate(log, p.rate, p.seconds)
      return { p50: quantileOf(latencies, 0.5), p99: quantileOf(latencies, 0.99) }
    })
    const [register = [], native = []] = found
    const gainOf = (pick: 'p50' | 'p99'): Spread =>
      ratioOf(
        register.map(m => m[pick]),
        native.map(m => m[pick]),
      )
    const sideOf = (of: typeof register): Side => ({
      p50: spreadOf(of.map(m => m.p50)),
      p99: spreadOf(of.map(m => m.p99)),
    })
    return {
      register: sideOf(register),
      native: sideOf(native),
      gain: { p50: gainOf('p50'), p99: gainOf('p99') },
    }
  },
  section: ({ register, native, gain }, p): Section => ({
    body: [
      `${p.rate} appends per second of ${entryBytes} bytes (the paper's production shape: 150 puts per second, 500 bytes in the median), three replicas, every append on the disks of a majority before its ack. The log is switched between the two protocols ${2 * p.rounds} times, ${p.seconds} s in each.`,
      '**Emulated:** there is no ZooKeeper here. Its part is played by a loglet made for this benchmark that orders by general consensus and is not made fast, as the paper says of its ZKLoglet: what waits becomes the next version of a Paxos register on three nodes, two round trips to a majority and three durable steps each. ZooKeeper itself would do better than that, so read the ratio as "an ordering protocol made for logs against a general one", not as "Logloom against ZooKeeper". All nodes are in one process with directories of their own on one disk; no network lies between them, so what is compared is rounds and syncs.',
      table(
        ['loglet', 'p50 ms', 'p99 ms'],
        [
          ['general consensus (emulated)', spread(register.p50), spread(register.p99)],
          ['`native`', spread(native.p50), spread(native.p99)],
          ['gain', timesSpread(gain.p50), timesSpread(gain.p99)],
          ['**paper**', '', '5× (multi-put), 10× (multi-get, indexed query)'],
        ],
      ),
      '{plot:latency}',
    ].join('\n\n'),
    plots: [
      {
        name: 'latency',
        alt: 'Latency of an append with each ordering protocol',
        svg: barsSvg({
          title: 'Latency of an append, the same log switched between two protocols',
          axis: 'ms until durable on a majority of three',
          series: ['p50', 'p99'],
          groups: [
            { name: 'general consensus', values: [register.p50, register.p99] },
            { name: 'native', values: [native.p50, native.p99] },
          ],
        }),
      },
    ],
    headlines: [
      {
        what: 'p99 of an append after the switch to a better ordering protocol (first one emulated)',
        value: `${number(gain.p99.median)}× lower`,
        beside: 'Delos: 5× for writes, 10× for reads',
      },
    ],
  }),
})

/** @returns latencies, ms, from when each was due */
async function atRate(log: VirtualLog, rate: number, seconds: number): Promise<readonly number[]> {
  const entry = [new Uint8Array(entryBytes)]
  const total = Math.max(1, Math.round(rate * seconds))
  const begun = performance.now()
  const latencies: number[] = []
  const pending: Promise<void>[] = []
  for (let i = 0; i < total; i++) {
    const due = begun + (i / rate) * 1000
    const early = due - performance.now()
    if (early > 0) await sleep(early)
    pending.push(
      log.append(entry).then(() => {
        latencies.push(performance.now() - due)
      }),
    )
  }
  await Promise.all(pending)
  return latencies
}
