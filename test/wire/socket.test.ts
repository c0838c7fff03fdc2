import { once } from 'node:events'
import { connect as connectTcp, createServer as createTcpServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { FrameSocket } from '../../wire/index.ts'
import * as browser from '../../wire/platform.browser.ts'
import * as node from '../../wire/platform.node.ts'
import type { ServerSocket } from '../../wire/server.ts'
import { closeReason } from '../../wire/socket.ts'
import { codeOfError } from './bytes.ts'
import { deferred, type Loopback, type LoopbackOptions, openLoopback } from './loopback.ts'

let loopback: Loopback | undefined
const globals = globalThis as { WebSocket?: unknown }
const { WebSocket: before } = globals
/** Node 20 has no WebSocket of its own; ws's offers the browser's interface, but insists on a listener for errors. */
class PageWebSocket extends WebSocket {
  constructor(url: string) {
    super(url)
    this.on('error', () => {})
  }
}
beforeEach(() => {
  globals.WebSocket = PageWebSocket
})
afterEach(async () => {
  globals.WebSocket = before
  await loopback?.close()
  loopback = undefined
})

async function open(options: LoopbackOptions): Promise<string> {
  loopback = await openLoopback(options)
  return loopback.url
}

/** The broker's side of the one connection. */
function accepted(): ServerSocket {
  const [socket] = loopback?.sockets ?? []
  if (socket === undefined) throw new Error('nobody connected')
  return socket
}

function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('it opened')
    },
    (error: unknown) => error,
  )
}

/** The next message and the end of a socket. */
function listen(socket: FrameSocket): {
  message: Promise<Uint8Array>
  end: Promise<{ code: number; reason: string }>
} {
  const message = deferred<Uint8Array>()
  const end = deferred<{ code: number; reason: string }>()
  socket.onClose = (code, reason) => end.resolve({ code, reason })
  socket.onMessage = message.resolve
  return { message: message.promise, end: end.promise }
}

describe.each([
  ['node', node],
  ['browser', browser],
])('a socket of the %s platform', (name, { openSocket }) => {
  it('carries binary messages of any size up to the limit, whole', async () => {
    const url = await open({
      onSocket: socket => void (socket.onMessage = bytes => socket.send(bytes)),
    })
    const socket = await openSocket(url)
    const message = new Uint8Array(2 << 20).map((_, i) => i * 7)
    const { message: echo } = listen(socket)
    socket.send(message)
    expect(Buffer.compare(await echo, message)).toBe(0)
    socket.close()
  })

  it.each([
    [1, 0],
    [60, 65],
    [60, 66],
    [100, 65_435],
    [100, 65_436],
    [3, 1 << 20],
  ])(
    'carries %i and %i bytes sent as pieces as one message, in order with others',
    async (first, second) => {
      const pieces = [first, second].map(length => new Uint8Array(length).map((_, i) => i * 7))
      const url = await open({
        onSocket: socket => {
          socket.send(Uint8Array.of(1))
          socket.sendPieces(pieces)
          socket.send(Uint8Array.of(2))
        },
      })
      const socket = await openSocket(url)
      const messages: Uint8Array[] = []
      const all = deferred<void>()
      socket.onMessage = bytes => {
        if (messages.push(bytes) === 3) all.resolve()
      }
      await all.promise
      expect(messages.map(bytes => bytes.length)).toEqual([1, first + second, 1])
      expect(Buffer.compare(messages[1] as Uint8Array, Buffer.concat(pieces))).toBe(0)
      expect([...(messages[2] as Uint8Array)]).toEqual([2])
      socket.close()
    },
  )

  it('tells code and reason of the end', async () => {
    const url = await open({
      onSocket: socket => void (socket.onMessage = () => socket.close(3008, 'slow')),
    })
    const socket = await openSocket(url)
    const { end } = listen(socket)
    socket.send(new Uint8Array(1))
    expect(await end).toEqual({ code: 3008, reason: 'slow' })
    socket.send(new Uint8Array(1))
  })

  it('loses neither message nor end that come right behind the handshake', async () => {
    const url = await open({
      onSocket: socket => {
        socket.send(new Uint8Array([1, 2, 3]))
        socket.close(1001, 'full')
      },
    })
    const { message, end } = listen(await openSocket(url))
    expect([...(await message)]).toEqual([1, 2, 3])
    expect(await end).toEqual({ code: 1001, reason: 'full' })
  })

  it('ignores text', async () => {
    const url = await open({})
    const { message } = listen(await openSocket(url))
    const server = accepted()
    ;(server as unknown as { ws: WebSocket }).ws.send('text')
    server.send(new Uint8Array([1]))
    expect([...(await message)]).toEqual([1])
  })

  it('sends a close code and a reason that fits', async () => {
    const ended = deferred<{ code: number; reason: string }>()
    const url = await open({
      onSocket: socket => void (socket.onClose = (code, reason) => ended.resolve({ code, reason })),
    })
    const socket = await openSocket(url)
    listen(socket)
    socket.close(3000, 'ü'.repeat(200))
    expect(await ended.promise).toEqual({ code: 3000, reason: 'ü'.repeat(61) })
  })

  it('is not opened where nobody listens', async () => {
    const server = createTcpServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    const error = await failure(openSocket(`ws://127.0.0.1:${port}/`))
    expect(error).toMatchObject({
      code: 'CONNECTION_CLOSED',
      message: expect.stringContaining(`${port}`),
      hint: expect.stringContaining('start the broker'),
    })
  })

  it('is not opened when the handshake takes longer than its limit', async () => {
    const server = createTcpServer(() => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`
    expect(codeOfError(await failure(openSocket(url, { timeoutMs: 50 })))).toBe('CONNECTION_CLOSED')
    server.close()
  })

  it('is not opened once its signal is aborted', async () => {
    const server = createTcpServer(() => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const control = new AbortController()
    const opening = failure(openSocket(url, { signal: control.signal }))
    const reason = new Error('enough')
    control.abort(reason)
    expect(await opening).toBe(reason)
    expect(await failure(openSocket(url, { signal: control.signal }))).toBe(reason)
    server.close()
  })

  it('is not opened with a bad URL', async () => {
    expect(codeOfError(await failure(openSocket('no url at all')))).toBe('INVALID_REQUEST')
  })

  it('is not opened where the broker refuses it', async () => {
    const url = await open({
      verify: () => ({
        ok: false,
        status: 403,
        code: 'FORBIDDEN_ORIGIN',
        message: 'not from there',
      }),
    })
    // Pages are told nothing about why.
    expect(codeOfError(await failure(openSocket(url)))).toBe(
      name === 'node' ? 'FORBIDDEN_ORIGIN' : 'CONNECTION_CLOSED',
    )
  })
})

describe('the broker’s door', () => {
  it('answers a refused upgrade with status, code and a JSON error', async () => {
    const url = await open({
      verify: () => ({ ok: false, status: 421, code: 'FORBIDDEN_HOST', message: 'who?' }),
    })
    const tcp = connectTcp(Number(new URL(url).port), '127.0.0.1')
    tcp.write(
      'GET / HTTP/1.1\r\nHost: evil\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    )
    let answer = ''
    tcp.on('data', chunk => {
      answer += chunk.toString()
    })
    await once(tcp, 'end')
    expect(answer).toMatch(/^HTTP\/1\.1 421 FORBIDDEN_HOST\r\n/)
    expect(JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')))).toEqual({
      error: { code: 'FORBIDDEN_HOST', message: 'who?' },
    })
  })

  it('closes with 1009 on a message above its limit, before all of it came', async () => {
    const url = await open({ frameBytesMax: 1000 })
    const socket = await node.openSocket(url)
    const { end } = listen(socket)
    socket.send(new Uint8Array(1001))
    expect((await end).code).toBe(1009)
  })

  it('closes when a message comes in too many fragments', async () => {
    const url = await open({})
    const ws = new WebSocket(url)
    await once(ws, 'open')
    for (let i = 0; i < 2000; i++) ws.send(new Uint8Array(1), { fin: false })
    const [code] = (await once(ws, 'close')) as [number]
    expect([1006, 1008]).toContain(code)
  })

  it('tells of text, pongs and the peer’s address', async () => {
    const text = deferred<void>()
    const pong = deferred<void>()
    const url = await open({
      onSocket: socket => {
        socket.onText = text.resolve
        socket.onPong = pong.resolve
        socket.ping()
      },
    })
    const ws = new WebSocket(url)
    await once(ws, 'open')
    ws.send('hello')
    await Promise.all([text.promise, pong.promise])
    expect(accepted().remoteAddress).toBe('127.0.0.1')
    ws.terminate()
  })

  it('reads nothing while paused', async () => {
    const seen: number[] = []
    const both = deferred<void>()
    const url = await open({
      onSocket: socket => {
        socket.onMessage = bytes => {
          seen.push(bytes[0] as number)
          if (seen.length === 2) both.resolve()
          else socket.pause()
        }
      },
    })
    const ws = new WebSocket(url)
    await once(ws, 'open')
    await new Promise(sent => ws.send(new Uint8Array([1]), sent))
    const server = accepted()
    await expect.poll(() => seen.length).toBe(1)
    // Far more than the kernel buffers: it stays with the sender.
    for (let i = 0; i < 32; i++) ws.send(new Uint8Array(1 << 20))
    await expect.poll(() => ws.bufferedAmount).toBeGreaterThan(0)
    expect(seen).toEqual([1])
    server.resume()
    await both.promise
    ws.terminate()
  })

  it('has sent when its output is drained', async () => {
    const drained = deferred<void>()
    const url = await open({
      onSocket: socket => {
        socket.onDrain = drained.resolve
        for (let i = 0; i < 8; i++) socket.send(new Uint8Array(1 << 20))
        expect(socket.bufferedAmount).toBeGreaterThan(0)
      },
    })
    const socket = await node.openSocket(url)
    listen(socket)
    await drained.promise
    await expect.poll(() => accepted().bufferedAmount).toBe(0)
    socket.close()
  })
})

describe('a close reason', () => {
  it('is cut to 123 bytes without cutting a character', () => {
    expect(closeReason('short')).toBe('short')
    expect(closeReason('x'.repeat(200))).toHaveLength(123)
    expect(Buffer.byteLength(closeReason(`x${'💧'.repeat(50)}`))).toBe(121)
  })
})
