// The link between nodes over real sockets: what it carries, and what becomes of calls when the link breaks.

import { afterEach, describe, expect, it } from 'vitest'
import type { PeerEvent, PeerNet } from '../../broker/cluster/peer-net.ts'
import { NetError } from '../../loglets/net.ts'
import { failureOf } from './net-contract.ts'
import { introduce, type NodeOverrides, openNode, SilentProxy, until, urlOf } from './nodes.ts'

const open: { close(): Promise<void> }[] = []
const timeoutMs = 5000

afterEach(async () => {
  await Promise.all(open.splice(0).map(each => each.close()))
})

async function node(self: string, overrides: NodeOverrides = {}): Promise<PeerNet> {
  const net = await openNode(self, overrides)
  open.push(net)
  return net
}

async function pair(overrides: NodeOverrides = {}): Promise<[PeerNet, PeerNet]> {
  const [a, b] = [await node('a', overrides), await node('b', overrides)]
  introduce(a, b)
  return [a, b]
}

const echo = async (_from: string, request: object): Promise<never> => request as never

describe('calls between nodes', () => {
  it('carry frames of up to 24 MiB, and refuse larger ones where they are made', async () => {
    const [a, b] = await pair()
    b.handle('test.length', async (_from, { bytes }) => ({ length: (bytes as Uint8Array).length }))
    b.handle('test.make', async (_from, { length }) => ({
      bytes: new Uint8Array(length as number).fill(7),
    }))
    const large = new Uint8Array((24 << 20) - 1024)
    expect(await a.call('b', 'test.length', { bytes: large }, { timeoutMs })).toEqual({
      length: large.length,
    })
    const reply = await a.call('b', 'test.make', { length: large.length }, { timeoutMs })
    expect((reply.bytes as Uint8Array).at(-1)).toBe(7)
    const tooLarge = 24 << 20
    for (const call of [
      a.call('b', 'test.length', { bytes: new Uint8Array(tooLarge) }, { timeoutMs }),
      a.call('b', 'test.make', { length: tooLarge }, { timeoutMs }),
    ])
      expect(await failureOf(call)).toMatchObject({
        code: 'MESSAGE_TOO_LARGE',
        message: expect.stringMatching(/2516\d+ bytes.*25165824 \(peerFrameBytesMax\)/),
      })
    expect(await a.call('b', 'test.make', { length: 1 }, { timeoutMs })).toBeDefined()
  })

  it('carry 512 entries of several buffers in one frame', async () => {
    const [a, b] = await pair()
    b.handle('test.echo', echo)
    const entries = Array.from({ length: 512 }, (_, position) => ({
      position,
      parts: Array.from({ length: 40 }, () => new Uint8Array(100)),
    }))
    const reply = await a.call('b', 'test.echo', { entries }, { timeoutMs })
    expect((reply.entries as unknown[]).length).toBe(512)
  })

  it('are refused where they are made when no frame carries them; the link lives', async () => {
    const [a, b] = await pair()
    b.handle('test.echo', echo)
    const many = { n: Array.from({ length: 200_001 }, () => 1) }
    let deep: object = { n: 1 }
    for (let i = 0; i < 8; i++) deep = { deep }
    await a.call('b', 'test.echo', {}, { timeoutMs })
    const { incarnation } = a.peers()[0] ?? {}
    expect(await failureOf(a.call('b', 'test.echo', many, { timeoutMs }))).toMatchObject({
      code: 'BAD_FRAME',
      message: expect.stringContaining('200000 (elementsMax)'),
    })
    expect(await failureOf(a.call('b', 'test.echo', deep as never, { timeoutMs }))).toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringContaining('depthMax'),
    })
    expect(await a.call('b', 'test.echo', { n: 1 }, { timeoutMs })).toEqual({ n: 1 })
    expect(a.peers()[0]).toMatchObject({ connected: true, incarnation })
  })

  it('connect at the first call, and not before', async () => {
    const [a, b] = await pair()
    expect([a.peers(), b.peers()].flat().map(({ connected }) => connected)).toEqual([false, false])
    expect(a.peers()[0]).toMatchObject({ node: 'b', url: urlOf(b), lastSeenMs: undefined })
    b.handle('test.echo', echo)
    await a.call('b', 'test.echo', {}, { timeoutMs })
    expect(a.peers()[0]).toMatchObject({ connected: true, version: '0' })
    expect(a.peers()[0]?.lastSeenMs).toBeLessThan(600)
    expect(b.peers()[0]).toMatchObject({ node: 'a', connected: true })
  })

  it('still live when both nodes stood still for longer than their time limit', async () => {
    const [a, b] = await pair({ peerTimeoutMs: 200 })
    b.handle('test.stand', async () => {
      const end = performance.now() + 500
      while (performance.now() < end);
      return { stood: true }
    })
    expect(await a.call('b', 'test.stand', {}, { timeoutMs })).toEqual({ stood: true })
  })
})

describe('when a node goes away', () => {
  it('its calls in flight break at once, later ones fail at once, and all is well when it is back', async () => {
    const a = await node('a')
    const first = await node('b')
    introduce(a, first)
    const { port } = first
    const events: PeerEvent[] = []
    a.onPeer(event => events.push(event))
    let asked = 0
    first.handle('test.hang', () => {
      asked++
      return new Promise(() => {})
    })
    const calls = [1, 2, 3].map(n => failureOf(a.call('b', 'test.hang', { n }, { timeoutMs })))
    await until('b was asked', () => asked === 3)
    const began = performance.now()
    await first.close()
    for (const error of await Promise.all(calls)) {
      expect(error).toBeInstanceOf(NetError)
      expect(error).toMatchObject({ code: 'BROKEN', message: expect.stringContaining('node b') })
    }
    // The close itself waits a second for its handlers, which hang.
    expect(performance.now() - began).toBeLessThan(timeoutMs / 2)
    const refusedAt = performance.now()
    let error: unknown
    do error = await failureOf(a.call('b', 'test.hang', {}, { timeoutMs }))
    while ((error as NetError).code === 'BROKEN')
    expect(error).toMatchObject({ code: 'UNREACHABLE' })
    expect(performance.now() - refusedAt).toBeLessThan(1000)
    expect(a.peers()[0]).toMatchObject({ connected: false })

    const second = await node('b', { port, peers: new Map([['a', urlOf(a)]]) })
    second.handle('test.echo', echo)
    await until('a is connected again', () => a.peers()[0]?.connected === true)
    expect(await a.call('b', 'test.echo', { n: 1 }, { timeoutMs })).toEqual({ n: 1 })
    expect(events.map(({ node, up }) => ({ node, up }))).toEqual([
      { node: 'b', up: true },
      { node: 'b', up: false },
      { node: 'b', up: true },
    ])
    expect(events[0]?.incarnation).not.toBe(events[2]?.incarnation)
  })

  it('it is dialled as soon as it shows itself', async () => {
    const [a, b] = [await node('a'), await node('b')]
    const { port } = a
    await a.close()
    b.addPeer('a', `ws://127.0.0.1:${port}`)
    b.handle('test.echo', echo)
    // After some failures the pauses are long.
    for (let i = 0; i < 3; i++) {
      const error = await failureOf(b.call('a', 'test.echo', {}, { timeoutMs }))
      expect(error).toMatchObject({ code: 'UNREACHABLE' })
    }
    const back = await node('a', { port, peers: new Map([['b', urlOf(b)]]) })
    back.handle('test.echo', echo)
    await back.call('b', 'test.echo', {}, { timeoutMs })
    expect(await b.call('a', 'test.echo', { n: 1 }, { timeoutMs })).toEqual({ n: 1 })
  })

  it('a silent one is cut on both sides, and its calls break', async () => {
    const [a, b] = [await node('a'), await node('b')]
    const proxy = await SilentProxy.start(b.port)
    open.push(proxy)
    a.addPeer('b', urlOf(proxy))
    b.addPeer('a', urlOf(a))
    let asked = 0
    b.handle('test.hang', () => {
      asked++
      return new Promise(() => {})
    })
    const call = failureOf(a.call('b', 'test.hang', {}, { timeoutMs: 30_000 }))
    await until('b was asked', () => asked === 1)
    const began = performance.now()
    proxy.silent = true
    expect(await call).toMatchObject({
      code: 'BROKEN',
      message: expect.stringMatching(/silent for \d+ ms \(peerTimeoutMs\)/),
    })
    expect(performance.now() - began).toBeGreaterThan(400)
    expect(performance.now() - began).toBeLessThan(3000)
    await until('b has noticed too', () => b.peers()[0]?.connected === false)
    expect(a.peers()[0]?.lastSeenMs).toBeGreaterThan(300)
  })

  it('an idle connection outlives many times the limit of silence', async () => {
    const [a, b] = await pair({ peerTimeoutMs: 150 })
    const downs: PeerEvent[] = []
    a.onPeer(event => {
      if (!event.up) downs.push(event)
    })
    b.handle('test.later', async () => {
      const until = performance.now() + 900
      while (performance.now() < until)
        await new Promise(resolve => {
          setTimeout(resolve, 20)
        })
      return { at: 'last' }
    })
    expect(await a.call('b', 'test.later', {}, { timeoutMs })).toEqual({ at: 'last' })
    expect(downs).toEqual([])
  })

  it('a call that was never sent says so at its time', async () => {
    const [a, b] = [await node('a'), await node('b')]
    const proxy = await SilentProxy.start(b.port)
    open.push(proxy)
    proxy.silent = true
    a.addPeer('b', urlOf(proxy))
    const error = await failureOf(a.call('b', 'test.x', {}, { timeoutMs: 100 }))
    expect(error).toMatchObject({ code: 'UNREACHABLE', message: expect.stringContaining('100 ms') })
  })

  it('taking it from the peer list ends its calls and serves it no more', async () => {
    const [a, b] = await pair()
    b.handle('test.echo', echo)
    let asked = 0
    b.handle('test.hang', () => {
      asked++
      return new Promise(() => {})
    })
    const call = failureOf(a.call('b', 'test.hang', {}, { timeoutMs }))
    await until('b was asked', () => asked === 1)
    b.removePeer('a')
    expect(await call).toMatchObject({ code: 'BROKEN' })
    let error: unknown
    do error = await failureOf(a.call('b', 'test.echo', {}, { timeoutMs }))
    while (!(error as Error).message.includes('peer list'))
    expect(error).toMatchObject({ code: 'UNREACHABLE' })
    a.removePeer('b')
    expect(await failureOf(a.call('b', 'test.echo', {}, { timeoutMs }))).toMatchObject({
      code: 'UNREACHABLE',
    })
    expect(a.peers()).toEqual([])
  })

  it('closing this node rejects what is in flight, and all that follows', async () => {
    const [a, b] = await pair()
    let asked = 0
    for (const net of [a, b])
      net.handle('test.hang', () => {
        asked++
        return new Promise(() => {})
      })
    const calls = ['a', 'b'].map(to => failureOf(a.call(to, 'test.hang', {}, { timeoutMs })))
    await until('both were asked', () => asked === 2)
    await a.close()
    await a.close()
    expect(await Promise.all(calls)).toMatchObject([{ code: 'BROKEN' }, { code: 'BROKEN' }])
    expect(await failureOf(a.call('b', 'test.hang', {}, { timeoutMs }))).toMatchObject({
      code: 'UNREACHABLE',
    })
  })
})
