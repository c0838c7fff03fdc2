// From a cluster of three nodes on native loglets to a broker alone on a file, and back: any broker answers, and a node may go away meanwhile.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createSnapshot } from '../../broker/cli/snapshot-create.ts'
import { restoreSnapshot } from '../../broker/cli/snapshot-restore.ts'
import { startBroker } from '../../broker/index.ts'
import { encodeBatch } from '../../wire/batch.ts'
import { ThreeNodes } from '../cluster/three-nodes.ts'
import { connected, dump } from './dump.ts'

let nodes: ThreeNodes
let directory: string

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'logloom-three-'))
  nodes = await ThreeNodes.prepare()
  await nodes.startAll(() => ({ loglet: 'native' }))
})
afterAll(async () => {
  await nodes.stopAll()
  await rm(nodes.root, { recursive: true, force: true })
  await rm(directory, { recursive: true, force: true })
})

function urls(): string {
  return [...nodes.running.values()].map(({ url }) => url).join(',')
}

describe('a cluster of three nodes', () => {
  it('goes into a broker alone and back, whole, with a node that stops in between', async () => {
    const snapshot = join(directory, 'one.snapshot')
    const batch = encodeBatch([{ value: Buffer.alloc(100_000) }], { now: 1 })
    await connected(urls(), async connection => {
      for (let n = 0; n < 6; n++)
        await connection.call('createTopic', { topic: `t${n}`, partitions: 2 })
      for (let n = 0; n < 120; n++)
        await connection.call('produce', { topic: `t${n % 6}`, partition: n % 2, batch })
      await connection.call('commitOffsets', {
        group: 'g',
        offsets: [{ topic: 't1', partition: 1, offset: 7 }],
      })
    })
    let isStopped: Promise<void> | undefined
    const before = await connected(urls(), async connection => {
      const link = await connection.waitForLink()
      const answering = [...nodes.running].find(([, { url }]) => url === link.url)?.[0]
      await createSnapshot(connection, snapshot, {
        onProgress: () => {
          isStopped ??= answering === undefined ? undefined : nodes.stop(answering)
        },
      })
      await isStopped
      return dump(connection)
    })
    expect(isStopped).toBeDefined()
    const alone = await startBroker({ port: 0, loglet: 'file', data: join(directory, 'alone') })
    try {
      await connected(alone.url, async connection => {
        await restoreSnapshot(connection, snapshot)
        expect(await dump(connection)).toEqual(before)
        await createSnapshot(connection, join(directory, 'two.snapshot'))
      })
    } finally {
      await alone.close()
    }
    await connected(urls(), async connection => {
      const two = join(directory, 'two.snapshot')
      await restoreSnapshot(connection, two, { prefix: 'again-' })
      const after = await dump(connection)
      for (const [name, topic] of Object.entries(before.topics))
        expect(after.topics[`again-${name}`]).toEqual(topic)
      const offsets = after.groups['g'] as string[]
      expect(offsets.filter(row => row.includes('again-t1'))).toHaveLength(1)
    })
  })
})
