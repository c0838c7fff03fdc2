// How far a reader that goes on at an offset is behind (protocol.md 10.4). Exact, since the log knows when each batch was appended; what was lost or
// trimmed cannot be read, so it is no lag.

import { lostOffsets } from './state/state-machine.ts'
import type { PartitionState, Topics } from './state/topics.ts'

export interface Lag {
  readonly records: number
  /** Log time of the oldest of them, ms; undefined when there are none. */
  readonly appendedAt: number | undefined
}

export function lagFrom(topics: Topics, partition: PartitionState, offset: number): Lag {
  const records = lagRecords(topics, partition, offset)
  return {
    records,
    appendedAt: records === 0 ? undefined : oldestUnread(topics, partition, offset),
  }
}

/** Costs nothing but for a partition with lost ranges. */
export function lagRecords(topics: Topics, partition: PartitionState, offset: number): number {
  const from = Math.max(offset, partition.start)
  return Math.max(0, partition.next - from - lostBetween(topics, partition, from))
}

/** Log time of the oldest record from `offset` on that can be read, ms. */
function oldestUnread(
  topics: Topics,
  partition: PartitionState,
  offset: number,
): number | undefined {
  for (const { length, timestamp } of topics.entriesFrom(
    partition,
    Math.max(offset, partition.start),
  ))
    if (length > 0) return timestamp
  return undefined
}

/** Offsets of lost ranges past `from`; the distance to the end tells how many there can be. */
function lostBetween(topics: Topics, partition: PartitionState, from: number): number {
  let left = Math.floor((partition.next - from) / lostOffsets)
  let lost = 0
  if (left === 0) return 0
  for (const { base, span, length } of topics.entriesFrom(partition, from)) {
    if (length > 0) continue
    lost += base + span - Math.max(base, from)
    if (--left === 0) break
  }
  return lost
}
