// Two clusters of one name and one secret, whose data directories get mixed up.

import { cp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type NodeName, ThreeNodes } from './three-nodes.ts'

let nodes: ThreeNodes

beforeEach(async () => {
  nodes = await ThreeNodes.prepare()
})

afterEach(() => nodes.close())

/** The directory that the node has in a cluster. */
const directoryIn = (cluster: string, node: NodeName): string => join(nodes.root, cluster, node)

const startAll = (cluster: string): Promise<void> =>
  nodes.startAll(node => ({ data: directoryIn(cluster, node) }))

/** Seals so many segments, so that the register is that much further. */
const seal = (times: number): Promise<void> =>
  nodes.withClient(async client => {
    for (let i = 0; i < times; i++) await client.admin().sealLog()
  })

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
  await nodes.stopAll()
  await startAll('b')
  await nodes.stop('n3')
  const foreign = directoryIn('a', 'n3')
  await cp(foreign, join(nodes.root, 'before'), { recursive: true })
  await expect(nodes.start('n3', { data: foreign })).rejects.toMatchObject({
    code: 'DATA_DIR_FOREIGN',
    message: expect.stringContaining(
      'belongs to another cluster logloom than that of nodes n1, n2',
    ),
  })
  expect(await decided(foreign)).toEqual(await decided(join(nodes.root, 'before')))
  // The cluster goes on, takes its own node back, and so does the other with its own.
  await seal(1)
  await nodes.start('n3', { data: directoryIn('b', 'n3') })
  await nodes.stopAll()
  await startAll('a')
  await seal(1)
})
