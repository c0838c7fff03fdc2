// subscribe: push under a credit window (protocol.md 6.4). A pump per subscription that costs nothing while nothing happens: it runs when
// its partition got records, credit came, or the connection's output drained.

import { LogloomError } from '../../wire/errors.ts'
import { optUint, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import type { TopicState } from '../state/topics.ts'
import { asUnavailable } from '../unavailable.ts'
import type { Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import { existingTopic, startOffset } from './fetch.ts'
import { countRecords, formatItems, type ReadFormat, readFormat } from './items.ts'

/** One push is about this large at most. */
const pushBytesMax = 256 * 1024

export class Subscription {
  readonly id: number
  readonly topic: TopicState
  readonly partition: number
  private readonly context: GatewayContext
  private readonly connection: Connection
  private readonly format: ReadFormat
  private readonly stopListening: () => void
  private next: number
  private credit: number
  private busy = false
  private ended = false

  constructor(
    context: GatewayContext,
    connection: Connection,
    place: { readonly id: number; readonly topic: TopicState; readonly partition: number },
    start: { readonly next: number; readonly credit: number; readonly format: ReadFormat },
  ) {
    this.context = context
    this.connection = connection
    this.id = place.id
    this.topic = place.topic
    this.partition = place.partition
    this.next = start.next
    this.credit = start.credit
    this.format = start.format
    this.stopListening = context.broker.onAppend(place.topic.id, place.partition, () =>
      connection.pumpSoon(this),
    )
  }

  addCredit(bytes: number): void {
    this.credit = Math.min(this.credit + bytes, this.context.settings.creditBytesMax)
    this.connection.pumpSoon(this)
  }

  end(): void {
    this.ended = true
    this.stopListening()
  }

  /** Pushes what there is while credit and output allow. */
  pump(): void {
    if (this.busy || this.ended) return
    this.busy = true
    this.run().then(
      () => {
        this.busy = false
      },
      error => this.fail(error),
    )
  }

  private async run(): Promise<void> {
    const { broker, stats } = this.context
    const topicState = broker.topicById(this.topic.id)
    if (topicState === undefined)
      throw new LogloomError('UNKNOWN_TOPIC', `topic ${this.topic.name} was deleted`, {
        topic: this.topic.name,
      })
    const state = this.context.topics.partition(topicState, this.partition)
    while (!this.ended && this.credit > 0 && !this.connection.output.isFull) {
      if (this.next < state.start) {
        // The log was trimmed under a slow reader: a typed gap, not an error.
        this.push(
          [{ gap: 'trimmed', offset: this.next, next: state.start }],
          state.start,
          0,
          state.next,
        )
        continue
      }
      if (this.next >= state.next) return
      const read = broker.read(
        this.topic.id,
        this.partition,
        this.next,
        Math.min(this.credit, pushBytesMax),
      )
      const result = read instanceof Promise ? await read : read
      if (this.ended || result.items.length === 0) return
      const formatted = formatItems(result, this.next, this.format)
      const { items, next } = formatted instanceof Promise ? await formatted : formatted
      if (this.ended) return
      const traffic = stats.topic(this.topic.name)
      traffic.fetchBytes += result.bytes
      traffic.fetchRecords += countRecords(result)
      this.push(items, next, result.bytes, result.end)
    }
    const hasMore = !this.ended && this.credit > 0 && this.next < state.next
    if (hasMore) this.connection.pumpWhenDrained(this)
  }

  private push(items: readonly Frame[], next: number, bytes: number, end: number): void {
    this.next = next
    this.credit -= bytes
    this.connection.push({ op: 'deliver', sub: this.id, items, next, bytes, end })
  }

  private fail(error: unknown): void {
    this.busy = false
    if (this.ended) return
    this.end()
    this.connection.forgetSubscription(this.id)
    const known = error instanceof LogloomError ? error : asUnavailable(error)
    if (known === undefined) this.context.onInternalError(error, 'subscribe')
    const wire = known ?? new LogloomError('INTERNAL', 'the subscription failed inside the broker')
    this.connection.push({ op: 'end', sub: this.id, error: wire.toWire() })
  }
}

export async function subscribe(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const topic = await existingTopic(context, frame)
  const partition = uint(frame, 'partition')
  const state = context.topics.partition(topic, partition)
  const credit = Math.min(uint(frame, 'credit'), context.settings.creditBytesMax)
  const format = readFormat(frame)
  const next = await startOffset(context, frame, topic, partition)
  const subscription = connection.addSubscription(
    id => new Subscription(context, connection, { id, topic, partition }, { next, credit, format }),
  )
  connection.pumpSoon(subscription)
  return { sub: subscription.id, offset: next, end: state.next }
}

export function unsubscribe(_context: GatewayContext, frame: Frame, connection: Connection): Frame {
  const id = uint(frame, 'sub')
  connection.subscription(id).end()
  connection.forgetSubscription(id)
  return {}
}

/** One-way: an unknown subscription has just ended, which is no error. */
export function credit(frame: Frame, connection: Connection): void {
  const bytes = optUint(frame, 'bytes') ?? 0
  connection.findSubscription(uint(frame, 'sub'))?.addCredit(bytes)
}
