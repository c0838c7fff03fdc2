// Archives made by hand, right or wrong, without a broker.

import { randomBytes } from 'node:crypto'
import { ArchiveWriter } from '../../broker/snapshot/archive-writer.ts'
import { type ArchiveHead, noTotals, type Totals } from '../../broker/snapshot/check-archive.ts'
import type { ChunkType } from '../../broker/snapshot/format.ts'
import { itemHeader } from '../../broker/snapshot/items.ts'
import {
  groupRow,
  packPage,
  producerRow,
  topicRow,
  type TopicRow,
} from '../../broker/snapshot/rows.ts'
import { encodeBatch } from '../../wire/batch.ts'
import { packFrame } from '../../wire/frame.ts'

export const head: ArchiveHead = {
  id: '0123456789abcdef',
  position: 100,
  time: 2_000_000,
  takenAt: 2_000_001,
  clusterId: 'logloom',
  version: '0.1.0',
  nextProducerId: 10,
}

export const topic: TopicRow = {
  topic: 'orders',
  config: { 'retention.ms': '-1' },
  createdAt: 1000,
  epochs: [
    [1, []],
    [2, [2]],
  ],
  ranges: [
    [0, 4],
    [0, 0],
  ],
}

export type Part = readonly [type: ChunkType, payload: Uint8Array]

export function batchesOf(
  index: number,
  partition: number,
  items: readonly (readonly [offset: number, next: number, timestamp: number, batch: Uint8Array])[],
): Uint8Array {
  const place = Buffer.alloc(8)
  place.writeUInt32BE(index)
  place.writeUInt32BE(partition, 4)
  const pieces = items.flatMap(([offset, next, timestamp, batch]) => [
    itemHeader({ offset, next, timestamp, batch }),
    batch,
  ])
  return Buffer.concat([place, ...pieces])
}

export const two = encodeBatch([{ value: 'a' }, { key: 'k', value: 'b' }], { now: 1500 })

/** A small archive that is right. */
export function goodParts(): Part[] {
  return [
    ['head', packFrame({ ...head })],
    ['topics', packPage([topicRow(topic)])],
    [
      'groups',
      packPage([groupRow({ group: 'g', assignor: 'sticky', offsets: [[0, 0, 3, 'm', 1600]] })]),
    ],
    ['producers', packPage([producerRow({ id: 3, epoch: 1, transactionalId: 'tx' })])],
    [
      'batches',
      batchesOf(0, 0, [
        [0, 2, 1500, two],
        [2, 4, 1600, two],
      ]),
    ],
  ]
}

export const goodTotals: Totals = {
  ...noTotals(),
  topics: 1,
  partitions: 2,
  batches: 2,
  records: 4,
  batchBytes: two.length * 2,
  groups: 1,
  producers: 1,
}

/** Writes the parts, with matching CRCs and SHA-256, whatever they are. */
export async function writeArchive(
  path: string,
  parts: readonly Part[],
  totals: Totals = goodTotals,
): Promise<void> {
  const writer = await ArchiveWriter.create(path, randomBytes(6).toString('hex'))
  for (const [type, payload] of parts) await writer.chunk(type, [payload])
  await writer.finish({ ...totals })
}
