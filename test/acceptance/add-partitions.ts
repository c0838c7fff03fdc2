// Partitions are added, 3 to 12, to a topic that three producers, two groups and a reader use, on three node processes of which one is killed and the log
// of which is switched meanwhile. Every key's records have to reach every consumer in order, none missing.
// Usage: node add-partitions.js [--seconds 60] [--rate 6000]
//
//   3 producers ──► t: 3 → 5 → 8 → 12 ──► group of 4 members, group of 2 that work on 8 keys at a time, a reader, and a reader once all is written

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Ack, type Client, connect } from '../../client/index.ts'
import { withDirectory } from './broker-process.ts'
import { ClusterOfProcesses } from './cluster.ts'
import { type Latency, latencyOf } from './measure.ts'
import { option } from './options.ts'

const producersCount = 3
const keysPerProducer = 300
const counts = [5, 8, 12] as const
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export interface AddPartitionsReport {
  readonly produced: number
  readonly recordsPerSecond: number
  readonly partitions: number
  readonly perConsumer: Readonly<Record<string, Seen>>
  /** Records of the last second that were written to partitions that were added. */
  readonly inAddedShare: number
  /** Of produce requests: those that were sent within a second after partitions were added, and all others. */
  readonly produce: { readonly adding: Latency; readonly otherwise: Latency }
}

/** What one consumer saw. */
export interface Seen {
  readonly records: number
  /** Handed out again after a failover; readers have none. */
  readonly again: number
  /** Records that came before an earlier one of their key: out of order, or the earlier one is lost. */
  readonly early: number
}

class Order {
  records = 0
  again = 0
  early = 0
  private readonly next = new Map<string, number>()

  add(key: string, value: string): void {
    const next = this.next.get(key) ?? 0
    const number = Number(value)
    if (number < next) {
      this.again++
      return
    }
    if (number > next) this.early++
    this.records++
    this.next.set(key, number + 1)
  }

  get seen(): Seen {
    const { records, again, early } = this
    return { records, again, early }
  }
}

export interface AddPartitionsLoad {
  readonly seconds: number
  /** Records per second, all producers together. */
  readonly rate: number
}

export function addPartitions(load: AddPartitionsLoad): Promise<AddPartitionsReport> {
  return withDirectory(async directory => {
    const cluster = await ClusterOfProcesses.start(join(directory, 'cluster'))
    // Each begins at another broker, and may go to any.
    const clients = await Promise.all(
      cluster.urls.map((_, i) => connect([...cluster.urls.slice(i), ...cluster.urls.slice(0, i)])),
    )
    try {
      return await run(cluster, clients, load)
    } finally {
      await Promise.all(clients.map(client => client.close()))
      await cluster.close()
    }
  })
}

async function run(
  cluster: ClusterOfProcesses,
  clients: readonly Client[],
  { seconds, rate }: AddPartitionsLoad,
): Promise<AddPartitionsReport> {
  const [admin] = clients.map(client => client.admin())
  if (admin === undefined) throw new Error('no client')
  await admin.createTopic({ topic: 't', partitions: 3 })
  const orders: Record<string, Order> = {}
  const order = (name: string): Order => (orders[name] = new Order())
  const groups = [
    consume(clients, 'four', 4, 1, order('group of 4')),
    consume(clients, 'two', 2, 8, order('group of 2, 8 keys at a time')),
  ]
  const reader = (clients[2] as Client).read('t', { from: 'beginning' })
  const read = order('reader')
  const reading = (async () => {
    for await (const { key, value } of reader) read.add(key as string, value as string)
  })()

  const startedAt = performance.now()
  const secondsSince = (): number => (performance.now() - startedAt) / 1000
  const added: number[] = []
  const requests: { readonly at: number; readonly ms: number }[] = []
  const acks: Promise<readonly Ack[]>[] = clients
    .slice(0, producersCount)
    .map((client, p) => produce(client, p, seconds, rate / producersCount, requests))
  const produced = Promise.all(acks)
  for (const [i, partitions] of counts.entries()) {
    await sleep((seconds * 1000) / (counts.length + 1))
    // The second time while a broker is gone, the third time while the log is switched.
    if (i === 1) await cluster.kill(1)
    const switched = i === 2 ? admin.switchLog('striped:2:native') : undefined
    added.push(performance.now())
    await admin.createPartitions('t', partitions)
    await switched
    if (i === 1) await cluster.startNode(1)
  }
  const all = (await produced).flat()
  const took = secondsSince()
  while (Object.values(orders).some(({ records }) => records < all.length)) {
    if (Object.values(orders).some(({ early }) => early > 0)) break
    await sleep(50)
  }
  await reader.close()
  await reading
  await Promise.all(groups.map(stop => stop()))
  const late = order('reader afterwards')
  for await (const { key, value } of (clients[0] as Client).read('t', {
    from: 'beginning',
    until: 'end',
  }))
    late.add(key as string, value as string)
  const isAdding = ({ at }: { readonly at: number }): boolean =>
    added.some(since => at >= since && at < since + 1000)
  const endMs = all.reduce((end, { timestamp }) => Math.max(end, timestamp), 0)
  const last = all.filter(({ timestamp }) => timestamp > endMs - 1000)
  return {
    produced: all.length,
    recordsPerSecond: Math.round(all.length / took),
    partitions: (await admin.describeTopic('t')).partitions.length,
    perConsumer: Object.fromEntries(Object.entries(orders).map(([name, o]) => [name, o.seen])),
    inAddedShare: Number((last.filter(ack => ack.partition >= 3).length / last.length).toFixed(2)),
    produce: {
      adding: latencyOf(requests.filter(isAdding).map(({ ms }) => ms)),
      otherwise: latencyOf(requests.filter(r => !isAdding(r)).map(({ ms }) => ms)),
    },
  }
}

/** Values 0, 1, … for each key of producer `p`; resolves with the acks of all. */
async function produce(
  client: Client,
  p: number,
  seconds: number,
  rate: number,
  requests: { readonly at: number; readonly ms: number }[],
): Promise<readonly Ack[]> {
  const producer = client.producer({ lingerMs: 2 })
  const acked: Promise<Ack>[] = []
  const begunAt = performance.now()
  for (;;) {
    const elapsed = (performance.now() - begunAt) / 1000
    if (elapsed >= seconds) break
    await producer.ready()
    const at = performance.now()
    while (acked.length < elapsed * rate) {
      const key = `${p}/${acked.length % keysPerProducer}`
      const value = String(Math.floor(acked.length / keysPerProducer))
      acked.push(producer.enqueue('t', { key, value }).acked)
    }
    void acked.at(-1)?.then(() => requests.push({ at, ms: performance.now() - at }))
    await sleep(10)
  }
  const all = await Promise.all(acked)
  await producer.close()
  return all
}

/** Members of a group over all brokers. Returns the way to stop them. */
function consume(
  clients: readonly Client[],
  groupId: string,
  members: number,
  concurrency: number,
  order: Order,
): () => Promise<void> {
  const consumers = Array.from({ length: members }, (_, i) =>
    (clients[i % clients.length] as Client).consumer({
      groupId,
      topics: 't',
      autoOffsetReset: 'earliest',
      autoCommitIntervalMs: 200,
    }),
  )
  const running = consumers.map(consumer =>
    consumer.run(({ key, value }) => order.add(key as string, value as string), { concurrency }),
  )
  return async () => {
    await Promise.all(consumers.map(consumer => consumer.close()))
    await Promise.all(running)
  }
}

/** What is wrong with a report; empty when nothing is. */
export function faultsOf({ produced, perConsumer, partitions }: AddPartitionsReport): string[] {
  const faults = Object.entries(perConsumer).flatMap(([name, { records, again, early }]) => [
    ...(records === produced ? [] : [`${name}: ${records} of ${produced} records`]),
    ...(early === 0 ? [] : [`${name}: ${early} records out of order or after a missing one`]),
    ...(again === 0 || name.startsWith('group') ? [] : [`${name}: ${again} records twice`]),
  ])
  return partitions === counts.at(-1) ? faults : [...faults, `${partitions} partitions`]
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const report = await addPartitions({
    seconds: option('seconds', 60),
    rate: option('rate', 6000),
  })
  const faults = faultsOf(report)
  process.stdout.write(`${JSON.stringify({ ...report, faults }, null, 2)}\n`)
  if (faults.length > 0) process.exitCode = 1
}
