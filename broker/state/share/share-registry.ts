// All share groups, in memory, with their rows in the state store: one of each group, one of each of its partitions.

import { packFrame } from '../../../wire/frame.ts'
import { prefixRange, shareGroupKey, sharePartitionKey } from '../keys.ts'
import { unpackOwn } from '../own-frame.ts'
import type { StateStore, StoreOp } from '../store.ts'
import { placeKey, type ShareGroup } from './share-group.ts'
import { type Delivery, SharePartition } from './share-partition.ts'

/** Share groups in all. */
export const shareGroupsMax = 10_000

export class ShareRegistry {
  readonly byName = new Map<string, ShareGroup>()
  nextShareGroupId = 1
  private readonly store: StateStore
  private readonly dirtyGroups = new Set<ShareGroup>()
  private readonly dirtyPartitions = new Map<SharePartition, ShareGroup>()
  private deletions: StoreOp[] = []

  constructor(store: StateStore) {
    this.store = store
  }

  load(): void {
    const byId = new Map<number, ShareGroup>()
    for (const [, value] of this.store.range(prefixRange(12))) {
      const row = unpackOwn(value)
      const group: ShareGroup = {
        id: row.id as number,
        name: row.name as string,
        topics: new Set(row.t as number[]),
        partitions: new Map(),
        deliveryCountLimit: row.l as number,
        keepsDead: row.k as boolean,
        usedAt: row.u as number,
      }
      byId.set(group.id, group)
      this.byName.set(group.name, group)
    }
    for (const [, value] of this.store.range(prefixRange(13))) {
      const row = unpackOwn(value)
      const partition = decodePartition(row)
      byId
        .get(row.g as number)
        ?.partitions.set(placeKey(partition.topicId, partition.partition), partition)
    }
  }

  create(name: string, usedAt: number): ShareGroup {
    const group: ShareGroup = {
      id: this.nextShareGroupId++,
      name,
      topics: new Set(),
      partitions: new Map(),
      deliveryCountLimit: 0,
      keepsDead: false,
      usedAt,
    }
    this.byName.set(name, group)
    this.changed(group)
    return group
  }

  add(group: ShareGroup, partition: SharePartition): SharePartition {
    group.partitions.set(placeKey(partition.topicId, partition.partition), partition)
    this.partitionChanged(group, partition)
    return partition
  }

  delete(group: ShareGroup): void {
    for (const partition of group.partitions.values()) this.drop(group, partition)
    this.byName.delete(group.name)
    this.dirtyGroups.delete(group)
    this.deletions.push({ type: 'delete', key: shareGroupKey(group.id) })
  }

  drop(group: ShareGroup, partition: SharePartition): void {
    const { topicId, partition: number } = partition
    group.partitions.delete(placeKey(topicId, number))
    this.dirtyPartitions.delete(partition)
    this.deletions.push({ type: 'delete', key: sharePartitionKey(group.id, topicId, number) })
  }

  changed(group: ShareGroup): void {
    this.dirtyGroups.add(group)
  }

  partitionChanged(group: ShareGroup, partition: SharePartition): void {
    this.dirtyPartitions.set(partition, group)
  }

  /** In the order in which they were made. */
  inOrder(): readonly ShareGroup[] {
    return [...this.byName.values()].sort((a, b) => a.id - b.id)
  }

  takeChanges(ops: StoreOp[]): void {
    ops.push(...this.deletions)
    this.deletions = []
    for (const { id, name, topics, deliveryCountLimit, keepsDead, usedAt } of this.dirtyGroups) {
      const row = { id, name, t: [...topics], l: deliveryCountLimit, k: keepsDead, u: usedAt }
      ops.push({ type: 'put', key: shareGroupKey(id), value: packFrame(row) })
    }
    this.dirtyGroups.clear()
    for (const [partition, { id }] of this.dirtyPartitions)
      ops.push({
        type: 'put',
        key: sharePartitionKey(id, partition.topicId, partition.partition),
        value: encodePartition(id, partition),
      })
    this.dirtyPartitions.clear()
  }
}

type RecordRow = readonly [
  offset: number,
  count: number,
  holder: number | null,
  until: number | null,
]

/** Holders are named once. */
function encodePartition(group: number, partition: SharePartition): Uint8Array {
  const { topicId, end, records, delivered, redelivered, acknowledged, archived } = partition
  const holders = new Map<string, number>()
  const rows = [...records].map(([offset, { count, holder, until }]): RecordRow => {
    if (holder !== undefined && !holders.has(holder)) holders.set(holder, holders.size)
    return [
      offset,
      count,
      holder === undefined ? null : (holders.get(holder) ?? null),
      until ?? null,
    ]
  })
  return packFrame({
    g: group,
    t: topicId,
    p: partition.partition,
    e: end,
    n: [delivered, redelivered, acknowledged, archived],
    h: [...holders.keys()],
    r: rows,
  })
}

function decodePartition(row: Readonly<Record<string, unknown>>): SharePartition {
  const partition = new SharePartition(row.t as number, row.p as number, row.e as number)
  const holders = row.h as readonly string[]
  const [delivered = 0, redelivered = 0, acknowledged = 0, archived = 0] = row.n as number[]
  Object.assign(partition, { delivered, redelivered, acknowledged, archived })
  for (const [offset, count, holder, until] of row.r as readonly RecordRow[]) {
    const delivery: Delivery = {
      count,
      holder: holder === null ? undefined : holders[holder],
      until: until ?? undefined,
    }
    partition.restore(offset, delivery)
  }
  return partition
}
