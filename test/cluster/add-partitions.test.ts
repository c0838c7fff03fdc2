// Partitions are added to a topic of three brokers on one log, while clients of all of them use it and one broker goes away.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Client, connect, type Ticket } from '../../client/index.ts'
import { partitionForKey } from '../../wire/partitioner.ts'
import { nodeNames, ThreeNodes } from './three-nodes.ts'

const records = 3000
const keys = 40
const partitions = 12
let nodes: ThreeNodes

beforeAll(async () => {
  nodes = await ThreeNodes.prepare()
  await nodes.startAll()
}, 60_000)

afterAll(() => nodes.close(), 60_000)

/** The values of each key are 0, 1, …, each once. */
function expectOrder(values: ReadonlyMap<string, readonly string[]>): void {
  expect(values.size).toBe(keys * nodeNames.length)
  for (const [key, seen] of values)
    expect(seen, key).toEqual(Array.from({ length: records / keys }, (_, i) => String(i)))
}

class Seen {
  readonly values = new Map<string, string[]>()
  readonly all: Promise<void>
  private readonly known = new Set<string>()
  private done = (): void => {}

  constructor() {
    this.all = new Promise(resolve => {
      this.done = resolve
    })
  }

  /** What is handed out again counts where it came first. */
  add(key: string, value: string): void {
    if (this.known.has(`${key} ${value}`)) return
    this.known.add(`${key} ${value}`)
    const values = this.values.get(key) ?? []
    values.push(value)
    this.values.set(key, values)
    if (this.known.size === records * nodeNames.length) this.done()
  }
}

it('keeps the records of each key in order for readers and members of a group on all brokers', {
  timeout: 90_000,
}, async () => {
  // Each begins at another broker, and may go to any.
  const urls = nodeNames.map(node => nodes.running.get(node)?.url as string)
  const clients: Client[] = []
  for (const i of nodeNames.keys())
    clients.push(await connect([...urls.slice(i), ...urls.slice(0, i)]))
  const [one, two, three] = clients as [Client, Client, Client]
  await one.admin().createTopic('t', { partitions: 3 })
  const group = new Seen()
  const consumers = clients.map(client =>
    client.consumer({ groupId: 'g', topics: 't', autoOffsetReset: 'earliest' }),
  )
  const running = consumers.map(consumer =>
    consumer.run(({ key, value }) => group.add(key as string, value as string), { concurrency: 4 }),
  )
  const read = new Seen()
  const reader = three.read('t', { from: 'beginning' })
  const reading = (async () => {
    for await (const { key, value } of reader) read.add(key as string, value as string)
  })()
  const tickets: Ticket[] = []
  const producers = clients.map(client => client.producer({ lingerMs: 0, batchSize: 300 }))
  for (let i = 0; i < records; i++) {
    for (const [p, producer] of producers.entries())
      tickets.push(
        producer.enqueue('t', { key: `${p}/${i % keys}`, value: String(Math.floor(i / keys)) }),
      )
    if (i % 20 === 0) await new Promise(resolve => setImmediate(resolve))
    if (i === records / 4) await two.admin().createPartitions('t', 5)
    if (i === records / 2) void nodes.stop('n2')
    if (i === records / 2 + 40) await three.admin().createPartitions('t', partitions)
  }
  const acks = await Promise.all(tickets.map(({ acked }) => acked))
  await Promise.all([group.all, read.all])
  expectOrder(group.values)
  expectOrder(read.values)
  for (const [i, { partition }] of acks.slice(-3).entries()) {
    const key = new TextEncoder().encode(`${i}/${(records - 1) % keys}`)
    expect(partition).toBe(partitionForKey(key, partitions))
  }
  await reader.close()
  await reading
  await Promise.all(consumers.map(consumer => consumer.close()))
  await Promise.all(running)
  await Promise.all(clients.map(client => client.close()))
})
