// Queue mode (KIP-932): many members share the partitions of a topic, each record is one member's until it says what became of it.
//
//   fetch ──► buffered ──► handed out ──► ack | nack | reject        a lock that is over: somebody else gets the record
//               └─── held on by renewals as long as this process lives ──┘
//
// Guarantees: a record that is not acknowledged is delivered again, to whichever member asks; one that was delivered too often goes to the dead-letter
// topic, in one append with its acknowledgement, or is archived. No order is promised beyond that older records come first.

import { decodeBatch, type Frame, LogloomError } from '../../wire/index.ts'
import { fullJitterMs, pause } from '../clock.ts'
import { CommandLane } from '../command-lane.ts'
import { type Delivered, deliveredOf } from '../checked.ts'
import type { Connection } from '../connection.ts'
import type { DeadLetters, RawRecord } from '../dead-letter.ts'
import { endable } from '../endable.ts'
import { asLogloomError, closedError, isTransient } from '../failures.ts'
import { plainBytes } from '../plain-bytes.ts'
import type { Offset } from '../positions.ts'
import { ProducerIdSource } from '../producer-id.ts'
import { type Decoder, decoderOf } from '../read-options.ts'
import type { ReadRecord } from '../read-record.ts'
import { topicName } from '../topic.ts'
import { type AckKind, Acks, notHeld, runsOf, wordOf } from './acks.ts'
import { HeldRecord } from './held-record.ts'
import type { QueueSettings } from './queue-options.ts'

/** A record with what can be said of it; each but `extend` once. Nobody has to wait for the answers: a refusal is no unhandled rejection. */
export interface QueueRecord<V, K = string>
  extends Pick<
    ReadRecord<V, K>,
    'topic' | 'partition' | 'offset' | 'timestamp' | 'key' | 'value' | 'headers' | 'header'
  > {
  /** How often it was delivered, this time included. */
  readonly deliveryCount: number
  /** Fires when the record is not this member's any more although nothing was said of it, and when the queue is closed. */
  readonly signal: AbortSignal
  /** It is done. @throws INVALID_RECORD_STATE when it is not this member's any more */
  ack(): Promise<void>
  /** It is to be delivered again, after `delayMs`; given up if that was the last time. @throws INVALID_RECORD_STATE */
  nack(o?: { readonly delayMs?: number }): Promise<void>
  /** It is given up: to the dead-letter topic, if there is one. @throws INVALID_RECORD_STATE, or why the letter was not written */
  reject(error?: unknown): Promise<void>
  /** Holds it for `ms` from now on, also past `maxProcessingMs`. @throws INVALID_RECORD_STATE */
  extend(ms: number): Promise<void>
}

export type QueueHandler<V, K> = (record: QueueRecord<V, K>) => unknown

export interface QueueRunOptions {
  /** Handlers at a time; default 1. */
  readonly concurrency?: number
  /** How long a record waits whose handler failed: `backoffMs` (default 1000), doubled with each delivery, at most `maxBackoffMs` (default 60000). */
  readonly retry?: { readonly backoffMs?: number; readonly maxBackoffMs?: number }
}

const pollMs = 1000
/** What a broker gives at a time. */
const recordsPerFetchMax = 2000
/** How long {@link Queue.close} waits for handlers that run. */
const drainMs = 30_000
/** How long {@link Queue.close} waits for the answer to its goodbye. */
const leaveMs = 5000

export class Queue<V = string, K = string> {
  readonly #connection: Connection
  readonly #settings: QueueSettings
  readonly #deadLetters: DeadLetters
  readonly #onClosed: (queue: Queue<never, never>) => void
  readonly #memberId: string = globalThis.crypto.randomUUID()
  readonly #decoders: ReadonlyMap<string, Decoder>
  readonly #lane: CommandLane
  readonly #acks: Acks
  readonly #held = new Set<HeldRecord>()
  readonly #stop = new AbortController()
  #buffer: HeldRecord[] = []
  #wake: (() => void)[] = []
  #failure: LogloomError | undefined
  #fetching: Promise<void> | undefined
  #cancelRenewal: (() => void) | undefined
  #closing: Promise<void> | undefined
  #working: Promise<unknown> = Promise.resolve()
  /** Appends on their way that acknowledge records. */
  readonly #sending = new Set<Promise<unknown>>()

  /** Made by {@link Client.queue}; asks for records when the first one is. */
  constructor(
    connection: Connection,
    deadLetters: DeadLetters,
    settings: QueueSettings,
    o: {
      readonly deliveryTimeoutMs: number
      readonly onClosed: (queue: Queue<never, never>) => void
    },
  ) {
    this.#connection = connection
    this.#deadLetters = deadLetters
    this.#settings = settings
    this.#onClosed = o.onClosed
    const { group, topics, ackLingerMs: lingerMs } = settings
    this.#decoders = new Map(topics.map(topic => [topicName(topic), decoderOf(topic, settings.as)]))
    this.#lane = new CommandLane(connection, new ProducerIdSource(connection), 'shareAcknowledge')
    this.#acks = new Acks({
      clock: connection.clock,
      lane: this.#lane,
      group,
      memberId: this.#memberId,
      lingerMs,
      timeoutMs: o.deliveryTimeoutMs,
      tracing: connection.tracing,
    })
  }

  get group(): string {
    return this.#settings.group
  }

  /** Records that this member holds now, those included that nobody was given yet. */
  get held(): number {
    return this.#held.size
  }

  /** Records one by one. What nothing was said of is delivered again, here or elsewhere. */
  [Symbol.asyncIterator](): AsyncGenerator<QueueRecord<V, K>, void, void> {
    return endable(this.#oneByOne(), () => void this.close())
  }

  async *#oneByOne(): AsyncGenerator<QueueRecord<V, K>, void, void> {
    this.#start()
    try {
      for (;;) {
        const received = this.#connection.tracing?.receiving()
        const held = await this.#take()
        if (held === undefined) return
        const record = this.#open(held)
        received?.({ group: this.group, records: [record] })
        yield record
      }
    } finally {
      await this.close()
    }
  }

  /**
   * Runs `handler` for records until the queue is closed: acknowledges one when its handler returns, and gives it back when it throws.
   * @throws what ends the queue, and why a dead letter was not written
   */
  async run(handler: QueueHandler<V, K>, o: QueueRunOptions = {}): Promise<void> {
    this.#start()
    const traced = this.#connection.tracing?.around(this.group, handler) ?? handler
    const workers = Array.from({ length: Math.max(1, Math.floor(o.concurrency ?? 1)) }, () =>
      this.#work(traced, o),
    )
    // One that failed ends the run; others may be in the middle of something.
    this.#working = Promise.allSettled(workers)
    try {
      await Promise.all(workers)
    } finally {
      await this.close()
    }
  }

  /**
   * Waits for handlers that run, at most 30 s, so a handler must not wait for it; says what is to be said, and resolves when that was answered; gives back
   * what nobody was given. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#leave()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Runs `send` with the `ack` of a publish that acknowledges the records; they are settled if it resolves. */
  async acknowledgeWith<R>(
    records: readonly HeldRecord[],
    send: (ack: Frame) => Promise<R>,
  ): Promise<R> {
    for (const held of records) if (held.isSettled) throw notHeld(held.raw, this.group)
    for (const held of records) held.isSettled = true
    const sent = this.#sendWith(records, send)
    this.#sending.add(sent)
    const forget = (): boolean => this.#sending.delete(sent)
    sent.then(forget, forget)
    return sent
  }

  async #sendWith<R>(records: readonly HeldRecord[], send: (ack: Frame) => Promise<R>): Promise<R> {
    const words = records.map(held => wordOf(held, 'accept'))
    try {
      const sent = await send({ ...this.#who, records: runsOf(words) })
      for (const held of records) this.#forget(held)
      return sent
    } catch (error) {
      for (const held of records) held.isSettled = false
      throw error
    }
  }

  get #who(): { readonly group: string; readonly memberId: string } {
    return { group: this.group, memberId: this.#memberId }
  }

  #start(): void {
    if (this.#closing !== undefined) throw closedError('queue')
    if (this.#fetching !== undefined)
      throw new LogloomError('INVALID_REQUEST', 'a queue is used once: make another one')
    this.#fetching = this.#fetchAll().catch((error: unknown) => this.#fail(asLogloomError(error)))
    this.#renewSoon()
  }

  /** The next record that is still this member's; undefined once the queue is closed. */
  async #take(): Promise<HeldRecord | undefined> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      if (this.#closing !== undefined) return undefined
      const held = this.#buffer.shift()
      if (held === undefined) {
        await new Promise<void>(resolve => this.#wake.push(resolve))
        continue
      }
      this.#changed()
      const nowMs = this.#connection.clock.nowMs()
      if (held.isSettled) continue
      if (held.lockedUntilMs <= nowMs) {
        this.#lose(held)
        continue
      }
      held.handedOutMs = nowMs
      return held
    }
  }

  async #work(handler: QueueHandler<V, K>, o: QueueRunOptions): Promise<void> {
    const { backoffMs = 1000, maxBackoffMs = 60_000 } = o.retry ?? {}
    for (;;) {
      const held = await this.#take()
      if (held === undefined) return
      try {
        await handler(this.#open(held))
      } catch (error) {
        const isLast = held.deliveryCount >= this.#settings.deliveryCountLimit
        const delayMs = Math.min(maxBackoffMs, backoffMs * 2 ** (held.deliveryCount - 1))
        // Something was said of it before it went wrong, or it is somebody else's by now.
        if (held.isSettled) continue
        await passOver(isLast ? this.#giveUp(held, error) : this.#say(held, 'release', delayMs))
        continue
      }
      if (!held.isSettled) await passOver(this.#say(held, 'accept', 0))
    }
  }

  /** @throws INVALID_REQUEST when the value cannot be decoded */
  #open(held: HeldRecord): QueueRecord<V, K> {
    const { raw, timestamp, deliveryCount, signal } = held
    const { topic, partition, offset, headers } = raw
    const decoder = this.#decoders.get(topic) ?? decoderOf(topic, this.#settings.as)
    let key: K | null
    let value: V | null
    try {
      key = raw.key && (decoder.key(raw.key) as K)
      value = raw.value && (decoder.value(raw.value) as V)
    } catch (cause) {
      throw new LogloomError(
        'INVALID_REQUEST',
        `the value of ${topic}-${partition}@${offset} cannot be decoded`,
        { topic, partition, offset },
        { cause, hint: "correct the topic's codec, or take records with as: 'bytes'" },
      )
    }
    const record: QueueRecord<V, K> = {
      topic,
      partition,
      offset,
      timestamp,
      key,
      value,
      headers,
      header: name => {
        const found = headers.find(([each]) => each === name)
        return found && new TextDecoder().decode(found[1])
      },
      deliveryCount,
      signal,
      ack: () => unheeded(this.#say(held, 'accept', 0)),
      nack: (o = {}) => unheeded(this.#nack(held, o.delayMs ?? 0)),
      reject: error => unheeded(this.#giveUp(held, error ?? 'rejected')),
      extend: ms => unheeded(this.#extend(held, ms)),
    }
    origins.set(record, { queue: this as unknown as Queue<never, never>, held })
    return record
  }

  #nack(held: HeldRecord, delayMs: number): Promise<void> {
    const { deliveryCountLimit, deadLetter } = this.#settings
    const isLast = held.deliveryCount >= deliveryCountLimit && deadLetter !== undefined
    return isLast
      ? this.#giveUp(held, `delivered ${held.deliveryCount} times`)
      : this.#say(held, 'release', delayMs)
  }

  async #extend(held: HeldRecord, ms: number): Promise<void> {
    const { clock } = this.#connection
    if (held.isSettled) throw notHeld(held.raw, this.group)
    const sentMs = clock.nowMs()
    await this.#acks.say(wordOf(held, 'renew', ms))
    held.lockedUntilMs = sentMs + ms
    // The time for processing begins anew with what was asked for.
    held.handedOutMs = Math.max(
      held.handedOutMs ?? sentMs,
      sentMs + ms - this.#settings.maxProcessingMs,
    )
  }

  async #giveUp(held: HeldRecord, error: unknown): Promise<void> {
    const { deadLetter, group } = this.#settings
    if (deadLetter === undefined) return this.#say(held, 'reject', 0)
    const { raw, deliveryCount } = held
    await this.acknowledgeWith([held], ack =>
      this.#deadLetters.send(deadLetter, raw, { group, deliveryCount, error }, ack),
    )
  }

  #settle(held: HeldRecord): void {
    if (held.isSettled) throw notHeld(held.raw, this.group)
    held.isSettled = true
  }

  async #say(held: HeldRecord, type: AckKind, ms: number): Promise<void> {
    this.#settle(held)
    this.#forget(held)
    try {
      await this.#acks.say(wordOf(held, type, ms))
    } catch (error) {
      held.abort(asLogloomError(error))
      throw error
    }
  }

  #forget(held: HeldRecord): void {
    this.#held.delete(held)
    this.#changed()
  }

  #lose(held: HeldRecord): void {
    this.#forget(held)
    if (!held.isSettled) held.lose(notHeld(held.raw, this.group))
  }

  /** A record that comes again was not this member's any more, although it had not noticed yet. */
  #loseAt({ topic, partition, offset }: RawRecord): void {
    for (const held of this.#held) {
      const { raw } = held
      if (raw.offset === offset && raw.partition === partition && raw.topic === topic)
        this.#lose(held)
    }
  }

  /** Until the queue is closed, through every outage. @throws what will repeat itself */
  async #fetchAll(): Promise<void> {
    const { clock, backoff } = this.#connection
    let isOpen = false
    let isInDoubt = false
    for (let failures = 0; !this.#stop.signal.aborted; ) {
      try {
        if (!isOpen) await this.#openGroup()
        isOpen = true
        if (isInDoubt) await this.#giveBack(this.#held)
        isInDoubt = false
        const room = await this.#room()
        if (this.#stop.signal.aborted) return
        isInDoubt = true
        await this.#fetch(room)
        isInDoubt = false
        failures = 0
      } catch (error) {
        if (this.#stop.signal.aborted) return
        const known = asLogloomError(error)
        // It was deleted; once more, and somebody deletes it all the time.
        if (known.code === 'UNKNOWN_GROUP') isOpen = false
        else if (!isTransient(known)) throw known
        if (isOpen || failures > 0)
          await pause(clock, fullJitterMs(failures, backoff, clock), this.#stop.signal)
        failures++
      }
    }
  }

  /** How many records there is room for, once that is half of all, so that not every record costs a request; or anything after close. */
  async #room(): Promise<number> {
    const { maxRecords } = this.#settings
    for (;;) {
      const room = maxRecords - this.#held.size
      if (room >= Math.max(1, Math.floor(maxRecords / 2)) || this.#stop.signal.aborted) return room
      await new Promise<void>(resolve => this.#wake.push(resolve))
    }
  }

  async #fetch(room: number): Promise<void> {
    const { maxBytes, recordLockDurationMs, topics } = this.#settings
    const { clock, requestTimeoutMs: timeoutMs } = this.#connection
    const link = await this.#connection.waitForLink({ signal: this.#stop.signal })
    const sentMs = clock.nowMs()
    const fields = {
      ...this.#who,
      topics: topics.map(topic => topicName(topic)),
      maxRecords: Math.min(room, recordsPerFetchMax),
      maxBytes,
      maxWaitMs: pollMs,
      recordLockDurationMs,
    }
    const reply = await link.channel.request('shareFetch', fields, { timeoutMs })
    // What comes now was given back already.
    if (this.#stop.signal.aborted) return
    const lockedUntilMs = sentMs + Number(reply['waitedMs']) + recordLockDurationMs
    await this.#receive(deliveredOf(reply, fields.maxRecords), lockedUntilMs)
  }

  async #openGroup(): Promise<void> {
    const { group, topics, autoOffsetReset, deliveryCountLimit, deadLetter } = this.#settings
    await this.#connection.call(
      'openShareGroup',
      {
        group,
        topics: topics.map(topic => topicName(topic)),
        autoOffsetReset,
        deliveryCountLimit,
        keepsDead: deadLetter !== undefined,
      },
      { signal: this.#stop.signal },
    )
  }

  /** Nobody knows what a request without an answer has brought: what this member does not know of is for others. */
  async #giveBack(except: Iterable<HeldRecord>): Promise<void> {
    const words = [...except].map(held => wordOf(held, 'gap'))
    const runs = runsOf(words).map(({ type: _type, ...run }) => run)
    await this.#connection.call(
      'leaveShareGroup',
      { ...this.#who, except: runs },
      { signal: this.#stop.signal },
    )
  }

  async #receive(rows: readonly Delivered[], lockedUntilMs: number): Promise<void> {
    const { deliveryCountLimit, deadLetter } = this.#settings
    for (const row of rows) {
      const { topic, partition } = row
      const found = await recordsIn(row)
      for (const [first, count, deliveryCount] of row.acquired)
        for (let offset = first; offset < first + count; offset++) {
          const record = found.get(offset)
          if (record === undefined) {
            this.#acks.say({ topic, partition, offset, type: 'gap', ms: 0 }).catch(() => {})
            continue
          }
          if (deliveryCount > 1) this.#loseAt(record.raw)
          const held = new HeldRecord(record.raw, record.timestamp, deliveryCount, lockedUntilMs)
          this.#held.add(held)
          // Whoever had it before died of it, perhaps: it is not tried once more.
          if (deliveryCount > deliveryCountLimit && deadLetter !== undefined)
            await this.#giveUp(
              held,
              `delivered ${deliveryCountLimit} times without a word about it`,
            )
          else this.#buffer.push(held)
        }
    }
    this.#changed()
  }

  #renewSoon(): void {
    const { recordLockDurationMs } = this.#settings
    this.#cancelRenewal = this.#connection.clock.schedule(recordLockDurationMs / 3, () => {
      this.#renewAll()
      this.#renewSoon()
    })
  }

  #renewAll(): void {
    const { recordLockDurationMs, maxProcessingMs } = this.#settings
    const { clock } = this.#connection
    const nowMs = clock.nowMs()
    for (const held of this.#held) {
      const { handedOutMs, lockedUntilMs, isSettled } = held
      if (isSettled || lockedUntilMs - nowMs > (recordLockDurationMs * 3) / 4) continue
      const isDue = handedOutMs !== undefined && nowMs - handedOutMs >= maxProcessingMs
      if (isDue) {
        // It is let go when its lock is over.
        if (lockedUntilMs <= nowMs) this.#lose(held)
        continue
      }
      this.#acks.say(wordOf(held, 'renew', recordLockDurationMs)).then(
        () => {
          held.lockedUntilMs = Math.max(held.lockedUntilMs, nowMs + recordLockDurationMs)
        },
        (error: unknown) => {
          if (asLogloomError(error).code === 'INVALID_RECORD_STATE') this.#lose(held)
        },
      )
    }
  }

  #fail(error: LogloomError): void {
    if (this.#stop.signal.aborted) return
    this.#failure ??= error
    this.#changed()
  }

  async #leave(): Promise<void> {
    this.#stop.abort()
    this.#changed()
    const { clock } = this.#connection
    for (const held of this.#held) held.abort(closedError('queue'))
    const drained = new AbortController()
    void this.#working.finally(() => drained.abort())
    await pause(clock, drainMs, drained.signal)
    // What is being acknowledged is still this member's until it is.
    await Promise.allSettled([this.#acks.flush(), ...this.#sending])
    this.#cancelRenewal?.()
    const link = this.#connection.link
    if (this.#fetching !== undefined && link)
      // Once, and not for long: who cannot say goodbye is missed when the locks are over.
      await link.channel
        .request('leaveShareGroup', this.#who, { timeoutMs: leaveMs })
        .catch(() => {})
    await this.#fetching
    const error = closedError('queue')
    for (const held of this.#held) if (!held.isSettled) held.lose(error)
    this.#held.clear()
    this.#buffer = []
    this.#lane.close(error)
    this.#onClosed(this as unknown as Queue<never, never>)
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

/** By offset. @throws BATCH_CORRUPT, UNSUPPORTED_CODEC */
async function recordsIn({ topic, partition, items }: Delivered) {
  const found = new Map<number, { readonly raw: RawRecord; readonly timestamp: number }>()
  for (const item of items) {
    if (item['batch'] === undefined) continue
    const base = Number(item['offset'])
    for (const record of await decodeBatch(plainBytes(item['batch'] as Uint8Array))) {
      const { offsetDelta, timestamp } = record
      const offset = (base + offsetDelta) as Offset
      const key = record.key && plainBytes(record.key)
      const value = record.value && plainBytes(record.value)
      const headers = record.headers.map(([name, bytes]) => [name, plainBytes(bytes)] as const)
      found.set(offset, { raw: { topic, partition, offset, key, value, headers }, timestamp })
    }
  }
  return found
}

/** May be left alone: whoever does not wait for it hears of a refusal by the record's signal, or by its next delivery. */
function unheeded(said: Promise<void>): Promise<void> {
  said.catch(() => {})
  return said
}

/** Waits, and is content with a record that is somebody else's by now. */
async function passOver(said: Promise<void>): Promise<void> {
  try {
    await said
  } catch (error) {
    if (asLogloomError(error).code !== 'INVALID_RECORD_STATE') throw error
  }
}

/** Where a record came from. */
export interface QueueOrigin {
  readonly queue: Queue<never, never>
  readonly held: HeldRecord
}

const origins = new WeakMap<object, QueueOrigin>()

/** Undefined for what no queue has handed out. */
export function queueOriginOf(record: object): QueueOrigin | undefined {
  return origins.get(record)
}
