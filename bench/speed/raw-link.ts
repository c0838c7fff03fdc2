// A WebSocket client that costs next to nothing: its frames are made beforehand and go to the socket as they are. A client that masks every byte
// in JavaScript has an event loop as busy as the broker's, and its own delays would be measured as the broker's.

import { request } from 'node:http'
import type { Duplex } from 'node:stream'

const binary = 0x82
const masked = 0x80
const opcodeBinary = 2

/** One whole binary message. Its mask is zero, which the protocol allows: the server unmasks it like any other. */
export function clientFrame(payload: Uint8Array): Uint8Array {
  const { length } = payload
  const header =
    length < 126
      ? Buffer.from([binary, masked | length])
      : length < 65_536
        ? Buffer.from([binary, masked | 126, length >> 8, length & 255])
        : Buffer.from([binary, masked | 127, 0, 0, 0, 0, ...bigEndian(length)])
  return Buffer.concat([header, Buffer.alloc(4), payload])
}

const bigEndian = (n: number): readonly number[] => [24, 16, 8, 0].map(by => (n >>> by) & 255)

export interface RawLink {
  /** A frame of {@link clientFrame}. */
  send(frame: Uint8Array): void
  close(): void
}

/** Connects to `ws://host:port`. `onMessage` gets the payload of each binary message; servers here send each in one frame. */
export function rawLink(url: string, onMessage: (payload: Buffer) => void): Promise<RawLink> {
  const { hostname: host, port } = new URL(url)
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': Buffer.alloc(16, 1).toString('base64'),
  }
  return new Promise((resolve, reject) => {
    const asked = request({ host, port, headers })
    asked.once('error', reject)
    asked.once('response', ({ statusCode }) =>
      reject(new Error(`${url} answered ${statusCode}, not with an upgrade`)),
    )
    asked.once('upgrade', (_response, socket, head) => {
      const frames = new FrameReader(onMessage)
      frames.take(head)
      socket.on('data', (data: Buffer) => frames.take(data))
      resolve({ send: frame => void socket.write(frame), close: () => end(socket) })
    })
    asked.end()
  })
}

function end(socket: Duplex): void {
  socket.on('error', () => {})
  socket.destroy()
}

class FrameReader {
  private readonly onMessage: (payload: Buffer) => void
  private pending: Buffer = Buffer.alloc(0)

  constructor(onMessage: (payload: Buffer) => void) {
    this.onMessage = onMessage
  }

  take(data: Buffer): void {
    this.pending = this.pending.length === 0 ? data : Buffer.concat([this.pending, data])
    for (let size = this.frameSize(); size <= this.pending.length; size = this.frameSize()) {
      const frame = this.pending.subarray(0, size)
      this.pending = this.pending.subarray(size)
      if ((frame.readUInt8(0) & 15) === opcodeBinary)
        this.onMessage(frame.subarray(headerSize(frame)))
    }
  }

  /** Infinity: its header is not here yet. */
  private frameSize(): number {
    const { pending } = this
    if (pending.length < 2 || pending.length < headerSize(pending)) return Number.POSITIVE_INFINITY
    const short = pending.readUInt8(1) & 127
    const header = headerSize(pending)
    if (short === 126) return header + pending.readUInt16BE(2)
    return header + (short === 127 ? Number(pending.readBigUInt64BE(2)) : short)
  }
}

function headerSize(frame: Buffer): number {
  const short = frame.readUInt8(1) & 127
  return short === 126 ? 4 : short === 127 ? 10 : 2
}
