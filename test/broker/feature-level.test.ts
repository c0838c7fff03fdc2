// Brokers of several versions on one log: nothing is written that one of them cannot read.

import { afterEach, expect, it } from 'vitest'
import { Broker } from '../../broker/broker.ts'
import { encodeEntry, parseEntry } from '../../broker/engine/entry.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { featureLevel } from '../../broker/state/feature-level.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { StateMachine } from '../../broker/state/state-machine.ts'
import type { Lsn } from '../../loglets/contract.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import { MemoryMetaStore } from '../../loglets/metastore/memory.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { encodeBatch, readBatchHeader } from '../../wire/index.ts'
import { ports } from '../loglets/workshop.ts'
import { SimDisk } from '../simulation/sim-disk.ts'

let log: VirtualLog
let broker: Broker | undefined

afterEach(() => broker?.close())

/** A broker `new` on a log to which a broker of another version has its session, the one with LSN 0, and perhaps has said more. */
async function beside(peer: { node?: string; level?: number; says?: readonly Command[] }) {
  log = await VirtualLog.open({
    ...ports,
    metaStore: new MemoryMetaStore(),
    registry: new LogletRegistry([new MemoryLogletProvider()]),
    initialSpec: 'memory',
  })
  const { node = 'old', level, says = [] } = peer
  await put(-1, 0, {
    type: 'open',
    node,
    incarnation: 'i',
    ...(level === undefined ? {} : { level }),
  })
  for (const [sequence, command] of says.entries()) await put(0, sequence, command)
  broker = await Broker.open({
    ...ports,
    defer: setImmediate,
    disk: new SimDisk(),
    log,
    store: new MemoryStore(),
    checkpointsDir: 'checkpoints',
    nodeId: 'new',
    onFatal: error => {
      throw error
    },
  })
  return broker
}

async function put(session: number, sequence: number, command: Command): Promise<void> {
  const stamp = Date.now()
  await log.append(encodeEntry({ session, sequence, stamp }, [command]).buffers)
}

async function keyedProduce(to: Broker): Promise<Decision> {
  const create = { topic: 't', partitions: 3, config: {}, ifNotExists: true } as const
  const made = await to.propose({ type: 'createTopic', ...create })
  const topicId = made.ok ? (made.result?.topicId as number) : -1
  const batch = encodeBatch([{ key: 'k', value: 'v' }], { now: 1 })
  const header = readBatchHeader(batch)
  return to.propose({ type: 'produce', topicId, partition: 1, partitions: 3, batch, header })
}

/** The code of the last entry's first command, as it lies in the log. */
async function lastCode(): Promise<number> {
  const tail = await log.checkTail()
  const [item] = await log.readNext((tail - 1) as Lsn, tail, 1 << 20)
  return item?.kind === 'entry' ? (item.bytes[32] as number) : -1
}

const addPartitions = { type: 'addPartitions', topicId: 1, partitions: 6, config: {} } as const

it('refuses what an older broker cannot read, and names that broker', async () => {
  const young = await beside({})
  await keyedProduce(young)
  await expect(young.propose(addPartitions)).rejects.toMatchObject({
    code: 'UNSUPPORTED_VERSION',
    retriable: false,
    message: 'addPartitions needs brokers of feature level 3: old cannot read it',
    details: { limit: 1, actual: 3, nodes: ['old'] },
  })
  await expect(young.propose({ type: 'relocate', moves: [] })).rejects.toMatchObject({
    code: 'UNSUPPORTED_VERSION',
  })
})

it('gives a producer no owner while an older broker would not know of it', async () => {
  const command = { type: 'initProducer', owner: 'User:alice' } as const
  const young = await beside({})
  expect(await young.propose(command)).toMatchObject({ ok: true })
  expect(young.producer(1)).toMatchObject({ id: 1 })
  expect(young.producer(1)?.owner).toBeUndefined()
})

it('writes a keyed produce as an older broker reads it', async () => {
  expect(await keyedProduce(await beside({}))).toMatchObject({ ok: true })
  expect(await lastCode()).toBe(1)
})

it.each([
  ['its session says so', { level: featureLevel }],
  ['a stamp of it says so', { says: [{ type: 'stamp', level: featureLevel }] as const }],
  ['its session has ended', { says: [{ type: 'expire', session: 0, next: 0 }] as const }],
  ['the session is one that this node left behind', { node: 'new' }],
])('writes everything once the other broker reads it: %s', async (_, peer) => {
  const young = await beside(peer)
  expect(await keyedProduce(young)).toMatchObject({ ok: true })
  expect(await lastCode()).toBe(40)
  expect(await young.propose(addPartitions)).toMatchObject({ ok: true })
})

it('knows after a restart what the others read', async () => {
  const store = new MemoryStore()
  const young = await beside({ level: 2 })
  const machine = new StateMachine(store)
  for (const item of await log.readNext(0 as Lsn, young.tail as Lsn, 1 << 20))
    if (item.kind === 'entry') machine.apply(item.lsn, parseEntry(item.bytes))
  const changes = machine.takeChanges()
  await store.commit(changes.ops)
  const again = new StateMachine(store)
  expect([...again.sessions.live.values()].map(({ node, level }) => [node, level])).toEqual([
    ['old', 2],
    ['new', featureLevel],
  ])
})
