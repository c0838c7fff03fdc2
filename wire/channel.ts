// The client's half of request and reply (protocol.md 1).
//
// Guarantees: one frame per request, every request settles once, whatever the order of replies: with its reply, the broker's error, TIMEOUT
// (one shared sweep, no timer per request), the signal's reason, or CONNECTION_CLOSED. It never retries and does not know what operations mean.

import { LogloomError, type WireError } from './errors.ts'
import { type Frame, packFrame, unpackFrame } from './frame.ts'
import { wireLimits } from './limits.ts'
import type { FrameSocket } from './socket.ts'

export interface RequestOptions {
  readonly signal?: AbortSignal
  /** Until the reply, ms; past it the outcome is unknown (TIMEOUT). */
  readonly timeoutMs?: number
}

export interface RequestChannelOptions {
  /** Frames without an id, each with the size of its message; BAD_FRAME that it throws closes the connection. */
  readonly onPush?: (frame: Frame, messageBytes: number) => void
  /** A quota is used up for so long, ms; after a reply the broker reads nothing of this connection until then (`isUnread`). */
  readonly onThrottle?: (throttleMs: number, isUnread: boolean) => void
}

interface Waiting {
  readonly resolve: (frame: Frame) => void
  readonly reject: (error: Error) => void
  readonly deadline: number
  readonly op: string
}

const sweepMs = 100
/** Close code for a frame of the broker that breaks the protocol; pages may not send 1008. */
const unreadableReply = 3000
/** What a socket reports that ended without a close frame. */
const abandoned = 1006
const replyLimits = { elementsMax: wireLimits.replyElementsMax }

/** Requests over one socket, which it owns from now on. */
export class RequestChannel {
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  /** Messages that have come in: a count that stands still says that the peer is silent. */
  received = 0
  private readonly socket: FrameSocket
  private readonly onPush: (frame: Frame, messageBytes: number) => void
  private readonly onThrottle: (throttleMs: number, isUnread: boolean) => void
  private readonly waiting = new Map<number, Waiting>()
  private over: (code: number, reason: string) => void = () => {}
  private nextId = 1
  private sweeper: ReturnType<typeof setInterval> | undefined
  private end: LogloomError | undefined
  private lastError: LogloomError | undefined

  constructor(socket: FrameSocket, options: RequestChannelOptions = {}) {
    this.socket = socket
    this.onPush = options.onPush ?? (() => {})
    this.onThrottle = options.onThrottle ?? (() => {})
    this.closed = new Promise(resolve => {
      this.over = (code, reason) => {
        this.fail(code, reason)
        resolve({ code, reason })
      }
    })
    socket.onClose = (code, reason) => this.over(code, reason)
    socket.onMessage = bytes => this.receive(bytes)
  }

  /** The socket is gone: nothing is sent any more. */
  get isOver(): boolean {
    return this.end !== undefined
  }

  get inFlight(): number {
    return this.waiting.size
  }

  get bufferedAmount(): number {
    return this.socket.bufferedAmount
  }

  /**
   * Resolves with the reply; its bin fields are views of the message.
   * @throws the broker's error, TIMEOUT, CONNECTION_CLOSED, INVALID_REQUEST for fields no frame carries, or the signal's reason
   */
  request(op: string, fields: Frame = {}, options: RequestOptions = {}): Promise<Frame> {
    const { signal, timeoutMs } = options
    return new Promise((resolve, reject) => {
      if (this.end !== undefined || signal?.aborted) {
        reject(this.end ?? (signal?.reason as Error))
        return
      }
      const id = this.nextId++
      // First, because it throws for fields that no frame can carry.
      const bytes = packFrame({ ...fields, op, id })
      const deadline =
        timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs
      const waiting: Waiting = { resolve, reject, deadline, op }
      this.waiting.set(id, waiting)
      if (timeoutMs !== undefined) this.sweepSoon()
      if (signal !== undefined) this.watch(signal, id, waiting)
      this.socket.send(bytes)
    })
  }

  /** Sends a one-way frame. */
  send(frame: Frame): void {
    if (this.end === undefined) this.socket.send(packFrame(frame))
  }

  /** Begins to close; `closed` resolves, and what is in flight is rejected, when the socket is gone. */
  close(code?: number, reason?: string): void {
    this.socket.close(code, reason)
  }

  /** Ends at once, without the peer: it may never answer a close. */
  abandon(reason: string): void {
    this.over(abandoned, reason)
    this.socket.close()
  }

  /** Ends at once because of what the peer sent: nothing more is taken from it, and it may never answer the close. */
  refuse({ message }: LogloomError): void {
    this.socket.onMessage = () => {}
    this.socket.close(unreadableReply, message)
    this.over(unreadableReply, message)
  }

  private receive(bytes: Uint8Array): void {
    this.received++
    let frame: Frame
    try {
      frame = unpackFrame(bytes, replyLimits)
    } catch (error) {
      this.socket.close(unreadableReply, (error as Error).message)
      return
    }
    if (typeof frame.throttleMs === 'number' && frame.throttleMs > 0)
      this.onThrottle(frame.throttleMs, typeof frame.id === 'number')
    if (typeof frame.id !== 'number') {
      if (frame.op !== undefined) this.push(frame, bytes.length)
      // An error without an id answers what the broker could not read: nobody's reply, but the cause of the close that follows.
      else if (isError(frame.error)) this.lastError = LogloomError.fromWire(frame.error)
      return
    }
    const waiting = this.take(frame.id)
    if (waiting === undefined) return
    if (frame.error === undefined) waiting.resolve(frame)
    else if (isError(frame.error)) waiting.reject(LogloomError.fromWire(frame.error))
    else
      waiting.reject(new LogloomError('INTERNAL', `the error reply to ${waiting.op} has no code`))
  }

  /** A push that is none ends the connection: thrown from here it would end the process. */
  private push(frame: Frame, messageBytes: number): void {
    try {
      this.onPush(frame, messageBytes)
    } catch (error) {
      if ((error as Partial<LogloomError>).code !== 'BAD_FRAME') throw error
      this.refuse(error as LogloomError)
    }
  }

  private take(id: number): Waiting | undefined {
    const waiting = this.waiting.get(id)
    this.waiting.delete(id)
    return waiting
  }

  private watch(signal: AbortSignal, id: number, waiting: Waiting): void {
    const abort = (): void => this.take(id)?.reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    const forget = <T>(settle: (value: T) => void) => {
      return (value: T): void => {
        signal.removeEventListener('abort', abort)
        settle(value)
      }
    }
    this.waiting.set(id, {
      ...waiting,
      resolve: forget(waiting.resolve),
      reject: forget(waiting.reject),
    })
  }

  private sweepSoon(): void {
    this.sweeper ??= setInterval(() => this.sweep(), sweepMs)
  }

  private sweep(): void {
    const now = performance.now()
    let timed = 0
    for (const [id, waiting] of this.waiting) {
      if (waiting.deadline <= now) {
        this.waiting.delete(id)
        waiting.reject(new LogloomError('TIMEOUT', `no reply to ${waiting.op} in time`))
      } else if (waiting.deadline !== Number.POSITIVE_INFINITY) timed++
    }
    if (timed === 0) this.stopSweeping()
  }

  private stopSweeping(): void {
    clearInterval(this.sweeper)
    this.sweeper = undefined
  }

  private fail(code: number, reason: string): void {
    if (this.end !== undefined) return
    this.end = new LogloomError(
      'CONNECTION_CLOSED',
      `the connection closed with ${code}${reason === '' ? '' : ` (${reason})`}`,
      { closeCode: code, reason },
      { cause: this.lastError },
    )
    this.stopSweeping()
    for (const waiting of this.waiting.values()) waiting.reject(this.end)
    this.waiting.clear()
  }
}

function isError(value: unknown): value is WireError {
  if (typeof value !== 'object' || value === null) return false
  const { code, message } = value as Partial<WireError>
  return typeof code === 'string' && typeof message === 'string'
}
