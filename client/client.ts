// The way in: one connection with producers, readers and an admin on it.
//
// Guarantees: the client recovers from every loss by itself until it is closed; closing drains producers, ends readers and leaves no
// timer or socket behind. It does not know the protocol: see connection, producer, reader.

import { LogloomError } from '../wire/index.ts'
import { Admin } from './admin.ts'
import { Catalog } from './catalog.ts'
import { type ClientClock, systemClock } from './clock.ts'
import { Connection } from './connection.ts'
import { closedError } from './failures.ts'
import { Producer } from './producer.ts'
import { amount, type ProducerOptions } from './producer-options.ts'
import { decoderOf, type ReadOptions, readSettings } from './read-options.ts'
import { Reader } from './reader.ts'
import type { ClientStatus } from './status.ts'
import { type Topic, topicName } from './topic.ts'

export interface ClientOptions {
  /** Appears in the broker's logs; default `logloom-client`. */
  readonly clientId?: string
  /** Gives up connecting; an open client is closed by {@link Client.close}. */
  readonly signal?: AbortSignal
  /** How long `connect` waits for the first connection, and the bound of each dial, milliseconds; default 10000. */
  readonly connectTimeoutMs?: number
  /** How long one request waits for its answer, milliseconds; default 30000. */
  readonly requestTimeoutMs?: number
  /** From `send` until the outcome must be known, retries included, milliseconds; default 120000. */
  readonly deliveryTimeoutMs?: number
  /** First upper bound of the pause between attempts, doubled each time, milliseconds; default 50. */
  readonly retryBackoffMs?: number
  /** Last upper bound of that pause, milliseconds; default 2000. */
  readonly retryBackoffMaxMs?: number
  /** How often a silent connection is tried with a ping, milliseconds; default 20000. */
  readonly keepAliveMs?: number
  /** Return at once, connected or not. Default false. */
  readonly lazy?: boolean
  readonly clock?: ClientClock
}

/** What a page or service holds; made by {@link connect}. */
export class Client {
  readonly #connection: Connection
  readonly #catalog: Catalog
  readonly #deliveryTimeoutMs: number
  readonly #producers = new Set<Producer>()
  readonly #readers = new Set<Reader<never, never>>()
  #admin: Admin | undefined
  #closing: Promise<void> | undefined

  /** Made by {@link connect}. */
  constructor(connection: Connection, deliveryTimeoutMs: number) {
    this.#connection = connection
    this.#catalog = new Catalog(connection)
    this.#deliveryTimeoutMs = deliveryTimeoutMs
  }

  /** The connection's states: the present one first, then each change, until `closed`. */
  status(): AsyncIterableIterator<ClientStatus> {
    return this.#connection.status.read()
  }

  /** The present state. */
  get currentStatus(): ClientStatus {
    return this.#connection.status.current
  }

  /** @throws INVALID_REQUEST, UNSUPPORTED_CODEC, CONNECTION_CLOSED */
  producer(options: ProducerOptions = {}): Producer {
    this.#assertOpen()
    const producer = new Producer(this.#connection, this.#catalog, options, {
      deliveryTimeoutMs: this.#deliveryTimeoutMs,
      onClosed: closed => this.#producers.delete(closed),
    })
    this.#producers.add(producer)
    return producer
  }

  /**
   * Reads records of one or several topics; `'end'` means from now on. Nothing is asked for before the first record is.
   * @throws INVALID_REQUEST for options, CONNECTION_CLOSED; while reading OFFSET_TRIMMED, LOG_LOST, BATCH_CORRUPT, UNKNOWN_TOPIC
   */
  read(
    topics: string | readonly string[],
    options: ReadOptions & { readonly as: 'bytes' },
  ): Reader<Uint8Array, Uint8Array>
  read(
    topics: string | readonly string[],
    options: ReadOptions & { readonly as: 'json' },
  ): Reader<unknown>
  read(
    topics: string | readonly string[],
    options?: ReadOptions & { readonly as?: 'text' },
  ): Reader<string>
  read<T>(topics: Topic<T> | readonly Topic<T>[], options?: ReadOptions): Reader<T>
  read<T>(
    topics: string | Topic<T> | readonly (string | Topic<T>)[],
    options: ReadOptions = {},
  ): Reader<unknown, unknown> {
    this.#assertOpen()
    const list = Array.isArray(topics)
      ? (topics as readonly (string | Topic<T>)[])
      : [topics as string | Topic<T>]
    const decoders = new Map(
      list.map(topic => [
        topicName(topic),
        decoderOf(topic as string | Topic<unknown>, options.as),
      ]),
    )
    const settings = readSettings([...decoders.keys()], options)
    const reader = new Reader<unknown, unknown>(
      this.#connection,
      this.#catalog,
      settings,
      decoders,
      {
        signal: options.signal,
        onClosed: closed => this.#readers.delete(closed),
      },
    )
    this.#readers.add(reader as unknown as Reader<never, never>)
    return reader
  }

  admin(): Admin {
    this.#assertOpen()
    this.#admin ??= new Admin(this.#connection)
    return this.#admin
  }

  /** Flushes producers for at most `timeoutMs` (default 30000), then ends everything. Idempotent. */
  close(o: { timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(o.timeoutMs ?? 30_000)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(timeoutMs: number): Promise<void> {
    await Promise.all([...this.#producers].map(producer => producer.close({ timeoutMs })))
    await this.#connection.close()
    await Promise.all([...this.#readers].map(reader => reader.close()))
  }

  #assertOpen(): void {
    if (this.#closing) throw closedError('client')
    if (this.#connection.closedBy) throw this.#connection.closedBy
  }
}

/**
 * Connects to a broker, or to the first of several that answers. The client dials again for ever until it is closed.
 * @throws TIMEOUT when nobody answered within `connectTimeoutMs`, UNSUPPORTED_PROTOCOL, INVALID_REQUEST
 */
export async function connect(
  url: string | readonly string[],
  o: ClientOptions = {},
): Promise<Client> {
  const urls = typeof url === 'string' ? [url] : [...url]
  if (urls.length === 0) throw new LogloomError('INVALID_REQUEST', 'connect needs a URL')
  for (const each of urls) {
    if (!/^wss?:\/\//.test(each)) {
      const message = `not a WebSocket URL: ${JSON.stringify(each)}`
      throw new LogloomError('INVALID_REQUEST', message, {}, { hint: 'use ws://HOST:5640' })
    }
  }
  o.signal?.throwIfAborted()
  const connectTimeoutMs = amount('connectTimeoutMs', o.connectTimeoutMs, 10_000, 1)
  const deliveryTimeoutMs = amount('deliveryTimeoutMs', o.deliveryTimeoutMs, 120_000, 1)
  const connection = new Connection({
    urls,
    clientId: o.clientId ?? 'logloom-client',
    dialTimeoutMs: connectTimeoutMs,
    requestTimeoutMs: amount('requestTimeoutMs', o.requestTimeoutMs, 30_000, 1),
    keepAliveMs: amount('keepAliveMs', o.keepAliveMs, 20_000, 1),
    backoff: {
      baseMs: amount('retryBackoffMs', o.retryBackoffMs, 50, 0),
      maxMs: amount('retryBackoffMaxMs', o.retryBackoffMaxMs, 2000, 0),
    },
    clock: o.clock ?? systemClock,
  })
  const client = new Client(connection, deliveryTimeoutMs)
  if (o.lazy) return client
  try {
    await connection.waitForLink({ timeoutMs: connectTimeoutMs, signal: o.signal })
  } catch (error) {
    await client.close()
    throw error
  }
  return client
}
