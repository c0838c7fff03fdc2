// How many partitions a topic has, asked once and remembered, and how it came by them.
//
// Guarantees: one request per topic however many producers ask. For them a missing topic is created with the broker's defaults if the broker says that
// it does that, else the asker gets UNKNOWN_TOPIC. It does not know offsets; a refusal that shows the entry to be old drops it.

import { type Frame, LogloomError } from '../wire/index.ts'
import type { CallOptions, Connection } from './connection.ts'
import { epochsOf, isPartitionCount, partitionCount } from './checked.ts'
import { isTransient } from './failures.ts'
import type { PartitionEpoch } from './epochs.ts'

export class Catalog {
  readonly #connection: Connection
  readonly #known = new Map<string, number>()
  readonly #asked = new Map<string, Promise<number>>()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** The number of partitions, if known. */
  partitions(topic: string): number | undefined {
    return this.#known.get(topic)
  }

  /** Asks the broker unless known; creates the topic if the broker allows that. @throws UNKNOWN_TOPIC, TIMEOUT */
  async loadOrCreate(topic: string, o: { readonly timeoutMs: number }): Promise<number> {
    const { clock } = this.#connection
    const deadlineMs = clock.nowMs() + o.timeoutMs
    for (;;) {
      const known = this.#known.get(topic)
      if (known !== undefined) return known
      const asked = this.#asked.get(topic)
      const leftMs = deadlineMs - clock.nowMs()
      if (!asked) return this.#ask(topic, { timeoutMs: Math.max(1, leftMs) })
      try {
        return await asked
      } catch (error) {
        // Whoever asked may have had less time.
        if (!isTransient(error) || leftMs <= 0) throw error
      }
    }
  }

  #ask(topic: string, o: { readonly timeoutMs: number }): Promise<number> {
    const asked = this.#describeOrCreate(topic, o)
      .then(reply => this.#learned(topic, reply))
      .finally(() => this.#asked.delete(topic))
    this.#asked.set(topic, asked)
    return asked
  }

  /** Asks the broker, always: a reader wants to know about a topic that is gone. @throws UNKNOWN_TOPIC */
  async load(
    topic: string,
    o: CallOptions & { readonly allowStale: boolean },
  ): Promise<readonly PartitionEpoch[]> {
    const fields = { topic, allowStale: o.allowStale }
    const reply = await this.#connection.call('describeTopic', fields, o)
    const partitions = partitionCount(reply)
    // The answer may be old; partitions do not become fewer.
    if (partitions > (this.#known.get(topic) ?? 0)) this.#known.set(topic, partitions)
    return epochsOf(reply) ?? [{ partitions, lsn: 0, ends: [] }]
  }

  /** Corrects or forgets what an error has shown to be wrong. */
  learn(topic: string, error: LogloomError): void {
    const { partitions } = error.details
    if (error.code === 'STALE_PARTITIONS' && isPartitionCount(partitions))
      this.#known.set(topic, partitions)
    if (error.code === 'UNKNOWN_TOPIC' || error.code === 'UNKNOWN_PARTITION') {
      this.#known.delete(topic)
    }
  }

  #learned(topic: string, reply: Frame): number {
    const partitions = partitionCount(reply)
    this.#known.set(topic, partitions)
    return partitions
  }

  async #describeOrCreate(topic: string, o: CallOptions): Promise<Frame> {
    try {
      return await this.#connection.call('describeTopic', { topic }, o)
    } catch (error) {
      const missing = error instanceof LogloomError && error.code === 'UNKNOWN_TOPIC'
      if (!missing || error.details['autoCreate'] !== true) throw error
      return this.#connection.call('createTopic', { topic, ifNotExists: true }, o)
    }
  }
}
