// What `relocate` and `compacted` do (DESIGN 5.2 "Cleaning"): a batch lies elsewhere from now on, or what compaction left of it does. Offsets, effect
// position and times stay; and nothing happens unless the batch still lies where the proposer found it.

import type { Compacted, Move } from './commands.ts'
import type { Topics } from './topics.ts'

/** Applies the moves whose batches lie where they are expected; while `isHeld` only those that leave the records as they are. @returns base offsets of these */
export function relocate(
  topics: Topics,
  moves: readonly Move[],
  batchStarts: readonly number[],
  place: number,
  isHeld = false,
): readonly number[] {
  const moved: number[] = []
  moves.forEach((move, i) => {
    const partition = topics.partition(move.topicId, move.partition)
    const entry = partition === undefined ? undefined : topics.at(partition, move.base)
    if (partition === undefined || entry === undefined) return
    const isExpected = entry.lsn === move.lsn && entry.start === move.start
    if (!isExpected) return
    const { header, batch } = move
    if (isHeld && header?.count !== entry.count) return
    if (header === undefined) topics.replace(partition, entry, undefined)
    // A batch of other offsets can only be a defect of the proposer; apply must not make it worse.
    else if (header.span !== entry.span) return
    else
      topics.replace(partition, entry, {
        ...entry,
        count: header.count,
        lsn: place,
        start: batchStarts[i] as number,
        length: batch.length,
      })
    moved.push(move.base)
  })
  return moved
}

/** Remembers how far a partition is compacted. @returns whether it had effect */
export function compacted(topics: Topics, command: Compacted, time: number): boolean {
  const partition = topics.partition(command.topicId, command.partition)
  if (partition === undefined || partition.compaction.to !== command.from) return false
  const { horizon, horizonTime } = partition.compaction
  topics.setCompaction(partition, {
    to: command.to,
    bytes: Math.min(command.bytes, partition.bytes),
    tombstones: command.tombstones,
    horizon: command.swept ? command.to : horizon,
    horizonTime: command.swept ? time : horizonTime,
  })
  return true
}
