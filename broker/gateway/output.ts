// What leaves on one connection, and what waits to leave (docs/limits.md).
//
// Guarantees: everything sent in one turn of the event loop leaves in one write; large replies are made one after the other, so that what
// they need stays below half of `outputBytesMax`; whoever waits for room gets it in the order of asking. It does not know what the bytes mean.

import type { ServerSocket } from '../../wire/server.ts'
import type { Settings } from '../settings.ts'
import type { MemoryBudget } from './load/memory-budget.ts'

/** Output that a reply in the making may still need. */
export interface Reservation {
  reservedBytes: number
}

interface Waiter {
  readonly holder: Reservation
  readonly bytes: number
  readonly resolve: () => void
}

export class Output {
  private readonly socket: ServerSocket
  private readonly settings: Settings
  private readonly budget: MemoryBudget
  /** Of what waits, as the budget knows it. */
  private countedBytes = 0
  private corked = false
  private ended = false
  private isGone = false
  /** Since when more than `outputBytesHigh` waits and the peer has read nothing. */
  private fullSince: number | undefined
  private fullBytes = 0
  private reservedBytes = 0
  private waiters: Waiter[] | undefined

  constructor(socket: ServerSocket, settings: Settings, budget: MemoryBudget) {
    this.socket = socket
    this.settings = settings
    this.budget = budget
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.socket.bufferedAmount
  }

  /** True while nothing more should be made. */
  get isFull(): boolean {
    if (this.ended) return true
    const { bufferedAmount } = this.socket
    if (bufferedAmount <= this.settings.outputBytesHigh * this.budget.outputShare) return false
    if (this.fullSince === undefined) {
      this.fullSince = performance.now()
      this.fullBytes = bufferedAmount
    }
    return true
  }

  /** Sends one frame, given in one piece or several. False: more waits than any peer may have waiting. */
  write(...pieces: readonly Uint8Array[]): boolean {
    if (!this.corked) {
      this.corked = true
      this.socket.cork()
      setImmediate(() => this.flush())
    }
    const [whole] = pieces
    if (pieces.length === 1 && whole !== undefined) this.socket.send(whole)
    else this.socket.sendPieces(pieces)
    this.recount()
    return this.socket.bufferedAmount <= this.settings.outputBytesMax
  }

  /** Lets go what this turn has written so far. */
  flush(): void {
    if (!this.corked) return
    this.corked = false
    this.socket.uncork()
    this.recount()
  }

  /** Tells the budget what waits now: the socket says nothing of what it has written. */
  recount(): void {
    const bytes = this.isGone ? 0 : this.socket.bufferedAmount
    if (bytes === this.countedBytes) return
    this.budget.add('output', bytes - this.countedBytes)
    this.countedBytes = bytes
  }

  /** Resolves, or returns at once, when a reply of about `bytes` may be made. */
  reserve(holder: Reservation, bytes: number): Promise<void> | undefined {
    if (this.waiters === undefined && this.hasRoom(bytes)) {
      this.take(holder, bytes)
      return undefined
    }
    return new Promise(resolve => {
      this.waiters ??= []
      this.waiters.push({ holder, bytes, resolve })
      this.budget.whenLess(this.grantLater)
    })
  }

  /** Gives back all but `keepBytes`. */
  release(holder: Reservation, keepBytes = 0): void {
    if (holder.reservedBytes <= keepBytes) return
    this.reservedBytes -= holder.reservedBytes - keepBytes
    this.budget.add('reserved', keepBytes - holder.reservedBytes)
    holder.reservedBytes = keepBytes
    this.grant()
  }

  /** After the socket wrote something. True when output was full and is not any more. */
  drained(): boolean {
    this.recount()
    if (this.fullSince === undefined || this.isFull) return false
    this.fullSince = undefined
    this.grant()
    return true
  }

  /** From a sweep. True when the peer has read nothing for too long while output waited. */
  isStalled(now: number): boolean {
    if (this.fullSince === undefined || !this.isFull) return false
    const { bufferedAmount } = this.socket
    // Whoever reads, however slowly, is not stalled.
    if (bufferedAmount < this.fullBytes) this.fullSince = now
    this.fullBytes = bufferedAmount
    return now - this.fullSince >= this.settings.slowConsumerMs
  }

  /** Nothing is sent any more; those who wait go on and find out. */
  end(): void {
    this.ended = true
    this.grant()
  }

  /** The socket is gone, and all that waited with it. */
  gone(): void {
    this.isGone = true
    this.recount()
  }

  private hasRoom(bytes: number): boolean {
    if (this.ended) return true
    if (this.isFull) return false
    const room = this.settings.outputBytesMax / 2
    const fits =
      this.reservedBytes === 0 || this.socket.bufferedAmount + this.reservedBytes + bytes <= room
    return fits && this.budget.hasRoom(bytes)
  }

  private take(holder: Reservation, bytes: number): void {
    holder.reservedBytes += bytes
    this.reservedBytes += bytes
    this.budget.add('reserved', bytes)
  }

  private readonly grantLater = (): void => this.grant()

  private grant(): void {
    const { waiters } = this
    if (waiters === undefined) return
    for (let next = waiters[0]; next !== undefined && this.hasRoom(next.bytes); next = waiters[0]) {
      waiters.shift()
      this.take(next.holder, next.bytes)
      next.resolve()
    }
    if (waiters.length === 0) this.waiters = undefined
    // Another connection may be what it waits for.
    else this.budget.whenLess(this.grantLater)
  }
}
