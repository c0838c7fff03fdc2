// What broke other quorum logs, as tests of this one: BookKeeper's #2614 (a recovery that reads what is not fenced), #1067 (one hanging
// server blocks recovery) and "limbo" (a server that lost entries says that there are none); and ids that come back.

import { describe, expect, it } from 'vitest'
import { LogletSealedError, LogletUnavailableError, position } from '../../../loglets/contract.ts'
import type { Loglet } from '../../../loglets/contract.ts'
import { LogServer } from '../../../loglets/native/log-server.ts'
import { verbs } from '../../../loglets/native/messages.ts'
import { FileLogletProvider } from '../../../loglets/file/file-provider.ts'
import { nodeClock } from '../../../loglets/node-clock.ts'
import type { Placement } from '../../../loglets/registry.ts'
import { SimDisk } from '../../simulation/sim-disk.ts'
import { TestCluster } from './cluster.ts'

const id = '000000-abcdef'
const entry = (n: number): readonly Uint8Array[] => [Uint8Array.of(n)]

/** A loglet of three servers, sequenced by n1, with a client on each node. */
async function threeNodes(): Promise<{
  cluster: TestCluster
  placement: Placement
  clients: readonly Loglet[]
}> {
  const cluster = await TestCluster.of(3)
  const { registry } = cluster.at(0)
  const placement = registry.place('native') as Placement
  await registry.create(id, 'native', undefined, placement)
  const clients = await Promise.all(
    cluster.nodes.map(node => node.registry.open(id, 'native', undefined, placement)),
  )
  return { cluster, placement, clients }
}

const client = (clients: readonly Loglet[], i: number): Loglet => clients[i] as Loglet

describe('a native loglet on three log servers', () => {
  it('never acks what its sequencer brought to one server before the others were sealed', async () => {
    const { cluster, clients } = await threeNodes()
    await client(clients, 0).append(entry(1))
    cluster.net.cut('n1')
    const late = client(clients, 0).append(entry(2))
    late.catch(() => {})
    await client(clients, 1).seal()
    expect(await client(clients, 1).checkTail()).toEqual({ tail: 1, sealed: true })
    cluster.net.heal('n1')
    await expect(late).rejects.toThrow(LogletSealedError)
    await cluster.close()
  })

  it('is sealed and read although one server never answers', async () => {
    const { cluster, clients } = await threeNodes()
    for (let n = 0; n < 10; n++) await client(clients, 0).append(entry(n))
    cluster.net.hang('n3')
    await client(clients, 1).seal()
    expect(await client(clients, 1).checkTail()).toEqual({ tail: 10, sealed: true })
    const items = await client(clients, 1).readNext(position(0), position(10), 1000)
    expect(items.map(item => item.kind)).toEqual(Array.from({ length: 10 }, () => 'entry'))
    await cluster.close()
  })

  it('does not take a server that lost its disk for one with an empty loglet', async () => {
    const { cluster, clients } = await threeNodes()
    cluster.net.cut('n3')
    for (let n = 0; n < 5; n++) await client(clients, 0).append(entry(n))
    cluster.net.heal('n3')
    const n2 = cluster.at(1)
    await n2.server.close()
    const disk = new SimDisk()
    await disk.mkdir('loglets')
    const files = new FileLogletProvider({ disk, root: 'loglets', clock: nodeClock })
    const { net } = n2
    n2.server = new LogServer({ net, disk, clock: nodeClock, store: 'new', root: 'loglets', files })
    cluster.net.cut('n1')
    // n2 and n3 would be a majority that knows of no acked entry.
    await expect(client(clients, 2).checkTail()).rejects.toThrow(LogletUnavailableError)
    cluster.net.heal('n1')
    expect((await client(clients, 2).checkTail()).tail).toBe(5)
    await cluster.close()
  })

  it('goes on with a server that was away, which skips what the others have', async () => {
    const { cluster, clients } = await threeNodes()
    await client(clients, 0).append(entry(0))
    cluster.net.cut('n3')
    for (let n = 1; n < 20; n++) await client(clients, 0).append(entry(n))
    cluster.net.heal('n3')
    for (let n = 20; n < 25; n++) await client(clients, 0).append(entry(n))
    cluster.net.cut('n2')
    for (let n = 25; n < 30; n++) await client(clients, 0).append(entry(n))
    cluster.net.heal('n2')
    // Through n3, whose own copy may have holes.
    let next = 0
    while (next < 30) {
      const items = await client(clients, 2).readNext(position(next), position(30), 8)
      for (const item of items) {
        if (item.kind !== 'entry') throw new Error(`${item.gap} at ${item.from}`)
        expect(item.bytes[0]).toBe(next++)
      }
    }
    await cluster.close()
  })

  it('is sealed with a server that was away when it was made, after another lost its disk', async () => {
    const cluster = await TestCluster.of(3)
    const { registry } = cluster.at(0)
    const placement = registry.place('native') as Placement
    cluster.net.cut('n3')
    await registry.create(id, 'native', undefined, placement)
    const writer = await registry.open(id, 'native', undefined, placement)
    await writer.append(entry(0))
    // From now on nothing comes from the sequencer that would bring the loglet to n3.
    cluster.at(0).sequencers.stop(id)
    cluster.net.heal('n3')
    cluster.net.cut('n2')
    const other = await cluster.at(2).registry.open(id, 'native', undefined, placement)
    await other.seal()
    expect(await other.checkTail()).toEqual({ tail: 1, sealed: true })
    const items = await other.readNext(position(0), position(1), 1000)
    expect(items).toMatchObject([{ kind: 'entry', bytes: Uint8Array.of(0) }])
    await cluster.close()
  })

  it('cannot be made again once it was removed', async () => {
    const { cluster, placement, clients } = await threeNodes()
    await client(clients, 0).append(entry(0))
    await cluster.at(0).registry.remove(id, 'native', placement)
    for (const i of [0, 1, 2]) await cluster.restartServer(i)
    await expect(cluster.at(0).registry.create(id, 'native', undefined, placement)).rejects.toThrow(
      /was removed/,
    )
    await cluster.close()
  })

  it('is not sequenced a second time by the same process', async () => {
    const { cluster, placement } = await threeNodes()
    const [text = ''] = placement
    cluster.at(0).sequencers.stop(id)
    expect(() => cluster.at(0).sequencers.start(id, text, {})).toThrow(/cannot run here/)
    await cluster.close()
  })

  it('finishes a seal that reached one server only before it says sealed', async () => {
    const { cluster, clients } = await threeNodes()
    await client(clients, 0).append(entry(0))
    const { net } = cluster.at(1)
    const ask = (node: string, verb: string) =>
      net.call(node, verb, { id, store: 'disk' }, { timeoutMs: 1000 })
    await ask('n3', verbs.seal)
    expect(await client(clients, 1).checkTail()).toEqual({ tail: 1, sealed: true })
    const states = await Promise.all(['n1', 'n2', 'n3'].map(node => ask(node, verbs.tail)))
    expect(states.filter(state => state.sealed === true).length).toBeGreaterThanOrEqual(2)
    await cluster.close()
  })

  it('has no sequencer any more once its node hears that another sealed it', async () => {
    const { cluster, clients } = await threeNodes()
    await client(clients, 0).append(entry(0))
    const following = client(clients, 0).waitTail(position(1))
    await client(clients, 1).seal()
    expect((await following).sealed).toBe(true)
    const append = cluster.at(0).sequencers.find(id)?.append(entry(1))
    await expect(append).rejects.toMatchObject({ code: 'LOGLET_SEALED', outcome: 'refused' })
    await cluster.close()
  })
})
