// A copy of the state between two entries of the log, in the pages of an archive: everything of a snapshot but its batches, which are read later as of the
// same position.
//
// Made in one turn of the event loop, so that no entry comes in between; its bytes are bounded, and counted while it grows.

import { LogloomError } from '../../wire/errors.ts'
import type { RestoredGroup, RestoredRight, RestoredShareGroup } from '../state/restore/commands.ts'
import type { StateMachine } from '../state/state-machine.ts'
import type { TopicState } from '../state/topics.ts'
import type { ChunkType } from './format.ts'
import {
  groupRow,
  packPage,
  pageBytesMax,
  placesPerRowMax,
  producerRow,
  rightRow,
  shareGroupRow,
  topicRow,
} from './rows.ts'

export interface ImagePage {
  readonly type: ChunkType
  readonly page: Uint8Array
}

export interface SnapshotImage {
  readonly position: number
  /** Log time, ms. */
  readonly time: number
  readonly nextProducerId: number
  readonly pages: readonly ImagePage[]
}

/** Bytes of all pages of one image. */
const imageBytesMax = 256 << 20
/** Rows that are packed together before their size is looked at. */
const rowsPerLook = 64

/** `security`: with the hashes of API keys, ACLs and quotas. @throws LIMIT_EXCEEDED */
export function captureImage(machine: StateMachine, security: boolean): SnapshotImage {
  const pages = new Pages()
  // By id, so that the order is the same wherever it is taken.
  const topics = [...machine.topics.byName.values()].sort((a, b) => a.id - b.id)
  const indexOf = new Map(topics.map(({ id }, index) => [id, index]))
  pages.add('topics', topics, rowOf)
  pages.add('groups', groupsOf(machine, indexOf), groupRow)
  pages.add('shares', shareGroupsOf(machine, indexOf), shareGroupRow)
  pages.add('producers', producersOf(machine), producerRow)
  if (security) pages.add('security', rightsOf(machine), rightRow)
  return {
    position: machine.applied,
    time: machine.logTime,
    nextProducerId: machine.producers.nextProducerId,
    pages: pages.list,
  }
}

class Pages {
  readonly list: ImagePage[] = []
  private bytes = 0

  add<T>(type: ChunkType, values: Iterable<T>, row: (value: T) => unknown): void {
    let rows: unknown[] = []
    let weight = 0
    const put = (): void => {
      if (rows.length > 0) this.put(type, packPage(rows))
      rows = []
      weight = 0
    }
    for (const value of values) {
      const next = row(value)
      rows.push(next)
      weight += weightOf(next)
      if (weight >= pageBytesMax || (rows.length >= rowsPerLook && weight >= pageBytesMax / 2))
        put()
    }
    put()
  }

  private put(type: ChunkType, page: Uint8Array): void {
    this.bytes += page.length
    if (this.bytes > imageBytesMax)
      throw new LogloomError(
        'LIMIT_EXCEEDED',
        `topics and groups take more than ${imageBytesMax} bytes (imageBytesMax)`,
        { limit: imageBytesMax, actual: this.bytes },
      )
    this.list.push({ type, page })
  }
}

/** Bytes of a row, at least about. */
function weightOf(value: unknown): number {
  if (typeof value === 'string') return value.length + 3
  if (value instanceof Uint8Array) return value.length + 5
  if (typeof value !== 'object' || value === null) return 5
  let weight = 5
  for (const [key, each] of Object.entries(value))
    weight += (Array.isArray(value) ? 0 : key.length + 1) + weightOf(each)
  return weight
}

function rowOf({ name, config, createdAt, epochs, partitions }: TopicState): unknown {
  return topicRow({
    topic: name,
    config,
    createdAt,
    epochs: epochs.map(({ partitions: count, ends }) => [count, ends]),
    ranges: partitions.map(({ start, next }) => [start, next]),
  })
}

function* groupsOf(
  machine: StateMachine,
  indexOf: ReadonlyMap<number, number>,
): Generator<RestoredGroup> {
  for (const { name: group, assignor, offsets: all } of machine.groups.registry.inOrder()) {
    let offsets: RestoredGroup['offsets'][number][] = []
    for (const [topicId, ofTopic] of all) {
      const index = indexOf.get(topicId)
      if (index === undefined) continue
      for (const [partition, { offset, metadata, committedAt }] of ofTopic) {
        offsets.push([index, partition, offset, metadata, committedAt])
        if (offsets.length < placesPerRowMax) continue
        yield { group, assignor, offsets }
        offsets = []
      }
    }
    if (offsets.length > 0) yield { group, assignor, offsets }
  }
}

function* shareGroupsOf(
  machine: StateMachine,
  indexOf: ReadonlyMap<number, number>,
): Generator<RestoredShareGroup> {
  for (const share of machine.shares.registry.inOrder()) {
    const { name: group, deliveryCountLimit, keepsDead } = share
    const topics = [...share.topics].flatMap(id => indexOf.get(id) ?? [])
    const row = { group, deliveryCountLimit, keepsDead, topics }
    let partitions: RestoredShareGroup['partitions'][number][] = []
    let weight = 0
    let isFirst = true
    for (const of of share.partitions.values()) {
      const index = indexOf.get(of.topicId)
      if (index === undefined) continue
      const counters = [of.delivered, of.redelivered, of.acknowledged, of.archived] as const
      const records = [...of.records].map(([offset, { count }]) => [offset, count] as const)
      partitions.push([index, of.partition, of.end, counters, records])
      weight += 1 + records.length
      if (weight < placesPerRowMax) continue
      yield { ...row, partitions }
      isFirst = false
      partitions = []
      weight = 0
    }
    if (isFirst || partitions.length > 0) yield { ...row, partitions }
  }
}

function* producersOf(
  machine: StateMachine,
): Generator<{ readonly id: number; readonly epoch: number; readonly transactionalId: string }> {
  for (const { id, epoch, transactionalId } of machine.producers.all())
    if (transactionalId !== undefined) yield { id, epoch, transactionalId }
}

function* rightsOf({ security: { registry } }: StateMachine): Generator<RestoredRight> {
  for (const key of registry.apiKeys()) yield { kind: 'key', key }
  for (const binding of registry.acls()) yield { kind: 'acl', binding }
  for (const [principal, quota] of registry.quotas()) yield { kind: 'quota', principal, quota }
}
