// One sequence of requests that takes effect in order, each once, through retries and reconnects (protocol.md 5, KIP-98, KIP-360).
//
//   queue: not sent         window: sent, oldest first, at most 5
//   [ 7 8 9 … ]  ──────►    [ 2✗ 3✓ 4? 5? 6? ]  ──► settled heads leave
//
// Guarantees: what is sent keeps its boundaries, bytes and sequence until it is decided; after a failure nothing new is sent before
// everything unresolved was sent again in order. The window counts from the oldest undecided item, because the broker remembers
// only its last 5 decisions. `doubt` marks an item of which some attempt had no answer: only an item without doubt may ever be given
// another sequence, else it could take effect twice. It does not know what the items are.

import { type Frame, LogloomError } from '../wire/index.ts'
import type { Connection } from './connection.ts'
import { asLogloomError, notSentError, verdictOf } from './failures.ts'
import type { Link } from './link.ts'
import type { ProducerId, ProducerIdSource } from './producer-id.ts'
import { retryAfterOf } from './retry-budget.ts'

/** Identity and place of one attempt. */
export interface Stamp extends ProducerId {
  readonly sequence: number
}

/** One request of a lane. Exactly one of `succeed` and `fail` is called, once. */
export interface LaneItem {
  /** How many sequence numbers it takes. */
  readonly count: number
  /** Monotonic milliseconds after which its owner wants an answer. */
  readonly deadlineMs: number
  /** False while it is being prepared; the lane waits for it and its owner calls {@link Lane.pump}. */
  readonly ready: boolean
  /** One attempt. `stamp` is undefined for lanes without identity. */
  transmit(link: Link, stamp: Stamp | undefined): Promise<Frame>
  succeed(reply: Frame): void
  fail(error: LogloomError): void
  /** Refused as out of date: makes it anew, to be sent again in its place. @throws when that cannot be */
  readonly renew?: (error: LogloomError) => void
  /** Refused as out of date: takes it back. The lane forgets it, and settles it no more. */
  readonly recall?: (error: LogloomError) => void
}

interface Entry {
  readonly item: LaneItem
  sequence: number
  /** Changes with every attempt, so that answers of abandoned attempts are recognised. */
  attempt: number
  inFlight: boolean
  doubt: boolean
  settled: boolean
}

const sequenceModulus = 2 ** 31
const headRefusalsMax = 3

export class Lane {
  readonly #connection: Connection
  readonly #ids: ProducerIdSource | undefined
  readonly #name: string
  #queue: Entry[] = []
  #window: Entry[] = []
  #id: ProducerId | undefined
  #acquiring = false
  /** The window ends at a hole: what follows needs a new id once the window is empty. */
  #renew = false
  #ownId = false
  #nextSequence = 0
  #recovering = false
  #lostId = false
  /** Refusals in a row of the oldest item as out of order: nothing is left to send before it. */
  #headRefusals = 0
  #retries = 0
  #cancelRetry: (() => void) | undefined
  #lastError: LogloomError | undefined
  /** The longest pause that a broker has asked for since the last attempt. */
  #retryAfterMs = 0
  #closedBy: LogloomError | undefined
  /** Who has yet to hear of its end: whoever hears may push more at once, which must find the lane in order. */
  #toTell: (() => void)[] = []

  /** `ids` undefined: no identity, retries may duplicate. `name` appears in messages. */
  constructor(connection: Connection, ids: ProducerIdSource | undefined, name: string) {
    this.#connection = connection
    this.#ids = ids
    this.#name = name
  }

  get idle(): boolean {
    return this.#queue.length === 0 && this.#window.length === 0
  }

  push(item: LaneItem): void {
    if (this.#closedBy) {
      item.fail(this.#closedBy)
      return
    }
    const entry = { item, sequence: -1, attempt: 0, inFlight: false, doubt: false, settled: false }
    this.#queue.push(entry)
    this.pump()
  }

  /** Sends what may be sent now. Call it after a new link and when an item became ready. */
  pump(): void {
    const link = this.#connection.link
    if (!link || this.#closedBy || this.#cancelRetry || this.idle) return
    const { throttledMs } = this.#connection
    if (throttledMs > 0) {
      this.#pumpAfter(throttledMs)
      return
    }
    if (this.#recovering) {
      if (this.#window.some(entry => entry.inFlight)) return
      this.#recovering = false
      for (const entry of this.#window) {
        if (!entry.settled) this.#transmit(entry, link)
      }
    }
    if (this.#queue.length === 0 || !this.#hasId()) return
    const depthMax = link.limits.producerInFlightMax
    // A transmit may fail in place and turn the lane around; then the loop ends.
    while (this.#window.length < depthMax && !this.#recovering && !this.#renew) {
      const entry = this.#queue[0]
      if (!entry?.item.ready) return
      this.#queue.shift()
      entry.sequence = this.#nextSequence
      this.#nextSequence = (entry.sequence + entry.item.count) % sequenceModulus
      this.#window.push(entry)
      this.#transmit(entry, link)
    }
  }

  /** Takes back what satisfies `isMeant` and is not sent, in order. */
  recall(isMeant: (item: LaneItem) => boolean): readonly LaneItem[] {
    const recalled = this.#queue.filter(({ item }) => isMeant(item))
    this.#queue = this.#queue.filter(({ item }) => !isMeant(item))
    return recalled.map(({ item }) => item)
  }

  /** Something that was sent satisfies `isMeant` and has no answer yet. */
  holds(isMeant: (item: LaneItem) => boolean): boolean {
    return this.#window.some(({ item, settled }) => !settled && isMeant(item))
  }

  /** Rejects what is past its deadline. */
  expire(nowMs: number): void {
    let broken = false
    for (const entry of this.#window) {
      if (entry.settled || entry.item.deadlineMs > nowMs) continue
      broken = true
      this.#fail(entry, this.#expired(entry))
    }
    if (broken) this.#breakOff()
    while (this.#queue[0] && this.#queue[0].item.deadlineMs <= nowMs) {
      const entry = this.#queue.shift() as Entry
      this.#fail(entry, this.#expired(entry))
    }
    if (broken) this.pump()
    this.#tell()
  }

  /** Rejects everything, now and later. */
  close(error: LogloomError): void {
    if (this.#closedBy) return
    this.#closedBy = error
    this.#cancelRetry?.()
    const unsettled = [...this.#window.filter(entry => !entry.settled), ...this.#queue]
    this.#window = []
    this.#queue = []
    for (const entry of unsettled) {
      const uncertain = entry.inFlight || entry.doubt
      this.#fail(
        entry,
        uncertain ? outcomeUnknown(`${error.message}; it had been sent`, error) : error,
      )
    }
    this.#tell()
  }

  #hasId(): boolean {
    if (!this.#ids) return true
    if (this.#renew) {
      if (this.#window.length > 0) return false
      this.#renew = false
      this.#ownId = true
      this.#id = undefined
      this.#nextSequence = 0
    }
    if (!this.#id) this.#acquireId(this.#ids)
    return this.#id !== undefined
  }

  #acquireId(ids: ProducerIdSource): void {
    if (this.#acquiring) return
    this.#acquiring = true
    const ready = this.#ownId ? ids.fresh() : ids.shared()
    ready.then(
      id => {
        this.#acquiring = false
        this.#id = id
        this.pump()
      },
      (error: unknown) => {
        this.#acquiring = false
        this.#lastError = asLogloomError(error)
        this.#retryLater()
      },
    )
  }

  #transmit(entry: Entry, link: Link): void {
    const attempt = ++entry.attempt
    entry.inFlight = true
    const { sequence } = entry
    const stamp = this.#id ? { ...this.#id, sequence } : undefined
    entry.item.transmit(link, stamp).then(
      reply => {
        if (entry.attempt !== attempt || entry.settled) return
        entry.inFlight = false
        entry.settled = true
        this.#retries = 0
        this.#connection.retries.succeeded()
        this.#headRefusals = 0
        entry.item.succeed(reply)
        this.#advance()
      },
      (error: unknown) => {
        if (entry.attempt !== attempt || entry.settled) return
        entry.inFlight = false
        this.#onError(entry, asLogloomError(error))
        this.#advance()
        this.#tell()
      },
    )
  }

  #onError(entry: Entry, error: LogloomError): void {
    this.#lastError = error
    this.#retryAfterMs = Math.max(this.#retryAfterMs, retryAfterOf(error))
    // Attempts that timed out here may still be in flight there and count against the depth that the broker allows.
    const crowded = error.code === 'LIMIT_EXCEEDED' && this.#window.some(other => other.doubt)
    switch (crowded ? 'retry' : verdictOf(error)) {
      case 'decided':
        this.#fail(entry, error)
        return
      case 'refused':
        this.#refused(entry, error)
        return
      case 'outdated':
        this.#outdated(entry, error)
        return
      case 'unknownProducer':
        this.#lostId = true
        this.#recovering = true
        return
      case 'doubt':
        entry.doubt = true
        this.#recovering = true
        return
      case 'retry':
        this.#recovering = true
        if (error.code === 'OUT_OF_ORDER_SEQUENCE' && entry === this.#head()) {
          // The broker's lane and ours have parted for good: the topic was made anew, say, or the decision is forgotten.
          if (++this.#headRefusals >= headRefusalsMax) this.#lostId = true
        }
    }
  }

  #advance(): void {
    while (this.#window[0]?.settled) this.#window.shift()
    if (!this.#recovering) {
      this.pump()
      return
    }
    if (this.#window.some(entry => entry.inFlight)) return
    if (this.#lostId) this.#breakOff()
    this.#retryLater()
  }

  #retryLater(): void {
    if (this.#cancelRetry || this.#closedBy) return
    // Without a link the next one calls pump(); that is the pause.
    if (!this.#connection.link) return
    const askedMs = this.#retryAfterMs
    this.#retryAfterMs = 0
    this.#pumpAfter(this.#connection.retries.pauseMs(this.#retries++, askedMs))
  }

  #pumpAfter(delayMs: number): void {
    this.#cancelRetry = this.#connection.clock.schedule(delayMs, () => {
      this.#cancelRetry = undefined
      this.pump()
    })
  }

  /**
   * A refusal without a decision: its sequence stays unused, so what was sent after it can never take effect with the old
   * sequences and may move to a new id, whatever is known about its attempts.
   */
  #refused(entry: Entry, error: LogloomError): void {
    const at = this.#window.indexOf(entry)
    const later = this.#window.slice(at + 1)
    if (entry.doubt) {
      // An earlier attempt may have taken effect, and then the later ones too.
      this.#fail(entry, outcomeUnknown(error.message, error))
      if (this.#ids) this.#requeue(at, later)
      return
    }
    this.#fail(entry, error)
    if (this.#ids) this.#cutAt(entry)
  }

  /** Takes an entry out whose sequence stays unused, and sends those after it under a new id; or gives the sequence to the next one if it was the last. */
  #cutAt(entry: Entry): void {
    const at = this.#window.indexOf(entry)
    const later = this.#window.slice(at + 1)
    if (later.length === 0) {
      this.#window.pop()
      this.#nextSequence = entry.sequence
      return
    }
    for (const item of later) abandonAttempt(item)
    this.#requeue(at, later)
  }

  /**
   * Refused where the log decides, and it never decides otherwise: no attempt has taken effect, and none can. So what came after it has not, either, and
   * there is no doubt about any of it, whatever is known about its attempts.
   */
  #outdated(entry: Entry, error: LogloomError): void {
    const { renew, recall } = entry.item
    entry.doubt = false
    if (renew) {
      try {
        renew(error)
        this.#recovering = true
      } catch (cause) {
        this.#refused(entry, asLogloomError(cause))
      }
      return
    }
    if (!recall) {
      this.#refused(entry, error)
      return
    }
    entry.attempt++
    entry.inFlight = false
    entry.settled = true
    if (this.#ids) this.#cutAt(entry)
    recall(error)
  }

  /** The id is of no use any more: what is certainly not written starts again under a new one, the rest is rejected. */
  #breakOff(): void {
    this.#lostId = false
    this.#headRefusals = 0
    if (this.#ids) this.#requeue(0, [...this.#window])
    else while (this.#window[0]?.settled) this.#window.shift()
  }

  /** Cuts the window at `at`; `entries` without doubt go back to the head of the queue. */
  #requeue(at: number, entries: readonly Entry[]): void {
    this.#window.length = at
    this.#renew = true
    const again: Entry[] = []
    for (const entry of entries) {
      if (entry.settled) continue
      if (entry.doubt || entry.inFlight) {
        const why = `${this.#name}: sent without an answer, and its place in the sequence is gone`
        this.#fail(entry, outcomeUnknown(why, this.#lastError))
      } else again.push(entry)
    }
    this.#queue = [...again, ...this.#queue]
    if (this.#window.every(entry => entry.settled)) this.#recovering = false
  }

  #expired(entry: Entry): LogloomError {
    if (!entry.doubt && !entry.inFlight) {
      return notSentError(
        `${this.#name}: not written before the delivery timeout`,
        this.#why(),
        this.#connection.link !== undefined,
      )
    }
    return new LogloomError(
      'TIMEOUT',
      `${this.#name}: sent, but not answered before the delivery timeout`,
      { outcome: 'unknown' },
      { cause: this.#why() },
    )
  }

  #head(): Entry | undefined {
    return this.#window.find(entry => !entry.settled)
  }

  #why(): unknown {
    return this.#connection.link ? this.#lastError : (this.#connection.lastError ?? this.#lastError)
  }

  #fail(entry: Entry, error: LogloomError): void {
    entry.attempt++
    entry.inFlight = false
    entry.settled = true
    this.#toTell.push(() => entry.item.fail(error))
  }

  #tell(): void {
    for (let one = this.#toTell.shift(); one; one = this.#toTell.shift()) one()
  }
}

function abandonAttempt(entry: Entry): void {
  entry.attempt++
  entry.inFlight = false
  entry.doubt = false
}

function outcomeUnknown(message: string, cause: unknown): LogloomError {
  return new LogloomError('OUTCOME_UNKNOWN', message, {}, { cause })
}
