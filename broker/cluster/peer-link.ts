// This node's requests to one other node: one connection, made at the first call and again whenever it breaks (protocol.md 9.1, 9.2).
//
// Guarantees: a call waits for the connection at most its time; while the last attempt to connect has failed, calls fail at once, so that
// callers can turn elsewhere; when the connection breaks, every call on it fails at once. What waits to leave is bounded in bytes.
//
//   idle ──call──► dialling ──► open ──breaks──► dialling (it had lived) or pausing
//                     └─fails─► pausing ──time, or the peer was seen──► dialling

import {
  type CallOptions,
  type Message,
  NetError,
  type NodeId,
  RemoteError,
} from '../../loglets/net.ts'
import type { LogloomError } from '../../wire/errors.ts'
import { map, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import type { Certificate } from '../security/certificate.ts'
import { CallTable } from './call-table.ts'
import type { Identity, Peer } from './handshake.ts'
import { packCall, readError } from './messages.ts'
import type { PeerConnection } from './peer-connection.ts'
import { dial } from './peer-dial.ts'
import { dialPauseMsMax, firstDialPauseMs, peerOutputBytesMax } from './peer-limits.ts'

export interface PeerLinkOptions {
  readonly me: Identity
  readonly to: NodeId
  readonly url: string
  readonly certificate: Certificate | undefined
  readonly peerTimeoutMs: number
  readonly now: () => number
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Why a node that proved itself is not spoken to. */
  readonly admit: (peer: Peer) => LogloomError | undefined
  readonly onUp: (peer: Peer) => void
  readonly onDown: (reason: string) => void
  /** A dial failed. */
  readonly onFailure: (error: Error) => void
}

type State =
  | { readonly kind: 'idle' | 'closed' }
  | { readonly kind: 'dialling'; readonly giveUp: () => void }
  | { readonly kind: 'open'; readonly connection: PeerConnection; readonly since: number }
  | { readonly kind: 'pausing'; readonly until: number; readonly why: string }

/** A connection that lived this long was good: it is dialled again without a pause. */
const goodLifeMs = 1000

export class PeerLink {
  private readonly options: PeerLinkOptions
  private readonly calls = new CallTable()
  private state: State = { kind: 'idle' }
  private failures = 0

  constructor(options: PeerLinkOptions) {
    this.options = options
  }

  get url(): string {
    return this.options.url
  }

  get connection(): PeerConnection | undefined {
    return this.state.kind === 'open' ? this.state.connection : undefined
  }

  /** @throws as Net.call; MESSAGE_TOO_LARGE, INVALID_REQUEST, BAD_FRAME for what cannot be sent */
  call(verb: string, request: Message, options: CallOptions): Promise<Message> {
    const { to, now } = this.options
    return this.calls.add(to, verb, now(), options, id => {
      const { state } = this
      if (state.kind === 'closed')
        throw new NetError('UNREACHABLE', `node ${to} is not a peer any more`)
      if (state.kind === 'pausing')
        throw new NetError(
          'UNREACHABLE',
          `node ${to} cannot be reached: ${state.why}; the next attempt is in ${Math.max(0, Math.round(state.until - now()))} ms`,
        )
      const bytes = packCall(id, verb, request)
      const waiting = (this.connection?.outputBytes ?? 0) + this.calls.unsentBytes
      if (waiting + bytes.length > peerOutputBytesMax)
        throw new NetError(
          'UNREACHABLE',
          `${waiting} bytes wait for node ${to}, ${bytes.length} more exceed the limit ${peerOutputBytesMax} (peerOutputBytesMax): send less at a time`,
        )
      if (state.kind === 'open') {
        state.connection.send(bytes)
        return undefined
      }
      if (state.kind === 'idle') this.dial()
      return bytes
    })
  }

  tick(now: number, stalledMs: number): void {
    const { state } = this
    if (state.kind === 'open') state.connection.tick(now, stalledMs)
    if (state.kind === 'pausing' && now >= state.until) this.dial()
    this.calls.sweep(now)
  }

  /** The peer has shown itself: a pause makes no sense any more. */
  peerSeen(): void {
    if (this.state.kind === 'pausing') this.dial()
  }

  /** Ends it for good: calls that were sent reject with BROKEN, the others with UNREACHABLE. */
  close(reason: string): void {
    const { state } = this
    this.state = { kind: 'closed' }
    if (state.kind === 'dialling') state.giveUp()
    this.calls.failAll(state.kind === 'open' ? 'BROKEN' : 'UNREACHABLE', reason)
    if (state.kind === 'open') state.connection.end(reason, 1001)
  }

  private dial(): void {
    const { me, to, url, certificate, peerTimeoutMs, now } = this.options
    // A failure may be told before the way to give up is known.
    let failed = false
    const giveUp = dial({
      me,
      to,
      url,
      certificate,
      peerTimeoutMs,
      now,
      onConnection: connection => this.opened(connection),
      onFailure: error => {
        failed = true
        this.failed(error)
      },
    })
    if (!failed) this.state = { kind: 'dialling', giveUp }
  }

  private opened(connection: PeerConnection): void {
    const refused = this.options.admit(connection.peer)
    if (refused !== undefined) {
      connection.end(refused.code)
      this.failed(refused)
      return
    }
    this.state = { kind: 'open', connection, since: this.options.now() }
    connection.onFrame = frame => this.receive(frame)
    connection.onEnd = reason => this.broken(connection, reason)
    this.calls.sendUnsent(bytes => connection.send(bytes))
    this.options.onUp(connection.peer)
  }

  private failed(error: Error): void {
    if (this.state.kind === 'closed') return
    const why = error.message
    this.pause(why)
    this.calls.failAll('UNREACHABLE', `node ${this.options.to} cannot be reached: ${why}`)
    this.options.onFailure(error)
  }

  private broken(connection: PeerConnection, reason: string): void {
    const { state } = this
    if (state.kind !== 'open' || state.connection !== connection) {
      if (state.kind === 'closed') this.options.onDown(reason)
      return
    }
    const { to, now } = this.options
    const isGood = now() - state.since >= goodLifeMs
    if (isGood) this.failures = 0
    if (isGood) this.dial()
    else this.pause(`the connection broke: ${reason}`)
    this.calls.failAll('BROKEN', `the connection to node ${to} broke: ${reason}`)
    this.options.onDown(reason)
  }

  private pause(why: string): void {
    const { now, random } = this.options
    const longest = Math.min(dialPauseMsMax, firstDialPauseMs * 2 ** Math.min(this.failures, 10))
    this.failures++
    this.state = { kind: 'pausing', until: now() + longest * (0.5 + random() / 2), why }
  }

  private receive(frame: Frame): void {
    const id = uint(frame, 'id')
    if (frame.error === undefined) {
      this.calls.resolve(id, map(frame, 'body') as Message)
      return
    }
    const { code, message } = readError(frame) ?? {
      code: 'INTERNAL',
      message: 'an error without code',
    }
    this.calls.fail(id, new RemoteError(this.options.to, code, message))
  }
}
