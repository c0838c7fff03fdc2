// A TCP connection that speaks HTTP and WebSocket by hand, so that it can break every rule of both.

import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { type Frame, packFrame, unpackFrame } from '../../wire/index.ts'

const binaryOpcode = 2
const closeOpcode = 8

export interface FrameShape {
  readonly opcode?: number
  readonly fin?: boolean
  /** RSV bits, 4 for RSV1. */
  readonly reserved?: number
  readonly masked?: boolean
  /** What the header says, when that is not the payload's length. */
  readonly declared?: number | bigint
}

export class RawSocket {
  readonly socket: Socket
  /** Everything that came; the beginning of it when it was much. */
  received = Buffer.alloc(0)
  receivedBytes = 0
  isClosed = false
  private readonly waiters = new Set<() => void>()

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', chunk => {
      this.receivedBytes += chunk.length
      if (this.received.length < 1 << 20) this.received = Buffer.concat([this.received, chunk])
      this.wake()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.isClosed = true
      this.wake()
    })
  }

  static async dial(port: number): Promise<RawSocket> {
    const socket = connect(port, '127.0.0.1')
    const raw = new RawSocket(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return raw
  }

  /** Upgraded, without a word of ours. */
  static async upgrade(port: number, headers = '', path = '/'): Promise<RawSocket> {
    const raw = await RawSocket.dial(port)
    raw.write(
      `GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Version: 13\r\n${headers}\r\n`,
    )
    await raw.until(() => raw.received.includes('\r\n\r\n'))
    if (!raw.received.toString('latin1').startsWith('HTTP/1.1 101'))
      throw new Error(`not upgraded: ${raw.received.toString('latin1').slice(0, 200)}`)
    raw.received = raw.received.subarray(raw.received.indexOf('\r\n\r\n') + 4)
    return raw
  }

  /** Upgraded, and has said hello, which was answered; of that nothing is left. */
  static async greeted(port: number): Promise<RawSocket> {
    const raw = await RawSocket.upgrade(port)
    raw.message(packFrame({ op: 'hello', id: 1, protocol: 1, client: 'hostile' }))
    await raw.until(() => raw.replies.length > 0)
    raw.received = Buffer.alloc(0)
    return raw
  }

  /** All that came whole and has an id, in order; of what came first when it was much. */
  get replies(): readonly Frame[] {
    return framesIn(this.received)
      .filter(({ opcode }) => opcode === binaryOpcode)
      .map(({ payload }) => unpackFrame(payload))
      .filter(({ id }) => typeof id === 'number')
  }

  write(bytes: string | Uint8Array): void {
    if (!this.socket.destroyed) this.socket.write(bytes)
  }

  frame(payload: Uint8Array, shape: FrameShape = {}): void {
    this.write(webSocketFrame(payload, shape))
  }

  message(payload: Uint8Array): void {
    this.frame(payload)
  }

  /** The broker has sent a close frame, or is gone. It waits a while for the answer to the frame: not ours to give. */
  get isRefused(): boolean {
    return this.isClosed || framesIn(this.received).some(({ opcode }) => opcode === closeOpcode)
  }

  /** Resolves with whether the condition came true in time. */
  async until(condition: () => boolean, ms = 10_000): Promise<boolean> {
    const deadline = Date.now() + ms
    while (!condition() && !this.isClosed && Date.now() < deadline)
      await new Promise<void>(resolve => {
        const timer = setTimeout(done, deadline - Date.now())
        const { waiters } = this
        function done(): void {
          clearTimeout(timer)
          waiters.delete(done)
          resolve()
        }
        waiters.add(done)
      })
    return condition()
  }

  /** Whether the broker ends it in time. */
  ends(ms = 10_000): Promise<boolean> {
    return this.until(() => this.isClosed, ms)
  }

  /** Whether what was written has left. */
  async drained(ms = 10_000): Promise<boolean> {
    const deadline = Date.now() + ms
    while (this.socket.writableLength > 0 && !this.isClosed && Date.now() < deadline)
      await new Promise(resolve => setTimeout(resolve, 5))
    return this.socket.writableLength === 0
  }

  destroy(): void {
    this.socket.destroy()
  }

  private wake(): void {
    for (const waiter of this.waiters) waiter()
  }
}

/** One WebSocket frame, masked unless it is told otherwise. */
export function webSocketFrame(payload: Uint8Array, shape: FrameShape = {}): Buffer {
  const { opcode = 2, fin = true, reserved = 0, masked = true } = shape
  const declared = BigInt(shape.declared ?? payload.length)
  const size = declared < 126n ? 2 : declared < 65_536n ? 4 : 10
  const head = Buffer.alloc(size + (masked ? 4 : 0))
  head[0] = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  head[1] = (masked ? 0x80 : 0) | (size === 2 ? Number(declared) : size === 4 ? 126 : 127)
  if (size === 4) head.writeUInt16BE(Number(declared), 2)
  if (size === 10) head.writeBigUInt64BE(declared, 2)
  // A mask of zeros: the payload stays as it is.
  return Buffer.concat([head, payload])
}

interface ServerFrame {
  readonly opcode: number
  readonly payload: Uint8Array
}

/** The frames, as a broker sends them, that are there whole. */
function framesIn(bytes: Buffer): readonly ServerFrame[] {
  const frames: ServerFrame[] = []
  for (let at = 0; at + 2 <= bytes.length; ) {
    const short = (bytes[at + 1] as number) & 0x7f
    const begin = at + (short < 126 ? 2 : short === 126 ? 4 : 10)
    if (begin > bytes.length) break
    const length =
      short < 126
        ? short
        : short === 126
          ? bytes.readUInt16BE(at + 2)
          : Number(bytes.readBigUInt64BE(at + 2))
    if (begin + length > bytes.length) break
    const payload = bytes.subarray(begin, begin + length)
    frames.push({ opcode: (bytes[at] as number) & 15, payload })
    at = begin + length
  }
  return frames
}
