// Two clusters of one name and one secret, whose data directories get mixed up.

import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { connect } from '../../client/index.ts'
import { freePort } from './free-port.ts'

const names = ['n1', 'n2', 'n3'] as const
type Name = (typeof names)[number]

let root: string
let peers: readonly string[]
const running = new Map<Name, RunningBroker>()

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'logloom-foreign-'))
  peers = await Promise.all(names.map(async n => `${n}=ws://127.0.0.1:${await freePort()}`))
})

afterEach(async () => {
  await stop()
  await rm(root, { recursive: true, force: true })
})

const start = async (node: Name, data: string): Promise<void> => {
  const clusterSecret = 'a secret that the tests share'
  running.set(node, await startBroker({ node, peers, clusterSecret, data, port: 0 }))
}

const startAll = (cluster: string): Promise<unknown> =>
  Promise.all(names.map(node => start(node, join(root, cluster, node))))

const stop = async (...nodes: readonly Name[]): Promise<void> => {
  const which = nodes.length === 0 ? names : nodes
  await Promise.all(which.map(async node => running.get(node)?.close()))
  for (const node of which) running.delete(node)
}

/** Seals so many segments, so that the register is that much further. */
const seal = async (times: number): Promise<void> => {
  const client = await connect([...running.values()].map(({ url }) => url))
  for (let i = 0; i < times; i++) await client.admin().sealLog()
  await client.close()
}

/** What its register holds. Promises to itself do not count: nobody gets to hear of them. */
const decided = async (data: string): Promise<unknown> => {
  const text = await readFile(join(data, 'metastore/paxos/acceptor'), 'utf8')
  return (JSON.parse(text) as { readonly decided: unknown }).decided
}

it('a directory of another cluster of the same name is refused, unchanged, and harms nobody', {
  timeout: 60_000,
}, async () => {
  await startAll('a')
  await seal(5)
  await stop()
  await startAll('b')
  await stop('n3')
  const foreign = join(root, 'a', 'n3')
  await cp(foreign, join(root, 'before'), { recursive: true })
  await expect(start('n3', foreign)).rejects.toMatchObject({
    code: 'DATA_DIR_FOREIGN',
    message: expect.stringContaining(
      'belongs to another cluster logloom than that of nodes n1, n2',
    ),
  })
  expect(await decided(foreign)).toEqual(await decided(join(root, 'before')))
  // The cluster goes on, takes its own node back, and so does the other with its own.
  await seal(1)
  await start('n3', join(root, 'b', 'n3'))
  await stop()
  await startAll('a')
  await seal(1)
})
