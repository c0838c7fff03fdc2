// Reads partitions as one async stream of records, without a group: a cursor, kept by the caller as a resume token.
//
// Guarantees: each record of the partitions asked for once, in offset order per partition, through reconnects; an offset is only
// passed over as a typed gap, which is reported or thrown; memory stays within `maxBytes` plus one batch per partition. A reader is
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
import { asLogloomError, closedError } from './failures.ts'
import { type Delivery, PartitionFeed } from './partition-feed.ts'
import type { Offset, Position } from './positions.ts'
import { type Decoder, type ReadGap, type ReadSettings, startOfPartition } from './read-options.ts'
import { type ReadBatch, ReadRecord, resumeTokenAt, type Snapshot } from './read-record.ts'

const windowBytesMin = 4096
/** The longest that timers take, about 24 days: waiting for a broker has no deadline of its own. */
const foreverMs = 2 ** 31 - 1

export class Reader<V, K = string> implements AsyncIterable<ReadRecord<V, K>> {
  readonly #connection: Connection
  readonly #catalog: Catalog
  readonly #settings: ReadSettings
  readonly #decoders: ReadonlyMap<string, Decoder>
  readonly #signal: AbortSignal | undefined
  readonly #stop = new AbortController()
  readonly #onClosed: (reader: Reader<never, never>) => void
  #feeds: PartitionFeed[] = []
  #nexts: number[] = []
  #turn = 0
  #starting: Promise<void> | undefined
  #wake: (() => void) | undefined
  #iterated = false
  #closed = false

  /** Made by {@link Client.read}; nothing happens before the first record is asked for, or {@link opened}. */
  constructor(
    connection: Connection,
    catalog: Catalog,
    settings: ReadSettings,
    decoders: ReadonlyMap<string, Decoder>,
    o: { signal: AbortSignal | undefined; onClosed: (reader: Reader<never, never>) => void },
  ) {
    this.#connection = connection
    this.#catalog = catalog
    this.#settings = settings
    this.#decoders = decoders
    this.#signal = o.signal
    this.#onClosed = o.onClosed
  }

  /** Starts reading if need be; resolves with the starting positions, once every record written from now on will be seen. */
  async opened(): Promise<readonly Position[]> {
    await this.#started()
    while (!this.#begun()) {
      this.#throwIfOver()
      await this.#change()
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
        const batch = await this.#nextBatch()
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
          const value = await this.#nextBatch()
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
    const { topics, partition, start, maxBytes, onTrimmed, onRetry } = this.#settings
    const places = await Promise.all(topics.map(topic => this.#partitionsOf(topic, partition)))
    if (this.#closed) return
    const feeds = places.flat()
    const windowBytes = Math.max(windowBytesMin, Math.floor(maxBytes / feeds.length))
    this.#feeds = feeds.map(({ topic, partition }) => {
      return new PartitionFeed(this.#connection, {
        topic,
        partition,
        from: startOfPartition(start, topic, partition),
        windowBytes,
        skipTrimmed: onTrimmed === 'skip',
        onChange: () => this.#wake?.(),
        onRetry: error => onRetry({ topic, partition, error }),
      })
    })
  }

  async #partitionsOf(topic: string, partition: number | undefined) {
    if (partition !== undefined) return [{ topic, partition }]
    const o = { signal: this.#stop.signal, timeoutMs: foreverMs }
    const count = await this.#catalog.load(topic, o)
    return Array.from({ length: count }, (_, partition) => ({ topic, partition }))
  }

  /** True once every feed knows its start: only then is a resume token complete. */
  #begun(): boolean {
    if (this.#nexts.length === this.#feeds.length) return true
    if (!this.#feeds.every(hasBegun)) return false
    this.#nexts = this.#feeds.map(feed => feed.cursor as number)
    return true
  }

  /** The next batch that holds a record, or undefined at the end. */
  async #nextBatch(): Promise<ReadBatch<V, K> | undefined> {
    try {
      if (!this.#starting) await this.#started()
      else await this.#starting
      while (true) {
        this.#throwIfAborted()
        if (this.#closed) return undefined
        const index = this.#begun() ? this.#readyFeed() : -1
        const feed = this.#feeds[index]
        const delivery = feed?.take()
        if (feed && delivery) {
          const batch = await this.#decode(feed, index, delivery)
          if (this.#settings.untilEnd && isDone(feed)) feed.close()
          if (batch.records.length > 0 && !this.#closed) return batch
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
      if (wasClosed) return undefined
      throw error
    }
  }

  /** Partitions take turns, one delivery each. */
  #readyFeed(): number {
    const count = this.#feeds.length
    for (let step = 0; step < count; step++) {
      const index = (this.#turn + step) % count
      if ((this.#feeds[index]?.queued ?? 0) > 0) {
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
    for (const feed of this.#feeds) {
      if (feed.error && feed.queued === 0 && !(this.#settings.untilEnd && isDone(feed)))
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

  async #decode(feed: PartitionFeed, index: number, delivery: Delivery): Promise<ReadBatch<V, K>> {
    const { topic, partition } = feed
    const limit = this.#settings.untilEnd ? (feed.firstEnd as number) : Number.POSITIVE_INFINITY
    const nexts = this.#feeds.length === 1 ? this.#nexts : this.#nexts.slice()
    const place = { topic, partition, snapshot: { partitions: this.#feeds, nexts, at: index } }
    const records: ReadRecord<V, K>[] = []
    let cursor = feed.cursor as number
    for (const [i, item] of delivery.items.entries()) {
      const base = Number(item['offset'])
      if (base >= limit) break
      const following = Number(item['next'] ?? delivery.items[i + 1]?.['offset'] ?? delivery.next)
      if (item['gap'] !== undefined) {
        const type = item['gap'] as ReadGap['type']
        this.#pass({ topic, partition, type, offset: Math.max(base, cursor), next: following })
      } else {
        const found = await this.#open(item)
        if (found instanceof LogloomError) {
          const gap = { topic, partition, type: 'corrupt', offset: base, next: following } as const
          this.#pass(gap, found)
        } else this.#collect(found, base, cursor, limit, place, records)
      }
      cursor = Math.max(cursor, following)
    }
    const next = Math.min(Math.max(cursor, delivery.next), limit) as Offset
    feed.cursor = next
    this.#nexts[index] = next
    const token = { partitions: this.#feeds, nexts, at: index }
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

  #collect(
    found: readonly BatchRecord[],
    base: number,
    cursor: number,
    limit: number,
    place: { topic: string; partition: number; snapshot: Snapshot },
    into: ReadRecord<V, K>[],
  ): void {
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
        if (this.#settings.onInvalid === 'skip') continue
        const at = { topic: place.topic, partition: place.partition, offset }
        const message = `the value of ${at.topic}-${at.partition}@${offset} cannot be decoded`
        const hint = "correct the topic's codec, read with as: 'bytes', or pass onInvalid: 'skip'"
        throw new LogloomError('INVALID_REQUEST', message, at, { cause, hint })
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

/** Node's sockets and zlib give Buffers, whose `slice` does not copy: callers get plain byte arrays everywhere. */
function plainBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.constructor === Uint8Array) return bytes
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
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
