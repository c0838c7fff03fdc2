// The register of a cluster, beyond what every metastore promises: majorities, restarts, lost disks, and its own members.

import { describe, expect, it } from 'vitest'
import { registerVerbs } from '../../loglets/metastore/paxos/acceptor.ts'
import { MetaStoreUnavailableError } from '../../loglets/metastore/paxos/paxos-metastore.ts'
import { recordMessage } from '../../loglets/metastore/paxos/record.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { type RegisterNode, registerOf } from './paxos-nodes.ts'

const text = (s: string): Uint8Array => new TextEncoder().encode(s)
const said = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : new TextDecoder().decode(bytes)
const at = (nodes: readonly RegisterNode[], i: number): RegisterNode => nodes[i] as RegisterNode
const readBy = async (node: RegisterNode): Promise<string | undefined> =>
  said((await node.store.read()).value)

describe('a register on three nodes', () => {
  it('goes on without any one of them, and that one catches up', async () => {
    const nodes = registerOf(3)
    await at(nodes, 0).store.write(text('one'), 0)
    at(nodes, 1).net.cut('n3')
    expect(await at(nodes, 1).store.write(text('two'), 1)).toEqual({ ok: true, version: 2 })
    at(nodes, 1).net.heal('n3')
    expect(await readBy(at(nodes, 2))).toBe('two')
    expect(await at(nodes, 2).store.write(text('late'), 1)).toMatchObject({ ok: false, version: 2 })
  })

  it('does nothing without a majority, and says so', async () => {
    const nodes = registerOf(3)
    await at(nodes, 0).store.write(text('one'), 0)
    at(nodes, 0).net.cut('n2')
    at(nodes, 0).net.cut('n3')
    await expect(at(nodes, 0).store.read()).rejects.toThrow(MetaStoreUnavailableError)
    await expect(at(nodes, 0).store.write(text('two'), 1)).rejects.toThrow(
      '2 of 3 nodes are needed',
    )
  })

  it('keeps a write that only its proposer saw, when another finishes it', async () => {
    const nodes = registerOf(3)
    // The proposer dies between the answers of the others and its own news of them.
    await at(nodes, 0).store.write(text('mine'), 0)
    at(nodes, 0).net.cut('n1')
    expect(await readBy(at(nodes, 1))).toBe('mine')
    expect(await readBy(at(nodes, 2))).toBe('mine')
  })

  it('remembers promises and values over a restart of all', async () => {
    const nodes = registerOf(3)
    await at(nodes, 0).store.write(text('one'), 0)
    for (const node of nodes) {
      node.disk.crash(() => 'none')
      node.restart()
    }
    expect(await readBy(at(nodes, 2))).toBe('one')
    expect(await at(nodes, 1).store.write(text('two'), 1)).toEqual({ ok: true, version: 2 })
  })

  it('does not count a node that lost its disk as one that knows of nothing', async () => {
    const nodes = registerOf(3)
    at(nodes, 0).net.cut('n3')
    await at(nodes, 0).store.write(text('one'), 0)
    at(nodes, 0).net.heal('n3')
    // n2 forgets its vote; with n3, which never had one, it would be a majority that knows nothing.
    at(nodes, 1).restart({ disk: new SimDisk(), store: 'another-disk' })
    at(nodes, 0).net.cut('n1')
    await expect(at(nodes, 2).store.read()).rejects.toThrow(/data directory/)
    at(nodes, 0).net.heal('n1')
    expect(await readBy(at(nodes, 2))).toBe('one')
  })

  it('neither hears nor votes for another register of the same nodes, even one that is further', async () => {
    const [ours, others] = [registerOf(3), registerOf(3)]
    await at(ours, 0).store.write(text('ours'), 0)
    for (let version = 0; version < 5; version++)
      await at(others, 0).store.write(text('theirs'), version)
    // The third node comes back with the disk that it has in the other.
    at(ours, 2).restart({ disk: at(others, 2).disk, store: 'n3-disk' })
    expect(await at(ours, 0).store.write(text('two'), 1)).toEqual({ ok: true, version: 2 })
    expect(await readBy(at(ours, 1))).toBe('two')
    await expect(at(ours, 2).store.read()).rejects.toThrow(/belongs to another cluster/)
    expect((await at(ours, 2).acceptor.decided()).version).toBe(5)
    const theirs = await at(others, 2).acceptor.decided()
    await expect(at(ours, 0).acceptor.hear(theirs)).rejects.toMatchObject({ code: 'PEER_CLUSTER' })
    expect(await readBy(at(ours, 0))).toBe('two')
  })

  it('changes its own members, without a change of the value', async () => {
    const nodes = registerOf(3, 2)
    await at(nodes, 0).store.write(text('one'), 0)
    const before = await at(nodes, 0).store.members()
    const wanted = ['n3@n3-disk', 'n4@n4-disk', 'n5@n5-disk']
    expect(await at(nodes, 0).store.changeMembers(before, wanted)).toEqual(wanted)
    // The two that left are not needed any more.
    at(nodes, 0).net.cut('n1')
    at(nodes, 0).net.cut('n2')
    expect(await readBy(at(nodes, 4))).toBe('one')
    expect(await at(nodes, 3).store.write(text('two'), 1)).toEqual({ ok: true, version: 2 })
    // Somebody who did not hear of the change loses the race.
    expect(await at(nodes, 2).store.changeMembers(before, before)).toEqual(wanted)
  })

  it('does not vote below a promise that it gave before a crash', async () => {
    const [first] = registerOf(3)
    const node = first as RegisterNode
    const caller = node.net.endpoint('caller')
    const before = recordMessage(await node.acceptor.decided())
    const record = { ...before, instance: 1, version: 1, value: text('x'), id: 'x' }
    const ask = async (verb: string, round: number): Promise<unknown> => {
      const request = { before, record, ballot: { round, by: 'caller' } }
      return (await caller.call('n1', verb, request, { timeoutMs: 1000 })).status
    }
    expect(await ask(registerVerbs.prepare, 5)).toBe('promised')
    node.disk.crash(() => 'none')
    node.restart()
    expect(await ask(registerVerbs.accept, 4)).toBe('outbid')
    expect(await ask(registerVerbs.accept, 5)).toBe('accepted')
  })
})
