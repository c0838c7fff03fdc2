// How fast a queue is: members of one share group empty partitions that were filled before, each record acknowledged by itself; beside it, in the same run
// and on the same broker, a consumer group that commits. Prints records per second of both.
// Usage: node queue-load.js [--records 100000] [--members 8] [--partitions 1] [--bytes 100]

import { cpus } from 'node:os'
import { pathToFileURL } from 'node:url'
import { type Client, connect } from '../../client/index.ts'
import { startBrokerProcess, withDirectory } from './broker-process.ts'
import { option } from './options.ts'

export interface QueueLoadOptions {
  readonly records: number
  readonly members: number
  readonly partitions: number
  readonly bytes: number
}

export interface QueueLoadReport {
  readonly machine: string
  readonly options: QueueLoadOptions
  /** Records that a member got more than once. */
  readonly redelivered: number
  readonly queue: { readonly recordsPerSecond: number; readonly seconds: number }
  /** One member for each partition: more would have nothing to do. */
  readonly consumers: { readonly recordsPerSecond: number; readonly seconds: number }
}

export function queueLoad(options: QueueLoadOptions): Promise<QueueLoadReport> {
  return withDirectory(async directory => {
    const broker = await startBrokerProcess({
      data: directory,
      args: ['--loglet', 'file'],
    })
    const client = await connect(broker.url)
    try {
      await fill(client, options)
      const queue = await drainQueue(broker.url, options)
      const consumers = await drainConsumers(broker.url, options)
      const machine = `${cpus().length} x ${cpus()[0]?.model ?? '?'}, Node ${process.version}`
      return { machine, options, ...queue, consumers }
    } finally {
      await client.close()
      await broker.kill('SIGTERM')
    }
  })
}

async function fill(client: Client, o: QueueLoadOptions): Promise<void> {
  await client.admin().createTopic({ topic: 'tasks', partitions: o.partitions })
  const producer = client.producer()
  const value = 'x'.repeat(o.bytes)
  for (let i = 0; i < o.records; i++) {
    producer.enqueue('tasks', { key: String(i), value })
    if (i % 5000 === 4999) await producer.flush()
  }
  await producer.close()
}

async function drainQueue(url: string, o: QueueLoadOptions) {
  const clients = await Promise.all(Array.from({ length: o.members }, () => connect(url)))
  const seen = new Set<string>()
  let handled = 0
  const begunMs = performance.now()
  const queues = clients.map(each =>
    each.queue({ group: 'queue', topics: 'tasks', autoOffsetReset: 'earliest', maxRecords: 1000 }),
  )
  const running = queues.map(queue =>
    queue.run(
      ({ key }) => {
        seen.add(key as string)
        handled++
      },
      { concurrency: 200 },
    ),
  )
  const admin = (clients[0] as Client).admin()
  for (;;) {
    const found = await admin.describeShareGroup('queue').catch(() => undefined)
    if (found?.partitions.length === o.partitions && found.partitions.every(p => p.lag === 0)) break
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  const seconds = (performance.now() - begunMs) / 1000
  await Promise.all(queues.map(queue => queue.close()))
  await Promise.all(running)
  await Promise.all(clients.map(each => each.close()))
  if (seen.size !== o.records) throw new Error(`${seen.size} of ${o.records} records were handled`)
  return { redelivered: handled - seen.size, queue: rate(o.records, seconds) }
}

async function drainConsumers(url: string, o: QueueLoadOptions) {
  const client = await connect(url)
  let handled = 0
  const begunMs = performance.now()
  const consumers = Array.from({ length: o.partitions }, () =>
    client.consumer({ groupId: 'group', topics: 'tasks', autoOffsetReset: 'earliest' }),
  )
  await new Promise<void>((resolve, reject) => {
    for (const consumer of consumers)
      consumer
        .run(() => {
          if (++handled === o.records) resolve()
        })
        .catch(reject)
  })
  const seconds = (performance.now() - begunMs) / 1000
  await Promise.all(consumers.map(consumer => consumer.close()))
  await client.close()
  return rate(o.records, seconds)
}

function rate(records: number, seconds: number) {
  return {
    recordsPerSecond: Math.round(records / seconds),
    seconds: Math.round(seconds * 10) / 10,
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const report = await queueLoad({
    records: option('records', 100_000),
    members: option('members', 8),
    partitions: option('partitions', 1),
    bytes: option('bytes', 100),
  })
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
}
