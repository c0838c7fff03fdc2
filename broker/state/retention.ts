// What retention drops (Kafka's `retention.ms` and `retention.bytes`, by batch instead of by segment file): a batch goes once its log append time
// is older than `retention.ms`, or while the partition without it still has `retention.bytes`. Pure: the same state gives the same answer everywhere.

import { cleanupPolicy, numberOf } from './topic-policy.ts'
import type { PartitionState, TopicState, Topics } from './topics.ts'

/** What holds for topics that say nothing themselves; -1 keeps for ever. */
export interface RetentionDefaults {
  readonly ms: number
  readonly bytes: number
}

/** Batches that one look at a partition drops at most; apply must stay short. */
export const retainedBatchesMax = 10_000

/** First offset that is kept at log time `time`. */
export function retainedFrom(
  topics: Topics,
  topic: TopicState,
  partition: PartitionState,
  defaults: RetentionDefaults,
  time: number,
): number {
  if (!cleanupPolicy(topic).delete) return partition.start
  const ms = numberOf(topic, 'retention.ms', defaults.ms)
  const bytes = numberOf(topic, 'retention.bytes', defaults.bytes)
  if (ms < 0 && (bytes < 0 || partition.bytes <= bytes)) return partition.start
  let from = partition.start
  let left = partition.bytes
  let seen = 0
  for (const entry of topics.entriesFrom(partition, from)) {
    const isOld = ms >= 0 && entry.timestamp + ms < time
    const isMore = bytes >= 0 && left - entry.length >= bytes
    if ((!isOld && !isMore) || ++seen > retainedBatchesMax) break
    left -= entry.length
    from = entry.base + entry.span
  }
  return from
}
