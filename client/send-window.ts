// How many bytes a producer holds, and who waits for room.
//
// Guarantees: whoever waits is woken in order of arrival; a new arrival does not overtake. The bound may be exceeded by the one
// record that reached it. It does not know records.

import { LogloomError } from '../wire/index.ts'
import type { ClientClock } from './clock.ts'
import { notSentError } from './failures.ts'
import { WaitingLine } from './waiting-line.ts'

interface Waiter {
  run(): void
  fail(error: Error): void
}

export class SendWindow {
  readonly #bytesMax: number
  readonly #blockMs: number
  readonly #clock: ClientClock
  readonly #onWait: () => void
  readonly #waiters = new WaitingLine<Waiter>()
  #bytes = 0
  #closedBy: LogloomError | undefined

  /** `onWait` is called when somebody has to wait as the first, and when somebody still has to after some room became free. */
  constructor(bytesMax: number, blockMs: number, clock: ClientClock, onWait: () => void) {
    this.#bytesMax = bytesMax
    this.#blockMs = blockMs
    this.#clock = clock
    this.#onWait = onWait
  }

  /** How long `admit` waits unless it is told otherwise, milliseconds. */
  get blockMs(): number {
    return this.#blockMs
  }

  get bytes(): number {
    return this.#bytes
  }

  get full(): boolean {
    return this.#bytes >= this.#bytesMax
  }

  /** Whoever comes now has to wait. */
  get isBusy(): boolean {
    return this.full || this.#waiters.size > 0
  }

  take(bytes: number): void {
    this.#bytes += bytes
  }

  release(bytes: number): void {
    this.#bytes -= bytes
    while (this.#waiters.size > 0 && !this.full) this.#waiters.next()?.run()
    if (this.#waiters.size > 0) this.#onWait()
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

  /**
   * Runs `action` when there is room, at once if there is. Rejects with what it throws, TIMEOUT (after `blockMs`, default that of the window), or the signal's
   * reason.
   */
  async admit<R>(action: () => R, signal?: AbortSignal, blockMs = this.#blockMs): Promise<R> {
    if (this.#closedBy) throw this.#closedBy
    if (signal?.aborted) throw signal.reason
    if (!this.isBusy) return action()
    return new Promise<R>((resolve, reject) => {
      const leave = (): void => {
        cancel()
        signal?.removeEventListener('abort', abort)
        quit()
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
      const cancel = this.#clock.schedule(blockMs, () => {
        const why = blockMs === this.#blockMs ? 'maxBlockMs' : 'deliveryTimeoutMs'
        const message = `no room for ${Math.round(blockMs)} ms (${why}): ${this.#bytes} bytes wait for acks`
        waiter.fail(notSentError(message, undefined, true))
      })
      signal?.addEventListener('abort', abort)
      const isFirst = this.#waiters.size === 0
      const quit = this.#waiters.join(waiter)
      if (isFirst) this.#onWait()
    })
  }

  /** Resolves once everybody who waits now has had room or has given up. */
  async passed(): Promise<void> {
    if (this.#waiters.size === 0) return
    // Whoever came before has waited as long as this, and runs first.
    await this.admit(() => {}).catch(() => {})
  }

  /** Refuses all who wait, now and later. */
  close(error: LogloomError): void {
    this.#closedBy = error
    for (let one = this.#waiters.next(); one; one = this.#waiters.next()) one.fail(error)
  }
}
