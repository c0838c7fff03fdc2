// The disk of a broker under retention: many gigabytes through a bound of few, with a topic that keeps for ever among the others. Prints disk use over time,
// write amplification, and the latency of small produces with cleaning and without: a second broker that never trims gets the same load in alternating
// phases. Usage: node retention-load.js [--gb 20] [--bound-gb 2] [--mb-per-second 50] [--phase-seconds 10] [--svg docs/retention-load.svg]
// Ends with exit code 1 when the disk was above the bound, or a record of the topic that keeps for ever cannot be read.

import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { connect } from '../../client/index.ts'
import { encodeBatch, type RequestChannel } from '../../wire/index.ts'
import { scrape, sumOf } from '../metrics-page.ts'
import { type BrokerProcess, startBrokerProcess, withDirectory } from './broker-process.ts'
import { type Latency, latencyOf, openChannel } from './measure.ts'
import { option } from './options.ts'

export interface RetentionLoadOptions {
  readonly bytes: number
  readonly boundBytes: number
  readonly bytesPerSecond: number
  readonly phaseMs: number
}

export interface Sample {
  readonly seconds: number
  /** Bytes of everything in the data directory. */
  readonly disk: number
  readonly live: number
}

export interface RetentionLoadReport {
  readonly producedBytes: number
  readonly seconds: number
  readonly boundBytes: number
  readonly diskMaxBytes: number
  readonly liveMaxBytes: number
  /** Bytes of log entries per produced byte, moved ones included. */
  readonly logAmplification: number
  /** Bytes that the process wrote to the disk per produced byte: log, state and checkpoints. */
  readonly diskAmplification: number
  readonly relocatedBytes: number
  readonly cleaning: Latency
  readonly idle: Latency
  readonly keptRecords: number
  readonly readRecords: number
  readonly samples: readonly Sample[]
}

interface Side {
  readonly broker: BrokerProcess
  readonly channel: RequestChannel
  readonly probe: RequestChannel
  readonly latencies: number[]
  produced: number
  kept: number
}

const recordBytes = 1024
const recordsPerBatch = 63
/** Of the produced bytes this share goes to the topic that keeps for ever, until it has its share of the bound. */
const keptShare = 0.04
const keptBoundShare = 0.1
/** What the other topics keep, of the bound. */
const shortBoundShare = 0.22
const shortTopics = 4
const lanes = 4
const probeEveryMs = 10

export function retentionLoad(o: RetentionLoadOptions): Promise<RetentionLoadReport> {
  return withDirectory(async directory => {
    const segment = Math.max(1 << 20, Math.min(64 << 20, Math.floor(o.boundBytes / 64)))
    const common = ['--loglet', `striped:2:file,segment.bytes=${segment}`]
    const slack = Math.floor(o.boundBytes / 32)
    const data = join(directory, 'cleaning')
    const cleaning = await startSide(data, o, [...common, '--reclaim-bytes-min', String(slack)])
    const never = ['--reclaim-bytes-min', '1000000000000', '--log-size-target-percent', '1000000']
    const idle = await startSide(join(directory, 'idle'), o, [...common, ...never])
    const samples: Sample[] = []
    const started = performance.now()
    const over = new AbortController()
    const sampler = (async () => {
      while (!over.signal.aborted) {
        const { live } = await metricsOf(cleaning.broker)
        const seconds = (performance.now() - started) / 1000
        samples.push({ seconds, disk: await bytesBelow(data), live })
        await new Promise(resolve => setTimeout(resolve, 500))
      }
    })()
    // The one without cleaning gets no more than its disk may hold, in short phases all along.
    const rounds = Math.max(2, Math.ceil(o.bytes / ((o.bytesPerSecond * o.phaseMs) / 1000)))
    const idleBytes = Math.min(o.bytes / rounds, o.boundBytes / rounds)
    for (let round = 0; round < rounds; round++) {
      await phase(cleaning, o, o.bytes / rounds)
      await phase(idle, o, idleBytes)
    }
    const { appended, live, relocated } = await metricsOf(cleaning.broker)
    const written = await writtenBy(cleaning.broker)
    over.abort()
    await sampler
    const readRecords = await readKept(cleaning.broker.url)
    for (const side of [cleaning, idle]) {
      side.channel.close()
      side.probe.close()
      await side.broker.kill('SIGTERM')
    }
    return {
      producedBytes: cleaning.produced,
      seconds: samples.at(-1)?.seconds ?? 0,
      boundBytes: o.boundBytes,
      diskMaxBytes: Math.max(...samples.map(({ disk }) => disk)),
      liveMaxBytes: Math.max(live, ...samples.map(s => s.live)),
      logAmplification: appended / cleaning.produced,
      diskAmplification: written / cleaning.produced,
      relocatedBytes: relocated,
      cleaning: latencyOf(cleaning.latencies),
      idle: latencyOf(idle.latencies),
      keptRecords: cleaning.kept,
      readRecords,
      samples,
    }
  })
}

async function startSide(
  data: string,
  o: RetentionLoadOptions,
  args: readonly string[],
): Promise<Side> {
  const broker = await startBrokerProcess({
    data,
    args: [...args, '--retention-check-interval-ms', '1000'],
  })
  const client = await connect(broker.url)
  const admin = client.admin()
  await admin.createTopic('keeps', { config: { 'retention.ms': '-1' } })
  const bytes = String(Math.floor((o.boundBytes * shortBoundShare) / shortTopics))
  for (let t = 0; t < shortTopics; t++)
    await admin.createTopic(`short-${t}`, { config: { 'retention.bytes': bytes } })
  await admin.createTopic('probe', { config: { 'retention.bytes': '1000000' } })
  await client.close()
  const [channel, probe] = [await openChannel(broker.url), await openChannel(broker.url)]
  return { broker, channel, probe, latencies: [], produced: 0, kept: 0 }
}

/** So many bytes at the rate that is asked for, and small produces beside them. */
async function phase(side: Side, o: RetentionLoadOptions, bytes: number): Promise<void> {
  const batch = encodeBatch(
    Array.from({ length: recordsPerBatch }, () => ({ value: 'x'.repeat(recordBytes) })),
    { now: Date.now() },
  )
  const goal = side.produced + bytes
  const started = performance.now()
  const before = side.produced
  let sent = side.produced
  let isOver = false
  const probing = probeUntil(side, () => isOver)
  const lane = async (n: number): Promise<void> => {
    for (let i = n; sent < goal; i++) {
      const keeps = (sent * keptShare) / batch.length > side.kept / recordsPerBatch
      const isKept = keeps && side.kept * recordBytes < o.boundBytes * keptBoundShare
      if (isKept) side.kept += recordsPerBatch
      sent += batch.length
      const ahead = (sent - before) / o.bytesPerSecond - (performance.now() - started) / 1000
      if (ahead > 0) await new Promise(resolve => setTimeout(resolve, ahead * 1000))
      const topic = isKept ? 'keeps' : `short-${i % shortTopics}`
      await side.channel.request('produce', { topic, partition: 0, batch })
      side.produced += batch.length
    }
  }
  await Promise.all(Array.from({ length: lanes }, (_, n) => lane(n)))
  isOver = true
  await probing
}

async function probeUntil(side: Side, isOver: () => boolean): Promise<void> {
  const batch = encodeBatch([{ value: 'x'.repeat(100) }], { now: Date.now() })
  while (!isOver()) {
    const sentAt = performance.now()
    await side.probe.request('produce', { topic: 'probe', partition: 0, batch })
    side.latencies.push(performance.now() - sentAt)
    await new Promise(resolve => setTimeout(resolve, probeEveryMs))
  }
}

async function readKept(url: string): Promise<number> {
  const client = await connect(url)
  let records = 0
  for await (const { offset } of client.read('keeps', { from: 0, until: 'end' }))
    if (offset === records) records++
  await client.close()
  return records
}

async function metricsOf(broker: BrokerProcess): Promise<{
  live: number
  appended: number
  relocated: number
}> {
  const page = await scrape(broker)
  return {
    live: sumOf(page, 'logloom_log_live_bytes'),
    appended: sumOf(page, 'logloom_append_bytes_total'),
    relocated: sumOf(page, 'logloom_relocated_bytes_total'),
  }
}

async function writtenBy({ pid }: BrokerProcess): Promise<number> {
  const io = await readFile(`/proc/${pid}/io`, 'utf8').catch(() => '')
  return Number(/^write_bytes: (\d+)$/m.exec(io)?.[1] ?? Number.NaN)
}

async function bytesBelow(path: string): Promise<number> {
  const files = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => [])
  const sizes = await Promise.all(
    files
      .filter(file => file.isFile())
      .map(file => stat(join(file.parentPath, file.name)).catch(() => undefined)),
  )
  return sizes.reduce((sum, found) => sum + (found === undefined ? 0 : found.blocks * 512), 0)
}

/** Disk use over time as a picture. */
export function plot({ samples, boundBytes, producedBytes }: RetentionLoadReport): string {
  const [width, height, left, bottom] = [720, 320, 60, 40]
  const secondsMax = samples.at(-1)?.seconds ?? 1
  const bytesMax = Math.max(boundBytes, ...samples.map(({ disk }) => disk)) * 1.1
  const x = (seconds: number): number => left + (seconds / secondsMax) * (width - left - 10)
  const y = (bytes: number): number => height - bottom - (bytes / bytesMax) * (height - bottom - 30)
  const line = (pick: (sample: Sample) => number): string =>
    samples.map(s => `${x(s.seconds).toFixed(1)},${y(pick(s)).toFixed(1)}`).join(' ')
  const gb = (bytes: number): string => (bytes / 1e9).toFixed(2)
  const text = (at: number, to: number, words: string, anchor = 'start'): string =>
    `<text x="${at}" y="${to}" text-anchor="${anchor}">${words}</text>`
  const marks = [0, 0.25, 0.5, 0.75, 1].flatMap(share => [
    text(left - 6, y(boundBytes * share) + 4, gb(boundBytes * share), 'end'),
    text(x(secondsMax * share), height - bottom + 16, (secondsMax * share).toFixed(0), 'middle'),
  ])
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<rect width="${width}" height="${height}" fill="white"/>
${text(left, 18, `${gb(producedBytes)} GB through a bound of ${gb(boundBytes)} GB: bytes of the data directory (blue), live batches (green)`)}
<path d="M${left},${y(0)}H${width - 10}M${left},${y(0)}V${y(bytesMax)}" stroke="black" fill="none"/>
<path d="M${left},${y(boundBytes)}H${width - 10}" stroke="firebrick" stroke-dasharray="6 4"/>
<polyline points="${line(s => s.disk)}" stroke="steelblue" stroke-width="1.5" fill="none"/>
<polyline points="${line(s => s.live)}" stroke="seagreen" stroke-width="1.5" fill="none"/>
${marks.join('\n')}
${text(width / 2, height - 8, 'seconds', 'middle')}
${text(8, 18, 'GB')}
</svg>
`
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const report = await retentionLoad({
    bytes: option('gb', 20) * 1e9,
    boundBytes: option('bound-gb', 2) * 1e9,
    bytesPerSecond: option('mb-per-second', 50) * 1e6,
    phaseMs: option('phase-seconds', 10) * 1000,
  })
  const at = process.argv.indexOf('--svg')
  const path = at < 0 ? 'docs/retention-load.svg' : (process.argv[at + 1] as string)
  await writeFile(path, plot(report))
  const { samples, ...rest } = report
  const shown = samples.filter((_, i) => i % Math.ceil(samples.length / 20) === 0)
  for (const { seconds, disk, live } of shown)
    console.log(
      `${seconds.toFixed(0).padStart(5)} s  disk ${(disk / 1e6).toFixed(0).padStart(6)} MB  live ${(live / 1e6).toFixed(0).padStart(6)} MB`,
    )
  console.log(JSON.stringify(rest, null, 2))
  const isBounded = report.diskMaxBytes <= report.boundBytes
  process.exit(isBounded && report.readRecords === report.keptRecords ? 0 : 1)
}
