// What Node gives the wire: ws as the socket, zlib's CRC and codecs. The browser's half is platform.browser.ts.

import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { WebSocket } from 'ws'
import { LogloomError } from './errors.ts'
import { wireLimits } from './limits.ts'
import type { FrameSocket, OpenSocketOptions } from './socket.ts'

type Transform = (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Uint8Array>

/** Not in every supported Node: 22.15 and later have it. */
const { zstdCompress, zstdDecompress } = zlib as unknown as Record<string, unknown>
const hasZstd = typeof zstdCompress === 'function' && typeof zstdDecompress === 'function'

export const platformCodecs: readonly ('gzip' | 'zstd')[] = hasZstd ? ['gzip', 'zstd'] : ['gzip']

export function crc32(bytes: Uint8Array, seed = 0): number {
  return zlib.crc32(bytes, seed)
}

export function compress(codec: 'gzip' | 'zstd', bytes: Uint8Array): Promise<Uint8Array> {
  const run = promisify((codec === 'gzip' ? zlib.gzip : zstdCompress) as typeof zlib.gzip)
  return run(bytes)
}

/** Never yields more than `bytesMax`; rejects instead. */
export function decompress(codec: 'gzip' | 'zstd', bytes: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  const run = promisify((codec === 'gzip' ? zlib.gunzip : zstdDecompress) as typeof zlib.gunzip) as Transform
  return run(bytes, { maxOutputLength: Math.max(1, bytesMax) })
}

/** Opens a connection. @throws CONNECTION_CLOSED when it cannot be opened */
export function openSocket(url: string, options: OpenSocketOptions = {}): Promise<FrameSocket> {
  const { signal, timeoutMs = 10_000, frameBytesMax = 64 << 20 } = options
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const ws = new WebSocket(url, {
      perMessageDeflate: false,
      maxPayload: Math.max(frameBytesMax, wireLimits.frameBytesMax),
      handshakeTimeout: timeoutMs,
    })
    ws.binaryType = 'nodebuffer'
    const abort = (): void => ws.terminate()
    signal?.addEventListener('abort', abort, { once: true })
    ws.once('open', () => {
      signal?.removeEventListener('abort', abort)
      resolve(new NodeSocket(ws))
    })
    ws.once('error', error => {
      signal?.removeEventListener('abort', abort)
      if (signal?.aborted) reject(signal.reason as Error)
      else
        reject(new LogloomError('CONNECTION_CLOSED', `cannot connect to ${url}: ${error.message}`, {}, { cause: error, hint: 'start the broker, or check the URL' }))
    })
  })
}

class NodeSocket implements FrameSocket {
  onMessage: (bytes: Uint8Array) => void = () => {}
  onClose: (code: number, reason: string) => void = () => {}
  private readonly ws: WebSocket

  constructor(ws: WebSocket) {
    this.ws = ws
    ws.on('message', data => this.onMessage(data as Buffer))
    ws.on('close', (code, reason) => this.onClose(code, reason.toString()))
    // A close follows every error.
    ws.on('error', () => {})
  }

  get bufferedAmount(): number {
    return this.ws.bufferedAmount
  }

  send(bytes: Uint8Array): void {
    if (this.ws.readyState === this.ws.OPEN) this.ws.send(bytes)
  }

  close(code = 1000, reason = ''): void {
    this.ws.close(code, reason)
    // A peer that does not answer the close frame must not keep the process alive.
    setTimeout(() => this.ws.terminate(), 1000).unref()
  }
}
