// What a node that proved itself can still do wrong: frames that break rules, replies that it does not read, more than fits.

import { afterEach, describe, expect, it } from 'vitest'
import type { PeerNet } from '../../broker/cluster/peer-net.ts'
import { packFrame } from '../../wire/index.ts'
import { failureOf } from './net-contract.ts'
import { type NodeOverrides, openNode, SilentProxy, until, urlOf } from './nodes.ts'
import { RawPeer } from './raw-peer.ts'

const open: { close(): Promise<void> }[] = []

afterEach(async () => {
  await Promise.all(open.splice(0).map(each => each.close()))
})

async function node(self: string, overrides: NodeOverrides = {}): Promise<PeerNet> {
  const net = await openNode(self, overrides)
  open.push(net)
  return net
}

/** A node `b`, and a connection to it that has proved to be `raw`. */
async function greeted(overrides: NodeOverrides = {}): Promise<[PeerNet, RawPeer]> {
  const b = await node('b', { peers: new Map([['raw', 'ws://127.0.0.1:1']]), ...overrides })
  const raw = await RawPeer.open(urlOf(b))
  expect(await raw.greet('b')).toMatchObject({ op: 'peer-welcome' })
  return [b, raw]
}

describe('an authenticated node', () => {
  it.each([
    ['garbage', new Uint8Array([0xc1, 1, 2, 3])],
    ['a map that ends early', new Uint8Array([0x81, 0xa2, 0x69])],
    ['an extension', new Uint8Array([0x81, 0xa1, 0x61, 0xd4, 0x01, 0x00])],
    ['a call without a verb', packFrame({ id: 1, body: {} })],
    ['a call whose body is no map', packFrame({ id: 1, verb: 'test.x', body: [1] })],
    ['too many elements', packFrame({ id: 1, verb: 'x', body: { n: Array(200_001).fill(0) } })],
  ])('is cut for %s, with the reason', async (_what, bytes) => {
    const [b, raw] = await greeted()
    raw.socket.send(bytes)
    expect(await raw.closed).toMatchObject({
      code: 1008,
      reason: expect.stringMatching(/^BAD_FRAME: /),
    })
    await until('b has forgotten it', () => b.peers()[0]?.connected === false)
  })

  it('is cut for a frame beyond 24 MiB', async () => {
    const [, raw] = await greeted()
    raw.socket.send(new Uint8Array((24 << 20) + 1))
    expect((await raw.closed).code).toBe(1009)
  })

  it('that reads no replies is read no further, and holds a bounded number of bytes', async () => {
    const [b, raw] = await greeted({ peerTimeoutMs: 60_000 })
    let served = 0
    b.handle('test.mib', async () => {
      served++
      return { bytes: new Uint8Array(1 << 20) }
    })
    raw.socket.pause()
    for (let id = 1; id <= 40; id++) {
      raw.socket.send(packFrame({ id, verb: 'test.mib', body: {} }))
      // Each in a packet of its own.
      await new Promise(resolve => {
        setTimeout(resolve, 2)
      })
    }
    await until('requests stay unread', () => served > 16)
    const before = served
    expect(before).toBeLessThan(40)
    raw.socket.resume()
    for (let id = 1; id <= 40; id++) expect(await raw.next()).toMatchObject({ id })
    expect(served).toBe(40)
    raw.socket.terminate()
  })

  it('that asks for more replies at once than may wait is cut', async () => {
    const [b, raw] = await greeted({ peerTimeoutMs: 60_000 })
    b.handle('test.mib', async () => ({ bytes: new Uint8Array(8 << 20) }))
    raw.socket.pause()
    raw.socket.cork()
    for (let id = 1; id <= 40; id++) raw.socket.send(packFrame({ id, verb: 'test.mib', body: {} }))
    raw.socket.uncork()
    await until('it is gone', () => b.peers()[0]?.connected === false)
    raw.socket.terminate()
  })

  it('has at most 32 MiB of requests served at a time; the rest waits and is served later', async () => {
    const [a, b] = [await node('a', { peerTimeoutMs: 60_000 }), await node('b')]
    a.addPeer('b', urlOf(b))
    b.addPeer('a', urlOf(a))
    const held: (() => void)[] = []
    b.handle('test.hold', async () => {
      await new Promise<void>(resolve => held.push(resolve))
      return {}
    })
    const bytes = new Uint8Array(8 << 20)
    const calls = Array.from({ length: 7 }, () =>
      a.call('b', 'test.hold', { bytes }, { timeoutMs: 30_000 }),
    )
    await until('four are served', () => held.length >= 4)
    // Longer than b's limit of silence: a paused peer is not a silent one, and a hears b's pings.
    await new Promise(resolve => {
      setTimeout(resolve, 900)
    })
    expect(held.length).toBe(4)
    let served = 0
    while (served < 7) {
      for (const release of held.splice(0)) {
        release()
        served++
      }
      await new Promise(resolve => {
        setTimeout(resolve, 5)
      })
    }
    expect(await Promise.all(calls)).toHaveLength(7)
  })
})

describe('calls to a node that takes nothing', () => {
  it('fail at once beyond 64 MiB, naming the limit, and the node is told of none of them', async () => {
    const [a, b] = [await node('a', { peerTimeoutMs: 60_000 }), await node('b')]
    const proxy = await SilentProxy.start(b.port)
    open.push(proxy)
    a.addPeer('b', urlOf(proxy))
    proxy.silent = true
    const bytes = new Uint8Array(16 << 20)
    const calls = [1, 2, 3].map(() =>
      failureOf(a.call('b', 'test.x', { bytes }, { timeoutMs: 1000 })),
    )
    const error = await failureOf(
      a.call('b', 'test.x', { bytes: new Uint8Array(20 << 20) }, { timeoutMs: 1000 }),
    )
    expect(error).toMatchObject({
      code: 'UNREACHABLE',
      message: expect.stringMatching(
        /wait for node b, 209\d+ more exceed the limit 67108864 \(peerOutputBytesMax\)/,
      ),
    })
    expect(await Promise.all(calls)).toMatchObject(calls.map(() => ({ code: 'UNREACHABLE' })))
    // What was given up makes room.
    expect(await failureOf(a.call('b', 'test.x', { bytes }, { timeoutMs: 50 }))).toMatchObject({
      message: expect.stringContaining('50 ms'),
    })
  })
})
