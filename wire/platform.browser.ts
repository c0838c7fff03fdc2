// What a browser gives the wire: the global WebSocket, (De)CompressionStream, and a CRC table. Node's half is platform.node.ts.

import { LogloomError } from './errors.ts'
import type { FrameSocket, OpenSocketOptions } from './socket.ts'

interface BrowserSocket {
  binaryType: string
  readonly bufferedAmount: number
  readonly readyState: number
  onopen: (() => void) | null
  onerror: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  send(bytes: Uint8Array): void
  close(code?: number, reason?: string): void
}
interface ByteStream {
  readonly readable: { getReader(): { read(): Promise<{ done: boolean; value?: Uint8Array }>; cancel(): Promise<void> } }
  readonly writable: { getWriter(): { write(bytes: Uint8Array): Promise<void>; close(): Promise<void> } }
}
const platform = globalThis as unknown as {
  WebSocket: new (url: string) => BrowserSocket
  CompressionStream: new (format: string) => ByteStream
  DecompressionStream: new (format: string) => ByteStream
}

export const platformCodecs: readonly ('gzip' | 'zstd')[] = ['gzip']

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1
  return c
})

export function crc32(bytes: Uint8Array, seed = 0): number {
  let c = ~seed
  for (let i = 0; i < bytes.length; i++) c = (table[(c ^ (bytes[i] as number)) & 0xff] as number) ^ (c >>> 8)
  return ~c >>> 0
}

export function compress(codec: 'gzip' | 'zstd', bytes: Uint8Array): Promise<Uint8Array> {
  return pipe(new platform.CompressionStream(known(codec)), bytes, Number.POSITIVE_INFINITY)
}

/** Never yields more than `bytesMax`; rejects instead. */
export function decompress(codec: 'gzip' | 'zstd', bytes: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  return pipe(new platform.DecompressionStream(known(codec)), bytes, bytesMax)
}

/** Opens a connection. @throws CONNECTION_CLOSED when it cannot be opened */
export function openSocket(url: string, options: OpenSocketOptions = {}): Promise<FrameSocket> {
  const { signal, timeoutMs = 10_000 } = options
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const ws = new platform.WebSocket(url)
    ws.binaryType = 'arraybuffer'
    const socket: FrameSocket = {
      send: bytes => {
        if (ws.readyState === 1) ws.send(bytes)
      },
      get bufferedAmount() {
        return ws.bufferedAmount
      },
      // Browsers let pages use 1000 and 3000 to 4999 only.
      close: (code, reason) => ws.close(code === undefined || code < 3000 ? 1000 : code, reason),
      onMessage: () => {},
      onClose: () => {},
    }
    const failed = (message: string): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      reject(signal?.aborted ? (signal.reason as Error) : new LogloomError('CONNECTION_CLOSED', message, {}, { hint: 'start the broker, or check the URL' }))
    }
    const abort = (): void => ws.close()
    const timer = setTimeout(() => ws.close(), timeoutMs)
    signal?.addEventListener('abort', abort, { once: true })
    let open = false
    ws.onopen = () => {
      open = true
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      resolve(socket)
    }
    ws.onmessage = event => {
      if (event.data instanceof ArrayBuffer) socket.onMessage(new Uint8Array(event.data))
    }
    ws.onclose = event => {
      if (open) socket.onClose(event.code, event.reason)
      else failed(`cannot connect to ${url}`)
    }
  })
}

function known(codec: string): string {
  if (codec === 'gzip') return codec
  throw new LogloomError('UNSUPPORTED_CODEC', `this runtime has no ${codec}`)
}

async function pipe(stream: ByteStream, bytes: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  const writer = stream.writable.getWriter()
  const writing = writer.write(bytes).then(() => writer.close())
  writing.catch(() => {})
  const reader = stream.readable.getReader()
  const chunks: Uint8Array[] = []
  let size = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done || value === undefined) break
    size += value.length
    if (size > bytesMax) {
      await reader.cancel()
      throw new RangeError(`decompresses to more than ${bytesMax} bytes`)
    }
    chunks.push(value)
  }
  await writing
  const result = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    result.set(chunk, at)
    at += chunk.length
  }
  return result
}
