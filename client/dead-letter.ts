// Dead letters: records that nobody could process, with where they came from and why in headers of KIP-1191's names.
//
// Guarantees: key, value and headers are the bytes that were written, whatever the reader made of them; a record is in the dead-letter topic before
// it counts as processed, so none is lost, and one may come twice after a crash between the two.

import { checkTopicName, type Frame, LogloomError } from '../wire/index.ts'
import type { Producer } from './producer.ts'
import type { ReadRecord } from './read-record.ts'
import type { Readers } from './read-topics.ts'

export interface FailedPlace {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** A record as it lies in its topic. */
export type RawRecord = Pick<
  ReadRecord<Uint8Array, Uint8Array>,
  'topic' | 'partition' | 'offset' | 'key' | 'value' | 'headers'
>

/** What each dead letter says of where it was, besides the headers that the record had. */
export interface FailedBy {
  readonly group: string
  /** How often it was tried, where somebody counted. */
  readonly deliveryCount?: number
  readonly error: unknown
}

const messageLengthMax = 1024

export class DeadLetters {
  readonly #readers: Readers
  readonly #producer: () => Producer

  constructor(readers: Readers, producer: () => Producer) {
    this.#readers = readers
    this.#producer = producer
  }

  /** Fetches the record again, as bytes, and sends it. @throws OFFSET_TRIMMED when it is gone, or why it was not written */
  async give(to: string, { topic, partition, offset }: FailedPlace, by: FailedBy) {
    const reader = this.#readers.inside(topic, {
      as: 'bytes',
      partition,
      from: offset,
      until: 'end',
      maxBytes: 1,
    })
    for await (const record of reader) {
      if ((record.offset as number) === offset) return this.send(to, record, by)
      break
    }
    throw new LogloomError(
      'OFFSET_TRIMMED',
      `${topic}[${partition}] ${offset} is gone and cannot be given to ${to}`,
      { topic, partition, offset },
    )
  }

  /** With `ack`, the field of a publish, in one append with that acknowledgement. @throws why it was not written */
  async send(to: string, record: RawRecord, by: FailedBy, ack?: Frame): Promise<void> {
    const { key, value, headers } = record
    checkDeadLetterTopic(to, [record.topic])
    const letter = { key, value, headers: [...headers, ...originHeaders(record, by)] }
    const producer = this.#producer()
    if (ack === undefined) await producer.send<Uint8Array>(to, letter)
    else await producer.sendBatch([{ topic: to, ...letter }], { atomic: true, ack })
  }
}

/** @throws INVALID_TOPIC_NAME; INVALID_REQUEST when dead letters would be read again as records */
export function checkDeadLetterTopic(to: string, topics: readonly string[]): void {
  checkTopicName(to)
  if (!topics.includes(to)) return
  throw new LogloomError(
    'INVALID_REQUEST',
    `deadLetter: ${to} is one of the topics that are consumed`,
    { field: 'deadLetter' },
    { hint: 'name a topic of its own for dead letters' },
  )
}

function originHeaders(
  { topic, partition, offset }: FailedPlace,
  { group, deliveryCount, error }: FailedBy,
): readonly (readonly [string, string])[] {
  const message = error instanceof Error ? error.message : String(error)
  return [
    ['__dlq.errors.topic', topic],
    ['__dlq.errors.partition', String(partition)],
    ['__dlq.errors.offset', String(offset)],
    ['__dlq.errors.group', group],
    ...(deliveryCount === undefined
      ? []
      : [['__dlq.errors.delivery.count', String(deliveryCount)] as const]),
    ['__dlq.errors.message', message.slice(0, messageLengthMax)],
  ]
}
