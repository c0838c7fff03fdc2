// The dialer's side of the link spoken by hand: to send what a node never sends, and to stop at any step.

import {
  checkWelcome,
  helloFrame,
  type Identity,
  newNonce,
  readChallenge,
} from '../../broker/cluster/handshake.ts'
import { type Frame, packFrame, unpackFrame } from '../../wire/index.ts'
import { dialPeer } from '../../wire/peer-socket.ts'
import type { ServerSocket } from '../../wire/server.ts'
import { clusterSecret } from './nodes.ts'

export class RawPeer {
  readonly socket: ServerSocket
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  private readonly frames: Frame[] = []
  private wake: () => void = () => {}

  private constructor(socket: ServerSocket) {
    this.socket = socket
    this.closed = new Promise(resolve => {
      socket.onClose = (code, reason) => resolve({ code, reason })
    })
    socket.onMessage = bytes => {
      this.frames.push(unpackFrame(bytes))
      this.wake()
    }
    socket.resume()
  }

  static open(url: string): Promise<RawPeer> {
    const options = { frameBytesMax: 1 << 25, messageChunksMax: 1 << 16, timeoutMs: 2000 }
    return new Promise((resolve, reject) => {
      dialPeer(url, options, socket => resolve(new RawPeer(socket)), reject)
    })
  }

  /** The next frame that comes. */
  async next(): Promise<Frame> {
    while (this.frames.length === 0)
      await new Promise<void>(resolve => {
        this.wake = resolve
      })
    return this.frames.shift() as Frame
  }

  /** Answers the challenge and returns what comes back: a welcome, or a refusal. */
  async greet(to: string, who: Partial<Identity> = {}): Promise<Frame> {
    const me = identity(who)
    const challenge = readChallenge(await this.next())
    const nonce = newNonce()
    this.socket.send(packFrame(helloFrame(me, to, nonce, challenge)))
    const answer = await this.next()
    if (answer.op === 'peer-welcome') checkWelcome(me, answer, to, nonce, challenge)
    return answer
  }
}

export function identity(who: Partial<Identity> = {}): Identity {
  return {
    clusterId: 'cluster-1',
    secret: clusterSecret,
    node: 'raw',
    incarnation: 'raw-1',
    protocols: { min: 1, max: 1 },
    version: '0',
    birth: () => undefined,
    ...who,
  }
}
