// Appends that are durable on their stripe and wait for earlier positions on the others, in order of position.
//
// Arrivals are nearly in order, so each finds its place from the end.

import { type Position, position } from '../contract.ts'

interface Pending {
  readonly at: number
  readonly resolve: (at: Position) => void
  readonly reject: (error: Error) => void
}

export class PendingAcks {
  private readonly queue: Pending[] = []

  get size(): number {
    return this.queue.length
  }

  /** The highest position that waits; -1 when none does. */
  get highest(): number {
    return this.queue.at(-1)?.at ?? -1
  }

  add(at: number, resolve: (at: Position) => void, reject: (error: Error) => void): void {
    const { queue } = this
    let i = queue.length
    while (i > 0 && (queue[i - 1] as Pending).at > at) i--
    queue.splice(i, 0, { at, resolve, reject })
  }

  /** Acks, in order, everything below `tail`. */
  ackBelow(tail: number): void {
    const { queue } = this
    let count = 0
    while (count < queue.length && (queue[count] as Pending).at < tail) count++
    if (count === 0) return
    for (const pending of queue.splice(0, count)) pending.resolve(position(pending.at))
  }

  /** Settles everything else. */
  rejectAll(error: Error): void {
    for (const pending of this.queue.splice(0)) pending.reject(error)
  }
}
