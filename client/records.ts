// Records on their way in: what the caller hands over, and the receipt.
//
// A ticket costs no promise until somebody asks for one, and an unheeded failure never becomes an unhandled rejection. It does not
// know how records travel: an outcome (one per batch) tells it where its record went.

import type { Frame, HeadersInput, LogloomError } from '../wire/index.ts'
import type { Lsn, Offset } from './positions.ts'

/** A record to send; `key` and `value` given as text are stored as UTF-8. A missing value is a tombstone. */
export interface OutgoingRecord<T> {
  readonly key?: string | Uint8Array | null
  readonly value?: T | null
  readonly headers?: HeadersInput
  /** Milliseconds since 1970; default now. */
  readonly timestamp?: number
}

/** Where a record ended up. With `acks: 0` the positions are −1. */
export interface Ack {
  readonly topic: string
  readonly partition: number
  readonly offset: Offset
  /** Position in the shared log at which the record took effect. */
  readonly lsn: Lsn
  /** Log append time, milliseconds since 1970. */
  readonly timestamp: number
  /** The log was switched while it was on its way: the segment that was sealed, and how long that held it up. Absent as a rule. */
  readonly sealedAndRetried?: SealMet
}

/** A reconfiguration of the log that held a request up. */
export interface SealMet {
  /** Of the segment that was sealed. */
  readonly index: number
  readonly pauseMs: number
}

/** The field of an ack, out of a broker's reply. */
export function sealMetIn(reply: Frame): Pick<Ack, 'sealedAndRetried'> {
  const met = reply['sealedAndRetried']
  return met === undefined ? {} : { sealedAndRetried: met as SealMet }
}

/** The receipt of {@link Producer.enqueue}. */
export interface Ticket {
  /**
   * Resolves when the record is acked, rejects with the reason why it was not. The promise is made on first use and may be left
   * alone: it never causes an unhandled rejection.
   */
  readonly acked: Promise<Ack>
}

/** A record's group, and its number there. */
export interface RecordPlace {
  readonly outcome: Outcome
  readonly index: number
}

/** The fate of a group of records that stand together. */
export class Outcome {
  /** Set on success. */
  first: Ack | undefined
  error: LogloomError | undefined
  /** The records went elsewhere, one by one: what became of them. */
  #places: readonly RecordPlace[] | undefined
  #isMoved = false
  readonly #waiting: (() => void)[] = []

  get settled(): boolean {
    return this.first !== undefined || this.error !== undefined || this.#isMoved
  }

  /** Where the fate of record `index` is decided now. */
  placeOf(index: number): RecordPlace {
    return this.#places?.[index] ?? { outcome: this, index }
  }

  /** The records are in other groups now, in this order. It is settled once all of those are. */
  move(places: readonly RecordPlace[]): void {
    this.#places = places
    const groups = new Set(places.map(({ outcome }) => outcome))
    let open = groups.size
    for (const group of groups)
      group.whenSettled(() => {
        if (--open > 0) return
        this.#isMoved = true
        this.#wake()
      })
  }

  /** Runs `then` once it is settled, at once if it is. */
  whenSettled(then: () => void): void {
    if (this.settled) then()
    else this.#waiting.push(then)
  }

  succeed(first: Ack): void {
    this.first = first
    this.#wake()
  }

  fail(error: LogloomError): void {
    this.error = error
    this.#wake()
  }

  #wake(): void {
    for (const then of this.#waiting.splice(0)) then()
  }
}

/** A ticket that is told its outcome once its record has a place in a batch. */
export class PendingTicket implements Ticket {
  #outcome: Outcome | undefined
  #index = 0
  #promise: Promise<Ack> | undefined
  #settle: { resolve: (ack: Ack) => void; reject: (error: Error) => void } | undefined

  /** The record is number `index` of the group that `outcome` speaks for. */
  place(outcome: Outcome, index: number): void {
    this.#outcome = outcome
    this.#index = index
    if (this.#settle) outcome.whenSettled(() => this.#finish({ outcome, index }))
  }

  get acked(): Promise<Ack> {
    if (!this.#promise) {
      this.#promise = new Promise((resolve, reject) => {
        this.#settle = { resolve, reject }
      })
      this.#promise.catch(() => {})
      const outcome = this.#outcome
      outcome?.whenSettled(() => this.#finish({ outcome, index: this.#index }))
    }
    return this.#promise
  }

  #finish({ outcome, index }: RecordPlace): void {
    const place = outcome.placeOf(index)
    // Moved, perhaps more than once.
    if (place.outcome !== outcome) {
      this.#finish(place)
      return
    }
    const { first, error } = outcome
    if (error) this.#settle?.reject(error)
    else if (first) {
      const offset = (first.offset < 0 ? first.offset : first.offset + index) as Offset
      this.#settle?.resolve(index === 0 ? first : { ...first, offset })
    }
  }
}
