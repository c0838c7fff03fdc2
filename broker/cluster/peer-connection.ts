// One authenticated connection between two nodes, as either side has it (protocol.md 9.2, 9.3).
//
// Guarantees: frames of one turn of the event loop leave in one write; a peer from which nothing came for `peerTimeoutMs` is cut; the end is
// told once, at once, whatever caused it. Both sides send pings, and any byte is a sign of life: a peer whose requests wait unread still
// shows that it lives. It does not know what frames mean.

import { LogloomError } from '../../wire/errors.ts'
import { type Frame, unpackFrame } from '../../wire/frame.ts'
import type { ServerSocket } from '../../wire/server.ts'
import type { Peer } from './handshake.ts'
import { corkedBytesMax, peerGuardLimits } from './peer-limits.ts'

/** Sent before the socket is dropped: the other side knows why. */
const closeGraceMs = 100

export class PeerConnection {
  readonly peer: Peer
  onFrame: (frame: Frame, bytes: number) => void = () => {}
  /** Called once; the connection is of no use any more. */
  onEnd: (reason: string) => void = () => {}
  onDrain: () => void = () => {}
  private readonly socket: ServerSocket
  private readonly peerTimeoutMs: number
  private readonly now: () => number
  private corkedBytes: number | undefined
  private ended = false
  private paused = false
  private heard = true
  private heardAt: number
  private pingedAt: number

  constructor(socket: ServerSocket, peer: Peer, peerTimeoutMs: number, now: () => number) {
    this.socket = socket
    this.peer = peer
    this.peerTimeoutMs = peerTimeoutMs
    this.now = now
    this.heardAt = now()
    this.pingedAt = this.heardAt
    socket.watchBytes(() => {
      this.heard = true
    })
    socket.onClose = (code, reason) =>
      this.finish(`closed with ${code}${reason === '' ? '' : ` (${reason})`}`)
    socket.onMessage = bytes => this.receive(bytes)
    socket.onText = () => this.end('BAD_FRAME: text message')
    socket.onDrain = () => this.onDrain()
  }

  get isOpen(): boolean {
    return !this.ended
  }

  /** Accepted by `send` and not yet with the kernel, bytes. */
  get outputBytes(): number {
    return this.socket.bufferedAmount
  }

  /** When something last came, on the clock given; as exact as the tick. */
  get lastHeard(): number {
    return this.heard ? this.now() : this.heardAt
  }

  send(bytes: Uint8Array): void {
    if (this.ended) return
    if (this.corkedBytes === undefined) {
      this.corkedBytes = 0
      this.socket.cork()
      setImmediate(() => this.flush())
    }
    this.corkedBytes += bytes.length
    this.socket.send(bytes)
    if (this.corkedBytes >= corkedBytesMax) {
      // The kernel may begin while more is made; the turn stays corked.
      this.corkedBytes = 0
      this.socket.uncork()
      this.socket.cork()
    }
  }

  /** Stops reading: TCP slows the peer down. Silence does not count until `resume`. */
  pause(): void {
    if (this.paused || this.ended) return
    this.paused = true
    this.socket.pause()
  }

  resume(): void {
    if (!this.paused || this.ended) return
    this.paused = false
    this.heard = true
    this.socket.resume()
  }

  /** From the sweep; `stalledMs` is how long this process itself stood still, which is nobody's silence. */
  tick(now: number, stalledMs: number): void {
    if (this.heard || this.paused) {
      this.heard = false
      this.heardAt = now
    } else this.heardAt = Math.min(now, this.heardAt + stalledMs)
    if (now - this.heardAt >= this.peerTimeoutMs) {
      this.finish(`silent for ${Math.round(now - this.heardAt)} ms (peerTimeoutMs)`)
      this.socket.terminate()
    } else if (now - this.pingedAt >= this.peerTimeoutMs / 4) {
      this.pingedAt = now
      this.socket.ping()
    }
  }

  /** Ends it for a reason that the peer is told when it still listens. */
  end(reason: string, code = 1008): void {
    if (this.ended) return
    this.flush()
    this.finish(reason)
    this.socket.close(code, reason)
    this.socket.resume()
    setTimeout(() => this.socket.terminate(), closeGraceMs).unref()
  }

  private receive(bytes: Uint8Array): void {
    if (this.ended) return
    try {
      this.onFrame(unpackFrame(bytes, peerGuardLimits), bytes.length)
    } catch (error) {
      if (!(error instanceof LogloomError)) throw error
      this.end(`BAD_FRAME: ${error.message}`)
    }
  }

  private flush(): void {
    if (this.corkedBytes === undefined) return
    this.corkedBytes = undefined
    this.socket.uncork()
  }

  private finish(reason: string): void {
    if (this.ended) return
    this.ended = true
    this.onEnd(reason)
  }
}
