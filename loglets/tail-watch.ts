// One loglet's view of its tail, and everyone who waits for it to move (DESIGN 4.1 rules 3, 4 and 5).
//
// The view is a join-semilattice: tails merge by `max`, seals by `or`, so the order in which news arrive does not matter and nothing
// ever goes back. Every waiter settles: by a moved tail, a seal, its own signal, or the end of the loglet.

import { type Position, position, type TailState } from './contract.ts'

interface Waiter {
  readonly beyond: number
  readonly resolve: (state: TailState) => void
  readonly reject: (error: Error) => void
}

export class TailWatch {
  private tailNow: number
  private sealedNow: boolean
  private ended: Error | undefined
  private readonly waiters = new Set<Waiter>()

  constructor(tail = 0, sealed = false) {
    this.tailNow = tail
    this.sealedNow = sealed
  }

  get tail(): number {
    return this.tailNow
  }

  get sealed(): boolean {
    return this.sealedNow
  }

  get state(): TailState {
    return { tail: position(this.tailNow), sealed: this.sealedNow }
  }

  /** True while somebody waits. */
  get watched(): boolean {
    return this.waiters.size > 0
  }

  /** Merges news and wakes whom they concern. */
  merge(tail: number, sealed: boolean): void {
    const moved = tail > this.tailNow || (sealed && !this.sealedNow)
    if (!moved) return
    if (tail > this.tailNow) this.tailNow = tail
    if (sealed) this.sealedNow = true
    if (this.waiters.size === 0) return
    for (const waiter of this.waiters)
      if (this.sealedNow || this.tailNow > waiter.beyond) {
        this.waiters.delete(waiter)
        waiter.resolve(this.state)
      }
  }

  /** The `waitTail` of the contract. */
  wait(beyond: Position, signal?: AbortSignal): Promise<TailState> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error)
    if (this.ended !== undefined) return Promise.reject(this.ended)
    if (this.sealedNow || this.tailNow > beyond) return Promise.resolve(this.state)
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        this.waiters.delete(waiter)
        reject(signal?.reason as Error)
      }
      const waiter: Waiter = {
        beyond,
        resolve: state => {
          signal?.removeEventListener('abort', stop)
          resolve(state)
        },
        reject: error => {
          signal?.removeEventListener('abort', stop)
          reject(error)
        },
      }
      this.waiters.add(waiter)
      signal?.addEventListener('abort', stop, { once: true })
    })
  }

  /** Ends all waiting, now and later, with `error`. The first call counts. */
  end(error: Error): void {
    this.ended ??= error
    this.fail(this.ended)
  }

  /** Ends the waiting of now; later waits are welcome. */
  fail(error: Error): void {
    const waiters = [...this.waiters]
    this.waiters.clear()
    for (const waiter of waiters) waiter.reject(error)
  }
}
