// The gate between ws and real sockets, of TCP and of TLS: thousands of frames and the end of the stream right behind them are taken apart in
// turns, the end comes last, and a connection that was reset is over at once.

import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { framesPerPiece } from '../../wire/frame-gate.ts'
import { createSocketServer, type ServerSocket } from '../../wire/server.ts'
import { webSocketFrame } from '../reliability/raw-socket.ts'
import { Authority } from '../security/certificates.ts'

const authority = new Authority()
const upgrade = [
  'GET / HTTP/1.1',
  'Host: localhost',
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  'Sec-WebSocket-Version: 13',
  '\r\n',
].join('\r\n')
const pong = webSocketFrame(new Uint8Array(), { opcode: 10 })
const pongs = (times: number): Buffer => Buffer.concat(Array.from({ length: times }, () => pong))

let stop: (() => Promise<void>) | undefined
afterEach(async () => {
  await stop?.()
  stop = undefined
})

/** A server whose sockets `attach` gets, and a client of it that said nothing yet. */
async function open(kind: string, attach: (socket: ServerSocket) => void): Promise<Socket> {
  const issued = authority.issue({ names: ['localhost'] })
  const http = kind === 'TLS' ? createTlsServer(issued) : createServer()
  const sockets: ServerSocket[] = []
  const door = createSocketServer({
    frameBytesMax: 1000,
    verify: () => ({ ok: true }),
    onSocket: socket => {
      sockets.push(socket)
      attach(socket)
    },
  })
  http.on('upgrade', (request, socket, head: Buffer) => door.handleUpgrade(request, socket, head))
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as AddressInfo
  const client =
    kind === 'TLS'
      ? connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca: authority.cert })
      : connect(port, '127.0.0.1')
  client.on('error', () => {})
  client.resume()
  stop = async () => {
    client.destroy()
    for (const socket of sockets) socket.terminate()
    door.close()
    http.close()
    await once(http, 'close')
  }
  await once(client, kind === 'TLS' ? 'secureConnect' : 'connect')
  return client
}

interface Told {
  /** Frames that came between two turns of the event loop, at most. */
  atOnceMax: number
  frames: number
  /** How many had come when it was closed. */
  readonly closed: Promise<number>
}

/** Lets one piece through in each turn of the event loop. */
function inTurns(socket: ServerSocket): Told {
  let atOnce = 0
  const told: Told = {
    atOnceMax: 0,
    frames: 0,
    closed: new Promise(resolve => {
      socket.onClose = () => resolve(told.frames)
    }),
  }
  socket.onPong = () => {
    told.frames++
    told.atOnceMax = Math.max(told.atOnceMax, ++atOnce)
  }
  socket.watchBytes(() => {
    socket.pause()
    setImmediate(() => {
      atOnce = 0
      socket.resume()
    })
  })
  return told
}

describe.each(['TCP', 'TLS'])('frames over %s with the end of the stream right behind', kind => {
  it.each([1, framesPerPiece, framesPerPiece + 1, 20_000])(
    'are taken apart in turns, all %i, and the end comes last',
    async count => {
      let told: Told | undefined
      const client = await open(kind, socket => {
        told = inTurns(socket)
      })
      client.end(Buffer.concat([Buffer.from(upgrade), pongs(count)]))
      await expect.poll(() => told).toBeDefined()
      expect(await told?.closed).toBe(count)
      expect(told?.atOnceMax).toBeLessThanOrEqual(framesPerPiece)
    },
  )

  it('wait while nobody reads, and the end with them', async () => {
    const count = 3000
    let frames = 0
    let closedAt: number | undefined
    let server: ServerSocket | undefined
    const client = await open(kind, socket => {
      server = socket
      socket.onClose = () => {
        closedAt = frames
      }
      socket.onPong = () => {
        if (frames++ === 0) socket.pause()
      }
    })
    client.end(Buffer.concat([Buffer.from(upgrade), pongs(count)]))
    await expect.poll(() => frames).toBeGreaterThan(0)
    // Round by round: what was on its way is here by then, or comes into a stream that nobody reads.
    for (let rounds = 0; rounds < 50; rounds++) await new Promise(setImmediate)
    expect(frames).toBeLessThanOrEqual(framesPerPiece)
    expect(closedAt).toBeUndefined()
    server?.resume()
    await expect.poll(() => closedAt).toBe(count)
  })
})

describe.each(['TCP', 'TLS'])('a connection over %s', kind => {
  it('that ends while nobody reads is over at once, and what it sent last is not looked at', async () => {
    let frames = 0
    let isClosed = false
    let server: ServerSocket | undefined
    const client = await open(kind, socket => {
      server = socket
      socket.onClose = () => {
        isClosed = true
      }
      socket.onPong = () => {
        if (frames++ === 0) socket.pause()
      }
    })
    client.write(Buffer.concat([Buffer.from(upgrade), pongs(20_000)]))
    await expect.poll(() => frames).toBeGreaterThan(0)
    const before = frames
    server?.terminate()
    await expect.poll(() => isClosed).toBe(true)
    expect(frames).toBe(before)
  })
})
