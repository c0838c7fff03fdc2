// What a topic's configuration says about retention and cleaning, with Kafka's names and defaults. Pure: apply depends on it.

import type { TopicState } from './topics.ts'

export interface CleanupPolicy {
  readonly delete: boolean
  readonly compact: boolean
}

/** Share of a partition's bytes that was written since it was last compacted. */
const minCleanableDirtyRatioDefault = 0.5
const deleteRetentionMsDefault = 86_400_000

/** Of topics that say nothing: asked for every batch. */
const deleteOnly: CleanupPolicy = { delete: true, compact: false }

export function cleanupPolicy({ config }: TopicState): CleanupPolicy {
  const policy = config['cleanup.policy']
  if (policy === undefined) return deleteOnly
  const names = policy.split(',')
  return { delete: names.includes('delete'), compact: names.includes('compact') }
}

export function minCleanableDirtyRatio(topic: TopicState): number {
  return numberOf(topic, 'min.cleanable.dirty.ratio', minCleanableDirtyRatioDefault)
}

/** How long a tombstone is kept after it was compacted first. */
export function deleteRetentionMs(topic: TopicState): number {
  return numberOf(topic, 'delete.retention.ms', deleteRetentionMsDefault)
}

/** Records younger than this are left alone. */
export function minCompactionLagMs(topic: TopicState): number {
  return numberOf(topic, 'min.compaction.lag.ms', 0)
}

/** A number of the topic's configuration, or what holds for topics that say nothing. */
export function numberOf({ config }: TopicState, key: string, fallback: number): number {
  const own = config[key]
  return own === undefined ? fallback : Number(own)
}
