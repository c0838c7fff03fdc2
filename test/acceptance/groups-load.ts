// What many groups cost, and what readers that come and go leave behind: 1,000 groups of 10 members join, then commit as fast as they are answered; then
// readers of the tail connect, subscribe and go, 100,000 of them. Prints times, rates, the broker's CPU and memory.
// Usage: node groups-load.js [--groups 1000] [--members 10] [--partitions 20] [--seconds 20] [--readers 100000]
// Ends with exit code 1 when a commit is refused, an offset is not the last one committed, or the readers leave something.

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import { WebSocket } from 'ws'
import { encodeBatch, type Frame, type RequestChannel } from '../../wire/index.ts'
import { scrape, valueOf } from '../metrics-page.ts'
import { type BrokerProcess, startBrokerProcess, withDirectory } from './broker-process.ts'
import { type Latency, latencyOf, openChannel } from './measure.ts'
import { option } from './options.ts'

export interface GroupsLoadOptions {
  readonly groups: number
  readonly members: number
  readonly partitions: number
  readonly seconds: number
  readonly readers: number
}

interface Usage {
  /** Of one core, while it was measured. */
  readonly cpu: number
  readonly rssMb: number
}

export interface GroupsLoadReport {
  readonly joins: Usage & { readonly perSecond: number; readonly seconds: number }
  readonly idle: Usage
  readonly commits: Usage &
    Latency & {
      readonly perSecond: number
      readonly offsetsPerSecond: number
    }
  readonly readers: Usage & { readonly perSecond: number; readonly heapMbBefore: number }
  readonly heapMbAfter: number
  /** What is not as it should be. */
  readonly faults: readonly string[]
}

interface Share {
  readonly topic: string
  readonly partition: number
  readonly generation: number
}

interface Member {
  readonly group: string
  readonly memberId: string
  readonly channel: RequestChannel
  /** Undefined until it is told. */
  shares: readonly Share[] | undefined
  sequence: number
}

const topic = 'work'
const recordsPerPartition = 10_000
const connections = 50
/** Commits under way on each connection. */
const lanesPerConnection = 8
const readersAtOnce = 8
const idleMs = 5000
const ticksPerSecond = 100
/** What the heap in use may vary by; 100,000 readers that left 100 bytes each would be as much again. */
const heapGrowthMbMax = 10

export function groupsLoad(o: GroupsLoadOptions): Promise<GroupsLoadReport> {
  return withDirectory(async data => {
    // The inspector is there to collect garbage on demand.
    const env = { NODE_OPTIONS: '--inspect=127.0.0.1:0' }
    const broker = await startBrokerProcess({ data, env, args: ['--log-level', 'error'] })
    try {
      return await measure(broker, o)
    } finally {
      await broker.kill('SIGTERM')
    }
  })
}

async function measure(broker: BrokerProcess, o: GroupsLoadOptions): Promise<GroupsLoadReport> {
  const admin = await openChannel(broker.url)
  await fill(admin, o.partitions)
  const members = new Map<string, Member>()
  const channels = await Promise.all(
    Array.from({ length: connections }, () =>
      openChannel(broker.url, frame => assign(members, frame)),
    ),
  )
  for (let g = 0; g < o.groups; g++)
    for (let m = 0; m < o.members; m++) {
      // The members of a group are on different connections.
      const channel = channels[(g + m) % connections] as RequestChannel
      const memberId = `m${g}-${m}`
      members.set(memberId, { group: `g${g}`, memberId, channel, shares: undefined, sequence: 0 })
    }
  const all = [...members.values()]

  const join = await watched(broker, async () => {
    await Promise.all(
      channels.map(async channel => {
        for (const member of all.filter(m => m.channel === channel)) {
          const { group, memberId } = member
          const reply = await channel.request('joinGroup', { group, memberId, topics: [topic] })
          // A push that came with the reply is the newer of the two.
          if (member.shares === undefined) assign(members, reply)
        }
      }),
    )
    await until(() => settled(all, o))
  })
  const idle = await watched(broker, () => new Promise(resolve => setTimeout(resolve, idleMs)))

  const latencies: number[] = []
  const faults: string[] = []
  let offsets = 0
  const last = new Map<string, number>()
  const commit = await watched(broker, async () => {
    const end = performance.now() + o.seconds * 1000
    const lane = async (own: readonly Member[]): Promise<void> => {
      for (let i = 0; performance.now() < end; i++) {
        const member = own[i % own.length] as Member
        const { group, memberId, shares = [] } = member
        const offset = Math.min(recordsPerPartition, ++member.sequence)
        const asked = performance.now()
        await member.channel.request('commitOffsets', {
          group,
          memberId,
          sequence: member.sequence,
          offsets: shares.map(share => ({ ...share, offset })),
        })
        latencies.push(performance.now() - asked)
        offsets += shares.length
        for (const { partition } of shares) last.set(`${group} ${partition}`, offset)
      }
    }
    const lanes = channels.flatMap(channel => {
      const own = all.filter(m => m.channel === channel)
      return Array.from({ length: lanesPerConnection }, (_, n) =>
        own.filter((_m, i) => i % lanesPerConnection === n),
      ).filter(some => some.length > 0)
    })
    await Promise.all(lanes.map(lane)).catch((error: Error) => faults.push(error.message))
  })
  faults.push(...(await wrongOffsets(admin, last, o)))

  const before = await stateOf(broker, admin)
  const reading = await watched(broker, () => readInTurn(broker.url, o.readers, o.partitions))
  await until(async () => (await stateOf(broker, admin)).connections === before.connections)
  const after = await stateOf(broker, admin)
  for (const key of ['connections', 'groups', 'tail'] as const)
    if (before[key] !== after[key])
      faults.push(`${key}: ${before[key]} before the readers, ${after[key]} after`)
  if (after.heapMb > before.heapMb + heapGrowthMbMax)
    faults.push(`heap: ${before.heapMb} MB before the readers, ${after.heapMb} MB after`)
  for (const channel of [...channels, admin]) channel.close()

  return {
    joins: {
      ...join.usage,
      perSecond: Math.round(all.length / join.seconds),
      seconds: join.seconds,
    },
    idle: idle.usage,
    commits: {
      ...commit.usage,
      perSecond: Math.round(latencies.length / commit.seconds),
      offsetsPerSecond: Math.round(offsets / commit.seconds),
      ...latencyOf(latencies),
    },
    readers: {
      ...reading.usage,
      perSecond: Math.round(o.readers / reading.seconds),
      heapMbBefore: before.heapMb,
    },
    heapMbAfter: after.heapMb,
    faults,
  }
}

async function fill(channel: RequestChannel, partitions: number): Promise<void> {
  await channel.request('createTopic', { topic, partitions })
  const records = Array.from({ length: recordsPerPartition }, (_, i) => ({ value: `${i}` }))
  const batch = encodeBatch(records, { now: Date.now() })
  for (let partition = 0; partition < partitions; partition++)
    await channel.request('produce', { topic, partition, batch })
}

/** An assignment, pushed or as the reply to a join, is the whole of what a member has. What is asked back is given back at once. */
function assign(members: ReadonlyMap<string, Member>, frame: Frame): void {
  const member = members.get(String(frame['memberId']))
  if (member === undefined || frame['error'] !== undefined) return
  const rows = (key: string): Share[] =>
    (frame[key] as readonly Share[]).map(row => ({
      topic: row.topic,
      partition: row.partition,
      generation: row.generation,
    }))
  member.shares = rows('assigned')
  const { group, memberId, channel } = member
  const partitions = rows('revoking')
  if (partitions.length > 0)
    channel.request('releasePartitions', { group, memberId, partitions }).catch(() => {})
}

/** Every partition of every group has one owner, and the owners have about the same. */
function settled(members: readonly Member[], { groups, partitions }: GroupsLoadOptions): boolean {
  const share = partitions / (members.length / groups)
  return (
    members.reduce((sum, { shares = [] }) => sum + shares.length, 0) === groups * partitions &&
    members.every(({ shares = [] }) => shares.length >= Math.floor(share))
  )
}

async function wrongOffsets(
  channel: RequestChannel,
  last: ReadonlyMap<string, number>,
  { groups }: GroupsLoadOptions,
): Promise<readonly string[]> {
  const faults: string[] = []
  for (let g = 0; g < groups; g++) {
    const group = `g${g}`
    const { offsets } = await channel.request('fetchOffsets', { group })
    for (const { partition, offset } of offsets as readonly { partition: number; offset: number }[])
      if (last.get(`${group} ${partition}`) !== offset)
        faults.push(
          `${group}[${partition}] is at ${offset}, not at ${last.get(`${group} ${partition}`)}`,
        )
  }
  return faults
}

/** Each on a connection of its own: the tail of one partition, and gone again. */
async function readInTurn(url: string, readers: number, partitions: number): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < readers) {
      const partition = next++ % partitions
      const channel = await openChannel(url)
      await channel.request('subscribe', { topic, partition, from: 'end', credit: 1 << 16 })
      channel.close()
      await channel.closed
    }
  }
  await Promise.all(Array.from({ length: readersAtOnce }, lane))
}

async function stateOf(
  broker: BrokerProcess,
  channel: RequestChannel,
): Promise<{
  readonly connections: number
  readonly groups: number
  readonly tail: number
  readonly heapMb: number
}> {
  await collectGarbage(broker)
  const page = await scrape(broker)
  const { groups } = await channel.request('listGroups')
  const { tail } = await channel.request('describeLog')
  return {
    connections: valueOf(page, 'logloom_ws_connections'),
    groups: (groups as readonly unknown[]).length,
    tail: Number(tail),
    heapMb: Math.round(valueOf(page, 'nodejs_heap_size_used_bytes') / 1e6),
  }
}

/** So that what is on the heap afterwards is in use. */
async function collectGarbage(broker: BrokerProcess): Promise<void> {
  const [url] = /ws:\/\/127\S+/.exec(broker.stderr()) ?? []
  const inspector = new WebSocket(url as string)
  await once(inspector, 'open')
  inspector.send(JSON.stringify({ id: 1, method: 'HeapProfiler.collectGarbage' }))
  await once(inspector, 'message')
  inspector.close()
}

async function watched(
  { pid }: BrokerProcess,
  work: () => Promise<unknown>,
): Promise<{ readonly seconds: number; readonly usage: Usage }> {
  const [cpuBefore, started] = [await cpuSeconds(pid), performance.now()]
  await work()
  const seconds = (performance.now() - started) / 1000
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return {
    seconds: Number(seconds.toFixed(1)),
    usage: {
      cpu: Number((((await cpuSeconds(pid)) - cpuBefore) / seconds).toFixed(2)),
      rssMb: Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN) / 1000),
    },
  }
}

/** User and system time of the process, seconds. */
async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 50))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const report = await groupsLoad({
    groups: option('groups', 1000),
    members: option('members', 10),
    partitions: option('partitions', 20),
    seconds: option('seconds', 20),
    readers: option('readers', 100_000),
  })
  console.log(JSON.stringify(report, null, 2))
  process.exit(report.faults.length === 0 ? 0 : 1)
}
