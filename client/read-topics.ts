// The `read` of a client: options and types in, a reader out, and the readers to end when the client closes.
//
// Kept apart from the client so that a page that only reads loads nothing of producing.

import type { Catalog } from './catalog.ts'
import type { Connection } from './connection.ts'
import { decoderOf, type ReadOptions, readSettings, type SomeTopic } from './read-options.ts'
import { type Gate, Reader } from './reader.ts'
import { type Topic, topicName } from './topic.ts'
import type { Tracing } from './tracing/tracing.ts'

/**
 * Reads records of one or several topics; from `'end'`, the default, means from now on. Nothing is asked for before the first record
 * is. What comes out depends on `as`, else on the topic's type; untyped topics give text.
 * @throws INVALID_REQUEST for options, CONNECTION_CLOSED; while reading OFFSET_TRIMMED, LOG_LOST, BATCH_CORRUPT, UNKNOWN_TOPIC
 */
export interface ReadTopics {
  (
    topics: string | readonly string[],
    options: ReadOptions & { readonly as: 'bytes' },
  ): Reader<Uint8Array, Uint8Array>
  (
    topics: string | readonly string[],
    options: ReadOptions & { readonly as: 'json' },
  ): Reader<unknown>
  (
    topics: string | readonly string[],
    options?: ReadOptions & { readonly as?: 'text' },
  ): Reader<string>
  <T>(topics: Topic<T> | readonly Topic<T>[], options?: ReadOptions): Reader<T>
}

/** The readers of one client. */
export class Readers {
  readonly #connection: Connection
  readonly #catalog: Catalog
  readonly #open = new Set<Reader<never, never>>()

  constructor(connection: Connection, catalog: Catalog) {
    this.#connection = connection
    this.#catalog = catalog
  }

  /** One partition, whatever its type, as far as the gate lets. */
  open(topic: SomeTopic, options: ReadOptions, gate: Gate): Reader<unknown, unknown> {
    return this.#read(topic, options, { gate })
  }

  /** As `read`, for reading that the application did not ask for: it makes no spans. */
  readonly inside = ((topics: SomeTopic, options?: ReadOptions) =>
    this.#read(topics, options ?? {}, {})) as ReadTopics

  readonly read = ((topics: SomeTopic, options?: ReadOptions) =>
    this.#read(topics, options ?? {}, { tracing: this.#connection.tracing })) as ReadTopics

  #read(
    topics: SomeTopic | readonly SomeTopic[],
    options: ReadOptions,
    { gate, tracing }: { readonly gate?: Gate; readonly tracing?: Tracing | undefined },
  ): Reader<never, never> {
    if (this.#connection.closedBy) throw this.#connection.closedBy
    const list = Array.isArray(topics) ? (topics as readonly SomeTopic[]) : [topics as SomeTopic]
    const decoders = new Map(list.map(topic => [topicName(topic), decoderOf(topic, options.as)]))
    const settings = readSettings([...decoders.keys()], options)
    const reader = new Reader<never, never>(this.#connection, this.#catalog, settings, decoders, {
      signal: options.signal,
      gate,
      tracing,
      onClosed: closed => this.#open.delete(closed),
    })
    this.#open.add(reader)
    return reader
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map(reader => reader.close()))
  }
}
