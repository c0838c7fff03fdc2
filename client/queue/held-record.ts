// A record that this member holds, until it says what became of it or its lock is over.

import type { LogloomError } from '../../wire/index.ts'
import type { RawRecord } from '../dead-letter.ts'

export class HeldRecord {
  readonly raw: RawRecord
  readonly timestamp: number
  readonly deliveryCount: number
  /** When the lock is over at the earliest, by the monotonic clock, ms. */
  lockedUntilMs: number
  /** When somebody was given it, ms; undefined as long as nobody was. */
  handedOutMs: number | undefined
  /** Something final was said of it, or is on its way. */
  isSettled = false
  readonly #abort = new AbortController()

  constructor(raw: RawRecord, timestamp: number, deliveryCount: number, lockedUntilMs: number) {
    this.raw = raw
    this.timestamp = timestamp
    this.deliveryCount = deliveryCount
    this.lockedUntilMs = lockedUntilMs
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** Whoever works on it had better come to an end. */
  abort(error: LogloomError): void {
    this.#abort.abort(error)
  }

  /** Somebody else may have it now. */
  lose(error: LogloomError): void {
    this.isSettled = true
    this.#abort.abort(error)
  }
}
