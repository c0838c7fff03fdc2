// Topics as they were at a position of the log: what entries below it made of them, and nothing that came later (protocol.md 6.5).
//
//   effect LSNs   3  3  7  7  9 12        position 9
//   offsets     |--------------|------|
//             start           end    next       the partition as of 9 is [start, end)
//
// Batches are numbered when they take effect, and entries take effect one after the other: an entry that was held back has the LSN of the one that made
// its turn come, no less than those before it. So effect LSNs never fall along a partition, and the end at a position can be searched for.
// Moving or compacting a batch keeps its offsets and its effect LSN.

import { LogloomError } from '../../wire/errors.ts'
import type { PartitionEpoch, PartitionState, Topics, TopicState } from './topics.ts'

/** Offsets of a partition as of a position. Those from `start` up to the partition's present start are gone by now. */
export interface PastRange {
  readonly start: number
  readonly end: number
}

/** The partitions that a topic had at a position. @throws UNKNOWN_TOPIC when it was not there yet */
export function epochAt({ name, epochs }: TopicState, position: number): PartitionEpoch {
  const epoch = epochs.findLast(({ lsn }) => lsn < position)
  if (epoch !== undefined) return epoch
  const created = epochs[0]?.lsn ?? 0
  throw new LogloomError(
    'UNKNOWN_TOPIC',
    `topic ${name} did not exist at position ${position}: it was created at ${created}`,
    { topic: name, autoCreate: false, created, actual: position },
  )
}

/** The partition as of `position`, which MUST have been applied. @throws UNKNOWN_TOPIC, UNKNOWN_PARTITION when it was not there yet */
export function pastRange(
  topics: Topics,
  topic: TopicState,
  state: PartitionState,
  position: number,
): PastRange {
  const { partitions } = epochAt(topic, position)
  if (state.partition >= partitions)
    throw new LogloomError(
      'UNKNOWN_PARTITION',
      `${topic.name} had ${partitions} partitions at position ${position}, asked for ${state.partition}`,
      { topic: topic.name, limit: partitions, actual: state.partition },
    )
  // Where it began then is not known once something went since: from 0 on, so that the loss is seen.
  const start = state.trimmedAt >= position ? 0 : state.start
  return { start, end: endAt(topics, state, position) }
}

/** The first offset whose batch took effect at `position` or later; the present start when nothing is left of what was there then. */
function endAt(topics: Topics, state: PartitionState, position: number): number {
  let low = state.start
  let high = state.next
  while (low < high) {
    const mid = low + Math.floor((high - low) / 2)
    const entry = topics.floor(state, mid)
    // Compaction may leave no entry at an offset: then the one below speaks for it.
    if (entry === undefined) low = mid + 1
    else if (entry.effectLsn < position) low = Math.max(mid + 1, entry.base + entry.span)
    else high = Math.max(low, entry.base)
  }
  return low
}
