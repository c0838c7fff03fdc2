// Which partitions of a topic a group may read, and how far, where partitions were added: the records of a key may go on in another partition then, and
// whoever reads that one must not come to them before the others are done with what came before (protocol.md 2.1).
//
//   epoch            0              1
//   partition 0   |------c-------|----------►      c: committed. Partition 1 has come to its end of epoch 0 and waits for partition 0;
//   partition 1   |---------c---------------►      partition 2 is given to nobody yet.
//   partition 2                  |----------►
//
// Committed is what counts: what is handed out and not committed may be handed out again, in another member.

import type { TopicState } from '../topics.ts'
import { committed, type Group } from './group.ts'

/** The epoch that the group reads: the first of which some partition is not committed up to its end. What was trimmed needs no commit. */
export function readingEpoch(group: Group, { id, epochs, partitions }: TopicState): number {
  for (let epoch = 0; epoch < epochs.length - 1; epoch++) {
    const ends = epochs[epoch + 1]?.ends ?? []
    const isRead = ends.every((end, partition) => {
      const start = partitions[partition]?.start ?? 0
      return start >= end || (committed(group, id, partition)?.offset ?? 0) >= end
    })
    if (!isRead) return epoch
  }
  return epochs.length - 1
}

/** How many of the topic's partitions may be given to members. */
export function readablePartitions(group: Group, topic: TopicState): number {
  return topic.epochs[readingEpoch(group, topic)]?.partitions ?? 0
}

/** Up to which offset a partition may be read; undefined: without end. */
export function readableUntil(
  { epochs }: TopicState,
  epoch: number,
  partition: number,
): number | undefined {
  return epochs[epoch + 1]?.ends[partition]
}

/** Whether a commit may end an epoch: only then need anybody look at the others. */
export function reachesEnd(
  { epochs }: TopicState,
  partition: number,
  before: number,
  after: number,
): boolean {
  return epochs.some(({ ends }) => {
    const end = ends[partition]
    return end !== undefined && before < end && after >= end
  })
}
