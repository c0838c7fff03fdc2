// How many bytes a producer holds, and who waits for room.
//
// Guarantees: whoever waits is woken in order of arrival; a new arrival does not overtake. The bound may be exceeded by the one
// record that reached it. It does not know records.

import { LogloomError } from '../wire/index.ts'
import type { ClientClock } from './clock.ts'
import { notSentError } from './failures.ts'

interface Waiter {
  run(): void
  fail(error: Error): void
}

export class SendWindow {
  readonly #bytesMax: number
  readonly #blockMs: number
  readonly #clock: ClientClock
  readonly #onWait: () => void
  #waiters: Waiter[] = []
  #bytes = 0
  #closedBy: LogloomError | undefined

  /** `onWait` is called whenever somebody has to wait, or still has to after some room became free. */
  constructor(bytesMax: number, blockMs: number, clock: ClientClock, onWait: () => void) {
    this.#bytesMax = bytesMax
    this.#blockMs = blockMs
    this.#clock = clock
    this.#onWait = onWait
  }

  get bytes(): number {
    return this.#bytes
  }

  get full(): boolean {
    return this.#bytes >= this.#bytesMax
  }

  take(bytes: number): void {
    this.#bytes += bytes
  }

  release(bytes: number): void {
    this.#bytes -= bytes
    while (this.#waiters.length > 0 && !this.full) this.#waiters.shift()?.run()
    if (this.#waiters.length > 0) this.#onWait()
  }

  /** @throws LIMIT_EXCEEDED when there is no room */
  assertRoom(): void {
    if (!this.full) return
    throw new LogloomError(
      'LIMIT_EXCEEDED',
      `the producer holds ${this.#bytes} of maxInflightBytes = ${this.#bytesMax} bytes`,
      { limit: this.#bytesMax, actual: this.#bytes },
      { retriable: true, hint: 'await producer.ready() before more records' },
    )
  }

  /** Runs `action` when there is room, at once if there is. Rejects with what it throws, TIMEOUT, or the signal's reason. */
  async admit<R>(action: () => R, signal?: AbortSignal): Promise<R> {
    if (this.#closedBy) throw this.#closedBy
    if (signal?.aborted) throw signal.reason
    if (!this.full && this.#waiters.length === 0) return action()
    return new Promise<R>((resolve, reject) => {
      const leave = (): void => {
        cancel()
        signal?.removeEventListener('abort', abort)
        this.#waiters = this.#waiters.filter(other => other !== waiter)
      }
      const waiter: Waiter = {
        run: () => {
          leave()
          try {
            resolve(action())
          } catch (error) {
            reject(error)
          }
        },
        fail: error => (leave(), reject(error)),
      }
      const abort = (): void => waiter.fail(signal?.reason as Error)
      const cancel = this.#clock.schedule(this.#blockMs, () => {
        const message = `no room for ${this.#blockMs} ms (maxBlockMs): ${this.#bytes} bytes wait for acks`
        waiter.fail(notSentError(message, undefined, true))
      })
      signal?.addEventListener('abort', abort)
      this.#waiters.push(waiter)
      this.#onWait()
    })
  }

  /** Resolves once everybody who waits now has had room or has given up. */
  async passed(): Promise<void> {
    if (this.#waiters.length === 0) return
    // Whoever came before has waited as long as this, and runs first.
    await this.admit(() => {}).catch(() => {})
  }

  /** Refuses all who wait, now and later. */
  close(error: LogloomError): void {
    this.#closedBy = error
    for (const waiter of this.#waiters.slice()) waiter.fail(error)
  }
}
