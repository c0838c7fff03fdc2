// How long to wait before something is tried again (Brooker, "Exponential Backoff And Jitter"; the retry budgets of Finagle and gRPC).
//
// Guarantees: not before the broker said (`retryAfterMs`), never all clients at once, and on the whole no more than a tenth as many quick
// retries as there are successes: past that every pause is a long one, so that retries cannot keep an overloaded broker overloaded.

import type { LogloomError } from '../wire/index.ts'
import { type Backoff, type ClientClock, fullJitterMs } from './clock.ts'

/** Quick retries saved up at most, and at the beginning. */
const savedRetriesMax = 10
const retriesPerSuccess = 0.1
/** A broker that asks for more is asked sooner. */
const retryAfterMsMax = 60_000

export class RetryBudget {
  readonly #backoff: Backoff
  readonly #clock: ClientClock
  #saved: number = savedRetriesMax

  constructor(backoff: Backoff, clock: ClientClock) {
    this.#backoff = backoff
    this.#clock = clock
  }

  /** Something went through. */
  succeeded(): void {
    if (this.#saved < savedRetriesMax) this.#saved += retriesPerSuccess
  }

  /** Milliseconds until attempt number `attempt` (from 0) of something that was refused, `retryAfterMs` being what the broker asked for. */
  pauseMs(attempt: number, retryAfterMs = 0): number {
    const isQuick = this.#saved >= 1
    if (isQuick) this.#saved--
    const { maxMs } = this.#backoff
    const ownMs = isQuick
      ? fullJitterMs(attempt, this.#backoff, this.#clock)
      : this.#clock.random() * maxMs
    if (retryAfterMs === 0) return ownMs
    return retryAfterMs + Math.max(ownMs, this.#clock.random() * retryAfterMs)
  }
}

/** What a refusal asks for, milliseconds; 0 when it says nothing. */
export function retryAfterOf(error: LogloomError | undefined): number {
  const asked = error?.details['retryAfterMs']
  return typeof asked === 'number' && asked > 0 ? Math.min(asked, retryAfterMsMax) : 0
}
