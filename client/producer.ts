// Sends records: batches per partition, each written once and in order, through every disconnect until a deadline.
//
// Guarantees: a resolved ticket means written as `acks` says, once; a rejected one says whether nothing was written or nobody knows
// (`OUTCOME_UNKNOWN`, `TIMEOUT` with `outcome: 'unknown'`); memory is bounded by `maxInflightBytes`. Settings, batching and ordering
// are Kafka's (KIP-91, KIP-98, KIP-480). It does not know sockets: lanes find the link of the moment.

import {
  checkTopicName,
  type HeadersInput,
  LogloomError,
  readBatchHeader,
  type RecordInput,
  wireLimits,
} from '../wire/index.ts'
import { abortable } from './abortable.ts'
import { publishAtomically } from './atomic-publish.ts'
import type { Catalog } from './catalog.ts'
import { CommandLane } from './command-lane.ts'
import type { Connection } from './connection.ts'
import { asLogloomError, closedError, isTransient, notSentError } from './failures.ts'
import { Lane } from './lane.ts'
import { Linger } from './linger.ts'
import type { BatchTerms, OutgoingBatch } from './outgoing-batch.ts'
import { PartitionLane, type PartitionLaneOwner } from './partition-lane.ts'
import {
  type ProducerOptions,
  type ProducerSettings,
  producerSettings,
} from './producer-options.ts'
import { ProducerIdSource } from './producer-id.ts'
import { keptInput, recordInput } from './record-input.ts'
import { reopen, sendAgain, takeBack } from './rechoice.ts'
import { type Ack, Outcome, type OutgoingRecord, PendingTicket, type Ticket } from './records.ts'
import { SendWindow } from './send-window.ts'
import { type PlainValue, type Topic, topicName } from './topic.ts'
import { TopicRoute } from './topic-route.ts'

export interface SendOptions {
  /** Default: chosen by the partitioner. */
  readonly partition?: number
  /** Write only if the partition's next offset is `offset`; else OFFSET_CONFLICT { expected, actual }. */
  readonly expect?: { readonly offset: number }
  /** Stops waiting; a record that is already in a batch may still be written. */
  readonly signal?: AbortSignal
}

/** An element of {@link Producer.sendBatch}. */
export type BatchEntry<T> =
  | (OutgoingRecord<T> & { readonly topic: Topic<T>; readonly partition?: number })
  | (OutgoingRecord<PlainValue> & { readonly topic: string; readonly partition?: number })

export interface SendBatchOptions {
  /** All or nothing, in one entry of the log; the whole must fit one request. Default false. */
  readonly atomic?: boolean
  /** Only with `atomic`: next offsets that must hold, else OFFSET_CONFLICT and nothing is written. */
  readonly expect?: readonly {
    readonly topic: string
    readonly partition: number
    readonly offset: number
  }[]
  /** Only with `atomic`: the consumed offsets that take effect with the records; see `client.transaction`. */
  readonly commit?: Readonly<Record<string, unknown>>
  /** Only with `atomic`: the acknowledgement of a share group's records that takes effect with the records; see `client.transaction`. */
  readonly ack?: Readonly<Record<string, unknown>>
  readonly signal?: AbortSignal
}

export class Producer {
  readonly #connection: Connection
  readonly #catalog: Catalog
  readonly #settings: ProducerSettings
  readonly #ids: ProducerIdSource | undefined
  readonly #window: SendWindow
  readonly #linger: Linger
  readonly #routes = new Map<string, TopicRoute>()
  readonly #unsettled = new Set<OutgoingBatch>()
  readonly #owner: PartitionLaneOwner
  readonly #stopListening: () => void
  readonly #onClosed: (producer: Producer) => void
  /** Atomic units on their way. */
  readonly #publishing = new Set<Promise<unknown>>()
  readonly #stop = new AbortController()
  #commands: CommandLane | undefined
  #cancelSweep: (() => void) | undefined
  #closing: Promise<void> | undefined
  #closedBy: LogloomError | undefined

  /** Made by {@link Client.producer}. */
  constructor(
    connection: Connection,
    catalog: Catalog,
    options: ProducerOptions,
    defaults: {
      readonly deliveryTimeoutMs: number
      readonly onClosed: (producer: Producer) => void
    },
  ) {
    this.#connection = connection
    this.#catalog = catalog
    this.#settings = producerSettings(options, defaults.deliveryTimeoutMs)
    this.#onClosed = defaults.onClosed
    const { clock } = connection
    const { maxInflightBytes, maxBlockMs, lingerMs } = this.#settings
    this.#ids = this.#settings.idempotent
      ? new ProducerIdSource(connection, options.transactionalId)
      : undefined
    this.#window = new SendWindow(maxInflightBytes, maxBlockMs, clock, () => this.#makeRoom())
    this.#linger = new Linger(lingerMs, clock)
    this.#owner = this.#laneOwner()
    this.#stopListening = connection.onLink(link => {
      if (link) for (const lane of this.#lanes()) lane.lane.pump()
      else this.#shut(connection.closedBy as LogloomError)
    })
    if (connection.closedBy) this.#shut(connection.closedBy)
  }

  /** Bytes of records that wait for their outcome. */
  get inflightBytes(): number {
    return this.#window.bytes
  }

  /** Sends one record and waits for its ack; waits for room first. @throws why it was not written, see docs/errors.md */
  async send<T = PlainValue>(
    topic: string | Topic<T>,
    record: OutgoingRecord<NoInfer<T>>,
    o: SendOptions = {},
  ): Promise<Ack> {
    this.#throwIfClosing()
    const take = this.#window.isBusy
      ? this.#kept(topic, record, o)
      : () => this.#enqueue(topic, record, o)
    const ticket = await this.#window.admit(take, o.signal)
    return o.signal ? abortable(ticket.acked, o.signal) : ticket.acked
  }

  /** The record as it is now, to be taken later: its owner may change it while it waits for room. */
  #kept<T>(topic: string | Topic<T>, record: OutgoingRecord<T>, o: SendOptions): () => Ticket {
    try {
      const input = keptInput(recordInput(topic, record)) as OutgoingRecord<PlainValue>
      return () => this.#enqueue(topicName(topic), input, o)
    } catch {
      // What is wrong with it is told where all others hear of it.
      return () => this.#enqueue(topic, record, o)
    }
  }

  /**
   * Takes a record without waiting. What is wrong with the record itself is reported by the ticket.
   * @throws LIMIT_EXCEEDED when `maxInflightBytes` is reached (await {@link ready}), CONNECTION_CLOSED after close
   */
  enqueue<T = PlainValue>(
    topic: string | Topic<T>,
    record: OutgoingRecord<NoInfer<T>>,
    o: SendOptions = {},
  ): Ticket {
    this.#throwIfClosing()
    this.#window.assertRoom()
    return this.#enqueue(topic, record, o)
  }

  #throwIfClosing(): void {
    if (this.#closing || this.#closedBy) throw this.#closedBy ?? closedError('producer')
  }

  /** Takes a record for which there is room, also one that has waited for it since before a close. */
  #enqueue<T>(topic: string | Topic<T>, record: OutgoingRecord<T>, o: SendOptions): Ticket {
    const ticket = new PendingTicket()
    try {
      const span = this.#connection.tracing?.send(topicName(topic), record)
      span?.end(ticket.acked)
      const traced = span === undefined ? record : { ...record, headers: span.headers }
      this.#accept(topic, traced, o, ticket)
    } catch (error) {
      this.#reject(topicName(topic), ticket, asLogloomError(error), o.partition)
    }
    return ticket
  }

  /** Resolves when there is room for more records. @throws TIMEOUT after `maxBlockMs` */
  ready(o: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#window.admit(() => {}, o.signal)
  }

  /** Sends several records; with `atomic` readers see all of them or none. One ack per record, in order. */
  async sendBatch<const E extends readonly unknown[]>(
    entries: { readonly [I in keyof E]: BatchEntry<E[I]> },
    o: SendBatchOptions = {},
  ): Promise<readonly Ack[]> {
    const list = entries as unknown as readonly BatchEntry<unknown>[]
    if (!o.atomic) {
      const sent = list.map(entry => {
        const { topic, partition, ...record } = entry
        const options = { ...(partition === undefined ? {} : { partition }), ...signalOf(o) }
        return this.send(topic, record, options)
      })
      return Promise.all(sent)
    }
    this.#throwIfClosing()
    if (list.length === 0 && o.commit === undefined && o.ack === undefined) return []
    const { tracing } = this.#connection
    const span =
      list.length === 0 ? undefined : tracing?.sendUnit(list.map(entry => topicName(entry.topic)))
    const published = this.#publish(list, o, headers => span?.headersOf(headers) ?? headers)
    this.#publishing.add(published)
    const forget = (): boolean => this.#publishing.delete(published)
    published.then(forget, forget)
    span?.end(published)
    return published
  }

  /** Sends a batch that was encoded elsewhere (wire `encodeBatch`); its producer fields are replaced. */
  async sendEncoded(
    topic: string,
    partition: number,
    batch: Uint8Array,
    o: { signal?: AbortSignal } = {},
  ): Promise<Ack> {
    this.#throwIfClosing()
    const { count } = readBatchHeader(batch)
    // Stamping rewrites the bytes: the caller keeps its own, and may change them while they wait for room.
    const isCopied = this.#settings.idempotent || this.#window.isBusy
    const bytes = isCopied ? new Uint8Array(batch) : batch
    const outcome = await this.#window.admit(() => {
      return this.#lane(this.#route(topic), partition).addEncoded(bytes, count).outcome
    }, o.signal)
    const ticket = new PendingTicket()
    ticket.place(outcome, 0)
    return o.signal ? abortable(ticket.acked, o.signal) : ticket.acked
  }

  /**
   * Sends what lingers and resolves when everything sent before has its outcome, also what still waits for room; failures are the tickets' to tell.
   * What is sent meanwhile does not linger.
   */
  async flush(): Promise<void> {
    const published = [...this.#publishing]
    const finish = this.#linger.hurry()
    try {
      await this.#window.passed()
      await Promise.all([...this.#routes.values()].map(route => route.placed()))
      await Promise.all([this.#outcomes(), Promise.allSettled(published)])
    } finally {
      finish()
    }
  }

  /** Where nothing is under way that would make room, what lingers goes. */
  #makeRoom(): void {
    for (const batch of this.#unsettled) if (!batch.open) return
    this.#linger.closeAll()
  }

  /** Resolves when all batches that there are now have their outcomes. */
  async #outcomes(): Promise<void> {
    let open = this.#unsettled.size
    if (open === 0) return
    await new Promise<void>(resolve => {
      for (const batch of this.#unsettled) {
        batch.outcome.whenSettled(() => {
          if (--open === 0) resolve()
        })
      }
    })
  }

  /**
   * Takes nothing more, flushes for at most `timeoutMs` (default the delivery timeout), then rejects what is left. Idempotent; another call may shorten
   * the wait.
   */
  close(o: { timeoutMs?: number } = {}): Promise<void> {
    const isFirst = this.#closing === undefined
    this.#closing ??= this.#drain()
    const timeoutMs = o.timeoutMs ?? (isFirst ? this.#settings.deliveryTimeoutMs : undefined)
    if (timeoutMs === undefined || this.#closedBy) return this.#closing
    const giveUp = (): void => this.#shut(closedError('producer'))
    const cancel = this.#connection.clock.schedule(timeoutMs, giveUp)
    return this.#closing.finally(cancel)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #publish(
    list: readonly BatchEntry<unknown>[],
    o: SendBatchOptions,
    headersOf: (headers: HeadersInput | undefined) => HeadersInput | undefined,
  ): Promise<readonly Ack[]> {
    const { idempotent, acks, deliveryTimeoutMs } = this.#settings
    this.#commands ??= new CommandLane(
      this.#connection,
      idempotent ? this.#ids : undefined,
      'publish',
    )
    return publishAtomically(
      {
        connection: this.#connection,
        catalog: this.#catalog,
        commands: this.#commands,
        window: this.#window,
        acks: acks === 0 ? 1 : acks,
        deliveryTimeoutMs,
        closed: this.#stop.signal,
        route: name => this.#route(name),
      },
      list.map(({ topic, partition, ...record }) => {
        const headers = headersOf(record.headers)
        const traced = { ...record, ...(headers && { headers }) }
        return {
          topic: topicName(topic),
          partition,
          record: recordInput(topic as Topic<unknown>, traced),
        }
      }),
      o,
    )
  }

  async #drain(): Promise<void> {
    await this.flush()
    this.#shut(closedError('producer'))
  }

  #shut(error: LogloomError): void {
    if (this.#closedBy) return
    this.#closedBy = error
    this.#stop.abort(error)
    this.#stopListening()
    this.#linger.closeAll()
    this.#linger.stop()
    this.#cancelSweep?.()
    this.#window.close(error)
    for (const route of this.#routes.values()) {
      this.#rejectPending(route, error)
      route.wake?.()
    }
    for (const lane of this.#lanes()) lane.lane.close(error)
    this.#commands?.close(error)
    this.#onClosed(this)
  }

  #accept<T>(
    topic: string | Topic<T>,
    record: OutgoingRecord<T>,
    o: SendOptions,
    ticket: PendingTicket,
  ): void {
    const input = recordInput(topic, record)
    const route = this.#route(topicName(topic))
    const { partition } = o
    const expectOffset = o.expect?.offset
    const waits = route.pending.length > 0 || route.loading !== undefined
    if (!waits && partition !== undefined) {
      ticketOf(ticket, this.#put(route, partition, input, { expectOffset }))
      return
    }
    const partitions = waits ? undefined : this.#catalog.partitions(route.name)
    route.chosenOutOf ??= partitions
    // Where partitions were added, what was chosen before goes first.
    if (partitions !== undefined && route.chosenOutOf === partitions) {
      ticketOf(ticket, this.#choose(route, input, { expectOffset, partitions }))
      return
    }
    const bytes = sizeOf(input.key) + sizeOf(input.value) + 64
    const deadlineMs = this.#owner.deadlineMs()
    this.#window.take(bytes)
    const kept = keptInput(input)
    route.pending.push({ record: kept, partition, expectOffset, ticket, bytes, deadlineMs })
    route.loading ??= this.#load(route)
    this.#armSweep()
  }

  /** Learns a topic's partitions, chooses again for what was chosen out of another number, then places the records that waited. */
  async #load(route: TopicRoute): Promise<void> {
    try {
      const { name, lanes } = route
      const partitions = await this.#settled(route)
      if (partitions === undefined) return
      const reopened = await reopen(lanes)
      if (this.#closedBy) return
      route.loading = undefined
      route.chosenOutOf = partitions
      sendAgain(
        lanes,
        reopened,
        (record, deadlineMs) => this.#choose(route, record, { partitions, deadlineMs }),
        ({ route: { partition } }, cause) => {
          const error = asLogloomError(cause)
          this.#settings.onRejected(error, { topic: name, partition, count: 1 })
          return error
        },
      )
      this.#placePending(route, partitions)
    } catch (cause) {
      route.loading = undefined
      const error = asLogloomError(cause)
      // The time of whoever came first is up, not that of those who came after.
      if (isTransient(error) && !this.#closedBy) {
        this.#expirePending(route, this.#connection.clock.nowMs(), error)
        if (route.hasWaiting) route.loading = this.#load(route)
      } else this.#rejectPending(route, error)
    }
  }

  /** The topic's partitions, once nothing is under way that was chosen out of another number. Undefined after close. */
  async #settled(route: TopicRoute): Promise<number | undefined> {
    const { deliveryTimeoutMs: timeoutMs } = this.#settings
    for (;;) {
      const partitions = await this.#catalog.loadOrCreate(route.name, { timeoutMs })
      if (this.#closedBy) return undefined
      if (!takeBack(route.lanes, partitions)) return partitions
      await new Promise<void>(resolve => {
        route.wake = resolve
      })
    }
  }

  #placePending(route: TopicRoute, partitions: number): void {
    const pending = route.pending
    route.pending = []
    let held = 0
    for (const { record, partition, expectOffset, ticket, bytes } of pending) {
      try {
        const batch =
          partition === undefined
            ? this.#choose(route, record, { expectOffset, partitions })
            : this.#put(route, partition, record, { expectOffset })
        ticketOf(ticket, batch)
      } catch (error) {
        this.#reject(route.name, ticket, asLogloomError(error), partition)
      }
      held += bytes
    }
    route.left(pending)
    // Only now: whoever waits for room comes after those who came before.
    this.#window.release(held)
  }

  /** Puts a record into the batch of the partition that the partitioner chooses; it is the last one there. */
  #choose(
    route: TopicRoute,
    record: RecordInput,
    terms: BatchTerms & { readonly partitions: number },
  ): OutgoingBatch {
    return this.#put(route, route.choose(record, terms.partitions), record, terms)
  }

  #put(
    route: TopicRoute,
    partition: number,
    record: RecordInput,
    terms: BatchTerms,
  ): OutgoingBatch {
    const lane = this.#lane(route, partition)
    return terms.expectOffset === undefined ? lane.add(record, terms) : lane.addAlone(record, terms)
  }

  /** A record that got into no batch. */
  #reject(
    topic: string,
    ticket: PendingTicket,
    error: LogloomError,
    partition: number | undefined,
  ): void {
    const outcome = new Outcome()
    outcome.fail(error)
    ticket.place(outcome, 0)
    this.#settings.onRejected(error, { topic, partition: partition ?? -1, count: 1 })
  }

  #rejectPending(route: TopicRoute, error: LogloomError): void {
    for (const lane of route.lanes)
      for (const batch of lane?.recalled.splice(0) ?? []) batch.fail(error)
    const pending = route.pending
    route.pending = []
    for (const { ticket, bytes, partition } of pending) {
      this.#reject(route.name, ticket, error, partition)
      this.#window.release(bytes)
    }
    route.left(pending)
  }

  #route(name: string): TopicRoute {
    let route = this.#routes.get(name)
    if (!route) {
      checkTopicName(name)
      route = new TopicRoute(name, this.#settings.partitioner, this.#connection.clock.random())
      this.#routes.set(name, route)
    }
    return route
  }

  #lane(route: TopicRoute, partition: number): PartitionLane {
    let lane = route.lanes[partition]
    if (!lane) {
      if (!Number.isSafeInteger(partition) || partition < 0) {
        const message = `partition ${String(partition)} of ${route.name}: partitions are numbered from 0`
        throw new LogloomError('UNKNOWN_PARTITION', message)
      }
      const { acks } = this.#settings
      const { clock, requestTimeoutMs } = this.#connection
      const key = { topic: route.name, partition, acks, requestTimeoutMs, clock }
      const sequenced = new Lane(this.#connection, this.#ids, `${route.name}-${partition}`)
      lane = new PartitionLane(key, sequenced, this.#owner)
      route.lanes[partition] = lane
    }
    return lane
  }

  *#lanes(): Generator<PartitionLane> {
    for (const route of this.#routes.values()) {
      for (const lane of route.lanes) if (lane) yield lane
    }
  }

  #laneOwner(): PartitionLaneOwner {
    const { batchSize, codec, deliveryTimeoutMs, maxRequestSize } = this.#settings
    const { clock } = this.#connection
    return {
      batchSize,
      codec,
      batchBytesMax: () =>
        Math.min(
          maxRequestSize,
          this.#connection.link?.limits.batchBytesMax ?? wireLimits.batchBytesMax,
        ),
      deadlineMs: () => clock.nowMs() + deliveryTimeoutMs,
      wallMs: () => clock.wallMs(),
      opened: (lane, batch) => {
        this.#unsettled.add(batch)
        if (lane.open === batch) this.#linger.add(lane, batch)
        this.#armSweep()
      },
      closed: lane => {
        const { topic, partition } = lane.route
        const partitions = this.#catalog.partitions(topic)
        if (partitions !== undefined) this.#routes.get(topic)?.moveOn(partition, partitions)
      },
      took: bytes => this.#window.take(bytes),
      settled: batch => {
        this.#unsettled.delete(batch)
        const { error } = batch.outcome
        if (error) {
          const { topic, partition } = batch.route
          this.#catalog.learn(topic, error)
          this.#settings.onRejected(error, { topic, partition, count: batch.count })
        }
        this.#window.release(batch.countedBytes)
        this.#routes.get(batch.route.topic)?.wake?.()
      },
      recalled: ({ route: { topic } }, error) => {
        this.#catalog.learn(topic, error)
        const route = this.#route(topic)
        const partitions = this.#catalog.partitions(topic)
        // At once: what came after it must not be sent before it.
        if (partitions !== undefined) takeBack(route.lanes, partitions)
        route.loading ??= this.#load(route)
        route.wake?.()
        this.#armSweep()
      },
    }
  }

  /** One timer for all deadlines, only while something waits. */
  #armSweep(): void {
    if (this.#cancelSweep || this.#closedBy) return
    const { clock } = this.#connection
    const periodMs = Math.min(1000, Math.max(5, this.#settings.deliveryTimeoutMs / 20))
    this.#cancelSweep = clock.schedule(periodMs, () => {
      this.#cancelSweep = undefined
      const nowMs = clock.nowMs()
      for (const lane of this.#lanes()) {
        if (!lane.lane.idle) lane.lane.expire(nowMs)
        lane.recalled = lane.recalled.filter(batch => !this.#expired(batch, nowMs))
      }
      let waiting = this.#unsettled.size
      for (const route of this.#routes.values()) {
        this.#expirePending(route, nowMs)
        waiting += route.pending.length
      }
      if (waiting > 0) this.#armSweep()
    })
  }

  /** Fails a batch that was taken back, if its time is over. */
  #expired(batch: OutgoingBatch, nowMs: number): boolean {
    const { deadlineMs, route } = batch
    if (deadlineMs > nowMs) return false
    const message = `${route.topic}: partitions were added, and it was not written before the delivery timeout`
    const { lastError, link } = this.#connection
    batch.fail(notSentError(message, lastError, link !== undefined))
    return true
  }

  /** `why`: what kept their partitions from being known, if that is known. */
  #expirePending(route: TopicRoute, nowMs: number, why?: LogloomError): void {
    const due = route.pending.findIndex(({ deadlineMs }) => deadlineMs > nowMs)
    const expired = route.pending.splice(0, due < 0 ? route.pending.length : due)
    for (const { ticket, bytes, partition } of expired) {
      const message = `${route.name}: no answer about its partitions in time`
      const { lastError, link } = this.#connection
      const error = why ?? notSentError(message, lastError, link !== undefined)
      this.#reject(route.name, ticket, error, partition)
      this.#window.release(bytes)
    }
    route.left(expired)
  }
}

/** Tells the ticket of a record, the last one of `batch`, where its fate is decided. */
function ticketOf(ticket: PendingTicket, batch: OutgoingBatch): void {
  ticket.place(batch.outcome, batch.count - 1)
}

function sizeOf(part: string | Uint8Array | null | undefined): number {
  return part?.length ?? 0
}

function signalOf(o: { signal?: AbortSignal }): { signal?: AbortSignal } {
  return o.signal ? { signal: o.signal } : {}
}
