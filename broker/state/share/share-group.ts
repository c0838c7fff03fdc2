// What the state knows of a share group: its topics, its rules, and its partitions.

import { type DeliveryRules, SharePartition } from './share-partition.ts'

export interface ShareGroup extends DeliveryRules {
  readonly id: number
  readonly name: string
  readonly topics: Set<number>
  /** By `placeKey`. */
  readonly partitions: Map<string, SharePartition>
  deliveryCountLimit: number
  keepsDead: boolean
  /** Log time at which somebody last asked for something, ms. */
  usedAt: number
}

export const placeKey = (topicId: number, partition: number): string => `${topicId}/${partition}`

/** The members that hold records, and how many. */
export function holdersIn(group: ShareGroup): ReadonlyMap<string, number> {
  const holders = new Map<string, number>()
  for (const { records } of group.partitions.values())
    for (const { holder } of records.values())
      if (holder !== undefined) holders.set(holder, (holders.get(holder) ?? 0) + 1)
  return holders
}

/** Log time at which the first lock or delay of the group may be over, ms. */
export function dueOf(group: ShareGroup): number {
  let due = Number.POSITIVE_INFINITY
  for (const partition of group.partitions.values()) due = Math.min(due, partition.due)
  return due
}
