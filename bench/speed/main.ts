// The broker beside the bare loop, both measured in one run, alternating, on this machine (DESIGN 10). fsync before every ack.
// Usage: node dist/bench/speed/main.js [SECONDS=4] [ROUNDS=3]

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BenchProcess, startProcess } from '../processes.ts'
import type { LoadOptions, LoadResult } from './options.ts'

const seconds = Number(process.argv[2] ?? 4)
const rounds = Number(process.argv[3] ?? 3)
/** `sdk`: leave out the first four comparisons. */
const only = process.argv[4]
const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const cli = fileURLToPath(new URL('../../../broker/cli/logloom.cjs', import.meta.url))
const directory = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'logloom-bench-'))

interface Side {
  readonly name: string
  /** `--loglet` of the broker; absent = the bare loop. */
  readonly loglet?: string
  readonly args?: readonly string[]
  /** Plain records through the SDK instead of pre-encoded frames. */
  readonly sdk?: boolean
}

interface Measured extends LoadResult {
  readonly followedMb: number
}

const loop: Side = { name: 'bare loop' }
const file: Side = { name: 'broker, file', loglet: 'file' }
const striped: Side = { name: 'broker, striped:2:file', loglet: 'striped:2:file' }

console.log(
  `machine: ${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${osRelease()}`,
)
console.log(
  `command: node dist/bench/speed/main.js ${seconds} ${rounds}; data in ${tmpdir()}; median of ${rounds} rounds of ${seconds} s, sides alternating`,
)

try {
  for (const recordBytes of only === 'sdk' ? [] : [1024, 100])
    for (const follow of [false, true])
      await compare(
        `${recordBytes} B records, 64 KB batches, 8 in flight${follow ? ', one following consumer' : ''}`,
        [loop, file, striped],
        { recordBytes, batchBytes: 65_536, inFlight: 8 },
        follow,
      )
  for (const recordBytes of [1024, 100])
    await compare(
      `SDK: ${recordBytes} B plain records, encoded by the client process, batches of 64 KB`,
      [
        loop,
        { name: 'SDK, file', loglet: 'file', sdk: true },
        { name: 'SDK, striped:2:file', loglet: 'striped:2:file', sdk: true },
      ],
      { recordBytes, batchBytes: 65_536, inFlight: 8 },
      false,
    )
  const oneInFlight = ['--appends-in-flight-max', '1']
  await compare(
    'appends in flight: 1 KB records, 64 KB batches, 32 requests in flight',
    [
      { name: 'file, 1 append', loglet: 'file', args: oneInFlight },
      { name: 'file, 8 appends', loglet: 'file' },
      { name: 'striped:4:file, 1 append', loglet: 'striped:4:file', args: oneInFlight },
      { name: 'striped:4:file, 8 appends', loglet: 'striped:4:file' },
    ],
    { recordBytes: 1024, batchBytes: 65_536, inFlight: 32 },
    false,
  )
  await compare(
    'latency at 1,000 records/s, one record a request, linger 0',
    [loop, file, striped],
    { recordBytes: 1024, batchBytes: 1024, inFlight: 1, rate: 1000 },
    false,
  )
} finally {
  rmSync(directory, { recursive: true, force: true })
}

type Shape = Pick<LoadOptions, 'recordBytes' | 'batchBytes' | 'inFlight' | 'rate'>

async function compare(
  title: string,
  sides: readonly Side[],
  shape: Shape,
  follow: boolean,
): Promise<void> {
  const results = new Map<Side, Measured[]>(sides.map(side => [side, []]))
  for (let round = 0; round < rounds; round++)
    for (const side of sides) results.get(side)?.push(await measure(side, shape, follow))
  console.log(`\n${title}`)
  console.log(
    'side                       MB/s   records/s   p50 ms   p99 ms   followed MB/s   throughput ratio   p50 ratio',
  )
  const base = summarise(results.get(sides[0] as Side) ?? [])
  for (const side of sides) {
    const row = summarise(results.get(side) ?? [])
    console.log(
      [
        side.name.padEnd(25),
        row.mbPerSecond.toFixed(1).padStart(7),
        Math.round(row.recordsPerSecond).toString().padStart(11),
        row.p50.toFixed(2).padStart(8),
        row.p99.toFixed(2).padStart(8),
        row.followed.toFixed(1).padStart(15),
        (row.mbPerSecond / base.mbPerSecond).toFixed(2).padStart(18),
        (row.p50 / base.p50).toFixed(2).padStart(11),
      ].join(' '),
    )
  }
}

async function measure(side: Side, shape: Shape, follow: boolean): Promise<Measured> {
  const data = mkdtempSync(join(directory, 'side-'))
  const server = await startSide(side, data)
  const isLoop = side.loglet === undefined
  const options: LoadOptions = {
    ...shape,
    url: server.url,
    hello: !isLoop,
    topic: 'bench',
    seconds,
  }
  try {
    if (!isLoop) await runLoad({ ...options, seconds: 0.2 })
    const follower = follow
      ? startProcess(script('follow-client.js'), [server.url, isLoop ? '-' : 'bench'])
      : undefined
    await follower?.line()
    const result = await runLoad(options, side.sdk)
    follower?.child.stdin?.end()
    const followed =
      follower === undefined ? 0 : (JSON.parse(await follower.line()) as { bytes: number }).bytes
    await follower?.stop()
    return { ...result, followedMb: followed / 1e6 }
  } finally {
    await server.process.stop()
    rmSync(data, { recursive: true, force: true })
  }
}

async function startSide(
  side: Side,
  data: string,
): Promise<{ process: BenchProcess; url: string }> {
  if (side.loglet === undefined) {
    const server = startProcess(script('loop-server.js'), [data])
    return { process: server, url: (await server.line()).split(' ')[1] as string }
  }
  const args = ['start', '--data', data, '--port', '0', '--format', 'json', '--loglet', side.loglet]
  const server = startProcess(cli, [...args, ...(side.args ?? [])])
  return { process: server, url: (JSON.parse(await server.line()) as { url: string }).url }
}

async function runLoad(options: LoadOptions, sdk = false): Promise<LoadResult> {
  const client = startProcess(script(sdk ? 'sdk-client.js' : 'load-client.js'), [
    JSON.stringify(options),
  ])
  try {
    return JSON.parse(await client.line()) as LoadResult
  } finally {
    await client.stop()
  }
}

function summarise(results: readonly Measured[]): {
  mbPerSecond: number
  recordsPerSecond: number
  p50: number
  p99: number
  followed: number
} {
  const median = (pick: (r: Measured) => number): number =>
    results.map(pick).sort((a, b) => a - b)[results.length >> 1] ?? Number.NaN
  return {
    mbPerSecond: median(r => r.bytes / 1e6 / r.seconds),
    recordsPerSecond: median(r => r.records / r.seconds),
    p50: median(r => r.p50),
    p99: median(r => r.p99),
    followed: median(r => r.followedMb / r.seconds),
  }
}

function osRelease(): string {
  return readFileSync('/proc/version', 'utf8').split(' ').slice(0, 3).join(' ')
}
