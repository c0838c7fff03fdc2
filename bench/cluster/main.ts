// What replication costs on this machine, measured in one run (DESIGN 10): one node with `file` beside clusters of three and five node
// processes with `native` and stripes of it; what the VirtualLog adds to an append; how long a planned reconfiguration takes.
// All nodes share this machine's cores and its disk, so the ratios say what the protocol costs in work, not what more machines would win.
// Usage: node dist/bench/cluster/main.js [SECONDS=3] [ROUNDS=3]

import { readFileSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { connect } from '../../client/index.ts'
import { MemoryMetaStore } from '../../loglets/metastore/memory.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import { nodeClock, nodeRandom } from '../../loglets/node-clock.ts'
import { nodeDisk } from '../../loglets/node-disk.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import type { LoadOptions, LoadResult } from '../speed/options.ts'
import { directory, runLoad, type Side, withNodes } from './nodes.ts'

// What the nodes say about each other is not the result.
process.env.LOGLOOM_LOG_LEVEL ??= 'fatal'
const seconds = Number(process.argv[2] ?? 3)
const rounds = Number(process.argv[3] ?? 3)
const sides: readonly Side[] = [
  { name: 'file, 1 node', nodes: 1, loglet: 'file' },
  { name: 'native, 3 nodes', nodes: 3, loglet: 'native' },
  { name: 'striped:3:native, 3 nodes', nodes: 3, loglet: 'striped:3,servers=shared:native' },
  { name: 'native, 5 nodes', nodes: 5, loglet: 'native,replicas=5' },
  {
    name: 'striped:5:native, 5 nodes',
    nodes: 5,
    loglet: 'striped:5,servers=shared:native,replicas=5',
  },
]

console.log(
  `machine: ${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${readFileSync('/proc/version', 'utf8').split(' ').slice(0, 3).join(' ')}`,
)
console.log(`command: node dist/bench/cluster/main.js ${seconds} ${rounds}; data in ${tmpdir()}`)

try {
  await compare('throughput: 1 KB records, 64 KB batches, 8 in flight', {
    recordBytes: 1024,
    batchBytes: 65_536,
    inFlight: 8,
  })
  await compare('latency at 200 records/s, one record a request', {
    recordBytes: 1024,
    batchBytes: 1024,
    inFlight: 1,
    rate: 200,
  })
  await virtualLogCost()
  await reconfigurations(30)
} finally {
  rmSync(directory, { recursive: true, force: true })
}

type Shape = Pick<LoadOptions, 'recordBytes' | 'batchBytes' | 'inFlight' | 'rate'>

async function compare(title: string, shape: Shape): Promise<void> {
  const results = new Map<Side, LoadResult[]>(sides.map(side => [side, []]))
  for (let round = 0; round < rounds; round++)
    for (const side of sides) results.get(side)?.push(await measure(side, shape))
  console.log(`\n${title} (median of ${rounds} rounds of ${seconds} s, alternating)`)
  console.log(
    'side                            MB/s   p50 ms   p99 ms   throughput ratio   p50 ratio',
  )
  const base = summarise(results.get(sides[0] as Side) ?? [])
  for (const side of sides) {
    const row = summarise(results.get(side) ?? [])
    console.log(
      [
        side.name.padEnd(28),
        row.mb.toFixed(1).padStart(7),
        row.p50.toFixed(2).padStart(8),
        row.p99.toFixed(2).padStart(8),
        (row.mb / base.mb).toFixed(2).padStart(18),
        (row.p50 / base.p50).toFixed(2).padStart(11),
      ].join(' '),
    )
  }
}

async function measure(side: Side, shape: Shape): Promise<LoadResult> {
  return withNodes(side, async url => {
    const options: LoadOptions = { ...shape, url, hello: true, topic: 'bench', seconds }
    await runLoad({ ...options, seconds: 0.3 })
    return runLoad(options)
  })
}

/** The same appends to a memory loglet, directly and through a VirtualLog: what is left is the VirtualLog's own. */
async function virtualLogCost(): Promise<void> {
  const provider = new MemoryLogletProvider()
  const registry = new LogletRegistry([provider])
  const ports = { clock: nodeClock, random: nodeRandom }
  const log = await VirtualLog.open({
    metaStore: new MemoryMetaStore(),
    registry,
    ...ports,
    initialSpec: 'memory',
  })
  const loglet = await registry.create('direct', 'memory', ports)
  const entry = [new Uint8Array(1024)]
  const appends = 20_000
  const direct: number[] = []
  const through: number[] = []
  for (let i = 0; i < appends; i++) {
    let start = performance.now()
    await loglet.append(entry)
    direct.push(performance.now() - start)
    start = performance.now()
    await log.append(entry)
    through.push(performance.now() - start)
  }
  await log.close()
  const us = (values: number[], q: number): string => {
    values.sort((a, b) => a - b)
    return ((values[Math.floor(values.length * q)] ?? 0) * 1000).toFixed(1)
  }
  console.log(`\nVirtualLog's own cost of an append (${appends} of 1 KB to memory, alternating)`)
  console.log(`direct    p50 ${us(direct, 0.5)} µs   p99 ${us(direct, 0.99)} µs`)
  console.log(`VirtualLog p50 ${us(through, 0.5)} µs   p99 ${us(through, 0.99)} µs`)
}

async function reconfigurations(count: number): Promise<void> {
  const syncs: number[] = []
  const pauses: number[] = []
  const totals: number[] = []
  await withNodes({ name: 'native', nodes: 3, loglet: 'native' }, async url => {
    const client = await connect(url)
    const producer = client.producer({ lingerMs: 0 })
    const stop = new AbortController()
    const work = (async () => {
      while (!stop.signal.aborted) await producer.send('bench', { value: 'x' })
    })()
    const file = await nodeDisk(directory).open('sync', { create: true })
    for (let i = 0; i < count; i++) {
      const bytes = new Uint8Array(4096)
      let start = performance.now()
      await file.write([bytes], i * bytes.length)
      await file.datasync()
      syncs.push(performance.now() - start)
      start = performance.now()
      const { pauseMs } = await client.admin().switchLog('native')
      totals.push(performance.now() - start)
      pauses.push(pauseMs)
    }
    await file.close()
    stop.abort()
    await work
    await client.close()
  })
  console.log(`\n${count} planned reconfigurations of native on 3 nodes, under load`)
  for (const [name, values] of [
    ['write + fdatasync of 4 KiB (control)', syncs],
    ['pause of the producers', pauses],
    ['whole switch as the operator sees it', totals],
  ] as const) {
    const sorted = [...values].sort((a, b) => a - b)
    console.log(
      `${name.padEnd(38)} median ${(sorted[sorted.length >> 1] ?? 0).toFixed(2)} ms   max ${(sorted.at(-1) ?? 0).toFixed(2)} ms`,
    )
  }
}

function summarise(results: readonly LoadResult[]): { mb: number; p50: number; p99: number } {
  const median = (pick: (r: LoadResult) => number): number =>
    results.map(pick).sort((a, b) => a - b)[results.length >> 1] ?? Number.NaN
  return {
    mb: median(r => r.bytes / 1e6 / r.seconds),
    p50: median(r => r.p50),
    p99: median(r => r.p99),
  }
}
