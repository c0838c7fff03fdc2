// The port for other nodes, never the one of clients (protocol.md 9.1): accepts sockets, and hands over those that proved who they are.
//
// Guarantees: whoever is not authenticated costs little: few sockets, few bytes, a short time, no decoding of more than a handshake frame.

import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { checkServerIdentity, type TLSSocket } from 'node:tls'
import { LogloomError } from '../../wire/errors.ts'
import { packFrame, unpackFrame } from '../../wire/frame.ts'
import { peerSubprotocol } from '../../wire/peer-socket.ts'
import {
  createSocketServer,
  type ServerSocket,
  type SocketServer,
  type UpgradeVerdict,
} from '../../wire/server.ts'
import { type Certificate, minVersion } from '../security/certificate.ts'
import {
  challengeFrame,
  checkHello,
  type Identity,
  newNonce,
  type Peer,
  refusalFrame,
} from './handshake.ts'
import { PeerConnection } from './peer-connection.ts'
import {
  handshakeBytesMax,
  handshakeMsMax,
  listenerSocketsMax,
  messageChunksMax,
  peerFrameBytesMax,
  unauthenticatedMax,
} from './peer-limits.ts'

export interface PeerListenerOptions {
  readonly me: Identity
  readonly certificate: Certificate | undefined
  readonly peerTimeoutMs: number
  readonly now: () => number
  /** Why an authenticated node is not let in; undefined lets it in. */
  readonly admit: (peer: Peer) => LogloomError | undefined
  readonly onConnection: (connection: PeerConnection) => void
  readonly onRefusal: (error: LogloomError, address: string) => void
}

export class PeerListener {
  private readonly options: PeerListenerOptions
  private readonly http: Server
  private readonly sockets: SocketServer
  /** Since when they are open. */
  private readonly strangers = new Map<ServerSocket, number>()

  constructor(options: PeerListenerOptions) {
    this.options = options
    this.http = serverFor(options, (_request, response) => {
      response.writeHead(426, { 'content-type': 'text/plain', connection: 'close' })
      response.end('this port is for the nodes of the cluster\n')
    })
    this.http.maxConnections = listenerSocketsMax
    this.sockets = createSocketServer({
      frameBytesMax: peerFrameBytesMax,
      messageChunksMax,
      verify: request => this.verify(request),
      onSocket: (socket, request) => this.greet(socket, request),
    })
    this.http.on('upgrade', (request, socket, head) =>
      this.sockets.handleUpgrade(request, socket, head),
    )
    this.http.on('clientError', (_error, socket) => socket.destroy())
  }

  get unauthenticated(): number {
    return this.strangers.size
  }

  /** @throws PORT_IN_USE, INVALID_CONFIG @returns the port that is bound */
  async listen(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.http.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          error.code === 'EADDRINUSE'
            ? new LogloomError(
                'PORT_IN_USE',
                `the port for nodes, ${port} on ${host}, is in use`,
                { host, port },
                {
                  cause: error,
                  hint: `stop the process that holds it, or give node ${this.options.me.node} another port in --peers of all nodes; --port is the one for clients`,
                },
              )
            : new LogloomError(
                'INVALID_CONFIG',
                `cannot listen for nodes on ${host}:${port}: ${error.message}`,
                { host, port },
                {
                  cause: error,
                  hint: 'give --peer-host an address of this machine, and --peers a port that this user may listen on',
                },
              ),
        ),
      )
      this.http.listen(port, host, resolve)
    })
    return (this.http.address() as AddressInfo).port
  }

  tick(now: number): void {
    for (const [socket, since] of this.strangers)
      if (now - since >= handshakeMsMax)
        this.drop(socket, `not authenticated within ${handshakeMsMax} ms (handshakeMsMax)`)
  }

  /** Takes nothing new; connections that were handed over are others' to end. */
  async close(): Promise<void> {
    for (const socket of this.strangers.keys()) socket.terminate()
    this.sockets.close()
    const closed = new Promise(resolve => {
      this.http.close(resolve)
    })
    this.http.closeAllConnections()
    await closed
  }

  private verify(request: IncomingMessage): UpgradeVerdict {
    // Pages send an Origin, nodes do not.
    if (request.headers.origin !== undefined)
      return refusal(403, 'FORBIDDEN_ORIGIN', 'this port is for nodes, not for web pages')
    const subprotocol = request.headers['sec-websocket-protocol']
    if (subprotocol === undefined)
      return refusal(
        400,
        'WRONG_PORT',
        'this port is for the nodes of the cluster, clients have another',
      )
    if (subprotocol !== peerSubprotocol)
      return refusal(400, 'UNSUPPORTED_PROTOCOL', `only the subprotocol ${peerSubprotocol}`)
    if (this.strangers.size >= unauthenticatedMax)
      return refusal(
        503,
        'LIMIT_EXCEEDED',
        `${unauthenticatedMax} sockets are not authenticated yet (unauthenticatedMax)`,
      )
    return { ok: true }
  }

  private greet(socket: ServerSocket, request: IncomingMessage): void {
    const { me, certificate, now, peerTimeoutMs, admit, onConnection } = this.options
    const challenge = newNonce()
    this.strangers.set(socket, now())
    let bytes = 0
    socket.watchBytes(count => {
      bytes += count
      if (bytes > handshakeBytesMax)
        this.drop(
          socket,
          `${bytes} bytes before authentication, the limit is ${handshakeBytesMax} (handshakeBytesMax)`,
        )
    })
    socket.onClose = () => this.strangers.delete(socket)
    socket.onText = () => this.drop(socket, 'text message before authentication')
    socket.onMessage = message => {
      if (!this.strangers.has(socket)) return
      try {
        const { peer, welcome } = checkHello(me, unpackFrame(message), challenge)
        if (certificate !== undefined) checkCertificate(request.socket as TLSSocket, peer)
        const refused = admit(peer)
        if (refused !== undefined) throw refused
        this.strangers.delete(socket)
        socket.send(packFrame(welcome))
        onConnection(new PeerConnection(socket, peer, peerTimeoutMs, now))
      } catch (error) {
        if (!(error instanceof LogloomError)) throw error
        this.refuse(socket, error)
      }
    }
    socket.send(packFrame(challengeFrame(challenge)))
  }

  /** Tells why, and waits a little for the answer to the close; the bounds above hold until then. */
  private refuse(socket: ServerSocket, error: LogloomError): void {
    this.options.onRefusal(error, socket.remoteAddress)
    socket.onMessage = () => {}
    socket.send(packFrame(refusalFrame(error)))
    socket.close(1008, error.code)
  }

  private drop(socket: ServerSocket, reason: string): void {
    if (!this.strangers.delete(socket)) return
    socket.terminate()
    this.options.onRefusal(new LogloomError('BAD_FRAME', reason), socket.remoteAddress)
  }
}

/** With a certificate only those get a word in whose own is signed by the same authority. */
function serverFor(
  { certificate, onRefusal }: PeerListenerOptions,
  handle: RequestListener,
): Server {
  const times = {
    headersTimeout: handshakeMsMax,
    requestTimeout: handshakeMsMax,
    connectionsCheckingInterval: handshakeMsMax / 4,
  }
  if (certificate === undefined) return createServer(times, handle)
  const server = createTlsServer(
    {
      ...times,
      ...certificate.current,
      minVersion,
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: handshakeMsMax,
    },
    handle,
  )
  server.on('tlsClientError', (error, socket) => {
    const message = `no TLS with a certificate of the cluster: ${error.message}`
    onRefusal(new LogloomError('PEER_CERTIFICATE', message), socket.remoteAddress ?? '')
    socket.destroy()
  })
  certificate.onChange(() => server.setSecureContext({ ...certificate.current, minVersion }))
  return server
}

/** The secret is all nodes' alike: the certificate says which of them it is. @throws PEER_CERTIFICATE */
function checkCertificate(socket: TLSSocket, { node }: Peer): void {
  const wrong = checkServerIdentity(node, socket.getPeerCertificate())
  if (wrong === undefined) return
  throw new LogloomError(
    'PEER_CERTIFICATE',
    `node ${node} has a certificate of another name: ${wrong.message}`,
    { expected: node },
  )
}

function refusal(status: number, code: string, message: string): UpgradeVerdict {
  return { ok: false, status, code, message }
}
