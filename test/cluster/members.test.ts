// Planned changes of who is in the cluster, on whole nodes in this process: a node joins, one leaves, one comes back with a new disk.

import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type BrokerHealth, type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Client, connect } from '../../client/index.ts'
import { freePort } from './free-port.ts'

const names = ['n1', 'n2', 'n3', 'n4'] as const
type Name = (typeof names)[number]

let directory: string
const peerUrls = new Map<string, string>()
const running = new Map<string, RunningBroker>()
/** Codes of the errors that each node told its operator. */
const said = new Map<string, unknown[]>()
let client: Client
let sent = 0

async function start(node: Name, peers: readonly Name[], join_ = false): Promise<void> {
  running.set(
    node,
    await startBroker({
      node,
      peers: peers.map(name => `${name}=${peerUrls.get(name)}`),
      join: join_,
      clusterSecret: 'a secret that the tests share',
      data: join(directory, node),
      port: 0,
      logger: {
        info: () => {},
        warn: () => {},
        error: fields =>
          said.set(node, [...(said.get(node) ?? []), (fields as { code?: unknown }).code]),
      },
    }),
  )
}

async function stop(node: Name): Promise<void> {
  await running.get(node)?.close()
  running.delete(node)
}

const healthOf = (node: Name): BrokerHealth => (running.get(node) as RunningBroker).broker.health()

async function produce(count: number): Promise<void> {
  const producer = client.producer()
  for (let i = 0; i < count; i++) producer.enqueue('t', { value: `${sent++}` })
  await producer.flush()
  await producer.close()
}

/** Everything in the topic, as one node tells it. */
async function readAll(node: Name): Promise<readonly string[]> {
  const one = await connect(running.get(node)?.url as string)
  const values: string[] = []
  for await (const record of one.read('t', { from: 'beginning', until: 'end' }))
    values.push(record.value as string)
  await one.close()
  return values
}

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

const adminOf = async <T>(node: Name, use: (client: Client) => Promise<T>): Promise<T> => {
  const one = await connect(running.get(node)?.url as string)
  try {
    return await use(one)
  } finally {
    await one.close()
  }
}

/** Resolves once no segment of the log names `text` in its placement. */
const untilUnplaced = (text: string): Promise<true> =>
  until(async () => {
    const { segments } = await client.admin().describeLog()
    return segments.some(({ placement = [] }) => placement.join().includes(text)) ? undefined : true
  })

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'logloom-members-'))
  for (const name of names) peerUrls.set(name, `ws://127.0.0.1:${await freePort()}`)
  await Promise.all(['n1', 'n2', 'n3'].map(node => start(node as Name, ['n1', 'n2', 'n3'])))
  client = await connect([...running.values()].map(({ url }) => url))
  await client.admin().createTopic('t')
  await produce(200)
}, 60_000)

afterAll(async () => {
  await client?.close()
  await Promise.all([...running.keys()].map(node => stop(node as Name)))
  await rm(directory, { recursive: true, force: true })
}, 60_000)

describe('a cluster of three nodes', { timeout: 60_000 }, () => {
  it('refuses changes that make no sense, each with its reason', async () => {
    await adminOf('n1', async one => {
      const admin = one.admin()
      await expect(admin.addNode('n2', 'ws://127.0.0.1:1')).rejects.toMatchObject({
        code: 'NODE_EXISTS',
      })
      await expect(admin.addNode('N_5', 'ws://127.0.0.1:1')).rejects.toMatchObject({
        code: 'INVALID_CONFIG',
      })
      await expect(admin.addNode('n5', 'http://127.0.0.1')).rejects.toMatchObject({
        code: 'INVALID_CONFIG',
      })
      await expect(admin.removeNode('n9')).rejects.toMatchObject({ code: 'UNKNOWN_NODE' })
      await expect(admin.removeNode('n1')).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    })
  })

  it('takes a fourth node in, which serves everything', async () => {
    const url = peerUrls.get('n4') as string
    await adminOf('n1', one => one.admin().addNode('n4', url))
    await start('n4', ['n1', 'n2', 'n3', 'n4'], true)
    await until(async () => {
      const { nodes } = await adminOf('n3', one => one.admin().describeCluster())
      const found = nodes.find(({ node }) => node === 'n4')
      return found?.up === true && !found.joining ? true : undefined
    })
    await produce(50)
    expect(await readAll('n4')).toEqual(Array.from({ length: sent }, (_, i) => `${i}`))
    // Only n1 knew of it at first: that is no reason to cry.
    expect(said.get('n4')).toBeUndefined()
  })

  it('is well when all nodes are up and the log is on them', async () => {
    await until(async () => {
      const { status, problems } = healthOf('n4')
      return status === 'ok' && problems.length === 0 ? true : undefined
    })
  })

  it('lets a node go, which is told: the log moves off it, sealed segments too', async () => {
    await adminOf('n1', one => one.admin().removeNode('n3'))
    await until(async () => (said.get('n3')?.includes('NODE_REMOVED') ? true : undefined))
    expect(healthOf('n3')).toMatchObject({
      status: 'unavailable',
      problems: [expect.stringMatching(/n3 was removed/)],
    })
    await stop('n3')
    expect(said.get('n3')?.filter(code => code === 'NODE_REMOVED')).toHaveLength(1)
    await untilUnplaced('n3@')
    await until(async () => (healthOf('n1').status === 'ok' ? true : undefined))
    await produce(50)
    for (const node of ['n1', 'n2', 'n4'] as const)
      expect(await readAll(node)).toEqual(Array.from({ length: sent }, (_, i) => `${i}`))
    await until(async () => {
      const { nodes } = await adminOf('n4', one => one.admin().describeCluster())
      return nodes
        .map(({ node }) => node)
        .sort()
        .join() === 'n1,n2,n4'
        ? true
        : undefined
    })
  })

  it('copies what a lost disk had, when its node comes back with a new one', async () => {
    await client.admin().switchLog('native')
    await produce(50)
    const { segments } = await client.admin().describeLog()
    const [store] = /n2@s-[0-9a-f]+/.exec(segments.at(-1)?.placement?.join() ?? '') ?? []
    expect(store).toBeDefined()
    await stop('n2')
    await rm(join(directory, 'n2'), { recursive: true })
    // Its peers still name the node that left: what the register says counts.
    await start('n2', ['n1', 'n2', 'n3'])
    // Before it is copied anew, the loss shows.
    await until(async () => {
      const { lostCopies = [] } = await adminOf('n1', one => one.admin().describeCluster())
      const [first] = lostCopies
      if (first === undefined) return undefined
      expect(first).toMatchObject({ gone: ['n2'], copies: first.wanted - 1 })
      expect(healthOf('n1').status).toBe('degraded')
      return true
    })
    await untilUnplaced(store as string)
    const { lostCopies } = await adminOf('n1', one => one.admin().describeCluster())
    expect(lostCopies).toEqual([])
    expect(await readAll('n2')).toEqual(Array.from({ length: sent }, (_, i) => `${i}`))
  })

  it('does not let a node go when too few of the others are up', async () => {
    await stop('n2')
    await until(async () => {
      const { nodes } = await adminOf('n1', one => one.admin().describeCluster())
      return nodes.find(({ node }) => node === 'n2')?.up === false ? true : undefined
    })
    expect(healthOf('n1')).toMatchObject({
      status: 'degraded',
      problems: expect.arrayContaining([expect.stringContaining('node n2')]),
    })
    await adminOf('n1', async one => {
      await expect(one.admin().removeNode('n4')).rejects.toMatchObject({
        code: 'TOO_FEW_NODES',
        message: expect.stringContaining('1 are up and 2 are needed'),
      })
    })
    expect(await readAll('n1')).toHaveLength(sent)
  })

  it('says that it takes nothing once a majority is away', async () => {
    await stop('n4')
    // It may say first that nothing could be opened elsewhere, for which it needs the same.
    await until(async () => {
      const { status, problems } = healthOf('n1')
      const isNamed = problems.some(problem => problem.includes('log servers'))
      return status === 'unavailable' && isNamed ? true : undefined
    })
  })
})

it('leaves nothing behind when its start fails', async () => {
  const options = {
    node: 'n1',
    peers: [`n1=ws://127.0.0.1:${await freePort()}`],
    clusterSecret: 'a secret that the tests share',
    data: join(directory, 'alone'),
  }
  const taken = createServer()
  await new Promise<void>(resolve => taken.listen(0, '127.0.0.1', resolve))
  const { port } = taken.address() as AddressInfo
  await expect(startBroker({ ...options, port })).rejects.toMatchObject({ code: 'PORT_IN_USE' })
  await new Promise(resolve => taken.close(resolve))
  // The listener for nodes, the lock and the store are free again.
  const broker = await startBroker({ ...options, port })
  await broker.close()
}, 30_000)
