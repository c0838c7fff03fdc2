// What clients are told while too few nodes answer: an error that says so, or what is known; never a hang, never INTERNAL.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Client, ReadRetry } from '../../client/index.ts'
import { produceNumbers, ThreeNodes } from './three-nodes.ts'

const records = 50
let nodes: ThreeNodes
let client: Client

beforeAll(async () => {
  nodes = await ThreeNodes.prepare()
  await nodes.startAll()
  await nodes.stop('n3')
  client = await nodes.connect('n1')
  await client.admin().createTopic('t')
  await client.admin().sealLog()
  await produceNumbers(client, records)
  await client.close()
  // What was written lies in a segment of n1 and n2 alone. Without a cache the third node has to read it from the log.
  await nodes.start('n3', { tailCacheBytes: 0 })
  const late = await nodes.connect('n3')
  await late.admin().sealLog()
  await late.close()
  await Promise.all([nodes.stop('n1'), nodes.stop('n2')])
  client = await nodes.connect('n3')
}, 60_000)

afterAll(async () => {
  await client?.close()
  await nodes.close()
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
    await Promise.all([nodes.start('n1'), nodes.start('n2')])
    await reading
    expect(values).toEqual(Array.from({ length: records }, (_, i) => `${i}`))
  })
})
