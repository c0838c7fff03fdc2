// Consume, transform, produce, exactly once: records for many topics and the offsets that were consumed for them, in one append to the log.
//
// Guarantees: all of it takes effect, or nothing: when the function throws nothing was sent, when the broker refuses nothing was written. Readers never see
// half of it, and there are no markers between the records. Offsets are fenced by the group's generations, so a member that lost its partition cannot
// complete what it began. Knows nothing of retries: see Producer.

import { LogloomError } from '../wire/index.ts'
import { type Consumer, originOf } from './consumer/consumer.ts'
import type { CommitPlace } from './consumer/group-member.ts'
import type { BatchEntry, Producer, SendBatchOptions } from './producer.ts'
import type { HeldRecord } from './queue/held-record.ts'
import { type Queue, queueOriginOf } from './queue/queue.ts'
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
  readonly #acked = new Map<Queue<never, never>, Set<HeldRecord>>()
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

  /** Acknowledges a record of a queue together with the records. @throws INVALID_REQUEST */
  ack(record: object): void {
    this.#assertOpen()
    const origin = queueOriginOf(record)
    if (origin === undefined)
      throw new LogloomError('INVALID_REQUEST', 'tx.ack takes a record of a queue')
    const { queue, held } = origin
    const records = this.#acked.get(queue) ?? new Set<HeldRecord>()
    this.#acked.set(queue, records)
    records.add(held)
  }

  /** Sends everything in one append. */
  async complete(producer: Producer, signal: AbortSignal | undefined): Promise<readonly Ack[]> {
    this.#ended = true
    const options = { atomic: true, ...(signal && { signal }) }
    const [committed, ...otherConsumers] = this.#places
    const [acked, ...otherQueues] = this.#acked
    if (otherConsumers.length > 0 || otherQueues.length > 0)
      throw new LogloomError(
        'INVALID_REQUEST',
        'a transaction commits offsets of one consumer, and acknowledges records of one queue',
      )
    const send = (more: SendBatchOptions): Promise<readonly Ack[]> => {
      const all = { ...options, ...more }
      if (committed === undefined) return producer.sendBatch(this.#entries, all)
      const [consumer, places] = committed
      return consumer.transact([...places.values()], commit =>
        producer.sendBatch(this.#entries, { ...all, commit }),
      )
    }
    if (acked === undefined) return send({})
    const [queue, records] = acked
    return queue.acknowledgeWith([...records], ack => send({ ack }))
  }

  #assertOpen(): void {
    if (this.#ended)
      throw new LogloomError('INVALID_REQUEST', 'the transaction has ended: await what it does')
  }
}
