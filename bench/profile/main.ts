// Where the work of `native` on three nodes goes, beside `file` on one, under the same load: CPU time of all nodes and bytes written per MB acked
// (/proc), and the functions that the time goes to (V8's profiler in every node). No scenario of the report: a tool for whoever looks for what to make faster.
// Usage: node dist/bench/profile/main.js [SECONDS=5]

import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { type BenchContext, makeRunDirectory, withContext } from '../context.ts'
import { startBroker, startCluster, urlOfSequencer } from '../brokers.ts'
import { runLoad } from '../speed/options.ts'

const seconds = Number(process.argv[2] ?? 5)
interface Side {
  readonly name: string
  readonly nodes: number
  readonly loglet: string
}

const sides: readonly Side[] = [
  { name: 'file, 1 node', nodes: 1, loglet: 'file' },
  { name: 'native, 3 nodes', nodes: 3, loglet: 'native' },
]
const ticksPerSecond = 100

interface Use {
  readonly cpuMs: number
  readonly bytesWritten: number
}

/** What a process has used so far. */
function useOf(pid: number): Use {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const io = readFileSync(`/proc/${pid}/io`, 'utf8')
  return {
    cpuMs: ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond,
    bytesWritten: Number(/^write_bytes: (\d+)/m.exec(io)?.[1] ?? 0),
  }
}

interface Profile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string }
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** Self time by place, ms, without idle. */
function selfTimes(profiles: string): Map<string, number> {
  const times = new Map<string, number>()
  for (const name of readdirSync(profiles)) {
    const profile = JSON.parse(readFileSync(join(profiles, name), 'utf8')) as Profile
    const places = new Map(
      profile.nodes.map(({ id, callFrame: { functionName, url } }) => [
        id,
        `${functionName === '' ? '(anonymous)' : functionName} ${url.split('/').slice(-2).join('/')}`,
      ]),
    )
    profile.samples.forEach((id, i) => {
      const place = places.get(id) ?? ''
      if (place.startsWith('(idle)')) return
      times.set(place, (times.get(place) ?? 0) + (profile.timeDeltas[i] ?? 0) / 1000)
    })
  }
  return times
}

/** `work` gets the URL of the node with the sequencer, and the pids of all. */
async function withNodes<T>(
  context: BenchContext,
  { nodes, loglet }: Side,
  work: (url: string, pids: readonly number[]) => Promise<T>,
): Promise<T> {
  if (nodes === 1) {
    const server = await startBroker(context, { loglet })
    const result = await work(server.url, [server.process.pid])
    await server.stop()
    return result
  }
  const cluster = await startCluster(
    context,
    loglet,
    Array.from({ length: nodes }, () => ({})),
  )
  const result = await work(await urlOfSequencer(cluster), cluster.pids)
  await cluster.stop()
  return result
}

process.env.LOGLOOM_LOG_LEVEL ??= 'fatal'
console.log(`machine: ${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}`)
console.log(`command: node dist/bench/profile/main.js ${seconds}`)
const directory = makeRunDirectory()
try {
  await withContext(directory, () => {}, profileSides)
} finally {
  rmSync(directory, { recursive: true, force: true })
}

async function profileSides(context: BenchContext): Promise<void> {
  for (const side of sides) {
    const profiles = join(directory, `profiles-${side.nodes}`)
    mkdirSync(profiles)
    const load = { recordBytes: 1024, batchBytes: 65_536, inFlight: 8, hello: true, topic: 'bench' }
    // First without the profiler, for what the work costs; then with it, for where it goes.
    const plain = await withNodes(context, side, async (url, pids) => {
      await runLoad({ ...load, url, seconds: 0.5 })
      const before = pids.map(useOf)
      const result = await runLoad({ ...load, url, seconds })
      const after = pids.map(useOf)
      const used = (pick: (use: Use) => number): readonly number[] =>
        after.map((use, i) => pick(use) - pick(before[i] as Use))
      return { result, cpuMs: used(u => u.cpuMs), written: used(u => u.bytesWritten) }
    })
    process.env.NODE_OPTIONS = `--import ${new URL('profile-node.js', import.meta.url).href}`
    process.env.PROFILE_DIR = profiles
    await withNodes(context, side, url => {
      delete process.env.NODE_OPTIONS
      return runLoad({ ...load, url, seconds })
    })
    const mb = plain.result.bytes / 1e6
    const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
    console.log(`\n${side.name}: ${(mb / plain.result.seconds).toFixed(1)} MB/s`)
    console.log(
      `  CPU ${(sum(plain.cpuMs) / mb).toFixed(2)} ms per MB acked (by node ${plain.cpuMs.map(ms => (ms / mb).toFixed(2)).join(', ')}), ` +
        `of ${cpus().length} cores busy with nodes: ${((100 * sum(plain.cpuMs)) / plain.result.seconds / 1000 / cpus().length).toFixed(0)} %`,
    )
    console.log(
      `  written to disk: ${(sum(plain.written) / plain.result.bytes).toFixed(2)} bytes per byte acked`,
    )
    const times = [...selfTimes(profiles)].sort((a, b) => b[1] - a[1])
    const total = sum(times.map(([, ms]) => ms))
    for (const [place, ms] of times.slice(0, 16))
      console.log(`  ${((100 * ms) / total).toFixed(1).padStart(5)} %  ${place}`)
  }
}
