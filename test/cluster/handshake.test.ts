// Who gets in: everything that the two sides must agree on, and what strangers can do.

import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { silentLogger } from '../../broker/logger.ts'
import { startBroker } from '../../broker/index.ts'
import type { PeerNet } from '../../broker/cluster/peer-net.ts'
import { openSocket, packFrame } from '../../wire/index.ts'
import { createSocketServer } from '../../wire/server.ts'
import { failureOf } from './net-contract.ts'
import { introduce, type NodeOverrides, openNode, SilentProxy, until, urlOf } from './nodes.ts'
import { RawPeer } from './raw-peer.ts'

const open: { close(): Promise<void> }[] = []
const timeoutMs = 5000

afterEach(async () => {
  await Promise.all(open.splice(0).map(each => each.close()))
})

async function node(self: string, overrides: NodeOverrides = {}): Promise<PeerNet> {
  const net = await openNode(self, overrides)
  net.handle('test.echo', async (_from, request) => request)
  open.push(net)
  return net
}

/** What a call of `a` to `b` says when they do not agree. */
async function refusal(a: PeerNet, b: PeerNet): Promise<string> {
  introduce(a, b)
  const error = await failureOf(a.call('b', 'test.echo', {}, { timeoutMs }))
  expect(error).toMatchObject({ code: 'UNREACHABLE' })
  return (error as Error).message
}

describe('a node is refused, with the reason,', () => {
  it('when it has another secret', async () => {
    const other = 'another secret, which is long enough'
    expect(await refusal(await node('a'), await node('b', { clusterSecret: other }))).toContain(
      'does not have the secret',
    )
  })

  it('when it belongs to another cluster', async () => {
    expect(await refusal(await node('a'), await node('b', { clusterId: 'cluster-2' }))).toContain(
      'node a belongs to cluster cluster-1, node b to cluster-2',
    )
  })

  it('when its data directory is of another cluster of that name', async () => {
    const [a, b] = [
      await node('a', { birth: () => 'x/1/0' }),
      await node('b', { birth: () => 'y/1/0' }),
    ]
    expect(await refusal(a, b)).toContain(
      'the data directory of node a is of another cluster cluster-1 (begun as x/1/0) than that of node b (begun as y/1/0)',
    )
  })

  it('when they have no protocol in common', async () => {
    const b = await node('b', { protocols: { min: 2, max: 3 }, version: '9.1' })
    expect(await refusal(await node('a'), b)).toContain(
      'node b (logloom 9.1) speaks peer protocols 2 to 3, the node that dials 1 to 1',
    )
  })

  it('when it is not in the peer list', async () => {
    const [a, b] = [await node('a'), await node('b')]
    a.addPeer('b', urlOf(b))
    const error = await failureOf(a.call('b', 'test.echo', {}, { timeoutMs }))
    expect((error as Error).message).toContain('node a is not in the peer list of node b')
  })

  it('when its URL leads to another node', async () => {
    const [a, c] = [await node('a'), await node('c')]
    c.addPeer('a', urlOf(a))
    a.addPeer('b', urlOf(c))
    const error = await failureOf(a.call('b', 'test.echo', {}, { timeoutMs }))
    expect((error as Error).message).toContain('looks for node b, and this is node c')
  })

  it('when it says that it is the node that it dials', async () => {
    const b = await node('b')
    const raw = await RawPeer.open(urlOf(b))
    expect(await raw.greet('b', { node: 'b' })).toMatchObject({
      op: 'peer-refused',
      error: { code: 'PEER_DUPLICATE' },
    })
    expect(await raw.closed).toEqual({ code: 1008, reason: 'PEER_DUPLICATE' })
  })
})

describe('two nodes with one id', () => {
  it('cannot both be in: the second waits until the first is gone', async () => {
    const b = await node('b')
    const first = await node('a')
    introduce(first, b)
    await first.call('b', 'test.echo', {}, { timeoutMs })
    const second = await node('a', { peers: new Map([['b', urlOf(b)]]) })
    const error = await failureOf(second.call('b', 'test.echo', {}, { timeoutMs }))
    expect((error as Error).message).toMatch(/node a is connected to node b as incarnation/)
    expect(await first.call('b', 'test.echo', { n: 1 }, { timeoutMs })).toEqual({ n: 1 })
    await first.close()
    await until('the second is in', () => second.peers()[0]?.connected === true)
    expect(await second.call('b', 'test.echo', { n: 2 }, { timeoutMs })).toEqual({ n: 2 })
  })

  it('a first one that is only silent gives way after the time limit', async () => {
    const b = await node('b')
    const proxy = await SilentProxy.start(b.port)
    open.push(proxy)
    const first = await node('a', { peers: new Map([['b', urlOf(proxy)]]) })
    b.addPeer('a', 'ws://127.0.0.1:1')
    await first.call('b', 'test.echo', {}, { timeoutMs })
    proxy.silent = true
    const second = await node('a', { peers: new Map([['b', urlOf(b)]]) })
    expect(await failureOf(second.call('b', 'test.echo', {}, { timeoutMs }))).toMatchObject({
      message: expect.stringContaining('has to wait'),
    })
    await until('the second is in', () => second.peers()[0]?.connected === true)
  })

  it('a process that dials anew replaces its own older connection', async () => {
    const b = await node('b', { peers: new Map([['raw', 'ws://127.0.0.1:1']]) })
    const [older, newer] = [await RawPeer.open(urlOf(b)), await RawPeer.open(urlOf(b))]
    await older.greet('b')
    expect(await newer.greet('b')).toMatchObject({ op: 'peer-welcome' })
    expect(await older.closed).toMatchObject({ code: 1001 })
    newer.socket.send(packFrame({ id: 1, verb: 'test.echo', body: { n: 1 } }))
    expect(await newer.next()).toEqual({ id: 1, body: { n: 1 } })
    newer.socket.terminate()
  })
})

describe('the choice of protocol', () => {
  it('is the highest that both speak', async () => {
    const b = await node('b', {
      protocols: { min: 1, max: 4 },
      peers: new Map([['raw', 'ws://127.0.0.1:1']]),
    })
    const raw = await RawPeer.open(urlOf(b))
    expect(await raw.greet('b', { protocols: { min: 0, max: 2 } })).toMatchObject({ protocol: 2 })
    raw.socket.terminate()
  })
})

describe('a stranger', () => {
  it('is cut after 2 s of silence', async () => {
    const b = await node('b')
    const began = performance.now()
    const raw = await RawPeer.open(urlOf(b))
    await raw.closed
    expect(performance.now() - began).toBeGreaterThan(1900)
    expect(performance.now() - began).toBeLessThan(4000)
  })

  it('is cut after 4 KiB, before a large frame has come whole', async () => {
    const reasons: string[] = []
    const warn = (fields: object): number => reasons.push((fields as { error: string }).error)
    const b = await node('b', { logger: { ...silentLogger, warn } })
    const raw = await RawPeer.open(urlOf(b))
    raw.socket.send(new Uint8Array(20 << 20))
    expect((await raw.closed).code).toBe(1006)
    const [, bytes] = /^(\d+) bytes .*4096 \(handshakeBytesMax\)/.exec(reasons[0] ?? '') ?? []
    expect(Number(bytes)).toBeLessThan(1 << 20)
    const next = await RawPeer.open(urlOf(b))
    expect(await next.greet('b')).toMatchObject({ error: { code: 'PEER_UNKNOWN' } })
  })

  it.each([
    ['bytes that are no frame', new Uint8Array([0xc1, 0xff, 0x00])],
    ['a frame of the clients', packFrame({ op: 'hello', id: 1, protocol: 1, client: 'x' })],
    ['a call', packFrame({ id: 1, verb: 'test.echo', body: {} })],
    ['a hello without its fields', packFrame({ op: 'peer-hello' })],
    [
      'a hello of wrong types',
      packFrame({ op: 'peer-hello', protocolMin: 1, protocolMax: 1, node: 7 }),
    ],
  ])('is refused for %s', async (_what, bytes) => {
    const b = await node('b')
    const raw = await RawPeer.open(urlOf(b))
    await raw.next()
    raw.socket.send(bytes)
    expect(await raw.next()).toMatchObject({ op: 'peer-refused' })
    expect((await raw.closed).code).toBe(1008)
  })

  it('cannot replay a hello that it saw', async () => {
    const b = await node('b', { peers: new Map([['raw', 'ws://127.0.0.1:1']]) })
    const honest = await RawPeer.open(urlOf(b))
    const sent: Uint8Array[] = []
    const send = honest.socket.send.bind(honest.socket)
    honest.socket.send = bytes => {
      sent.push(bytes)
      send(bytes)
    }
    expect(await honest.greet('b')).toMatchObject({ op: 'peer-welcome' })
    const thief = await RawPeer.open(urlOf(b))
    await thief.next()
    thief.socket.send(sent[0] as Uint8Array)
    expect(await thief.next()).toMatchObject({ error: { code: 'PEER_SECRET' } })
    honest.socket.terminate()
  })

  it('finds only 64 places, and they become free', async () => {
    const b = await node('b')
    const many = await Promise.all(Array.from({ length: 64 }, () => RawPeer.open(urlOf(b))))
    expect(String(await failureOf(RawPeer.open(urlOf(b))))).toContain('503')
    many[0]?.socket.terminate()
    await many[0]?.closed
    let next: RawPeer | undefined
    while (next === undefined) next = await RawPeer.open(urlOf(b)).catch(() => undefined)
    for (const raw of [...many, next]) raw.socket.terminate()
  })

  it('that is a client or a web page is turned away before it is a socket', async () => {
    const b = await node('b')
    expect(await failureOf(openSocket(urlOf(b)))).toMatchObject({
      code: 'WRONG_PORT',
      message: expect.stringContaining('for other nodes'),
    })
    const answer = await httpUpgrade(b.port, 'Origin: http://evil.example\r\n')
    expect(answer).toContain('403 FORBIDDEN_ORIGIN')
    const page = await fetch(`http://127.0.0.1:${b.port}/`)
    expect(page.status).toBe(426)
  })
})

describe('a node that dials', () => {
  it('tells its operator the code of a refusal and what to do', async () => {
    const said: object[] = []
    const logger = { ...silentLogger, warn: (fields: object) => said.push(fields) }
    const a = await node('a', { logger })
    const stranger = await node('b', { clusterSecret: 'another secret than that of the others' })
    a.addPeer('b', urlOf(stranger))
    await failureOf(a.call('b', 'test.echo', {}, { timeoutMs: 1000 }))
    expect(said).toEqual([
      expect.objectContaining({
        node: 'b',
        code: 'PEER_SECRET',
        hint: expect.stringContaining('same secret'),
      }),
    ])
  })

  it('learns that it dialled a port for clients', async () => {
    const broker = await startBroker({ loglet: 'memory', port: 0 })
    const said: object[] = []
    const logger = { ...silentLogger, warn: (fields: object) => said.push(fields) }
    const a = await node('a', { logger })
    a.addPeer('b', broker.url)
    await failureOf(a.call('b', 'test.echo', {}, { timeoutMs: 1000 }))
    await broker.close()
    expect(said[0]).toMatchObject({ code: 'WRONG_PORT', hint: expect.stringContaining('--peers') })
  })

  it('gives up a listener that is no node, and says so', async () => {
    const http = createServer()
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    const { port } = http.address() as AddressInfo
    let mode: 'silent' | 'flood' | 'liar' = 'silent'
    const door = createSocketServer({
      frameBytesMax: 1 << 20,
      verify: () => ({ ok: true }),
      onSocket: socket => {
        if (mode === 'flood') socket.send(new Uint8Array(1 << 20))
        if (mode !== 'liar') return
        socket.onMessage = () =>
          socket.send(
            packFrame({
              op: 'peer-welcome',
              node: 'b',
              incarnation: 'x',
              version: '1',
              protocol: 1,
              proof: '0'.repeat(64),
            }),
          )
        socket.send(packFrame({ op: 'peer-challenge', nonce: 'a'.repeat(64) }))
      },
    })
    http.on('upgrade', (request, socket, head: Buffer) => door.handleUpgrade(request, socket, head))
    const a = await node('a', { peers: new Map([['b', `ws://127.0.0.1:${port}`]]) })
    const failure = async (): Promise<string> => {
      // Pauses between dials are not what is tested.
      a.removePeer('b')
      a.addPeer('b', `ws://127.0.0.1:${port}`)
      return String(await failureOf(a.call('b', 'test.echo', {}, { timeoutMs })))
    }
    expect(await failure()).toContain('no handshake')
    mode = 'flood'
    expect(await failure()).toContain('(handshakeBytesMax)')
    mode = 'liar'
    expect(await failure()).toContain('does not have the secret')
    door.close()
    http.closeAllConnections()
    http.close()
  })
})

describe('the options of a node', () => {
  it.each([
    ['self', { self: 'Not_A_Node' }],
    ['clusterSecret', { clusterSecret: 'short' }],
    ['clusterId', { clusterId: 'with space' }],
    ['peers', { peers: new Map([['b', 'http://x']]) }],
    ['peers', { peers: new Map([['B', 'ws://x']]) }],
  ])('are refused when %s is wrong', async (key, overrides) => {
    const error = await failureOf(openNode('a', overrides))
    expect(error).toMatchObject({ code: 'INVALID_CONFIG', details: { key } })
  })

  it('are refused when the port is taken', async () => {
    const a = await node('a')
    expect(await failureOf(openNode('b', { port: a.port }))).toMatchObject({ code: 'PORT_IN_USE' })
  })
})

/** The answer to an upgrade with further headers. */
function httpUpgrade(port: number, headers: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(
        `GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: logloom-peer\r\n${headers}\r\n`,
      )
    })
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString()
    })
    socket.on('close', () => resolve(text))
    socket.on('error', reject)
  })
}
