// Sends open batches off once they have waited long enough: one timer for all of a producer's partitions.
//
// Guarantees: a batch opened at t is closed at the first timer at or after t + lingerMs; with 0, at the end of the current turn, so
// that records added together still travel together; so it is while somebody is in a hurry, too. It relies on all batches lingering
// equally long: first opened, first due.

import type { ClientClock } from './clock.ts'
import type { OutgoingBatch } from './outgoing-batch.ts'
import type { PartitionLane } from './partition-lane.ts'

interface Lingering {
  readonly lane: PartitionLane
  readonly batch: OutgoingBatch
  readonly dueMs: number
}

export class Linger {
  readonly #lingerMs: number
  readonly #clock: ClientClock
  #waiting: Lingering[] = []
  #armed = false
  #cancel: (() => void) | undefined
  #hurried = 0
  #closing = false

  constructor(lingerMs: number, clock: ClientClock) {
    this.#lingerMs = lingerMs
    this.#clock = clock
  }

  add(lane: PartitionLane, batch: OutgoingBatch): void {
    this.#waiting.push({ lane, batch, dueMs: this.#clock.nowMs() + this.#lingerMs })
    if (!this.#armed) this.#arm(this.#lingerMs)
    if (this.#hurried > 0) this.#closeSoon()
  }

  /** Closes what is open now, and what is opened at the end of its turn, until the function that it returns is called. */
  hurry(): () => void {
    this.#hurried++
    this.closeAll()
    return () => {
      this.#hurried--
    }
  }

  /** Closes every open batch now. */
  closeAll(): void {
    for (const { lane, batch } of this.#waiting.splice(0)) {
      if (lane.open === batch) lane.closeOpen()
    }
  }

  stop(): void {
    this.#cancel?.()
    this.#waiting = []
  }

  #closeSoon(): void {
    if (this.#closing) return
    this.#closing = true
    queueMicrotask(() => {
      this.#closing = false
      this.closeAll()
    })
  }

  #arm(delayMs: number): void {
    this.#armed = true
    const run = (): void => this.#closeDue()
    if (this.#lingerMs === 0) queueMicrotask(run)
    else this.#cancel = this.#clock.schedule(delayMs, run)
  }

  #closeDue(): void {
    this.#armed = false
    // Timers may fire a fraction early: what is due within this millisecond goes along.
    const nowMs = this.#clock.nowMs() + 1
    let due = 0
    for (const { lane, batch, dueMs } of this.#waiting) {
      if (dueMs > nowMs && lane.open === batch) break
      due++
      if (lane.open === batch) lane.closeOpen()
    }
    this.#waiting.splice(0, due)
    const next = this.#waiting[0]
    if (next && !this.#armed) this.#arm(Math.max(1, next.dueMs - nowMs))
  }
}
