// What Node gives the wire: ws as the socket, zlib's CRC and codecs, memory that is not cleared. platform.browser.ts exports the same
// names; package.json's `#platform` chooses.

import type { Transform } from 'node:stream'
import { promisify } from 'node:util'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import * as zlib from 'node:zlib'
import { type ClientOptions, WebSocket } from 'ws'
import { type ErrorCode, errorTable, LogloomError } from './errors.ts'
import { wireLimits } from './limits.ts'
import { closeReason, type FrameSocket, type OpenSocketOptions } from './socket.ts'

/** Deflate's own limit: bytes that one compressed byte can become. */
const deflateRatio = 1032
const closeTimeoutMs = 1000
/** Of what is decompressed piece by piece. */
const pieceBytesMax = 256 << 10

type Decompress = (
  bytes: Uint8Array,
  options: { readonly maxOutputLength: number; readonly chunkSize: number },
) => Promise<Uint8Array>

type Decompressor = (options: { readonly chunkSize: number }) => Transform

/** Not in every supported Node: 22.15 and later have it. */
const { zstdCompress, zstdDecompress } = zlib as unknown as Record<string, unknown>
const hasZstd = typeof zstdCompress === 'function' && typeof zstdDecompress === 'function'

export const platformCodecs: readonly ('gzip' | 'zstd')[] = hasZstd ? ['gzip', 'zstd'] : ['gzip']

/** Memory that is not cleared; the caller writes all that it shows. */
export function allocate(bytes: number): Uint8Array {
  return Buffer.allocUnsafeSlow(bytes)
}

export function crc32(bytes: Uint8Array, seed = 0): number {
  // Of no bytes zlib may answer 0, the beginning, in place of the seed: it depends on whether there is memory behind them.
  return bytes.length === 0 ? seed : zlib.crc32(bytes, seed)
}

export function compress(codec: 'gzip' | 'zstd', bytes: Uint8Array): Promise<Uint8Array> {
  const run = promisify((codec === 'gzip' ? zlib.gzip : zstdCompress) as typeof zlib.gzip)
  return run(bytes)
}

/** Never yields more than `bytesMax`; rejects instead. */
export function decompress(
  codec: 'gzip' | 'zstd',
  bytes: Uint8Array,
  bytesMax: number,
): Promise<Uint8Array> {
  const run = promisify(
    (codec === 'gzip' ? zlib.gunzip : zstdDecompress) as typeof zlib.gunzip,
  ) as Decompress
  // One piece, written outside the event loop: joining many would hold everybody up. What cannot come out of so few bytes is not allocated.
  const chunkSize = Math.max(64, Math.min(bytesMax + 1, bytes.length * deflateRatio + 64))
  return run(bytes, { maxOutputLength: Math.max(1, bytesMax), chunkSize })
}

/**
 * What `bytes` decompress to, in pieces that are gone when the next one is asked for, so that much of it needs little memory. Ends after
 * `bytesMax` and what is left of the piece; the caller counts.
 */
export async function* decompressPieces(
  codec: 'gzip' | 'zstd',
  bytes: Uint8Array,
  bytesMax: number,
): AsyncGenerator<Uint8Array, void> {
  const { createZstdDecompress } = zlib as unknown as { createZstdDecompress: Decompressor }
  const make: Decompressor = codec === 'gzip' ? zlib.createGunzip : createZstdDecompress
  const chunkSize = Math.max(64, Math.min(pieceBytesMax, bytes.length * deflateRatio + 64))
  const stream = make({ chunkSize })
  stream.end(bytes)
  let size = 0
  for await (const piece of stream as AsyncIterable<Buffer>) {
    size += piece.length
    yield piece
    // A piece that fills its memory is not written to any more. The collector does not hurry for memory outside of its heap.
    if (piece.length === chunkSize && piece.buffer.byteLength === chunkSize) drop(piece)
    if (size > bytesMax) return
  }
}

/**
 * Gives the memory below `bytes` back at once, whoever has views of it. A message to a port whose other end is closed goes nowhere, with all
 * that it takes along.
 */
export function drop(bytes: Uint8Array): void {
  nowhere ??= openNowhere()
  nowhere.postMessage(undefined, [bytes.buffer as ArrayBuffer])
}

let nowhere: MessagePort | undefined

function openNowhere(): MessagePort {
  const { port1, port2 } = new MessageChannel()
  port2.close()
  port1.unref()
  return port1
}

/** Resolves when the event loop has come round. */
export function nextRound(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

/** Opens a connection. @throws CONNECTION_CLOSED, INVALID_REQUEST for a bad URL, the broker's code when it refuses, or the signal's reason */
export function openSocket(url: string, options: OpenSocketOptions = {}): Promise<FrameSocket> {
  const { signal, timeoutMs = 10_000, frameBytesMax = 64 << 20, ca } = options
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const ws = connect(url, {
      perMessageDeflate: false,
      maxPayload: Math.max(frameBytesMax, wireLimits.frameBytesMax),
      handshakeTimeout: timeoutMs,
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca: typeof ca === 'string' ? ca : [...ca] }),
    })
    const abort = (): void => ws.terminate()
    const failed = (error: Error): void => {
      signal?.removeEventListener('abort', abort)
      reject(signal?.aborted ? (signal.reason as Error) : error)
    }
    signal?.addEventListener('abort', abort, { once: true })
    ws.once('open', () => {
      signal?.removeEventListener('abort', abort)
      ws.off('error', onError)
      resolve(new NodeSocket(ws))
    })
    ws.once('unexpected-response', (request, response) => {
      request.destroy()
      const retryAfterMs = Number(response.headers['retry-after']) * 1000
      failed(refusal(url, response.statusCode ?? 0, response.statusMessage ?? '', retryAfterMs))
    })
    const onError = (error: Error): void =>
      failed(unreachable(url, error.message, error, tlsHint(url, error)))
    ws.on('error', onError)
  })
}

function connect(url: string, options: ClientOptions): WebSocket {
  try {
    return new WebSocket(url, options)
  } catch (error) {
    throw new LogloomError(
      'INVALID_REQUEST',
      `not a WebSocket URL: ${url}: ${(error as Error).message}`,
      { field: 'url' },
      { cause: error, hint: 'use ws://HOST:PORT' },
    )
  }
}

/** The broker's refusals carry their code as the status text (server.ts). */
function refusal(url: string, status: number, text: string, retryAfterMs: number): LogloomError {
  if (text === 'WRONG_PORT')
    return new LogloomError(text, `${url} is the port of a node for other nodes, not for clients`)
  return Object.hasOwn(errorTable, text)
    ? new LogloomError(text as ErrorCode, `${url} refused the connection (${status})`, {
        status,
        ...(retryAfterMs > 0 ? { retryAfterMs } : {}),
      })
    : unreachable(url, `HTTP ${status} ${text}`)
}

function unreachable(url: string, reason: string, cause?: Error, hint?: string): LogloomError {
  return new LogloomError(
    'CONNECTION_CLOSED',
    `cannot connect to ${url}: ${reason}`,
    hint === undefined ? {} : { tls: true },
    { cause, hint: hint ?? 'start the broker, or check the URL' },
  )
}

const untrusted = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

/** What is to be done about an error of TLS; undefined for others. */
function tlsHint(url: string, error: Error): string | undefined {
  const { code = '' } = error as NodeJS.ErrnoException
  // One side speaks TLS and the other does not: which one hangs up first is chance.
  if (code === 'ECONNRESET')
    return url.startsWith('wss:')
      ? 'the port may not speak TLS: use ws://, or check the URL'
      : 'the port may speak TLS only: use wss://, or check the URL'
  if (untrusted.has(code))
    return 'name the authority that signed the certificate: connect(url, { tls: { ca } }), --ca-file FILE or NODE_EXTRA_CA_CERTS'
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return 'dial a name that is in the certificate of the broker'
  if (code === 'CERT_HAS_EXPIRED') return 'renew the certificate of the broker'
  return code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'EPROTO'
    ? 'the port does not speak TLS: use ws://, or check the URL'
    : undefined
}

/** Reading begins when the owner sets `onMessage`: what came right behind the handshake, a close included, waits until then. */
class NodeSocket implements FrameSocket {
  onClose: (code: number, reason: string) => void = () => {}
  private readonly ws: WebSocket
  private handler: ((bytes: Uint8Array) => void) | undefined

  constructor(ws: WebSocket) {
    this.ws = ws
    ws.binaryType = 'nodebuffer'
    ws.pause()
    ws.on('message', (data, isBinary) => {
      if (isBinary) this.onMessage(data as Buffer)
    })
    ws.on('close', (code, reason) => this.onClose(code, reason.toString()))
    // A close follows every error.
    ws.on('error', () => {})
  }

  get onMessage(): (bytes: Uint8Array) => void {
    return this.handler ?? (() => {})
  }

  set onMessage(handler: (bytes: Uint8Array) => void) {
    const isFirst = this.handler === undefined
    this.handler = handler
    if (isFirst) this.ws.resume()
  }

  get bufferedAmount(): number {
    return this.ws.bufferedAmount
  }

  send(bytes: Uint8Array): void {
    if (this.ws.readyState === this.ws.OPEN) this.ws.send(bytes)
  }

  close(code = 1000, reason = ''): void {
    this.ws.close(code, closeReason(reason))
    // A peer that does not answer the close frame must not keep the process alive.
    setTimeout(() => this.ws.terminate(), closeTimeoutMs).unref()
  }
}
