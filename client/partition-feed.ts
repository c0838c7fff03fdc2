// The pushes of one partition, kept flowing through reconnects.
//
//   asked from        received          the broker's next push
//       │ taken … queued … │◄── credit ──►│
//
// Guarantees: deliveries queue in offset order without a hole or a repeat; what is queued and on its way stays within the window of
// credit, because credit goes back only when a delivery is taken (protocol.md 6.4), and a server that sends more loses its connection. It does
// not decode.

import { type Frame, LogloomError, supportedCodecs, type WireError } from '../wire/index.ts'
import { fullJitterMs } from './clock.ts'
import type { Connection } from './connection.ts'
import { checkGaps, costOf, CreditWindow } from './credit-window.ts'
import { asLogloomError, isTransient } from './failures.ts'
import type { Link } from './link.ts'

/** One push, undecoded: items of protocol.md 6.2. */
export interface Delivery {
  readonly items: readonly Frame[]
  readonly next: number
  readonly end: number
  readonly bytes: number
}

/** Its items as they came, although some may be taken already. */
interface QueuedDelivery extends Delivery {
  readonly batches: number
  readonly gaps: number
}

export interface FeedOptions {
  readonly topic: string
  readonly partition: number
  /** A starting point of protocol.md 6.1. */
  readonly from: unknown
  /** Bytes that may be queued and under way. */
  readonly windowBytes: number
  readonly skipTrimmed: boolean
  /** Read as of this log position. */
  readonly asOf?: number | undefined
  /** The topic has so many partitions now; heard before any delivery of a record that came after. */
  readonly onPartitions?: (count: number) => void
  /** The broker refused for now, and the feed tries again. */
  readonly onRetry: (error: LogloomError) => void
  /** Something changed: a delivery, the start is known, the feed failed. */
  readonly onChange: () => void
}

export class PartitionFeed {
  readonly topic: string
  readonly partition: number
  /** First offset not yet handed out; undefined until the broker resolved the starting point. */
  cursor: number | undefined
  /** End of the partition when the feed started. */
  firstEnd: number | undefined
  /** Set when the feed is over. */
  error: LogloomError | undefined
  readonly #connection: Connection
  readonly #options: FeedOptions
  readonly #queue: QueuedDelivery[] = []
  readonly #stopListening: () => void
  #from: unknown
  #link: Link | undefined
  #sub: number | undefined
  /** What was asked for, or what the broker lets a subscription have. */
  #windowBytes = 0
  #resized: number | undefined
  #queuedBytes = 0
  #queuedBatches = 0
  #queuedGaps = 0
  /** What the broker may still send. */
  #window = new CreditWindow(0)
  #owedBytes = 0
  #attempt = 0
  #closed = false
  #cancelRetry: (() => void) | undefined

  constructor(connection: Connection, options: FeedOptions) {
    this.#connection = connection
    this.#options = options
    this.topic = options.topic
    this.partition = options.partition
    this.#from = options.from
    this.#stopListening = connection.onLink(link => {
      if (link) this.#subscribe(link)
      else this.#fail(connection.closedBy as LogloomError)
    })
    if (connection.closedBy) this.#fail(connection.closedBy)
    else if (connection.link) this.#subscribe(connection.link)
  }

  get queued(): number {
    return this.#queue.length
  }

  /** Bytes of deliveries not yet taken. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /** Offset of the first item that is queued. */
  get head(): number | undefined {
    const item = this.#queue[0]?.items[0]
    return item && Number(item['offset'])
  }

  /** From now on so many bytes may be queued and under way. */
  resize(windowBytes: number): void {
    const most = this.#link?.limits.creditBytesMax ?? Number.POSITIVE_INFINITY
    this.#resized = windowBytes
    if (this.#windowBytes === 0) return
    const now = Math.min(windowBytes, most)
    // What the broker may send already is made up for before credit goes back again.
    this.#owedBytes -= this.#windowBytes - now
    this.#windowBytes = now
  }

  /** The items below `limit` of the oldest delivery, if any; its credit goes back to the broker. */
  take(limit = Number.POSITIVE_INFINITY): Delivery | undefined {
    const whole = this.#queue[0]
    if (!whole) return undefined
    const cut = whole.items.findIndex(item => Number(item['offset']) >= limit)
    if (cut === 0) return undefined
    if (cut > 0) {
      const next = Number(whole.items[cut]?.['offset'])
      this.#queue[0] = { ...whole, items: whole.items.slice(cut) }
      return { items: whole.items.slice(0, cut), next, end: whole.end, bytes: 0 }
    }
    const delivery = this.#queue.shift() as QueuedDelivery
    this.#queuedBytes -= delivery.bytes
    this.#queuedBatches -= delivery.batches
    this.#queuedGaps -= delivery.gaps
    this.#owedBytes += delivery.bytes
    this.#repay()
    return delivery
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopListening()
    this.#cancelRetry?.()
    if (this.#link === this.#connection.link && this.#sub !== undefined) {
      this.#link?.unsubscribe(this.#sub)
    }
    this.#sub = undefined
    this.#queue.length = 0
    this.#queuedBytes = 0
    this.#queuedBatches = 0
    this.#queuedGaps = 0
  }

  #repay(): void {
    // Credit travels in halves of the window: a frame per delivery would double the traffic, and the other half keeps it flowing.
    if (this.#sub === undefined || this.#owedBytes * 2 < this.#windowBytes) return
    if (this.#link !== this.#connection.link && !this.#link?.draining) return
    this.#window.add(this.#owedBytes)
    this.#link?.credit(this.#sub, this.#owedBytes)
    this.#owedBytes = 0
  }

  #subscribe(link: Link): void {
    if (this.#closed || this.error) return
    this.#cancelRetry?.()
    this.#link = link
    this.#sub = undefined
    const { topic, partition, asOf } = this.#options
    const windowBytes = this.#resized ?? this.#options.windowBytes
    // Credit beyond the broker's bound would be cut there, and then half of ours never be owed.
    this.#windowBytes = Math.min(windowBytes, link.limits.creditBytesMax)
    const credit = Math.max(0, this.#windowBytes - this.#queuedBytes)
    // More may be queued than the window has: that much is taken before credit goes back.
    this.#owedBytes = Math.min(0, this.#windowBytes - this.#queuedBytes)
    this.#window = new CreditWindow(credit)
    const codecs = [...supportedCodecs]
    const past = asOf === undefined ? {} : { asOf }
    const fields = { topic, partition, from: this.#from, credit, codecs, ...past }
    const sink = (frame: Frame, messageBytes: number): void => {
      if (this.#link === link && !this.#closed) this.#onPush(link, frame, messageBytes)
    }
    link.subscribe(fields, sink, { timeoutMs: this.#connection.requestTimeoutMs }).then(
      ({ sub, offset, end }) => {
        if (this.#closed) link.unsubscribe(sub)
        if (this.#link !== link || this.#closed) return
        this.#sub = sub
        this.#attempt = 0
        // All may be taken by now, so that nothing else would ask for more.
        this.#repay()
        this.#begin(offset, end)
      },
      (error: unknown) => {
        if (this.#link === link && !this.#closed) this.#onRefused(link, asLogloomError(error))
      },
    )
  }

  /** From here on the feed continues by offset, whatever the starting point was called. */
  #begin(offset: number, end: number): void {
    // A delivery that came before this reply has moved the position on already.
    if (typeof this.#from !== 'number') this.#from = offset
    this.cursor ??= offset
    this.firstEnd ??= end
    this.#options.onChange()
  }

  /** @throws BAD_FRAME for more than the broker was given credit for */
  #onPush(link: Link, frame: Frame, messageBytes: number): void {
    if (frame['op'] === 'end') {
      this.#sub = undefined
      this.#onRefused(link, LogloomError.fromWire(frame['error'] as WireError))
      return
    }
    if (frame['partitions'] !== undefined) this.#options.onPartitions?.(Number(frame['partitions']))
    const items = frame['items'] as readonly Frame[]
    if (items.length === 0) return
    const next = Number(frame['next'])
    const cost = costOf(frame, messageBytes)
    const of = `${this.topic}[${this.partition}]`
    this.#window.spend(cost, of)
    checkGaps(this.#queuedGaps + cost.gaps, this.#queuedBatches + cost.batches, of)
    this.#queue.push({ items, next, end: Number(frame['end']), ...cost })
    this.#queuedBytes += cost.bytes
    this.#queuedBatches += cost.batches
    this.#queuedGaps += cost.gaps
    this.#from = next
    this.#options.onChange()
  }

  #onRefused(link: Link, error: LogloomError): void {
    const start = error.details['start']
    const isBehind =
      typeof this.#from !== 'number' || (typeof start === 'number' && start > this.#from)
    const isKnown = Number.isSafeInteger(start) && isBehind
    if (error.code === 'OFFSET_TRIMMED' && isKnown && this.#options.skipTrimmed) {
      // Behind what is queued already, so that the reader hears of the gap in its place.
      if (typeof this.#from === 'number') this.cursor ??= this.#from
      const next = start as number
      const gap = { gap: 'trimmed', offset: this.#from, next }
      try {
        checkGaps(this.#queuedGaps + 1, this.#queuedBatches, `${this.topic}[${this.partition}]`)
      } catch (flood) {
        this.#fail(asLogloomError(flood))
        return
      }
      this.#queue.push({ items: [gap], next, end: next, bytes: 0, batches: 0, gaps: 1 })
      this.#queuedGaps++
      this.#from = start
      this.#subscribe(link)
      return
    }
    if (!isTransient(error)) {
      this.#fail(error)
      return
    }
    this.#tellRetry(error)
    // A lost connection comes back as a new link; anything else needs a pause.
    const { clock, backoff } = this.#connection
    this.#cancelRetry?.()
    this.#cancelRetry = clock.schedule(fullJitterMs(this.#attempt++, backoff, clock), () => {
      if (this.#link === link && this.#connection.link === link) this.#subscribe(link)
    })
  }

  #tellRetry(error: LogloomError): void {
    try {
      this.#options.onRetry(error)
    } catch {
      // The callback's own business: it must not stop the feed.
    }
  }

  #fail(error: LogloomError): void {
    if (this.#closed || this.error) return
    this.error = error
    this.#stopListening()
    this.#cancelRetry?.()
    this.#options.onChange()
  }
}
