// A cluster that comes up from a majority of its nodes, and what is left when a majority of its directories is gone.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { connect } from '../../client/index.ts'
import { freePort } from './free-port.ts'

const names = ['n1', 'n2', 'n3']
let directory: string
let peers: readonly string[]
const running: RunningBroker[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'logloom-majority-'))
  peers = await Promise.all(names.map(async name => `${name}=ws://127.0.0.1:${await freePort()}`))
})

afterEach(async () => {
  await stopAll()
  await rm(directory, { recursive: true, force: true })
})

async function stopAll(): Promise<void> {
  await Promise.all(running.splice(0).map(broker => broker.close()))
}

async function start(node: string): Promise<RunningBroker> {
  const clusterSecret = 'a secret that the tests share'
  const data = join(directory, node)
  const broker = await startBroker({ node, peers, clusterSecret, data, port: 0 })
  running.push(broker)
  return broker
}

async function until(found: () => boolean): Promise<void> {
  while (!found()) await new Promise(resolve => setTimeout(resolve, 50))
}

it('a majority is enough, also at the very first start; the others join when they come', async () => {
  const [first] = await Promise.all([start('n1'), start('n2')])
  const client = await connect(first.url)
  const producer = client.producer()
  await producer.send('t', { value: 'kept' })
  expect(first.broker.health()).toMatchObject({
    status: 'degraded',
    problems: [expect.stringContaining('node n3')],
  })
  const third = await start('n3')
  await until(() => third.broker.health().status === 'ok')
  expect(first.broker.health()).toMatchObject({ status: 'ok', problems: [] })
  await producer.close()
  await client.close()
}, 60_000)

it('two empty directories begin a new cluster; the directory that is left is refused there, and not changed', async () => {
  const [, , third] = await Promise.all(names.map(start))
  await until(() => third?.broker.health().status === 'ok')
  await stopAll()
  for (const node of ['n2', 'n3']) await rm(join(directory, node), { recursive: true, force: true })
  await Promise.all([start('n2'), start('n3')])
  await expect(start('n1')).rejects.toMatchObject({ code: 'DATA_DIR_FOREIGN' })
}, 60_000)
