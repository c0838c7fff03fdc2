// What a switch of the log costs the clients and what it gains them: records at a fixed rate, each timed from the moment at which it was due, while the log goes from
// protocol to protocol. Usage: node main.js [--rate 4000] [--bytes 1000] [--hold 6] [--switches 10]
// Writes bench/results/switch.json, docs/benchmarks/switch-*.svg and docs/benchmarks.md. Every record is synced before its ack, but in `memory`, which says so.

import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { OpenLoad, quantile, type Sample } from '../../broker/cli/bench-load.ts'
import { type Client, connect } from '../../client/index.ts'
import { withNodes } from '../cluster/nodes.ts'
import { benchmarksPage } from '../report/benchmarks-page.ts'
import { timelineSvg } from '../report/timeline.ts'

const bucketMs = 250
const connections = 4

export interface SwitchOptions {
  /** Records per second, all connections together. */
  readonly rate: number
  readonly bytes: number
  /** Seconds in each protocol. */
  readonly hold: number
  /** Switches forth and back afterwards, for the distribution of pauses. */
  readonly switches: number
}

export interface Bucket {
  readonly acked: number
  /** ms; undefined when nothing was acked. */
  readonly p50?: number
  readonly p99?: number
}

export interface Held {
  readonly spec: string
  readonly recordsPerSecond: number
  readonly p50: number
  readonly p99: number
}

export interface SwitchRun {
  readonly name: string
  readonly specs: readonly string[]
  readonly buckets: readonly Bucket[]
  readonly events: readonly { readonly second: number; readonly label: string }[]
  /** Of each protocol, but for the second after the switch. */
  readonly held: readonly Held[]
  readonly sent: number
  readonly acked: number
  readonly errors: number
  /** Longest gap without an ack of each switch, as the broker saw it, ms. */
  readonly pausesMs: readonly number[]
}

export interface SwitchReport {
  readonly machine: string
  readonly command: string
  readonly commit: string
  readonly options: SwitchOptions
  readonly runs: readonly SwitchRun[]
}

async function measure(
  name: string,
  urls: readonly string[],
  specs: readonly string[],
  o: SwitchOptions,
): Promise<SwitchRun> {
  const clients = await Promise.all(
    Array.from({ length: connections }, (_, i) => connect(urls[i % urls.length] as string)),
  )
  const admin = (clients[0] as Client).admin()
  await admin.createTopic({ topic: 'load', partitions: connections })
  const warm = new OpenLoad(clients, { topic: 'load', bytes: o.bytes, rate: o.rate })
  await sleep(2000)
  await warm.stop()
  const load = new OpenLoad(clients, { topic: 'load', bytes: o.bytes, rate: o.rate })
  const events: { second: number; label: string }[] = [{ second: 0, label: specs[0] as string }]
  const pausesMs: number[] = []
  const goTo = async (spec: string): Promise<void> => {
    pausesMs.push((await admin.switchLog(spec)).pauseMs)
  }
  await sleep(o.hold * 1000)
  for (const spec of specs.slice(1)) {
    events.push({ second: load.second, label: spec })
    await goTo(spec)
    await sleep(o.hold * 1000)
  }
  await load.stop()
  const seconds = events.length * o.hold
  const { samples, sent, errors } = load
  const again = new OpenLoad(clients, { topic: 'load', bytes: o.bytes, rate: o.rate })
  for (let i = 0; i < o.switches; i++) {
    await sleep(500)
    await goTo(specs[i % 2] as string)
  }
  await again.stop()
  await Promise.all(clients.map(client => client.close()))
  return {
    name,
    specs,
    buckets: bucketsOf(samples, seconds),
    events,
    held: events.map(({ second, label }, i) => {
      const to = events[i + 1]?.second ?? second + o.hold
      return heldOf(label, samples, second + 1, to)
    }),
    sent: sent + again.sent,
    acked: samples.length + again.samples.length,
    errors: errors + again.errors,
    pausesMs,
  }
}

type Samples = readonly Sample[]

function bucketsOf(samples: Samples, seconds: number): readonly Bucket[] {
  const count = Math.floor((seconds * 1000) / bucketMs)
  const latencies: number[][] = Array.from({ length: count }, () => [])
  const acked = latencies.map(() => 0)
  for (const { at, ms } of samples) {
    latencies[Math.floor(at / bucketMs)]?.push(ms)
    const then = Math.floor((at + ms) / bucketMs)
    if (then < count) acked[then] = (acked[then] ?? 0) + 1
  }
  return latencies.map((found, i) => ({
    acked: acked[i] ?? 0,
    ...(found.length === 0 ? {} : { p50: quantile(found, 0.5), p99: quantile(found, 0.99) }),
  }))
}

function heldOf(spec: string, samples: Samples, from: number, to: number): Held {
  const found = samples.filter(({ at }) => at >= from * 1000 && at < to * 1000).map(s => s.ms)
  return {
    spec,
    recordsPerSecond: Math.round(found.length / (to - from)),
    p50: quantile(found, 0.5),
    p99: quantile(found, 0.99),
  }
}

function option(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? fallback : Number(process.argv[at + 1])
}

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export function svgOf({ name, buckets, events }: SwitchRun): string {
  const perSecond = 1000 / bucketMs
  const ms = (value: number): string => `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ms`
  return timelineSvg({
    title: `Switches under load: ${name}`,
    step: bucketMs / 1000,
    events,
    panels: [
      {
        title: 'Records acked per second',
        format: value => value.toFixed(0),
        series: [
          { name: 'acked', color: '#2b6cb0', values: buckets.map(b => b.acked * perSecond) },
        ],
      },
      {
        title: 'Latency from when a record was due until its ack',
        format: ms,
        series: [
          { name: 'p50', color: '#2b6cb0', values: buckets.map(b => b.p50) },
          { name: 'p99', color: '#c05621', values: buckets.map(b => b.p99) },
        ],
      },
    ],
  })
}

const o: SwitchOptions = {
  rate: option('rate', 4000),
  bytes: option('bytes', 1000),
  hold: option('hold', 6),
  switches: option('switches', 10),
}
const single = ['file', 'striped:4:file', 'file', 'memory', 'file']
const cluster = ['native', 'striped:3,servers=shared:native', 'native']
const runs = [
  await withNodes({ name: 'one', nodes: 1, loglet: 'file' }, url =>
    measure('one broker, one disk', [url], single, o),
  ),
  await withNodes({ name: 'three', nodes: 3, loglet: 'native' }, url =>
    measure('three nodes, one disk', [url], cluster, o),
  ),
]
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
const report: SwitchReport = {
  machine: `${cpus().length} × ${cpus()[0]?.model.trim() ?? '?'}, Node ${process.version}, ${process.platform}; a shared machine`,
  command: `npm run bench:switch -- --rate ${o.rate} --bytes ${o.bytes} --hold ${o.hold} --switches ${o.switches}`,
  commit,
  options: o,
  runs,
}
mkdirSync('docs/benchmarks', { recursive: true })
mkdirSync('bench/results', { recursive: true })
writeFileSync('bench/results/switch.json', `${JSON.stringify(report)}\n`)
for (const [i, run] of runs.entries())
  writeFileSync(`docs/benchmarks/switch-${i + 1}.svg`, svgOf(run))
const page = benchmarksPage(report)
writeFileSync('docs/benchmarks.md', page)
process.stdout.write(page)
