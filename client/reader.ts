// Reads partitions as one async stream of records, without a group: a cursor, kept by the caller as a resume token.
//
// Guarantees: each record of the partitions asked for once, in offset order per partition, through reconnects; partitions that are added to a topic are
// read too, and the records of a key stay in order over that (see epochs); an offset is only passed over as a typed gap, which is reported or thrown; memory stays within `maxBytes` plus one batch per partition. A reader is
// used once: `break`, `return`, an abort or an error close it. It does not know sockets: feeds keep the pushes coming.

import {
  type BatchRecord,
  decodeBatch,
  decodeBatchSync,
  type Frame,
  LogloomError,
  readBatchHeader,
} from '../wire/index.ts'
import type { Catalog } from './catalog.ts'
import type { Connection } from './connection.ts'
import { epochOf, epochsAt, limitIn, type PartitionEpoch } from './epochs.ts'
import { asLogloomError, closedError } from './failures.ts'
import { type Delivery, PartitionFeed } from './partition-feed.ts'
import { plainBytes } from './plain-bytes.ts'
import type { Offset, Position } from './positions.ts'
import { type Decoder, type ReadGap, type ReadSettings, startOfPartition } from './read-options.ts'
import { type ReadBatch, ReadRecord, resumeTokenAt, type Snapshot } from './read-record.ts'
import type { Tracing } from './tracing/tracing.ts'

const windowBytesMin = 4096
/** The longest that timers take, about 24 days: waiting for a broker has no deadline of its own. */
const foreverMs = 2 ** 31 - 1

/** Says how far the partition of a reader may be read; it may change its mind, see {@link Reader.look}. */
export interface Gate {
  /** Nothing at or past it is handed out. */
  readonly limit: number
  /** The topic has so many partitions, heard before any record that came after. */
  told(partitions: number): void
  /** There is nothing to hand out below `next`. */
  passed(next: number): void
}

/** A topic that is read whole. */
interface WholeTopic {
  readonly name: string
  epochs: readonly PartitionEpoch[]
  /** The one being read; see {@link epochOf}. */
  epoch: number
  /** Partitions that the broker told of. */
  told: number
  /** Partitions up to which `epochs` was asked for. */
  asked: number
}

export class Reader<V, K = string> implements AsyncIterable<ReadRecord<V, K>> {
  readonly #connection: Connection
  readonly #catalog: Catalog
  readonly #settings: ReadSettings
  readonly #decoders: ReadonlyMap<string, Decoder>
  readonly #signal: AbortSignal | undefined
  readonly #stop = new AbortController()
  readonly #onClosed: (reader: Reader<never, never>) => void
  readonly #gate: Gate | undefined
  readonly #tracing: Tracing | undefined
  readonly #whole = new Map<string, WholeTopic>()
  #failure: LogloomError | undefined
  /** Why it was closed before it had begun. */
  #notOpened: unknown
  #feeds: PartitionFeed[] = []
  #nexts: number[] = []
  #turn = 0
  #starting: Promise<void> | undefined
  #wake: (() => void) | undefined
  /** Ends the span of what the application works on. */
  #worked: (() => void) | undefined
  #iterated = false
  #closed = false

  /** Made by {@link Client.read}; nothing happens before the first record is asked for, or {@link opened}. */
  constructor(
    connection: Connection,
    catalog: Catalog,
    settings: ReadSettings,
    decoders: ReadonlyMap<string, Decoder>,
    o: {
      signal: AbortSignal | undefined
      gate: Gate | undefined
      /** Makes spans of what it hands out. */
      tracing: Tracing | undefined
      onClosed: (reader: Reader<never, never>) => void
    },
  ) {
    this.#connection = connection
    this.#catalog = catalog
    this.#settings = settings
    this.#decoders = decoders
    this.#signal = o.signal
    this.#gate = o.gate
    this.#tracing = o.tracing
    this.#onClosed = o.onClosed
  }

  /** Looks again how far it may read. */
  look(): void {
    this.#wake?.()
  }

  /** Starts reading if need be; resolves with the starting positions, once every record written from now on will be seen. An error closes the reader. */
  async opened(): Promise<readonly Position[]> {
    try {
      await this.#started()
      while (!this.#begun()) {
        this.#throwIfOver()
        await this.#change()
      }
    } catch (error) {
      // Whoever goes on to ask for records hears why there are none.
      if (!this.#closed) this.#notOpened = error
      await this.close()
      throw error
    }
    return this.#feeds.map(({ topic, partition }, i) => ({
      topic,
      partition,
      next: this.#nexts[i] ?? 0,
    }))
  }

  /** Records one by one. */
  [Symbol.asyncIterator](): AsyncIterableIterator<ReadRecord<V, K>> {
    this.#claim()
    let records: readonly ReadRecord<V, K>[] = []
    let at = 0
    let refill: Promise<unknown> = Promise.resolve()
    const done = { done: true, value: undefined } as const
    const take = async (): Promise<IteratorResult<ReadRecord<V, K>>> => {
      while (at >= records.length || this.#closed) {
        const batch = await this.#handOut()
        if (!batch) return done
        records = batch.records
        at = 0
      }
      return { done: false, value: records[at++] as ReadRecord<V, K> }
    }
    const iterator: AsyncIterableIterator<ReadRecord<V, K>> = {
      next: () => {
        const record = records[at]
        if (record && !this.#closed) {
          at++
          return Promise.resolve({ done: false, value: record })
        }
        // One refill at a time, also for callers that ask ahead.
        const next = refill.then(take)
        refill = next.catch(() => {})
        return next
      },
      return: async () => {
        await this.close()
        return done
      },
      [Symbol.asyncIterator]: () => iterator,
    }
    return iterator
  }

  /** Records as they were delivered: arrays of one partition each. Use either this or the records one by one. */
  batches(): AsyncIterableIterator<ReadBatch<V, K>> {
    this.#claim()
    let last: Promise<unknown> = Promise.resolve()
    const done = { done: true, value: undefined } as const
    const iterator: AsyncIterableIterator<ReadBatch<V, K>> = {
      next: () => {
        const next = last.then(async (): Promise<IteratorResult<ReadBatch<V, K>>> => {
          const value = await this.#handOut()
          return value ? { done: false, value } : done
        })
        last = next.catch(() => {})
        return next
      },
      return: async () => {
        await this.close()
        return done
      },
      [Symbol.asyncIterator]: () => iterator,
    }
    return iterator
  }

  /** Stops reading; an iteration under way ends. Idempotent. */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true
      this.#stop.abort()
      this.#signal?.removeEventListener('abort', this.#onAbort)
      for (const feed of this.#feeds) feed.close()
      this.#wake?.()
      this.#workedOn()
      this.#onClosed(this as unknown as Reader<never, never>)
    }
    return Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  readonly #onAbort = (): void => {
    void this.close()
  }

  #claim(): void {
    if (this.#iterated) {
      throw new LogloomError('INVALID_REQUEST', 'a reader is iterated once; call read() again')
    }
    this.#iterated = true
  }

  #started(): Promise<void> {
    if (!this.#starting) {
      this.#starting = this.#start()
      this.#starting.catch(() => {})
    }
    return this.#starting
  }

  async #start(): Promise<void> {
    this.#throwIfOver()
    this.#signal?.addEventListener('abort', this.#onAbort)
    const { topics, partition, start } = this.#settings
    const places = await Promise.all(topics.map(topic => this.#partitionsOf(topic, partition)))
    if (this.#closed) return
    const feeds = places.flat()
    const windowBytes = this.#windowBytes(feeds.length)
    this.#feeds = feeds.map(({ topic, partition }) =>
      this.#feed(topic, partition, startOfPartition(start, topic, partition), windowBytes),
    )
  }

  #feed(topic: string, partition: number, from: unknown, windowBytes: number): PartitionFeed {
    const { asOf, onTrimmed, onRetry } = this.#settings
    return new PartitionFeed(this.#connection, {
      topic,
      partition,
      from,
      windowBytes,
      asOf,
      skipTrimmed: onTrimmed === 'skip',
      onChange: () => this.#wake?.(),
      onRetry: error => onRetry({ topic, partition, error }),
      onPartitions: count => {
        this.#gate?.told(count)
        this.#told(topic, count)
      },
    })
  }

  #windowBytes(feeds: number): number {
    return Math.max(windowBytesMin, Math.floor(this.#settings.maxBytes / feeds))
  }

  async #partitionsOf(name: string, partition: number | undefined) {
    if (partition !== undefined) return [{ topic: name, partition }]
    const { asOf } = this.#settings
    const epochs = await this.#epochsOf(name, asOf === undefined)
    const told = epochs.at(-1)?.partitions ?? 0
    this.#whole.set(name, { name, epochs, epoch: 0, told, asked: told })
    // Of a topic that was not there the broker says so, when its first partition is asked for.
    return Array.from({ length: Math.max(1, told) }, (_, partition) => ({ topic: name, partition }))
  }

  async #epochsOf(topic: string, allowStale: boolean): Promise<readonly PartitionEpoch[]> {
    const { asOf } = this.#settings
    const o = { signal: this.#stop.signal, timeoutMs: foreverMs, allowStale }
    const epochs = await this.#catalog.load(topic, o)
    return asOf === undefined ? epochs : epochsAt(epochs, asOf)
  }

  /** Nothing more of the topic is handed out until it is known where the old partitions ended. */
  #told(name: string, count: number): void {
    const topic = this.#whole.get(name)
    if (!topic || this.#settings.asOf !== undefined || count <= topic.told) return
    topic.told = count
    this.#learn(topic).catch((error: unknown) => {
      this.#failure ??= asLogloomError(error)
      this.#wake?.()
    })
  }

  async #learn(topic: WholeTopic): Promise<void> {
    const { told, name } = topic
    const epochs = await this.#epochsOf(name, false)
    if (this.#closed || told <= topic.asked) return
    topic.epochs = epochs
    topic.asked = Math.max(told, epochs.at(-1)?.partitions ?? 0)
    topic.told = Math.max(topic.told, topic.asked)
    const known = this.#feeds.filter(feed => feed.topic === name).length
    const hasBegun = this.#begun()
    const isFixed = hasBegun && this.#settings.untilEnd
    if (!isFixed) this.#add(name, known, epochs.at(-1)?.partitions ?? known, hasBegun)
    this.#moveOn(name)
    this.#wake?.()
  }

  /** Reads partitions `[from, to)` too, all of them: they came after this reader. */
  #add(topic: string, from: number, to: number, hasBegun: boolean): void {
    if (to <= from) return
    const { start } = this.#settings
    const windowBytes = this.#windowBytes(this.#feeds.length + to - from)
    for (const feed of this.#feeds) feed.resize(windowBytes)
    const starts = Array.from(
      { length: to - from },
      (_, i) => start.positions?.get(`${topic}-${from + i}`) ?? 0,
    )
    // The partitions of a topic stand together, as a token needs them; whoever holds one keeps the former lists.
    const at = this.#feeds.findLastIndex(feed => feed.topic === topic) + 1
    const feeds = this.#feeds.slice()
    feeds.splice(at, 0, ...starts.map((n, i) => this.#feed(topic, from + i, n, windowBytes)))
    this.#feeds = feeds
    if (!hasBegun) return
    const nexts = this.#nexts.slice()
    nexts.splice(at, 0, ...starts)
    this.#nexts = nexts
  }

  /** Goes on to the epoch that the cursors have come to. */
  #moveOn(name: string): void {
    const topic = this.#whole.get(name)
    if (!topic || topic.epoch === topic.epochs.length - 1 || !this.#begun()) return
    const cursors = this.#feeds.flatMap((feed, i) => {
      if (feed.topic !== name) return []
      const isOver = this.#settings.untilEnd && isDone(feed)
      const cursor = isOver ? Number.POSITIVE_INFINITY : (this.#nexts[i] ?? 0)
      return [{ partition: feed.partition, cursor }]
    })
    topic.epoch = epochOf(topic.epochs, cursors)
  }

  /** Up to which offset a feed may be read now. */
  #limit({ topic, partition }: PartitionFeed): number {
    const whole = this.#whole.get(topic)
    if (!whole) return this.#gate?.limit ?? Number.POSITIVE_INFINITY
    return whole.told > whole.asked ? 0 : limitIn(whole.epochs, whole.epoch, partition)
  }

  /** True once every feed knows its start: only then is a resume token complete. */
  #begun(): boolean {
    if (this.#nexts.length === this.#feeds.length) return true
    if (!this.#feeds.every(hasBegun)) return false
    this.#nexts = this.#feeds.map(feed => feed.cursor as number)
    for (const name of this.#whole.keys()) this.#moveOn(name)
    return true
  }

  /** The next batch, with spans of asking for it and of the work on it. */
  async #handOut(): Promise<ReadBatch<V, K> | undefined> {
    const tracing = this.#tracing
    if (tracing === undefined) return this.#nextBatch()
    this.#workedOn()
    const received = tracing.receiving()
    const batch = await this.#nextBatch()
    if (batch === undefined) return undefined
    received(batch)
    // Not after a close that came while the batch was on its way.
    if (!this.#closed) this.#worked = tracing.working(batch)
    return batch
  }

  #workedOn(): void {
    this.#worked?.()
    this.#worked = undefined
  }

  /** The next batch that holds a record, or undefined at the end. */
  async #nextBatch(): Promise<ReadBatch<V, K> | undefined> {
    if (this.#notOpened !== undefined) throw this.#notOpened
    try {
      if (!this.#starting) await this.#started()
      else await this.#starting
      while (true) {
        this.#throwIfAborted()
        if (this.#notOpened !== undefined) throw this.#notOpened
        if (this.#closed) return undefined
        const index = this.#begun() ? this.#readyFeed() : -1
        const feed = this.#feeds[index]
        const delivery = feed?.take(this.#limit(feed))
        if (feed && delivery) {
          const batch = await this.#decode(feed, delivery)
          if (this.#settings.untilEnd && isDone(feed)) feed.close()
          this.#moveOn(feed.topic)
          if (batch.records.length > 0 && !this.#closed) return batch
          if (!this.#closed) this.#gate?.passed(batch.next)
        } else if (this.#atEnd()) {
          await this.close()
          return undefined
        } else {
          this.#throwIfFailed()
          await this.#change()
        }
      }
    } catch (error) {
      const wasClosed = this.#closed
      await this.close()
      this.#throwIfAborted()
      if (this.#notOpened !== undefined) throw this.#notOpened
      if (wasClosed) return undefined
      throw error
    }
  }

  /** Partitions take turns, one delivery each. */
  #readyFeed(): number {
    const count = this.#feeds.length
    for (let step = 0; step < count; step++) {
      const index = (this.#turn + step) % count
      const feed = this.#feeds[index]
      const head = feed?.cursor === undefined ? undefined : feed.head
      if (feed && head !== undefined && head < this.#limit(feed)) {
        this.#turn = index + 1
        return index
      }
    }
    return -1
  }

  #atEnd(): boolean {
    return this.#settings.untilEnd && this.#begun() && this.#feeds.every(isDone)
  }

  #throwIfAborted(): void {
    if (this.#signal?.aborted) throw this.#signal.reason
  }

  #throwIfFailed(): void {
    if (this.#failure) throw this.#failure
    // What is queued waits for other partitions, which bring nothing more either.
    const isOver = this.#connection.closedBy !== undefined
    for (const feed of this.#feeds) {
      if (feed.error && (isOver || feed.queued === 0) && !(this.#settings.untilEnd && isDone(feed)))
        throw feed.error
    }
  }

  #throwIfOver(): void {
    this.#throwIfAborted()
    if (this.#closed) throw closedError('reader')
    this.#throwIfFailed()
  }

  /** Resolves at the next change of a feed, or at close. */
  #change(): Promise<void> {
    return new Promise(resolve => {
      const earlier = this.#wake
      this.#wake = () => {
        this.#wake = undefined
        earlier?.()
        resolve()
      }
    })
  }

  async #decode(feed: PartitionFeed, delivery: Delivery): Promise<ReadBatch<V, K>> {
    const { topic, partition } = feed
    const limit = this.#settings.untilEnd ? (feed.firstEnd as number) : Number.POSITIVE_INFINITY
    const partitions = this.#feeds
    const at = partitions.indexOf(feed)
    const nexts = partitions.length === 1 ? this.#nexts : this.#nexts.slice()
    const place = { topic, partition, snapshot: { partitions, nexts, at } }
    const records: ReadRecord<V, K>[] = []
    let cursor = feed.cursor as number
    for (const [i, item] of delivery.items.entries()) {
      const base = Number(item['offset'])
      if (base >= limit) break
      const following = Number(item['next'] ?? delivery.items[i + 1]?.['offset'] ?? delivery.next)
      if (item['gap'] !== undefined) {
        const type = item['gap'] as ReadGap['type']
        const next = Math.min(following, limit)
        this.#pass({ topic, partition, type, offset: Math.max(base, cursor), next })
      } else {
        const found = await this.#open(item)
        if (found instanceof LogloomError) {
          const gap = { topic, partition, type: 'corrupt', offset: base, next: following } as const
          this.#pass(gap, found)
        } else await this.#collect(found, base, cursor, limit, place, records)
      }
      cursor = Math.max(cursor, following)
    }
    const next = Math.min(Math.max(cursor, delivery.next), limit) as Offset
    feed.cursor = next
    // Partitions may have been added meanwhile.
    this.#nexts[this.#feeds.indexOf(feed)] = next
    const token = { partitions, nexts, at }
    return new DeliveredBatch(topic, partition, records, next, delivery.end as Offset, token)
  }

  /** The records of a batch, or why it cannot be read. @throws UNSUPPORTED_CODEC */
  async #open(item: Frame): Promise<readonly BatchRecord[] | LogloomError> {
    const batch = plainBytes(item['batch'] as Uint8Array)
    try {
      const { codec } = readBatchHeader(batch)
      return codec === 'none' ? decodeBatchSync(batch) : await decodeBatch(batch)
    } catch (error) {
      const failure = asLogloomError(error)
      if (failure.code !== 'BATCH_CORRUPT') throw failure
      return failure
    }
  }

  async #collect(
    found: readonly BatchRecord[],
    base: number,
    cursor: number,
    limit: number,
    place: { topic: string; partition: number; snapshot: Snapshot },
    into: ReadRecord<V, K>[],
  ): Promise<void> {
    const { onInvalid } = this.#settings
    const decoder = this.#decoders.get(place.topic) as Decoder
    for (const record of found) {
      const offset = base + record.offsetDelta
      // A batch may start before the offset asked for, and reach past the end that was.
      if (offset < cursor || offset >= limit) continue
      const { key, value, timestamp } = record
      const headers = record.headers.map(([name, bytes]) => [name, plainBytes(bytes)] as const)
      try {
        const decodedKey = key && (decoder.key(plainBytes(key)) as K)
        const decodedValue = value && (decoder.value(plainBytes(value)) as V)
        into.push(new ReadRecord<V, K>(place, offset, timestamp, decodedKey, decodedValue, headers))
      } catch (cause) {
        if (onInvalid === 'skip') continue
        const at = { topic: place.topic, partition: place.partition, offset }
        const message = `the value of ${at.topic}-${at.partition}@${offset} cannot be decoded`
        const hint = "correct the topic's codec, read with as: 'bytes', or pass onInvalid: 'skip'"
        const error = new LogloomError('INVALID_REQUEST', message, at, { cause, hint })
        if (onInvalid === 'error') throw error
        const raw = [key && plainBytes(key), value && plainBytes(value)] as const
        await onInvalid(new ReadRecord(place, offset, timestamp, ...raw, headers), error)
      }
    }
  }

  /** Reports a gap; throws when it should not be passed over. */
  #pass(gap: ReadGap, cause?: LogloomError): void {
    const { onTrimmed, onLost, onCorrupt, onGap } = this.#settings
    const where = `${gap.topic}-${gap.partition} [${gap.offset}, ${gap.next})`
    const details = { ...gap }
    if (gap.type === 'trimmed' && onTrimmed === 'error') {
      throw new LogloomError('OFFSET_TRIMMED', `${where} was trimmed`, {
        ...details,
        start: gap.next,
      })
    }
    if (gap.type === 'lost' && onLost === 'error') {
      throw new LogloomError('LOG_LOST', `${where} was lost`, details)
    }
    if (gap.type === 'corrupt' && onCorrupt === 'error') {
      const message = `${where} cannot be decoded`
      throw new LogloomError('BATCH_CORRUPT', message, details, cause ? { cause } : {})
    }
    onGap(gap)
  }
}

function hasBegun(feed: PartitionFeed): boolean {
  return feed.cursor !== undefined && feed.firstEnd !== undefined
}

function isDone(feed: PartitionFeed): boolean {
  return feed.cursor !== undefined && feed.cursor >= (feed.firstEnd ?? Number.POSITIVE_INFINITY)
}

class DeliveredBatch<V, K> implements ReadBatch<V, K> {
  readonly topic: string
  readonly partition: number
  readonly records: readonly ReadRecord<V, K>[]
  readonly next: Offset
  readonly end: Offset
  readonly #snapshot: Snapshot

  constructor(
    topic: string,
    partition: number,
    records: readonly ReadRecord<V, K>[],
    next: Offset,
    end: Offset,
    snapshot: Snapshot,
  ) {
    this.topic = topic
    this.partition = partition
    this.records = records
    this.next = next
    this.end = end
    this.#snapshot = snapshot
  }

  get resumeToken(): string {
    return resumeTokenAt(this.#snapshot, this.next)
  }
}
