// The nodes' door to ws (Node only): dialling another node's listener (protocol.md 9).
//
// Guarantees: nothing is read before the owner says `resume`, so no frame is lost; one subprotocol keeps clients, browsers and nodes from
// talking past each other. Frames carry a mask of zeros: masks protect proxies from pages that choose their bytes, and no page is here;
// it saves a pass over every byte on both sides.

import { checkServerIdentity, type PeerCertificate, type SecureContext } from 'node:tls'
import { WebSocket } from 'ws'
import { LogloomError } from './errors.ts'
import { type ServerSocket, WsStreamSocket } from './server.ts'

/** `Sec-WebSocket-Protocol` of the link between nodes. */
export const peerSubprotocol = 'logloom-peer'

export interface DialOptions {
  /** Largest message taken from the other node, bytes. */
  readonly frameBytesMax: number
  readonly messageChunksMax: number
  /** Until the WebSocket is open, ms. */
  readonly timeoutMs: number
  /** For a `wss:` URL: this node's certificate and its authority, and the name that the other side's certificate must have. */
  readonly tls?: { readonly context: SecureContext; readonly name: string } | undefined
}

/**
 * Opens a connection to a node. It is paused: set its handlers, then `resume` it. Calls back once, and never after the way to give up,
 * which is what it returns, was taken.
 */
export function dialPeer(
  url: string,
  options: DialOptions,
  onOpen: (socket: ServerSocket) => void,
  onFailure: (error: LogloomError) => void,
): () => void {
  let over = false
  const failWith = (error: LogloomError): void => {
    if (over) return
    over = true
    onFailure(error)
  }
  const fail = (reason: string, cause?: Error): void =>
    failWith(
      new LogloomError('CONNECTION_CLOSED', `cannot connect to ${url}: ${reason}`, {}, { cause }),
    )
  const ws = new WebSocket(url, peerSubprotocol, {
    perMessageDeflate: false,
    maxPayload: options.frameBytesMax,
    maxFragments: 1024,
    maxBufferedChunks: options.messageChunksMax,
    handshakeTimeout: options.timeoutMs,
    followRedirects: false,
    generateMask: mask => mask.fill(0),
    ...(options.tls === undefined ? {} : tlsOptions(options.tls)),
  })
  ws.once('upgrade', response => {
    ws.once('open', () => {
      ws.pause()
      if (over) ws.terminate()
      else {
        over = true
        onOpen(new WsStreamSocket(ws, response.socket, response.socket))
      }
    })
  })
  ws.once('unexpected-response', (request, response) => {
    request.destroy()
    const { statusCode = 0, statusMessage = '' } = response
    if (statusMessage === 'WRONG_PORT')
      failWith(new LogloomError('WRONG_PORT', `${url} is a port for clients, not for nodes`))
    else fail(`HTTP ${statusCode} ${statusMessage}`)
  })
  ws.on('error', error => fail(error.message, error))
  return () => {
    over = true
    ws.terminate()
  }
}

/** ws hands these on to `tls.connect`; its types do not name them all. */
function tlsOptions({ context, name }: { context: SecureContext; name: string }): object {
  return {
    secureContext: context,
    servername: name,
    rejectUnauthorized: true,
    checkServerIdentity: (_host: string, certificate: PeerCertificate) =>
      checkServerIdentity(name, certificate),
  }
}
