// subscribe: push under a credit window (protocol.md 6.4). A pump per subscription that costs nothing while nothing happens: it runs when
// its partition got records, credit came, or the connection's output drained.

import { LogloomError } from '../../wire/errors.ts'
import { optUint, uint } from '../../wire/fields.ts'
import { type Frame, packField } from '../../wire/frame.ts'
import type { TopicState } from '../state/topics.ts'
import { asUnavailable } from '../unavailable.ts'
import type { Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import { existingTopic, startOffset } from './fetch.ts'
import { type ReadFormat, readFormat } from './items.ts'
import { asOfPosition } from './offset-spec.ts'
import { count } from './stats.ts'

/** One push is about this large at most. */
const pushBytesMax = 256 * 1024
const pushBytesMin = 16 * 1024

interface Start {
  readonly next: number
  /** Where it ends for good, when it is about the past. */
  readonly until: number | undefined
  readonly credit: number
  readonly format: ReadFormat
}

export class Subscription {
  readonly id: number
  readonly topic: TopicState
  readonly partition: number
  private readonly context: GatewayContext
  private readonly connection: Connection
  private readonly format: ReadFormat
  private readonly stopListening: () => void
  private readonly until: number | undefined
  /** Partitions of the topic that the client was told of. */
  private partitions: number
  private next: number
  private credit: number
  private busy = false
  private ended = false

  constructor(
    context: GatewayContext,
    connection: Connection,
    place: { readonly id: number; readonly topic: TopicState; readonly partition: number },
    start: Start,
  ) {
    this.context = context
    this.connection = connection
    this.id = place.id
    this.topic = place.topic
    this.partition = place.partition
    this.next = start.next
    this.until = start.until
    this.partitions = place.topic.partitions.length
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

  /** Ends it when its topic may not be read any more. */
  recheck(): void {
    const { access } = this.connection
    const { name } = this.topic
    if (this.ended || access === undefined || access.may('topic', name, 'read')) return
    this.fail(access.denial('topic', name, 'read'))
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
    const { broker, reads, stats } = this.context
    this.connection.access?.must('topic', this.topic.name, 'read')
    const topicState = broker.topicById(this.topic.id)
    if (topicState === undefined)
      throw new LogloomError('UNKNOWN_TOPIC', `topic ${this.topic.name} was deleted`, {
        topic: this.topic.name,
      })
    const state = this.context.topics.partition(topicState, this.partition)
    this.tellPartitions(topicState, state.next)
    while (!this.ended && this.credit > 0 && this.connection.mayPush) {
      // Before the first record that knows of them.
      this.tellPartitions(topicState, state.next)
      const end = this.until ?? state.next
      const start = Math.min(state.start, end)
      if (this.next < start) {
        // The log was trimmed under a slow reader: a typed gap, not an error.
        const gap = packField([{ gap: 'trimmed', offset: this.next, next: start }])
        this.push(gap, start, 0, end)
        continue
      }
      if (this.next >= end) return
      const reading = reads.read({
        topicId: this.topic.id,
        partition: this.partition,
        from: this.next,
        maxBytes: Math.min(this.credit, this.pushBytes),
        until: this.until,
        format: this.format,
      })
      const read = reading instanceof Promise ? await reading : reading
      if (this.ended || read.empty) return
      const traffic = stats.topic(this.topic.name)
      traffic.fetchBytes += read.bytes
      traffic.fetchRecords += read.records
      this.push(read.packed, read.next, read.bytes, read.end)
    }
    const end = this.until ?? state.next
    const hasMore = !this.ended && this.credit > 0 && this.next < end
    if (hasMore) this.connection.pumpLater(this)
  }

  private push(items: Uint8Array, next: number, bytes: number, end: number): void {
    this.next = next
    this.credit -= bytes
    const throttleMs = this.connection.payForPush(bytes)
    const throttle = throttleMs > 0 ? { throttleMs } : {}
    const frame = { op: 'deliver', sub: this.id, next, bytes, end, ...throttle }
    this.connection.pushPacked(frame, 'items', items)
  }

  /** Of one push: smaller, the more waits on all connections; in steps, so that subscriptions go on sharing their reads. */
  private get pushBytes(): number {
    const { outputShare } = this.context.load.budget
    return Math.max(pushBytesMin, pushBytesMax * 2 ** Math.floor(Math.log2(outputShare)))
  }

  /** Partitions were added: the client learns it ahead of every record that came after them. Costs no credit. */
  private tellPartitions({ partitions: { length } }: TopicState, end: number): void {
    if (this.until !== undefined || this.ended || length === this.partitions) return
    this.partitions = length
    const { id: sub, next } = this
    this.connection.push({ op: 'deliver', sub, items: [], next, bytes: 0, end, partitions: length })
  }

  private fail(error: unknown): void {
    this.busy = false
    if (this.ended) return
    this.end()
    this.connection.forgetSubscription(this.id)
    const known = error instanceof LogloomError ? error : asUnavailable(error)
    if (known === undefined) this.context.onInternalError(error, 'subscribe')
    if (known?.code === 'AUTHORIZATION_FAILED') this.connection.denied('subscribe', known)
    const wire = known ?? new LogloomError('INTERNAL', 'the subscription failed inside the broker')
    this.connection.push({ op: 'end', sub: this.id, error: wire.toWire() })
  }
}

export async function subscribe(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const asOf = await asOfPosition(context, frame)
  const topic = await existingTopic(context, frame)
  const state = await context.topics.partitionSoon(topic, uint(frame, 'partition'))
  const { partition } = state
  const past = asOf === undefined ? undefined : context.broker.past(topic.id, partition, asOf)
  const credit = Math.min(uint(frame, 'credit'), context.settings.creditBytesMax)
  const format = readFormat(frame)
  const next = await startOffset(context, frame, topic, partition, past)
  const until = past?.end
  if (typeof frame.from === 'number' && past === undefined)
    count(context.stats.resumes, next < state.start ? 'trimmed' : 'resumed')
  const subscription = connection.addSubscription(
    id =>
      new Subscription(
        context,
        connection,
        { id, topic, partition },
        { next, until, credit, format },
      ),
  )
  connection.pumpSoon(subscription)
  const partitions = topic.partitions.length
  return { sub: subscription.id, offset: next, end: until ?? state.next, partitions }
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
