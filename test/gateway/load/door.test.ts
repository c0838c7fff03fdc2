// Sockets that nobody vouched for: few, short-lived, and never in the way of those who say hello.

import { request as httpRequest } from 'node:http'
import { connect as tcpConnect, type Socket } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Doorkeeper } from '../../../broker/gateway/load/doorkeeper.ts'
import { addressKey } from '../../../broker/security/address-key.ts'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../../broker/index.ts'
import { resolveSettings } from '../../../broker/settings.ts'
import { httpUrl, metric } from '../../metrics-page.ts'
import { RawClient } from '../raw-client.ts'

const started: RunningBroker[] = []

afterEach(async () => {
  await Promise.all(started.splice(0).map(broker => broker.close()))
})

async function start(options: StartBrokerOptions = {}): Promise<RunningBroker> {
  const broker = await startBroker({ loglet: 'memory', port: 0, ...options })
  started.push(broker)
  return broker
}

/** A TCP connection that says nothing. */
async function silent(broker: RunningBroker): Promise<{ socket: Socket; ended: Promise<void> }> {
  const socket = tcpConnect(broker.port, '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  const ended = new Promise<void>(resolve => socket.once('close', () => resolve()))
  await new Promise<void>(resolve => socket.once('connect', () => resolve()))
  return { socket, ended }
}

const upgrade = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': Buffer.from('sixteen bytes ab').toString('base64'),
}

function tryUpgrade(broker: RunningBroker): Promise<{ status: number; retryAfter?: string }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(httpUrl(broker, '/'), { headers: upgrade, agent: false })
    request.on('upgrade', (_response, socket) => {
      socket.destroy()
      resolve({ status: 101 })
    })
    request.on('response', response => {
      response.resume()
      const retryAfter = response.headers['retry-after']
      resolve({
        status: response.statusCode ?? 0,
        ...(retryAfter === undefined ? {} : { retryAfter }),
      })
    })
    request.on('error', reject)
    request.end()
  })
}

describe('sockets without a hello', () => {
  it('beyond strangersMax make room, the oldest first, and others say hello meanwhile', async () => {
    const broker = await start({ strangersMax: 3 })
    const known = await RawClient.connect(broker.url)
    const first = await silent(broker)
    const others = [await silent(broker), await silent(broker)]
    expect(await metric(broker, 'logloom_ws_strangers')).toBeGreaterThanOrEqual(3)
    const client = await RawClient.connect(broker.url)
    await first.ended
    await Promise.all([known.call('ping'), client.call('ping')])
    const refused = 'logloom_ws_rejected_total{reason="STRANGER_LIMIT"}'
    expect(await metric(broker, refused)).toBeGreaterThan(0)
    for (const { socket } of others) socket.destroy()
    await Promise.all([known.close(), client.close()])
  })

  it('are cut when they send no request', async () => {
    const broker = await start()
    const { ended } = await silent(broker)
    const slow = tcpConnect(broker.port, '127.0.0.1')
    slow.on('error', () => {})
    slow.resume()
    const slowEnded = new Promise<void>(resolve => slow.once('close', () => resolve()))
    slow.write('GET / HTTP/1.1\r\n')
    const drip = setInterval(() => slow.write('x-a: b\r\n'), 300)
    await Promise.all([ended, slowEnded])
    clearInterval(drip)
    await (await RawClient.connect(broker.url)).close()
  })
})

describe('upgrades', () => {
  it('beyond handshakesPerSecondMax are refused with 503 and a time to come back', async () => {
    const broker = await start({ handshakesPerSecondMax: 2 })
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => tryUpgrade(broker)))
    const refused = answers.filter(({ status }) => status === 503)
    expect(refused.length).toBeGreaterThanOrEqual(1)
    expect(refused.every(({ retryAfter }) => /^[123]$/.test(retryAfter ?? ''))).toBe(true)
    expect(await metric(broker, 'logloom_ws_rejected_total{reason="HANDSHAKE_RATE"}')).toBe(
      refused.length,
    )
    await vi.waitFor(async () => expect((await tryUpgrade(broker)).status).toBe(101), 5000)
  })
})

describe('a connection', () => {
  it('that floods the broker with pings is closed', async () => {
    const broker = await start()
    const client = await RawClient.connect(broker.url)
    // At once, and no more than ws itself puts up with.
    for (let i = 0; i < 55; i++) client.ws.ping()
    expect(await client.closed).toMatchObject({
      code: 1008,
      reason: expect.stringContaining('pingsPerSweepMax'),
    })
  })

  it('whose message never ends is closed, and what came of it counts against the budget', async () => {
    const broker = await start({ messageTimeoutMs: 700 })
    const client = await RawClient.connect(broker.url)
    client.ws.send(Buffer.alloc(100_000), { fin: false })
    await vi.waitFor(async () =>
      expect(await metric(broker, 'logloom_held_bytes{kind="partial"}')).toBeGreaterThanOrEqual(
        100_000,
      ),
    )
    expect(await client.closed).toMatchObject({
      code: 1008,
      reason: expect.stringContaining('messageTimeoutMs'),
    })
    expect(await metric(broker, 'logloom_held_bytes{kind="partial"}')).toBe(0)
  })
})

describe('an address', () => {
  it('is an IPv4 address, or the /64 of an IPv6 address', () => {
    expect(addressKey('10.0.0.1')).toBe('10.0.0.1')
    expect(addressKey('::ffff:10.0.0.1')).toBe('10.0.0.1')
    expect(addressKey('::1')).toBe('::1')
    expect(addressKey('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64')
    expect(addressKey('2001:db8:1:2::9')).toBe('2001:db8:1:2::/64')
    expect(addressKey('2001:db8::9')).toBe('2001:db8:0:0::/64')
    expect(addressKey('fe80::1%eth0')).toBe('fe80:0:0:0::/64')
  })

  it('has so many sockets and no more, unless it is loopback', () => {
    const rejected = new Map<string, number>()
    const door = new Doorkeeper(
      resolveSettings({ flags: { connectionsPerAddressMax: 2, handshakesPerSecondMax: 8 } }),
      rejected,
    )
    let port = 0
    const sockets: FakeSocket[] = []
    const accept = (remoteAddress: string): FakeSocket => {
      const socket = new FakeSocket(remoteAddress, ++port)
      sockets.push(socket)
      door.accepted(socket as unknown as Socket)
      return socket
    }
    const [first] = [accept('10.0.0.1'), accept('10.0.0.1')]
    expect(accept('10.0.0.1').destroyed).toBe(true)
    expect(accept('10.0.0.2').destroyed).toBe(false)
    for (let i = 0; i < 5; i++) expect(accept('127.0.0.1').destroyed).toBe(false)
    first?.close()
    expect(accept('10.0.0.1').destroyed).toBe(false)
    expect(rejected.get('ADDRESS_LIMIT')).toBe(1)
    // A quarter of all handshakes for one address.
    const ask = (of: FakeSocket | undefined): boolean => door.mayUpgrade(of as unknown as Socket)
    expect([1, 2, 3].map(() => ask(first))).toEqual([true, true, false])
    expect(ask(sockets[3])).toBe(true)
  })
})

class FakeSocket {
  destroyed = false
  readonly remoteAddress: string
  readonly remotePort: number
  private onClose: () => void = () => {}

  constructor(remoteAddress: string, remotePort: number) {
    this.remoteAddress = remoteAddress
    this.remotePort = remotePort
  }

  once(_event: 'close', fn: () => void): void {
    this.onClose = fn
  }

  destroy(): void {
    this.destroyed = true
  }

  close(): void {
    this.onClose()
  }
}
