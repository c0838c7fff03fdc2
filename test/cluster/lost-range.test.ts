// A range of the log that no server has any more: a node that rebuilds its state does not replay the gap while another still has what came of it.

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { connect } from '../../client/index.ts'
import { freePort } from './free-port.ts'

const names = ['n1', 'n2', 'n3'] as const
type Name = (typeof names)[number]

let root: string
let peers: readonly string[]
const running = new Map<Name, RunningBroker>()
const failures: string[] = []

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'logloom-lost-'))
  peers = await Promise.all(names.map(async n => `${n}=ws://127.0.0.1:${await freePort()}`))
  await Promise.all(names.map(start))
}, 60_000)

afterAll(async () => {
  await Promise.all([...running.values()].map(broker => broker.close()))
  await rm(root, { recursive: true, force: true })
}, 60_000)

async function start(node: Name): Promise<void> {
  const broker = await startBroker({
    node,
    peers,
    clusterSecret: 'a secret that the tests share',
    data: join(root, node),
    port: 0,
    onFatal: error => failures.push(`${node}: ${error.message}`),
  })
  running.set(node, broker)
}

async function stop(node: Name): Promise<void> {
  await running.get(node)?.close()
  running.delete(node)
}

async function produce(count: number): Promise<void> {
  const client = await connect([...running.values()].map(({ url }) => url))
  const producer = client.producer()
  for (let i = 0; i < count; i++) producer.enqueue('t', { value: `${i}` })
  await producer.flush()
  await client.close()
}

/** Each broker's state at one position that all have reached. */
async function hashes(): Promise<readonly string[]> {
  for (;;) {
    const brokers = [...running.values()].map(({ broker }) => broker)
    await Promise.all(brokers.map(broker => broker.sync()))
    const states = brokers.map(broker => broker.stateHash())
    if (new Set(states.map(({ applied }) => applied)).size === 1)
      return states.map(({ hash }) => hash)
  }
}

it('a node that lost its state takes that of another, and all agree afterwards', {
  timeout: 60_000,
}, async () => {
  await produce(100)
  const [first] = await readdir(join(root, 'n1', 'loglets'))
  const client = await connect([...running.values()].map(({ url }) => url))
  await client.admin().sealLog()
  await client.close()
  for (const node of names) {
    await stop(node)
    await rm(join(root, node, 'loglets', first as string), { recursive: true })
    if (node === 'n3') await rm(join(root, node, 'state'), { recursive: true })
    await start(node)
  }
  await produce(100)
  expect(new Set(await hashes()).size).toBe(1)
  expect(failures).toEqual([])
  // What the gap held is gone; where it began and ended is known to all.
  const one = await connect(running.get('n3')?.url as string)
  const { partitions } = await one.admin().describeTopic('t')
  expect(partitions).toMatchObject([{ startOffset: 0, endOffset: 200 }])
  await one.close()
})
