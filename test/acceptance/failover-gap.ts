// How long clients wait when the node of the sequencer is killed: kill -9 again and again, and the longest time without an ack after each.
// Beside it the same number without a kill, from the same run. Usage: node failover-gap.js [KILLS=30]

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { connect } from '../../client/index.ts'
import { withDirectory } from './broker-process.ts'
import { ClusterOfProcesses } from './cluster.ts'

export interface GapReport {
  readonly kills: number
  /** ms without an ack after a kill, over all kills. */
  readonly gapMs: { readonly p50: number; readonly max: number }
  /** The same for stretches as long, without a kill. */
  readonly calmGapMs: { readonly p50: number; readonly max: number }
  readonly acked: number
  readonly failed: number
}

const topic = 'gaps'
const stretchMs = 1500
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export function failoverGap(kills: number): Promise<GapReport> {
  return withDirectory(async directory => {
    const cluster = await ClusterOfProcesses.start(join(directory, 'cluster'))
    try {
      return await measure(cluster, kills)
    } finally {
      await cluster.close()
    }
  })
}

async function measure(cluster: ClusterOfProcesses, kills: number): Promise<GapReport> {
  const client = await connect(cluster.urls)
  const producer = client.producer({ lingerMs: 0 })
  const stop = new AbortController()
  let last = performance.now()
  let longest = 0
  let acked = 0
  let failed = 0
  const work = (async () => {
    while (!stop.signal.aborted) {
      try {
        await producer.send(topic, { value: 'x' })
        acked++
      } catch {
        failed++
      }
      const now = performance.now()
      longest = Math.max(longest, now - last)
      last = now
    }
  })()
  const stretch = async (): Promise<number> => {
    longest = 0
    await sleep(stretchMs)
    return Math.max(longest, performance.now() - last)
  }
  const gaps: number[] = []
  const calm: number[] = []
  await settled(cluster)
  for (let kill = 0; kill < kills; kill++) {
    calm.push(await stretch())
    const victim = await sequencerNode(cluster)
    const gap = stretch()
    await cluster.kill(victim)
    gaps.push(await gap)
    await cluster.startNode(victim)
    await settled(cluster)
  }
  stop.abort()
  await work
  await client.close()
  return { kills, gapMs: summary(gaps), calmGapMs: summary(calm), acked, failed }
}

async function lastPlacement(cluster: ClusterOfProcesses): Promise<string> {
  const client = await connect(cluster.urls)
  try {
    const { segments } = await client.admin().describeLog()
    return (segments.at(-1) as { placement?: readonly string[] }).placement?.[0] ?? ''
  } finally {
    await client.close()
  }
}

async function sequencerNode(cluster: ClusterOfProcesses): Promise<number> {
  return cluster.names.indexOf((await lastPlacement(cluster)).split('@')[0] as string)
}

/** All three log servers hold the last segment again. */
async function settled(cluster: ClusterOfProcesses): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const servers = (await lastPlacement(cluster)).split(';')[1]?.split(',') ?? []
    if (servers.length === cluster.names.length) return
    await sleep(100)
  }
  throw new Error('the log was not placed on all nodes again within 10 s')
}

function summary(values: readonly number[]): { p50: number; max: number } {
  const sorted = [...values].sort((a, b) => a - b)
  return {
    p50: Math.round(sorted[sorted.length >> 1] ?? 0),
    max: Math.round(sorted.at(-1) ?? 0),
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  console.log(JSON.stringify(await failoverGap(Number(process.argv[2] ?? 30)), undefined, 1))
