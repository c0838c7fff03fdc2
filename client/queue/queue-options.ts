// Settings of a queue, under KIP-932's names in camelCase, with their defaults. This file decides nothing else.

import { checkTopicName, LogloomError } from '../../wire/index.ts'
import { amount } from '../amount.ts'
import { checkDeadLetterTopic } from '../dead-letter.ts'
import type { ReadAs, SomeTopic } from '../read-options.ts'
import { topicName } from '../topic.ts'

export interface QueueOptions {
  /** The share group: its members have each record once between them. */
  readonly group: string
  /** Topics by name or typed topic; they must exist. */
  readonly topics: SomeTopic | readonly SomeTopic[]
  /** Where a new group begins. Default `latest`, as KIP-932's. */
  readonly autoOffsetReset?: 'earliest' | 'latest'
  /** How long a record stays with a process from which nothing is heard, ms; default 30000. It is held on as long as the process lives, see {@link maxProcessingMs}. */
  readonly recordLockDurationMs?: number
  /** How long a record that was handed out is held at most, without a word about it, ms; default 300000. */
  readonly maxProcessingMs?: number
  /** Deliveries after which a record is given up; default 5. */
  readonly deliveryCountLimit?: number
  /** Topic for records that are given up: it gets them as they were written, in one append with their acknowledgement. Default: they are archived. */
  readonly deadLetter?: string
  /** Records that may be held at a time; default 100. */
  readonly maxRecords?: number
  /** Bytes of batches in one fetch; default 1 MiB. */
  readonly maxBytes?: number
  /** How long acknowledgements are gathered into one request, ms; default 2. */
  readonly ackLingerMs?: number
  /** How values come out; default: the typed topic's codec, else text. */
  readonly as?: ReadAs
}

export interface QueueSettings {
  readonly group: string
  readonly topics: readonly SomeTopic[]
  readonly autoOffsetReset: 'earliest' | 'latest'
  readonly recordLockDurationMs: number
  readonly maxProcessingMs: number
  readonly deliveryCountLimit: number
  readonly deadLetter: string | undefined
  readonly maxRecords: number
  readonly maxBytes: number
  readonly ackLingerMs: number
  readonly as: ReadAs | undefined
}

/** Checks options and fills in defaults. @throws INVALID_REQUEST, INVALID_TOPIC_NAME */
export function queueSettings(o: QueueOptions): QueueSettings {
  if (typeof o.group !== 'string' || o.group === '')
    throw new LogloomError('INVALID_REQUEST', 'a queue needs a group')
  const topics = (Array.isArray(o.topics) ? o.topics : [o.topics]) as readonly SomeTopic[]
  if (topics.length === 0) throw new LogloomError('INVALID_REQUEST', 'a queue needs topics')
  const names = topics.map(topic => topicName(topic))
  for (const name of names) checkTopicName(name)
  if (o.deadLetter !== undefined) checkDeadLetterTopic(o.deadLetter, names)
  return {
    group: o.group,
    topics,
    autoOffsetReset: o.autoOffsetReset ?? 'latest',
    recordLockDurationMs: amount('recordLockDurationMs', o.recordLockDurationMs, 30_000, 100),
    maxProcessingMs: amount('maxProcessingMs', o.maxProcessingMs, 300_000, 1),
    deliveryCountLimit: amount('deliveryCountLimit', o.deliveryCountLimit, 5, 1),
    deadLetter: o.deadLetter,
    maxRecords: amount('maxRecords', o.maxRecords, 100, 1),
    maxBytes: amount('maxBytes', o.maxBytes, 1 << 20, 1),
    ackLingerMs: amount('ackLingerMs', o.ackLingerMs, 2, 0),
    as: o.as,
  }
}
