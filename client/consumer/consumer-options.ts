// Settings of a group consumer, under Kafka's names in camelCase, with their defaults. This file decides nothing else.

import { LogloomError } from '../../wire/index.ts'
import { amount } from '../amount.ts'
import { checkDeadLetterTopic } from '../dead-letter.ts'
import type { OnInvalid, ReadAs, ReadGap, SomeTopic } from '../read-options.ts'
import { topicName } from '../topic.ts'

export interface ConsumerOptions {
  readonly groupId: string
  /** Topics by name or typed topic. */
  readonly topics?: SomeTopic | readonly SomeTopic[]
  /** Topics whose whole name matches, those of later too; RE2 syntax, or an expression without flags, back references and look-around. */
  readonly pattern?: string | RegExp
  /** Names this process across restarts: its next start takes its partitions over without a rebalance. */
  readonly groupInstanceId?: string
  /** Default `sticky`: even, and only what makes it more even moves. */
  readonly assignor?: 'sticky' | 'range' | 'roundrobin'
  /** How long the member may be without a connection, ms; default 45000. */
  readonly sessionTimeoutMs?: number
  /** How long a partition that is asked back may still be worked on, ms; default 300000. */
  readonly rebalanceTimeoutMs?: number
  /** Where to begin in a partition that the group has no offset of. Default `latest`, as Kafka's. */
  readonly autoOffsetReset?: 'earliest' | 'latest' | 'error'
  /** The offset exists no more, because retention was faster: apart from {@link autoOffsetReset}, since it means loss. Default `error`. */
  readonly onTrimmed?: 'error' | 'skip'
  /** Commits what was processed every {@link autoCommitIntervalMs}, when partitions are given back, and at the end. Default true. */
  readonly autoCommit?: boolean
  /** Default 5000. */
  readonly autoCommitIntervalMs?: number
  /** Bytes that may wait unread, all partitions together; default 4 MiB. */
  readonly maxBytes?: number
  /** How values come out; default: the typed topic's codec, else text. */
  readonly as?: ReadAs
  /** A value that cannot be decoded. Default `error`. With `deadLetter` it goes to that topic as it is, and counts as processed. */
  readonly onInvalid?: OnInvalid | { readonly deadLetter: string }
  /** A batch that cannot be decoded. Default `error`. */
  readonly onCorrupt?: 'error' | 'skip'
  readonly onGap?: (gap: ReadGap) => void
  /** A partition that has records but brings none for this long is reported as `stalled`, ms; default 30000. */
  readonly stalledAfterMs?: number
}

export interface ConsumerSettings {
  readonly groupId: string
  readonly topics: readonly SomeTopic[]
  readonly pattern: string | undefined
  readonly groupInstanceId: string | undefined
  readonly assignor: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly autoOffsetReset: 'earliest' | 'latest' | 'error'
  readonly autoCommit: boolean
  readonly autoCommitIntervalMs: number
  readonly maxBytes: number
  readonly stalledAfterMs: number
  readonly onInvalid: ConsumerOptions['onInvalid']
  readonly read: Pick<ConsumerOptions, 'as' | 'onTrimmed' | 'onCorrupt' | 'onGap'>
}

/** Checks options and fills in defaults. @throws INVALID_REQUEST */
export function consumerSettings(o: ConsumerOptions): ConsumerSettings {
  if (typeof o.groupId !== 'string' || o.groupId === '')
    throw new LogloomError('INVALID_REQUEST', 'a consumer needs a groupId')
  const topics =
    o.topics === undefined ? [] : Array.isArray(o.topics) ? o.topics : [o.topics as SomeTopic]
  if (topics.length === 0 && o.pattern === undefined)
    throw new LogloomError('INVALID_REQUEST', 'a consumer needs topics or a pattern')
  const names = (topics as readonly SomeTopic[]).map(topic => topicName(topic))
  if (typeof o.onInvalid === 'object') checkDeadLetterTopic(o.onInvalid.deadLetter, names)
  const { as, onTrimmed, onInvalid, onCorrupt, onGap } = o
  return {
    groupId: o.groupId,
    topics: topics as readonly SomeTopic[],
    pattern: patternOf(o.pattern),
    groupInstanceId: o.groupInstanceId,
    assignor: o.assignor ?? 'sticky',
    sessionTimeoutMs: amount('sessionTimeoutMs', o.sessionTimeoutMs, 45_000, 0),
    rebalanceTimeoutMs: amount('rebalanceTimeoutMs', o.rebalanceTimeoutMs, 300_000, 0),
    autoOffsetReset: o.autoOffsetReset ?? 'latest',
    autoCommit: o.autoCommit ?? true,
    autoCommitIntervalMs: amount('autoCommitIntervalMs', o.autoCommitIntervalMs, 5000, 1),
    maxBytes: amount('maxBytes', o.maxBytes, 4 << 20, 1),
    stalledAfterMs: amount('stalledAfterMs', o.stalledAfterMs, 30_000, 1),
    onInvalid,
    read: {
      ...(as === undefined ? {} : { as }),
      ...(onTrimmed === undefined ? {} : { onTrimmed }),
      ...(onCorrupt === undefined ? {} : { onCorrupt }),
      ...(onGap === undefined ? {} : { onGap }),
    },
  }
}

function patternOf(pattern: string | RegExp | undefined): string | undefined {
  if (!(pattern instanceof RegExp)) return pattern
  if (pattern.flags !== '')
    throw new LogloomError(
      'INVALID_REQUEST',
      `pattern ${String(pattern)}: flags are not supported; write (?i) for the flag i`,
    )
  return pattern.source
}
