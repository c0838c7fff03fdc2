// In which order a topic is read to which partitions were added, so that the records of each key stay in order (protocol.md 2.1).
//
//   epoch            0              1
//   partition 0   |--------------|----------►        a key of partition 0 may go on in partition 2: what it has in epoch 0 is
//   partition 1   |---------|---------------►        handed out before anything of epoch 1, wherever that lies
//   partition 2                  |----------►
//                           ends             offsets
//
// Pure: it knows offsets, not feeds.

/** How many partitions a topic has from a log position on. */
export interface PartitionEpoch {
  readonly partitions: number
  readonly lsn: number
  /** Next offset of each partition that there was before, at the change. */
  readonly ends: readonly number[]
}

/** Up to which offset a partition may be read in an epoch; 0 when it is of a later one. */
export function limitIn(
  epochs: readonly PartitionEpoch[],
  epoch: number,
  partition: number,
): number {
  const next = epochs[epoch + 1]
  if (next === undefined) return Number.POSITIVE_INFINITY
  return partition >= (epochs[epoch]?.partitions ?? 0) ? 0 : (next.ends[partition] ?? 0)
}

/** The epoch to read in: the first in which some partition has not been read to its end. A partition that is done has the cursor infinity. */
export function epochOf(
  epochs: readonly PartitionEpoch[],
  cursors: Iterable<{ readonly partition: number; readonly cursor: number }>,
): number {
  const last = epochs.length - 1
  let epoch = last
  for (const { partition, cursor } of cursors)
    for (let k = 0; k < epoch; k++) if (cursor < limitIn(epochs, k, partition)) epoch = k
  return epoch
}

/** The epochs that there were at a log position; none when the topic was not there. */
export function epochsAt(
  epochs: readonly PartitionEpoch[],
  position: number,
): readonly PartitionEpoch[] {
  return epochs.filter(({ lsn }) => lsn < position)
}
