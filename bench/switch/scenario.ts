// What a switch of the log costs the clients and what it gains them: records at a fixed rate, each timed from the moment at which it was due,
// while the log goes from protocol to protocol.

import { OpenLoad } from '../../broker/cli/bench-load.ts'
import { type Client, connect } from '../../client/index.ts'
import { startBroker, startCluster, urlOfSequencer } from '../brokers.ts'
import { type BenchContext, sleep } from '../context.ts'
import { count, number, spread, table } from '../report/text.ts'
import { timelineSvg } from '../report/timeline.ts'
import { type Plot, scenario, type Section } from '../scenario.ts'
import { spreadOf } from '../stats.ts'
import { type Held, heldOf, type Window, windowsOf } from './windows.ts'

interface Params {
  /** Records per second, all connections together: to the one broker, and to the cluster, whose nodes share this machine. */
  readonly rate: number
  readonly clusterRate: number
  readonly bytes: number
  /** Seconds before anything is measured. */
  readonly warm: number
  /** Seconds in each protocol. */
  readonly hold: number
  /** Switches forth and back afterwards, for the distribution of pauses. */
  readonly switches: number
}

interface SwitchRun {
  readonly name: string
  readonly windows: readonly Window[]
  readonly events: readonly { readonly second: number; readonly label: string }[]
  /** Of each protocol, but for the second after the switch. */
  readonly held: readonly (Held & { readonly spec: string })[]
  readonly sent: number
  readonly acked: number
  readonly errors: number
  /** Longest gap without an ack of each switch, as the broker saw it, ms. */
  readonly pausesMs: readonly number[]
}

interface Result {
  readonly runs: readonly SwitchRun[]
}

const connections = 4
const windowMs = 250
const betweenMs = 400
const single = ['file', 'striped:4:file', 'file', 'memory', 'file']
const cluster = ['native', 'striped:3,servers=shared:native', 'native']

export const switchScenario = scenario<Params, Result>({
  name: 'switch',
  group: 'switch',
  title: 'Throughput and latency while the log changes its protocol',
  shows:
    'Producers send at a fixed rate; meanwhile an operator switches the log from one storage protocol to another and on (`logloom log switch`). Clients are not told, and none of them may see an error.',
  params: {
    tiny: { rate: 200, clusterRate: 200, bytes: 100, warm: 0.1, hold: 1, switches: 1 },
    short: { rate: 4000, clusterRate: 2000, bytes: 1000, warm: 2, hold: 6, switches: 20 },
    full: { rate: 4000, clusterRate: 2000, bytes: 1000, warm: 5, hold: 30, switches: 200 },
  },
  seconds: p => 8 + 2 * p.warm + 8 * p.hold + 2 * p.switches * 0.6,
  run: async (p, context) => {
    const broker = await startBroker(context, { loglet: 'file' })
    const one = await measure('one broker', [broker.url], single, p, context)
    await broker.stop()
    const nodes = await startCluster(context, 'native', [{}, {}, {}])
    const url = await urlOfSequencer(nodes)
    const three = await measure(
      'three nodes',
      [url],
      cluster,
      { ...p, rate: p.clusterRate },
      context,
    )
    await nodes.stop()
    return { runs: [one, three] }
  },
  section,
})

async function measure(
  name: string,
  urls: readonly string[],
  specs: readonly string[],
  p: Params,
  context: BenchContext,
): Promise<SwitchRun> {
  const clients = await Promise.all(
    Array.from({ length: connections }, (_, i) => connect(urls[i % urls.length] as string)),
  )
  context.defer(async () => {
    await Promise.all(clients.map(client => client.close()))
  })
  const admin = (clients[0] as Client).admin()
  await admin.createTopic({ topic: 'load', partitions: connections })
  const newLoad = (): OpenLoad =>
    new OpenLoad(clients, { topic: 'load', bytes: p.bytes, rate: p.rate })
  const warm = newLoad()
  await sleep(p.warm * 1000)
  await warm.stop()
  const load = newLoad()
  const pausesMs: number[] = []
  const goTo = async (spec: string): Promise<void> => {
    pausesMs.push((await admin.switchLog(spec)).pauseMs)
  }
  const events: { second: number; label: string }[] = [{ second: 0, label: specs[0] as string }]
  await sleep(p.hold * 1000)
  for (const spec of specs.slice(1)) {
    events.push({ second: load.second, label: spec })
    await goTo(spec)
    context.tick(`${name}, ${spec}`)
    await sleep(p.hold * 1000)
  }
  const seconds = load.second
  await load.stop()
  const again = newLoad()
  for (let i = 0; i < p.switches; i++) {
    await sleep(betweenMs)
    await goTo(specs[(i + 1) % 2] as string)
  }
  await again.stop()
  await Promise.all(clients.map(client => client.close()))
  const { samples } = load
  return {
    name,
    windows: windowsOf(samples, windowMs, 0, Math.floor((seconds * 1000) / windowMs)),
    events,
    held: events.map(({ second, label }, i) => {
      const to = events[i + 1]?.second ?? seconds
      // Whole seconds, the one after the switch left out.
      const count = Math.max(1, Math.floor(to - second - 1))
      return { spec: label, ...heldOf(windowsOf(samples, 1000, (to - count) * 1000, count)) }
    }),
    sent: load.sent + again.sent,
    acked: samples.length + again.samples.length,
    errors: load.errors + again.errors,
    pausesMs,
  }
}

function section({ runs }: Result, p: Params): Section {
  const body = [
    `Records of ${count(p.bytes)} bytes, ${count(p.rate)} per second to the one broker and ${count(p.clusterRate)} to the cluster (all of whose nodes share this machine), over ${connections} connections. \`file\` and \`native\` sync every record before its ack; \`memory\` keeps records in memory only, and whoever switches to it is warned. \`native\` (majority of three log servers) and \`file\` (one disk) cannot serve the same log: a log of several nodes refuses a protocol that only one of them can read. So there are two runs. Each figure is the median of at least ${Math.max(1, p.hold - 1)} windows of one second, with the least and the most.`,
    ...runs.map(runText),
  ].join('\n\n')
  const pauses = runs.map(run => spreadOf(run.pausesMs))
  const errors = runs.reduce((sum, run) => sum + run.errors, 0)
  const acked = runs.reduce((sum, run) => sum + run.acked, 0)
  return {
    body,
    plots: runs.map(plotOf),
    headlines: [
      {
        what: 'Pause of the producers at a switch of the log, one broker / three nodes',
        value: `${pauses.map(pause => spread(pause)).join(' / ')} ms`,
        beside: 'Delos: "tens of ms" in one data centre',
      },
      {
        what: 'Errors that clients saw at switches',
        value: `${errors} of ${count(acked)} records`,
        beside: '0',
      },
    ],
  }
}

function runText({ name, held, sent, acked, errors, pausesMs }: SwitchRun, i: number): string {
  const pauses = spreadOf(pausesMs)
  const rows = held.map(h => [
    `\`${h.spec}\``,
    number(h.recordsPerSecond.median),
    spread(h.p50),
    spread(h.p99),
  ])
  return [
    `#### ${name === 'one broker' ? 'One broker, one disk' : 'Three nodes on one machine and one disk'}`,
    `{plot:${i + 1}}`,
    table(['protocol', 'records/s', 'p50 ms', 'p99 ms'], rows),
    `${count(sent)} records sent, ${count(acked)} acked, **${errors} errors**. Pause at a switch (longest gap without an ack, as the broker saw it) of ${pauses.n} switches: ${spread(pauses)} ms.`,
  ].join('\n\n')
}

function plotOf({ name, windows, events }: SwitchRun, i: number): Plot {
  return {
    name: String(i + 1),
    alt: `Throughput and latency over time, ${name}, with the switches marked`,
    svg: timelineSvg({
      title: `Switches under load: ${name}`,
      step: windowMs / 1000,
      events,
      panels: [
        {
          title: 'records acked per second',
          series: [{ name: 'acked', values: windows.map(w => w.acked) }],
        },
        {
          title: 'latency until the ack, ms',
          series: [
            { name: 'p50', values: windows.map(w => w.p50) },
            { name: 'p99', values: windows.map(w => w.p99) },
          ],
        },
      ],
    }),
  }
}
