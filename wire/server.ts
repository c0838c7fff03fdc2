// The broker's door to ws (Node only): upgrades with a check before them, sockets with safe limits (docs/limits.md; ws's own defaults are
// 100 MiB messages and no bound on fragments).

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { FrameGate } from './frame-gate.ts'
import { closeReason, type FrameSocket } from './socket.ts'

/** From a close frame until the socket is dropped, ms; the types of ws do not know it yet. */
const untyped = { closeTimeout: 5000 }

/** A client's connection as the broker sees it. Handlers are set in `onSocket`, before anything can arrive. */
export interface ServerSocket extends FrameSocket {
  /** Stops reading from the peer: TCP slows it down. */
  pause(): void
  resume(): void
  /** Sends pieces as one message, without joining them: for bytes that go to many sockets. */
  sendPieces(pieces: readonly Uint8Array[]): void
  /** Sends a text message, ignored once the socket is closing. */
  sendText(text: string): void
  /** Holds back small writes until `uncork`, so that many frames leave in one packet. */
  cork(): void
  uncork(): void
  ping(): void
  terminate(): void
  /** Calls `listener` with the number of bytes that were taken apart, again and again; one listener at a time. */
  watchBytes(listener: (bytes: number) => void): void
  /** Of what comes from here on only a close frame is taken apart; the rest is only counted. */
  ignoreRest(): void
  readonly remoteAddress: string
  readonly remotePort: number
  /** Bytes of a message that has not come whole. */
  readonly partialBytes: number
  onPong: () => void
  /** A ping came; it is answered by itself. */
  onPing: () => void
  /** A text message came; the protocol has none. */
  onText: () => void
  /** The peer broke the rules of WebSocket: it was sent a close frame, and nothing that comes now is looked at. */
  onFault: () => void
  /** The socket's output buffer ran empty after having been full. */
  onDrain: () => void
}

/** A refusal is answered with `status`, and `code` as status text and in a JSON body. */
export type UpgradeVerdict =
  | { readonly ok: true }
  | {
      readonly ok: false
      readonly status: number
      readonly code: string
      readonly message: string
      /** When it is worth trying again. */
      readonly retryAfterSeconds?: number
    }

export interface SocketServerOptions {
  readonly frameBytesMax: number
  /** Pieces that one message may arrive in, on a bad link; default 16,384. */
  readonly messageChunksMax?: number
  readonly verify: (request: IncomingMessage) => UpgradeVerdict
  /** Which of the subprotocols that a client offers is answered; default the first. */
  readonly chooseProtocol?: (
    offered: ReadonlySet<string>,
    request: IncomingMessage,
  ) => string | false
  readonly onSocket: (socket: ServerSocket, request: IncomingMessage) => void
}

export interface SocketServer {
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
  close(): void
}

/** Makes the WebSocket half of an HTTP server: to be called from its `upgrade` event. */
export function createSocketServer(options: SocketServerOptions): SocketServer {
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: options.frameBytesMax,
    clientTracking: false,
    skipUTF8Validation: false,
    autoPong: true,
    ...untyped,
    maxFragments: 1024,
    // 2 MiB in the small segments of a bad link.
    maxBufferedChunks: options.messageChunksMax ?? 16_384,
    ...(options.chooseProtocol === undefined ? {} : { handleProtocols: options.chooseProtocol }),
  })
  return {
    handleUpgrade: (request, socket, head) => {
      const verdict = options.verify(request)
      if (!verdict.ok) {
        refuse(socket, verdict)
        return
      }
      server.handleUpgrade(request, socket, head, ws =>
        options.onSocket(new WsStreamSocket(ws, socket, request.socket), request),
      )
    },
    close: () => server.close(),
  }
}

function refuse(socket: Duplex, verdict: UpgradeVerdict & { ok: false }): void {
  const body = JSON.stringify({ error: { code: verdict.code, message: verdict.message } })
  const retryAfter =
    verdict.retryAfterSeconds === undefined ? '' : `retry-after: ${verdict.retryAfterSeconds}\r\n`
  socket.on('error', () => {})
  socket.end(
    `HTTP/1.1 ${verdict.status} ${verdict.code}\r\nconnection: close\r\n${retryAfter}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

/** The other end of a TCP connection. */
export interface Peer {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/** What ws holds of a message in the making: fragments that are whole, and bytes of the next one. */
interface Receiver {
  readonly _messageLength?: number
  readonly _bufferedBytes?: number
}

/** A WebSocket together with the stream below it. */
export class WsStreamSocket implements ServerSocket {
  onMessage: (bytes: Uint8Array) => void = () => {}
  onClose: (code: number, reason: string) => void = () => {}
  onPong: () => void = () => {}
  onPing: () => void = () => {}
  onText: () => void = () => {}
  onFault: () => void = () => {}
  onDrain: () => void = () => {}
  readonly remoteAddress: string
  readonly remotePort: number
  private readonly ws: WebSocket
  private readonly stream: Duplex
  private readonly gate: FrameGate

  constructor(ws: WebSocket, stream: Duplex, peer: Peer) {
    this.ws = ws
    this.stream = stream
    this.remoteAddress = peer.remoteAddress ?? ''
    this.remotePort = peer.remotePort ?? 0
    this.gate = new FrameGate(stream)
    ws.binaryType = 'nodebuffer'
    ws.on('message', (data, isBinary) => {
      if (isBinary) this.onMessage(data as Buffer)
      else this.onText()
    })
    ws.on('pong', () => this.onPong())
    ws.on('ping', () => this.onPing())
    ws.on('close', (code, reason) => this.onClose(code, reason.toString()))
    // A close follows every error.
    ws.on('error', () => {
      this.gate.end()
      this.onFault()
    })
    stream.on('drain', () => this.onDrain())
  }

  get bufferedAmount(): number {
    return this.ws.bufferedAmount
  }

  get partialBytes(): number {
    // Of no public interface: a test sees to it that ws still has them.
    const { _receiver: receiver } = this.ws as unknown as { _receiver?: Receiver | null }
    return (receiver?._bufferedBytes ?? 0) + (receiver?._messageLength ?? 0)
  }

  send(bytes: Uint8Array): void {
    if (this.ws.readyState === this.ws.OPEN) this.ws.send(bytes)
  }

  sendPieces(pieces: readonly Uint8Array[]): void {
    if (this.ws.readyState !== this.ws.OPEN) return
    // Past ws, which takes one buffer a message. Without compression it writes at once and keeps nothing back, so the order holds.
    this.stream.write(binaryFrameHead(pieces.reduce((sum, piece) => sum + piece.length, 0)))
    for (const piece of pieces) this.stream.write(piece)
  }

  sendText(text: string): void {
    if (this.ws.readyState === this.ws.OPEN) this.ws.send(text)
  }

  close(code = 1000, reason = ''): void {
    this.ws.close(code, closeReason(reason))
  }

  pause(): void {
    this.ws.pause()
  }

  resume(): void {
    this.ws.resume()
  }

  cork(): void {
    this.stream.cork()
  }

  uncork(): void {
    this.stream.uncork()
  }

  ping(): void {
    if (this.ws.readyState === this.ws.OPEN) this.ws.ping()
  }

  terminate(): void {
    this.ws.terminate()
  }

  watchBytes(listener: (bytes: number) => void): void {
    this.gate.onPiece = listener
  }

  ignoreRest(): void {
    this.gate.shut()
  }
}

/**
 * Head of an unmasked, final binary frame (RFC 6455, 5.2):
 *
 *   0x82 │ length < 126        0x82 │ 126 │ u16 length        0x82 │ 127 │ u64 length
 */
function binaryFrameHead(length: number): Buffer {
  if (length < 126) return Buffer.from([0x82, length])
  const head = Buffer.allocUnsafe(length < 0x1_0000 ? 4 : 10)
  head[0] = 0x82
  head[1] = length < 0x1_0000 ? 126 : 127
  if (length < 0x1_0000) head.writeUInt16BE(length, 2)
  else head.writeBigUInt64BE(BigInt(length), 2)
  return head
}
