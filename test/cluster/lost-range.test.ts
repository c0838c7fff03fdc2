// A range of the log that no server has any more: a node that rebuilds its state does not replay the gap while another still has what came of it.

import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { StartBrokerOptions } from '../../broker/index.ts'
import { type NodeName, nodeNames, produceNumbers, ThreeNodes } from './three-nodes.ts'

let nodes: ThreeNodes
const failures: string[] = []

const watched = (node: NodeName): StartBrokerOptions => ({
  onFatal: error => failures.push(`${node}: ${error.message}`),
})

beforeAll(async () => {
  nodes = await ThreeNodes.prepare()
  await nodes.startAll(watched)
}, 60_000)

afterAll(() => nodes.close(), 60_000)

/** Each broker's state at one position that all have reached. */
async function hashes(): Promise<readonly string[]> {
  for (;;) {
    const brokers = [...nodes.running.values()].map(({ broker }) => broker)
    await Promise.all(brokers.map(broker => broker.sync()))
    const states = brokers.map(broker => broker.stateHash())
    if (new Set(states.map(({ applied }) => applied)).size === 1)
      return states.map(({ hash }) => hash)
  }
}

it('a node that lost its state takes that of another, and all agree afterwards', {
  timeout: 60_000,
}, async () => {
  await nodes.withClient(client => produceNumbers(client, 100))
  const [first] = await readdir(join(nodes.data('n1'), 'loglets'))
  await nodes.withClient(client => client.admin().sealLog())
  for (const node of nodeNames) {
    await nodes.stop(node)
    await rm(join(nodes.data(node), 'loglets', first as string), { recursive: true })
    if (node === 'n3') await rm(join(nodes.data(node), 'state'), { recursive: true })
    await nodes.start(node, watched(node))
  }
  await nodes.withClient(client => produceNumbers(client, 100))
  expect(new Set(await hashes()).size).toBe(1)
  expect(failures).toEqual([])
  // What the gap held is gone; where it began and ended is known to all.
  const one = await nodes.connect('n3')
  const { partitions } = await one.admin().describeTopic('t')
  expect(partitions).toMatchObject([{ startOffset: 0, endOffset: 200 }])
  await one.close()
})
