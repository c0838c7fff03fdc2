// Consume, transform, produce, exactly once: records for many topics and the offsets that were consumed for them, in one append to the log.
//
// Guarantees: all of it takes effect, or nothing: when the function throws nothing was sent, when the broker refuses nothing was written. Readers never see
// half of it, and there are no markers between the records. Offsets are fenced by the group's generations, so a member that lost its partition cannot
// complete what it began. Knows nothing of retries: see Producer.

import { LogloomError } from '../wire/index.ts'
import { type Consumer, originOf } from './consumer/consumer.ts'
import type { CommitPlace } from './consumer/group-member.ts'
import type { BatchEntry, Producer } from './producer.ts'
import type { Ack, OutgoingRecord } from './records.ts'
import type { PlainValue, Topic } from './topic.ts'

export interface TransactionOptions {
  /** Whoever begins under the same name fences all earlier users of it, also after a restart (Kafka's transactional.id). */
  readonly transactionalId?: string
  readonly signal?: AbortSignal
}

/** What a transaction is made of; nothing of it is sent before the function has returned. */
export class Transaction {
  readonly #entries: BatchEntry<unknown>[] = []
  readonly #places = new Map<Consumer<never, never>, Map<string, CommitPlace>>()
  #ended = false

  /** Adds a record. @throws INVALID_REQUEST once the function has returned */
  send<T = PlainValue>(
    topic: string | Topic<T>,
    record: OutgoingRecord<NoInfer<T>>,
    o: { readonly partition?: number } = {},
  ): void {
    this.#assertOpen()
    this.#entries.push({ ...record, topic, ...o } as BatchEntry<unknown>)
  }

  /**
   * Commits a record or a batch of a group consumer, and all before it in its partition, together with the records.
   * @throws INVALID_REQUEST when records before it are being worked on: run with `order: 'partition'`
   */
  commit(consumed: object): void {
    this.#assertOpen()
    const origin = originOf(consumed)
    if (origin === undefined)
      throw new LogloomError(
        'INVALID_REQUEST',
        'tx.commit takes a record or a batch of a group consumer',
      )
    const { consumer, place, check } = origin
    check()
    const places = this.#places.get(consumer) ?? new Map<string, CommitPlace>()
    this.#places.set(consumer, places)
    const key = `${place.topic}/${place.partition}`
    const before = places.get(key)
    if (before === undefined || place.offset > before.offset) places.set(key, place)
  }

  /** Sends everything in one append. */
  async complete(producer: Producer, signal: AbortSignal | undefined): Promise<readonly Ack[]> {
    this.#ended = true
    const options = { atomic: true, ...(signal && { signal }) }
    const [first, ...others] = this.#places
    if (others.length > 0)
      throw new LogloomError('INVALID_REQUEST', 'a transaction commits offsets of one consumer')
    if (first === undefined) return producer.sendBatch(this.#entries, options)
    const [consumer, places] = first
    return consumer.transact([...places.values()], commit =>
      producer.sendBatch(this.#entries, { ...options, commit }),
    )
  }

  #assertOpen(): void {
    if (this.#ended)
      throw new LogloomError('INVALID_REQUEST', 'the transaction has ended: await what it does')
  }
}
