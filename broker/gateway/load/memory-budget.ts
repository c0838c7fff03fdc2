// What the process holds for its clients, in bytes, against one budget (docs/operations.md, "Under load").
//
//   0 ────────────── soft ────────── hard
//      all is served  │ no new writes │ reads wait as well
//
// Counted: requests under way with their overhead, messages that came in part, output that waits, replies in the making. What others propose
// inside the broker counts as far as it exceeds the requests, whose bytes the log's backlog shares. Caches have bounds of their own,
// and so have subscriptions (subscription-room.ts): they stay, and no wait makes room for writes.

import { getHeapStatistics } from 'node:v8'

/** What a request costs besides its bytes. */
export const requestOverheadBytes = 1024
/** Share of the process's memory, if nobody says otherwise. */
const defaultShare = 0.25
const softShare = 0.75
const leastBytes = 64 << 20
const mostBytes = 1 << 30
/** The least part of `outputBytesHigh` that each connection keeps, however much waits on all. */
const leastOutputShare = 1 / 16

export const heldKinds = ['requests', 'partial', 'output', 'reserved'] as const
export type HeldKind = (typeof heldKinds)[number]

export class MemoryBudget {
  readonly softBytes: number
  readonly hardBytes: number
  /** Of the broker's proposals. */
  backlog: () => number = () => 0
  private readonly held: Record<HeldKind, number> = {
    requests: 0,
    partial: 0,
    output: 0,
    reserved: 0,
  }
  private waiting: Set<() => void> | undefined
  private wakeDue = false

  /** `bytes` 0: a quarter of what the process may have. */
  constructor(bytes: number) {
    this.hardBytes = bytes === 0 ? defaultBudgetBytes() : bytes
    this.softBytes = Math.floor(this.hardBytes * softShare)
  }

  /** `bytes` more are held, or fewer if negative. */
  add(kind: HeldKind, bytes: number): void {
    this.held[kind] += bytes
    if (bytes < 0 && this.waiting !== undefined) this.wakeSoon()
  }

  heldOf(kind: HeldKind): number {
    return this.held[kind]
  }

  get heldBytes(): number {
    const { requests, partial, output, reserved } = this.held
    return Math.max(requests, this.backlog()) + partial + output + reserved
  }

  /** No new writes. */
  get isTight(): boolean {
    return this.heldBytes > this.softBytes
  }

  /** Reads wait. */
  get isExhausted(): boolean {
    return this.heldBytes > this.hardBytes
  }

  /** Whether a reply of `bytes` may be made; one at a time may be, however large. */
  hasRoom(bytes: number): boolean {
    if (this.held.reserved === 0) return !this.isExhausted
    return this.heldBytes + bytes <= this.hardBytes
  }

  /** What part of `outputBytesHigh` a connection may have waiting: less, the more waits on all of them, so that many stalled peers cost little more than few. */
  get outputShare(): number {
    return Math.max(leastOutputShare, 1 - this.held.output / (this.softBytes / 2))
  }

  /** Calls `fn` once, after something was given back. */
  whenLess(fn: () => void): void {
    this.waiting ??= new Set()
    this.waiting.add(fn)
  }

  private wakeSoon(): void {
    if (this.wakeDue) return
    this.wakeDue = true
    setImmediate(() => {
      this.wakeDue = false
      const { waiting } = this
      this.waiting = undefined
      if (waiting !== undefined) for (const wake of waiting) wake()
    })
  }
}

/** A quarter of what limits the process: its heap, or the memory of its container. */
export function defaultBudgetBytes(): number {
  // 0 or a huge number: nothing constrains it.
  const constrained = process.constrainedMemory() || Number.POSITIVE_INFINITY
  const limit = Math.min(getHeapStatistics().heap_size_limit, constrained)
  return Math.round(Math.min(mostBytes, Math.max(leastBytes, limit * defaultShare)))
}
