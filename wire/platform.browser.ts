// What a browser gives the wire: the global WebSocket, (De)CompressionStream, and a CRC table. Node's half is platform.node.ts.

import { LogloomError } from './errors.ts'
import { closeReason, type FrameSocket, type OpenSocketOptions } from './socket.ts'

interface BrowserSocket {
  binaryType: string
  readonly bufferedAmount: number
  readonly readyState: number
  addEventListener(type: 'open', listener: () => void): void
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void
  send(bytes: Uint8Array): void
  close(code?: number, reason?: string): void
}
interface ByteStream {
  readonly readable: {
    getReader(): { read(): Promise<{ done: boolean; value?: Uint8Array }>; cancel(): Promise<void> }
  }
  readonly writable: {
    getWriter(): { write(bytes: Uint8Array): Promise<void>; close(): Promise<void> }
  }
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

export function allocate(bytes: number): Uint8Array {
  return new Uint8Array(bytes)
}

export function crc32(bytes: Uint8Array, seed = 0): number {
  let c = ~seed
  for (let i = 0; i < bytes.length; i++)
    c = (table[(c ^ (bytes[i] as number)) & 0xff] as number) ^ (c >>> 8)
  return ~c >>> 0
}

export function compress(codec: 'gzip' | 'zstd', bytes: Uint8Array): Promise<Uint8Array> {
  return pipe(new platform.CompressionStream(known(codec)), bytes, Number.POSITIVE_INFINITY)
}

/** Never yields more than `bytesMax`; rejects instead. */
export function decompress(
  codec: 'gzip' | 'zstd',
  bytes: Uint8Array,
  bytesMax: number,
): Promise<Uint8Array> {
  return pipe(new platform.DecompressionStream(known(codec)), bytes, bytesMax)
}

/** The same in pieces: here in one, pages open what they were sent and do not fear themselves. */
export async function* decompressPieces(
  codec: 'gzip' | 'zstd',
  bytes: Uint8Array,
  bytesMax: number,
): AsyncGenerator<Uint8Array, void> {
  yield await decompress(codec, bytes, bytesMax)
}

/** The collector of a page does it. */
export function drop(_bytes: Uint8Array): void {}

/** Resolves when the event loop has come round. */
export function nextRound(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve))
}

/** Opens a connection. @throws CONNECTION_CLOSED, INVALID_REQUEST for a bad URL, or the signal's reason */
export function openSocket(url: string, options: OpenSocketOptions = {}): Promise<FrameSocket> {
  const { signal, timeoutMs = 10_000, ca } = options
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    if (ca !== undefined)
      throw new LogloomError(
        'INVALID_REQUEST',
        'a page cannot choose whose certificates it trusts: leave tls.ca out',
        { field: 'tls.ca' },
      )
    const ws = connect(url)
    ws.binaryType = 'arraybuffer'
    const socket = new PageSocket(ws)
    let isOpen = false
    const abort = (): void => ws.close()
    const timer = setTimeout(abort, timeoutMs)
    const settled = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
    signal?.addEventListener('abort', abort, { once: true })
    ws.addEventListener('open', () => {
      isOpen = true
      settled()
      resolve(socket)
    })
    ws.addEventListener('message', ({ data }) => {
      if (data instanceof ArrayBuffer) socket.deliver(() => socket.onMessage(new Uint8Array(data)))
    })
    ws.addEventListener('close', ({ code, reason }) => {
      settled()
      if (isOpen) socket.deliver(() => socket.onClose(code, reason))
      else reject(signal?.aborted ? (signal.reason as Error) : unreachable(url))
    })
  })
}

function connect(url: string): BrowserSocket {
  try {
    return new platform.WebSocket(url)
  } catch (error) {
    throw new LogloomError(
      'INVALID_REQUEST',
      `not a WebSocket URL: ${url}: ${(error as Error).message}`,
      { field: 'url' },
      { cause: error, hint: 'use ws://HOST:PORT' },
    )
  }
}

/** Browsers tell pages nothing about why a connection failed. */
function unreachable(url: string): LogloomError {
  return new LogloomError(
    'CONNECTION_CLOSED',
    `cannot connect to ${url}`,
    {},
    { hint: 'start the broker, check the URL, or add this page to allowedOrigins' },
  )
}

/** Not every WebSocket gives each event a task of its own, so what comes before the owner is ready waits for it. */
class PageSocket implements FrameSocket {
  onClose: (code: number, reason: string) => void = () => {}
  private readonly ws: BrowserSocket
  private handler: (bytes: Uint8Array) => void = () => {}
  private early: (() => void)[] | undefined = []

  constructor(ws: BrowserSocket) {
    this.ws = ws
  }

  get onMessage(): (bytes: Uint8Array) => void {
    return this.handler
  }

  set onMessage(handler: (bytes: Uint8Array) => void) {
    this.handler = handler
    const { early = [] } = this
    this.early = undefined
    for (const event of early) event()
  }

  deliver(event: () => void): void {
    if (this.early === undefined) event()
    else this.early.push(event)
  }

  get bufferedAmount(): number {
    return this.ws.bufferedAmount
  }

  send(bytes: Uint8Array): void {
    if (this.ws.readyState === 1) this.ws.send(bytes)
  }

  close(code = 1000, reason = ''): void {
    // Pages may use 1000 and 3000 to 4999 only.
    this.ws.close(code < 3000 ? 1000 : code, closeReason(reason))
  }
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
