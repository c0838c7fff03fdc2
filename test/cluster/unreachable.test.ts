// What clients are told while too few nodes answer: an error that says so, or what is known; never a hang, never INTERNAL.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Client, connect, type ReadRetry } from '../../client/index.ts'
import { freePort } from './free-port.ts'

const names = ['n1', 'n2', 'n3'] as const
type Name = (typeof names)[number]
const records = 50

let root: string
let peers: readonly string[]
const running = new Map<Name, RunningBroker>()
let client: Client

async function start(node: Name, tailCacheBytes?: number): Promise<void> {
  const broker = await startBroker({
    node,
    peers,
    clusterSecret: 'a secret that the tests share',
    data: join(root, node),
    port: 0,
    ...(tailCacheBytes === undefined ? {} : { tailCacheBytes }),
  })
  running.set(node, broker)
}

async function stop(node: Name): Promise<void> {
  await running.get(node)?.close()
  running.delete(node)
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'logloom-unreachable-'))
  peers = await Promise.all(names.map(async n => `${n}=ws://127.0.0.1:${await freePort()}`))
  // Without a cache the third node has to read from the log; its own copies are on the others only.
  await Promise.all(names.map(node => start(node)))
  await stop('n3')
  client = await connect(running.get('n1')?.url as string)
  await client.admin().createTopic('t')
  await client.admin().sealLog()
  const producer = client.producer()
  for (let i = 0; i < records; i++) producer.enqueue('t', { value: `${i}` })
  await producer.flush()
  await client.close()
  // What was written lies in a segment of n1 and n2 alone.
  await start('n3', 0)
  const late = await connect(running.get('n3')?.url as string)
  await late.admin().sealLog()
  await late.close()
  await Promise.all([stop('n1'), stop('n2')])
  client = await connect(running.get('n3')?.url as string)
}, 60_000)

afterAll(async () => {
  await client?.close()
  await Promise.all([...running.keys()].map(stop))
  await rm(root, { recursive: true, force: true })
}, 60_000)

describe('a node without a majority', { timeout: 60_000 }, () => {
  it('describes the log as it knew it last, and says so', async () => {
    const { segments, stale } = await client.admin().describeLog()
    expect(segments.length).toBeGreaterThan(1)
    expect(stale).toMatch(/segment \d+ does not answer/)
  })

  it('describes the cluster at once', async () => {
    const { nodes } = await client.admin().describeCluster()
    expect(nodes.map(({ node, up }) => [node, up])).toEqual([
      ['n1', false],
      ['n2', false],
      ['n3', true],
    ])
  })

  it('refuses what depends on the end of the log, naming the nodes that are needed', async () => {
    await expect(client.admin().listTopics()).rejects.toMatchObject({
      code: 'LOG_UNAVAILABLE',
      retriable: true,
      message: expect.stringMatching(/n1|n2/),
    })
  })

  it('names the ranges that nobody who has them answers for when it verifies the log, and ends', async () => {
    const { ok, damaged } = await client.admin().verifyLog()
    expect(ok).toBe(false)
    expect(damaged.map(({ kind }) => kind)).toContain('unreachable')
  })

  it('tells readers why they wait, and they go on when the nodes are back', async () => {
    const heard: ReadRetry[] = []
    let hear: () => void = () => {}
    const refused = new Promise<void>(resolve => {
      hear = resolve
    })
    const onRetry = (retry: ReadRetry): void => {
      heard.push(retry)
      hear()
    }
    const values: unknown[] = []
    const reading = (async () => {
      for await (const { value } of client.read('t', { from: 'beginning', until: 'end', onRetry }))
        values.push(value)
    })()
    await refused
    expect(heard[0]).toMatchObject({ topic: 't', error: { code: 'LOG_UNAVAILABLE' } })
    await Promise.all([start('n1'), start('n2')])
    await reading
    expect(values).toEqual(Array.from({ length: records }, (_, i) => `${i}`))
  })
})
