// Disks that are lost one after the other, each after the copies of the last were made again: nothing acked is lost.

import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { produceNumbers, ThreeNodes } from './three-nodes.ts'

const records = 50
let nodes: ThreeNodes

beforeAll(async () => {
  nodes = await ThreeNodes.prepare()
  await nodes.startAll()
}, 60_000)

afterAll(() => nodes.close(), 60_000)

/** Servers of each segment but the open one. */
const copiesOfSealed = (): Promise<readonly number[]> =>
  nodes.withClient(async client => {
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
  await nodes.stop('n3')
  await nodes.withClient(async client => {
    await client.admin().sealLog()
    await produceNumbers(client, records)
    await client.admin().sealLog()
  })
  expect(Math.min(...(await copiesOfSealed()))).toBe(2)
  await nodes.start('n3')
  // What an operator waits for before the next machine.
  const isWhole = async (): Promise<boolean> =>
    [...nodes.running.values()].every(({ broker }) => broker.health().status === 'ok')
  await until(isWhole)
  expect(Math.min(...(await copiesOfSealed()))).toBe(3)
  for (const node of ['n1', 'n2'] as const) {
    await nodes.stop(node)
    await rm(nodes.data(node), { recursive: true })
    await nodes.start(node)
    await until(isWhole)
  }
  const values = await nodes.withClient(async client => {
    const found: unknown[] = []
    for await (const { value } of client.read('t', { from: 'beginning', until: 'end' }))
      found.push(value)
    return found
  })
  expect(values).toEqual(Array.from({ length: records }, (_, i) => `${i}`))
})
