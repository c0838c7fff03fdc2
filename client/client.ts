// The way in: one connection with producers, readers and an admin on it.
//
// Guarantees: the client recovers from every loss by itself until it is closed; closing drains producers, ends readers and leaves no
// timer or socket behind. It does not know the protocol: see connection, producer, reader.

import { Admin } from './admin.ts'
import { amount } from './amount.ts'
import { Catalog } from './catalog.ts'
import { uintOf } from './checked.ts'
import type { Connection } from './connection.ts'
import { Consumer } from './consumer/consumer.ts'
import { type ConsumerOptions, consumerSettings } from './consumer/consumer-options.ts'
import { DeadLetters } from './dead-letter.ts'
import { closedError } from './failures.ts'
import { type ClientOptions, openConnection } from './open-connection.ts'
import { Producer } from './producer.ts'
import type { ProducerOptions } from './producer-options.ts'
import { Queue } from './queue/queue.ts'
import { type QueueOptions, queueSettings } from './queue/queue-options.ts'
import { Readers, type ReadTopics } from './read-topics.ts'
import type { ClientStatus } from './status.ts'
import type { Lsn } from './positions.ts'
import type { Ack } from './records.ts'
import type { Topic } from './topic.ts'
import { Transaction, type TransactionOptions } from './transaction.ts'

/** What a page or service holds; made by {@link connect}. */
export class Client {
  readonly read: ReadTopics
  readonly #connection: Connection
  readonly #catalog: Catalog
  readonly #readers: Readers
  readonly #deliveryTimeoutMs: number
  readonly #producers = new Set<Producer>()
  readonly #consumers = new Set<Consumer<never, never>>()
  readonly #queues = new Set<Queue<never, never>>()
  /** By transactional id. */
  readonly #transactional = new Map<string, Producer>()
  readonly #deadLetters: DeadLetters
  #deadLetterProducer: Producer | undefined
  #admin: Admin | undefined
  #closing: Promise<void> | undefined
  /** Consumers and queues are closed, and producers are on the way. */
  #ended = false

  /** Made by {@link connect}. */
  constructor(connection: Connection, deliveryTimeoutMs: number) {
    this.#connection = connection
    this.#catalog = new Catalog(connection)
    this.#readers = new Readers(connection, this.#catalog)
    this.#deliveryTimeoutMs = deliveryTimeoutMs
    this.#deadLetters = new DeadLetters(
      this.#readers,
      () => (this.#deadLetterProducer ??= this.#newProducer({ lingerMs: 0 })),
    )
    this.read = this.#readers.read
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
    return this.#newProducer(options)
  }

  /** Also for handlers that end what they are at while consumers and queues are closed. */
  #newProducer(options: ProducerOptions): Producer {
    this.#assertUsable()
    const producer = new Producer(this.#connection, this.#catalog, options, {
      deliveryTimeoutMs: this.#deliveryTimeoutMs,
      onClosed: closed => this.#producers.delete(closed),
    })
    this.#producers.add(producer)
    return producer
  }

  /**
   * A member of a consumer group; it joins when the first record is asked for. What comes out depends on `as`, else on the topic's type.
   * @throws INVALID_REQUEST for options
   */
  consumer<T>(
    options: ConsumerOptions & { readonly topics: Topic<T> | readonly Topic<T>[] },
  ): Consumer<T>
  consumer(options: ConsumerOptions & { readonly as: 'bytes' }): Consumer<Uint8Array, Uint8Array>
  consumer(options: ConsumerOptions & { readonly as: 'json' }): Consumer<unknown>
  consumer(options: ConsumerOptions): Consumer
  consumer(options: ConsumerOptions): Consumer<never, never> {
    this.#assertOpen()
    const settings = consumerSettings(options)
    const consumer = new Consumer<never, never>(
      this.#connection,
      this.#readers,
      this.#deadLetters,
      settings,
      closed => this.#consumers.delete(closed),
    )
    this.#consumers.add(consumer)
    return consumer
  }

  /**
   * A member of a share group (KIP-932): each record is one member's, until it is acknowledged or given back. What comes out depends on `as`, else on
   * the topic's type.
   * @throws INVALID_REQUEST, INVALID_TOPIC_NAME for options
   */
  queue<T>(options: QueueOptions & { readonly topics: Topic<T> | readonly Topic<T>[] }): Queue<T>
  queue(options: QueueOptions & { readonly as: 'bytes' }): Queue<Uint8Array, Uint8Array>
  queue(options: QueueOptions & { readonly as: 'json' }): Queue<unknown>
  queue(options: QueueOptions): Queue
  queue(options: QueueOptions): Queue<never, never> {
    this.#assertOpen()
    const queue = new Queue<never, never>(
      this.#connection,
      this.#deadLetters,
      queueSettings(options),
      {
        deliveryTimeoutMs: this.#deliveryTimeoutMs,
        onClosed: closed => this.#queues.delete(closed),
      },
    )
    this.#queues.add(queue)
    return queue
  }

  /**
   * Runs `work` and then sends everything that it gave to the transaction in one append: records for any topics, and the offsets of the group consumer
   * from which they were made. Nothing is sent when it throws. Handlers that {@link close} waits for may still run one.
   * @returns the acks of the records, in order
   * @throws what `work` throws; STALE_GENERATION, UNKNOWN_MEMBER, PRODUCER_FENCED and other refusals: nothing was written
   */
  async transaction(
    work: (tx: Transaction) => unknown,
    { transactionalId, signal }: TransactionOptions = {},
  ): Promise<readonly Ack[]> {
    this.#assertUsable()
    const name = transactionalId ?? ''
    let producer = this.#transactional.get(name)
    if (producer === undefined) {
      producer = this.#newProducer(transactionalId === undefined ? {} : { transactionalId })
      this.#transactional.set(name, producer)
    }
    const run = async (): Promise<readonly Ack[]> => {
      const tx = new Transaction()
      await work(tx)
      return tx.complete(producer, signal)
    }
    const { tracing } = this.#connection
    return tracing === undefined ? run() : tracing.transaction(run)
  }

  /**
   * A position of the log that sees everything acked so far, by whomever: `read(topics, { asOf: position })` reads the topics as they are now, whenever it is
   * called.
   */
  async snapshot(o: { readonly signal?: AbortSignal } = {}): Promise<Lsn> {
    this.#assertOpen()
    const timeoutMs = this.#connection.requestTimeoutMs
    const reply = await this.#connection.call('snapshot', {}, { timeoutMs, ...o })
    return uintOf(reply, 'position') as Lsn
  }

  admin(): Admin {
    this.#assertOpen()
    this.#admin ??= new Admin(this.#connection)
    return this.#admin
  }

  /**
   * Closes consumers and queues, whose handlers may end what they are at, then flushes producers for at most `timeoutMs` (default 30000), then ends
   * everything. Idempotent.
   */
  close(o: { timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(o.timeoutMs ?? 30_000)
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(timeoutMs: number): Promise<void> {
    await Promise.all([...this.#consumers, ...this.#queues].map(each => each.close()))
    this.#ended = true
    await Promise.all([...this.#producers].map(producer => producer.close({ timeoutMs })))
    await this.#connection.close()
    await this.#readers.close()
  }

  #assertOpen(): void {
    if (this.#closing) throw closedError('client')
    this.#assertUsable()
  }

  #assertUsable(): void {
    if (this.#ended) throw closedError('client')
    if (this.#connection.closedBy) throw this.#connection.closedBy
  }
}

/**
 * Connects to a broker, or to the first of several that answers. The client dials again for ever until it is closed.
 * @throws TIMEOUT when nobody answered within `connectTimeoutMs`, UNSUPPORTED_PROTOCOL, INVALID_REQUEST
 */
export async function connect(
  url: string | readonly string[],
  options: ClientOptions = {},
): Promise<Client> {
  const deliveryTimeoutMs = amount('deliveryTimeoutMs', options.deliveryTimeoutMs, 120_000, 1)
  return new Client(await openConnection(url, options), deliveryTimeoutMs)
}
