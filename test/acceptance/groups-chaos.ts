// A consumer group of member processes over three node processes: members and nodes are killed, members with an instance id are restarted in time.
// Every input is transformed into one output by a transaction; at the end each has to be there once. Usage: node groups-chaos.js [SECONDS=300]
//
//   controller ── producer ──► in (32 partitions) ──► 8 members (processes) ── transaction ──► out (8 partitions) ──► checker

import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type Client, connect } from '../../client/index.ts'
import { type ClusterOfProcesses, withCluster } from './cluster.ts'

const group = 'workers'
const membersCount = 8
const partitions = 32
const sessionTimeoutMs = 3000
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export interface GroupsReport {
  readonly produced: number
  readonly inOutput: number
  readonly lost: number
  readonly duplicate: number
  /** Records of one key that stand in `out` before an earlier one of it. */
  readonly reordered: number
  readonly memberKills: number
  readonly nodeKills: number
  /** Restarts of members with an instance id inside the grace period, and how many of them changed the generation. */
  readonly staticRestarts: number
  readonly staticRebalances: number
  /** From the kill of a member until all its partitions had another owner, ms; the session timeout is part of it. */
  readonly takeoverMs: { readonly p50: number; readonly max: number }
  /** Partitions that were taken from a member although it kept them: asked back and given to the same member again. */
  readonly pausedInVain: number
}

/** A member process, and what it said. */
interface MemberProcess {
  readonly child: ChildProcess
  readonly instance: string
}

export function groupsChaos(seconds: number): Promise<GroupsReport> {
  return withCluster((cluster, client) => run(cluster, client, seconds))
}

async function run(
  cluster: ClusterOfProcesses,
  client: Client,
  seconds: number,
): Promise<GroupsReport> {
  const admin = client.admin()
  await admin.createTopic({ topic: 'in', partitions })
  await admin.createTopic({ topic: 'out', partitions: 8 })
  const events: { member: string; type: string; places: string[] }[] = []
  // Half of them have a name that survives a restart.
  const names = Array.from({ length: membersCount }, (_, i) => (i % 2 === 0 ? `i${i}` : ''))
  const startMember = (instance: string): MemberProcess => {
    const path = fileURLToPath(import.meta.url)
    const child = spawn(process.execPath, [path, 'member', cluster.urls.join(), instance], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const id = randomUUID()
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n').filter(each => each.startsWith('{')))
        events.push({ member: id, ...(JSON.parse(line) as { type: string; places: string[] }) })
    })
    return { child, instance }
  }
  const members = names.map(startMember)
  let produced = 0
  const stop = new AbortController()
  const producing = (async () => {
    const producer = client.producer()
    while (!stop.signal.aborted) {
      for (let i = 0; i < 10; i++, produced++)
        producer.enqueue('in', { key: `k${produced % 500}`, value: String(produced) })
      await producer.flush()
      await sleep(25)
    }
    await producer.close()
  })()
  const settled = async (): Promise<void> => {
    for (;;) {
      const found = await admin.describeGroup(group).catch(() => undefined)
      const held = found?.partitions.filter(p => p.memberId !== null && !p.revoking).length
      if (found?.members.length === membersCount && held === partitions) return
      await sleep(50)
    }
  }
  await settled()
  const takeovers: number[] = []
  let memberKills = 0
  let nodeKills = 0
  let staticRestarts = 0
  let staticRebalances = 0
  const deadline = performance.now() + seconds * 1000
  for (let turn = 0; performance.now() < deadline; turn++) {
    if (turn % 3 === 0) {
      const node = (turn / 3) % 3
      await cluster.kill(node)
      nodeKills++
      await sleep(1500)
      await cluster.startNode(node)
    } else if (turn % 3 === 1) {
      // One without a name: it is gone for good, and another process takes its place.
      const at = ((turn - 1) / 3) % (membersCount / 2)
      const index = 2 * at + 1
      const before = await memberIds(client)
      members[index]?.child.kill('SIGKILL')
      const killedAt = performance.now()
      memberKills++
      let gone: string[] = []
      for (;;) {
        const found = await admin.describeGroup(group)
        const ids = new Set(found.members.map(({ memberId }) => memberId))
        gone = before.filter(id => !ids.has(id))
        const isServed = found.partitions.every(p => p.memberId !== null && !p.revoking)
        if (gone.length > 0 && isServed) break
        await sleep(20)
      }
      takeovers.push(performance.now() - killedAt)
      members[index] = startMember('')
    } else {
      const at = ((turn - 2) / 3) % (membersCount / 2)
      const index = 2 * at
      const { instance } = members[index] as MemberProcess
      await settled()
      const { generation } = await admin.describeGroup(group)
      members[index]?.child.kill('SIGKILL')
      members[index] = startMember(instance)
      staticRestarts++
      await sleep(sessionTimeoutMs / 2)
      await settled()
      if ((await admin.describeGroup(group)).generation !== generation) staticRebalances++
    }
    await settled()
    await sleep(500)
  }
  stop.abort()
  await producing
  while (!(await isDrained(client))) await sleep(100)
  for (const { child } of members) child.kill('SIGKILL')
  return {
    ...(await checkOutput(client, produced)),
    memberKills,
    nodeKills,
    staticRestarts,
    staticRebalances,
    takeoverMs: { p50: quantile(takeovers, 0.5), max: quantile(takeovers, 1) },
    pausedInVain: pausedInVain(events),
  }
}

async function memberIds(client: Client): Promise<string[]> {
  const { members } = await client.admin().describeGroup(group)
  return members.map(({ memberId }) => memberId)
}

async function isDrained(client: Client): Promise<boolean> {
  const { partitions: places } = await client.admin().describeGroup(group)
  return places.length === partitions && places.every(p => p.endOffset === (p.offset ?? 0))
}

async function checkOutput(client: Client, produced: number) {
  const seen = new Map<string, number>()
  const last = new Map<string, number>()
  let reordered = 0
  for await (const { key, value } of client.read('out', { from: 'beginning', until: 'end' })) {
    seen.set(value as string, (seen.get(value as string) ?? 0) + 1)
    if (Number(value) < (last.get(key as string) ?? -1)) reordered++
    last.set(key as string, Number(value))
  }
  let lost = 0
  for (let i = 0; i < produced; i++) if (!seen.has(String(i))) lost++
  const duplicate = [...seen.values()].reduce((sum, n) => sum + n - 1, 0)
  return { produced, inOutput: seen.size, lost, duplicate, reordered }
}

/** Partitions that a member gave back and then was given again as the next thing that happened to it. */
function pausedInVain(
  events: readonly {
    readonly member: string
    readonly type: string
    readonly places: readonly string[]
  }[],
): number {
  const lastOwner = new Map<string, string>()
  const revoked = new Set<string>()
  let count = 0
  for (const { member, type, places } of events)
    for (const place of places) {
      if (type === 'assigned') {
        if (revoked.delete(`${member} ${place}`) && lastOwner.get(place) === member) count++
        lastOwner.set(place, member)
      } else revoked.add(`${member} ${place}`)
    }
  return count
}

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0)
}

/** One member: transforms until it is killed. */
async function member(urls: readonly string[], instance: string): Promise<void> {
  const client = await connect(urls)
  const say = (type: string, places: readonly { topic: string; partition: number }[]): void => {
    const names = places.map(p => `${p.topic}${p.partition}`)
    process.stdout.write(`${JSON.stringify({ type, places: names })}\n`)
  }
  for (;;) {
    const consumer = client.consumer({
      groupId: group,
      topics: 'in',
      autoOffsetReset: 'earliest',
      autoCommit: false,
      sessionTimeoutMs,
      ...(instance === '' ? {} : { groupInstanceId: instance }),
    })
    consumer.on('assigned', places => say('assigned', places))
    consumer.on('revoked', places => say('revoked', places))
    consumer.on('lost', places => say('lost', places))
    try {
      await consumer.run(
        record =>
          client.transaction(tx => {
            tx.send('out', { key: record.key, value: record.value })
            tx.commit(record)
          }),
        { concurrency: 4, order: 'partition' },
      )
    } catch (error) {
      // Its partition is another's, or nobody knows the outcome: the group knows where to go on.
      process.stderr.write(`member: ${(error as Error).message}\n`)
      if ((error as { code?: string }).code === 'MEMBER_FENCED') return
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  if (process.argv[2] === 'member')
    await member((process.argv[3] ?? '').split(','), process.argv[4] ?? '')
  else {
    const report = await groupsChaos(Number(process.argv[2] ?? 300))
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
    if (report.lost + report.duplicate + report.reordered > 0) process.exitCode = 1
  }
}
