// The dialer's half of a handshake (protocol.md 9.1): from a URL to an authenticated connection, or to the reason why there is none. One
// time limit covers all of it, and until the other side has proved itself it may send little.

import type { NodeId } from '../../loglets/net.ts'
import { LogloomError } from '../../wire/errors.ts'
import { type Frame, packFrame, unpackFrame } from '../../wire/frame.ts'
import { dialPeer } from '../../wire/peer-socket.ts'
import type { ServerSocket } from '../../wire/server.ts'
import type { Certificate } from '../security/certificate.ts'
import { checkWelcome, helloFrame, type Identity, newNonce, readChallenge } from './handshake.ts'
import { PeerConnection } from './peer-connection.ts'
import {
  handshakeBytesMax,
  handshakeMsMax,
  messageChunksMax,
  peerFrameBytesMax,
} from './peer-limits.ts'

export interface PeerDialOptions {
  readonly me: Identity
  readonly to: NodeId
  readonly url: string
  readonly certificate: Certificate | undefined
  readonly peerTimeoutMs: number
  readonly now: () => number
  readonly onConnection: (connection: PeerConnection) => void
  readonly onFailure: (error: Error) => void
}

/** Dials once; calls one of the two back, once, unless it was given up: what it returns does that. */
export function dial(options: PeerDialOptions): () => void {
  const { me, to, url, certificate, onConnection, onFailure } = options
  let opened: ServerSocket | undefined
  let over = false
  const stop = (): void => {
    over = true
    clearTimeout(timer)
    giveUp()
    opened?.terminate()
  }
  const fail = (error: Error): void => {
    if (over) return
    stop()
    onFailure(error)
  }
  const timer = setTimeout(
    () => fail(refused(`no handshake with ${url} within ${handshakeMsMax} ms (handshakeMsMax)`)),
    handshakeMsMax,
  )
  const giveUp = dialPeer(
    url,
    {
      frameBytesMax: peerFrameBytesMax,
      messageChunksMax,
      timeoutMs: handshakeMsMax,
      tls: certificate && { context: certificate.context, name: to },
    },
    socket => {
      opened = socket
      const dialerNonce = newNonce()
      let challenge: string | undefined
      const receive = (frame: Frame): void => {
        if (challenge === undefined) {
          challenge = readChallenge(frame)
          socket.send(packFrame(helloFrame(me, to, dialerNonce, challenge)))
          return
        }
        const peer = checkWelcome(me, frame, to, dialerNonce, challenge)
        over = true
        clearTimeout(timer)
        onConnection(new PeerConnection(socket, peer, options.peerTimeoutMs, options.now))
      }
      let bytes = 0
      socket.watchBytes(count => {
        bytes += count
        if (bytes > handshakeBytesMax)
          fail(
            refused(
              `${url} sent ${bytes} bytes before it proved itself, the limit is ${handshakeBytesMax} (handshakeBytesMax)`,
            ),
          )
      })
      socket.onClose = (code, reason) =>
        fail(refused(`${url} closed with ${code} ${reason} during the handshake`))
      socket.onText = () => fail(refused(`${url} sent text`))
      socket.onMessage = message => {
        if (over) return
        try {
          receive(unpackFrame(message))
        } catch (error) {
          fail(error as Error)
        }
      }
      socket.resume()
    },
    fail,
  )
  return stop
}

function refused(message: string): LogloomError {
  return new LogloomError('CONNECTION_CLOSED', message)
}
