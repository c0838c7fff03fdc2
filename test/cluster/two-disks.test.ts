// Disks that are lost one after the other, each after the copies of the last were made again: nothing acked is lost.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Client, connect } from '../../client/index.ts'
import { freePort } from './free-port.ts'

const names = ['n1', 'n2', 'n3'] as const
type Name = (typeof names)[number]
const records = 50

let root: string
let peers: readonly string[]
const running = new Map<Name, RunningBroker>()

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'logloom-disks-'))
  peers = await Promise.all(names.map(async n => `${n}=ws://127.0.0.1:${await freePort()}`))
  await Promise.all(names.map(start))
}, 60_000)

afterAll(async () => {
  await Promise.all([...running.values()].map(broker => broker.close()))
  await rm(root, { recursive: true, force: true })
}, 60_000)

async function start(node: Name): Promise<void> {
  const clusterSecret = 'a secret that the tests share'
  const data = join(root, node)
  running.set(node, await startBroker({ node, peers, clusterSecret, data, port: 0 }))
}

async function stop(node: Name): Promise<void> {
  await running.get(node)?.close()
  running.delete(node)
}

async function withClient<T>(use: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect([...running.values()].map(({ url }) => url))
  try {
    return await use(client)
  } finally {
    await client.close()
  }
}

/** Servers of each segment but the open one. */
const copiesOfSealed = (): Promise<readonly number[]> =>
  withClient(async client => {
    const { segments } = await client.admin().describeLog()
    return segments
      .slice(0, -1)
      .map(({ placement = [] }) => placement.join().split(';').slice(1).join().split(',').length)
  })

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 100))
}

it('a segment that was made while a node was away gets its third copy, and survives two lost disks', {
  timeout: 120_000,
}, async () => {
  await stop('n3')
  await withClient(async client => {
    await client.admin().sealLog()
    const producer = client.producer()
    for (let i = 0; i < records; i++) producer.enqueue('t', { value: `${i}` })
    await producer.close()
    await client.admin().sealLog()
  })
  expect(Math.min(...(await copiesOfSealed()))).toBe(2)
  await start('n3')
  // What an operator waits for before the next machine.
  const isWhole = async (): Promise<boolean> =>
    [...running.values()].every(({ broker }) => broker.health().status === 'ok')
  await until(isWhole)
  expect(Math.min(...(await copiesOfSealed()))).toBe(3)
  for (const node of ['n1', 'n2'] as const) {
    await stop(node)
    await rm(join(root, node), { recursive: true })
    await start(node)
    await until(isWhole)
  }
  const values = await withClient(async client => {
    const found: unknown[] = []
    for await (const { value } of client.read('t', { from: 'beginning', until: 'end' }))
      found.push(value)
    return found
  })
  expect(values).toEqual(Array.from({ length: records }, (_, i) => `${i}`))
})
