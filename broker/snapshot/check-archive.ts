// Whether an archive is a snapshot of one state: chunks in their order, names and numbers within their bounds, each partition whole from its start to its
// end, offsets of groups inside partitions, totals as the footer says.
//
// Guarantees: after `done` every byte of the file was looked at. Memory grows with topics, partitions and names of groups, not with records.

import { type Frame, unpackFrame } from '../../wire/frame.ts'
import { bindingKey } from '../security/acl.ts'
import type { RestoredBatch, RestoredRight } from '../state/restore/commands.ts'
import type { Chunk } from './archive-reader.ts'
import { ArchiveReader } from './archive-reader.ts'
import { chunkBytesMax, type ChunkType, corrupt, placeBytes } from './format.ts'
import { parseItems } from './items.ts'
import {
  parseGroups,
  parseProducers,
  parseRights,
  parseShareGroups,
  parseTopics,
  type TopicRow,
} from './rows.ts'

export interface ArchiveHead {
  /** Of this snapshot. */
  readonly id: string
  /** Position of the log that it is of. */
  readonly position: number
  /** Log time there, ms. */
  readonly time: number
  /** Wall clock of whoever took it, ms. */
  readonly takenAt: number
  readonly clusterId: string
  /** Version of the broker. */
  readonly version: string
  readonly nextProducerId: number
}

export const totalNames = [
  'topics',
  'partitions',
  'batches',
  'records',
  'batchBytes',
  'groups',
  'shareGroups',
  'producers',
  'rights',
  'lostOffsets',
] as const
export type Totals = { -readonly [K in (typeof totalNames)[number]]: number }

export interface ArchiveSummary {
  readonly head: ArchiveHead
  readonly totals: Totals
  /** Hexadecimal; of everything before the footer. */
  readonly sha256: string
}

export interface CheckedArchive extends ArchiveSummary {
  readonly topics: readonly TopicRow[]
}

const order: readonly ChunkType[] = [
  'head',
  'topics',
  'groups',
  'shares',
  'producers',
  'security',
  'batches',
  'footer',
]

export function noTotals(): Totals {
  return Object.fromEntries(totalNames.map(name => [name, 0])) as Totals
}

/** Head and footer, without a look at what lies between. @throws SNAPSHOT_CORRUPT */
export async function readSummary(path: string): Promise<ArchiveSummary & { bytes: number }> {
  const reader = await ArchiveReader.open(path)
  try {
    const footer = await reader.footer()
    for await (const chunk of reader.chunks()) {
      const { totals, sha256 } = footerOf(path, footer)
      return { head: headOf(path, chunk), totals, sha256, bytes: reader.bytes }
    }
    throw corrupt(path, 0, 'the head is missing')
  } finally {
    await reader.close()
  }
}

/** Reads and checks everything. `onBytes` is told how far it has come. @throws SNAPSHOT_CORRUPT, INVALID_REQUEST */
export async function checkArchive(
  path: string,
  onBytes: (done: number, all: number) => void = () => {},
): Promise<CheckedArchive> {
  const reader = await ArchiveReader.open(path)
  try {
    const check = new ArchiveCheck(path)
    let digest: Uint8Array = new Uint8Array()
    // The way there is checked first: a file that was cut short is found at once.
    await reader.footer()
    const chunks = reader.chunks(found => {
      digest = found
    })
    for await (const chunk of chunks) {
      check.take(chunk, digest)
      onBytes(chunk.at + chunk.payload.length, reader.bytes)
    }
    return check.done()
  } finally {
    await reader.close()
  }
}

/** Place and items of a `batches` chunk. @throws SNAPSHOT_CORRUPT */
export function placeOf(
  path: string,
  { at, payload }: Chunk,
): { readonly index: number; readonly partition: number; readonly items: Uint8Array } {
  if (payload.length <= placeBytes) throw corrupt(path, at, 'a chunk of batches is empty')
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
  return {
    index: view.getUint32(0),
    partition: view.getUint32(4),
    items: payload.subarray(placeBytes),
  }
}

export class ArchiveCheck {
  private readonly path: string
  private readonly topics: TopicRow[] = []
  private readonly names = new Set<string>()
  private readonly groups = new Map<string, 'group' | 'share'>()
  private readonly producers = new Set<string>()
  private readonly rights = new Set<string>()
  private readonly totals = noTotals()
  private head: ArchiveHead | undefined
  private sha256: string | undefined
  private stage = 0
  /** The row before belongs to this group. */
  private group = ''
  /** Where the partition that is being read has come to. */
  private at = { index: 0, partition: 0, next: undefined as number | undefined, timestamp: 0 }

  constructor(path: string) {
    this.path = path
  }

  /** Of what was taken so far. */
  get counted(): Readonly<Totals> {
    return this.totals
  }

  /** `digest` counts for the footer. @throws SNAPSHOT_CORRUPT */
  take(chunk: Chunk, digest: Uint8Array): void {
    try {
      this.inOrder(chunk)
      this.takeOne(chunk, digest)
    } catch (error) {
      if ((error as { code?: unknown }).code === 'SNAPSHOT_CORRUPT') throw error
      // Whoever parses does not know where.
      throw corrupt(this.path, chunk.at, (error as Error).message, error)
    }
  }

  /** @throws SNAPSHOT_CORRUPT when the footer did not come */
  done(): CheckedArchive {
    const { head, sha256, topics, totals } = this
    if (head === undefined || sha256 === undefined) throw corrupt(this.path, 0, 'it has no footer')
    return { head, totals, sha256, topics }
  }

  private inOrder({ type, at }: Chunk): void {
    const stage = order.indexOf(type)
    const isSecond = stage === this.stage && (type === 'head' || type === 'footer')
    const isFirst = this.head === undefined
    if (isFirst ? type !== 'head' : stage < this.stage || isSecond)
      throw corrupt(this.path, at, `a chunk ${type} does not belong here`)
    this.stage = stage
  }

  private takeOne(chunk: Chunk, digest: Uint8Array): void {
    const { payload, type } = chunk
    const { totals } = this
    switch (type) {
      case 'head':
        this.head = headOf(this.path, chunk)
        return
      case 'topics':
        for (const topic of parseTopics(payload)) this.takeTopic(topic)
        return
      case 'groups':
        for (const { group, offsets } of parseGroups(payload)) {
          if (this.isNewGroup(group, 'group')) totals.groups++
          for (const [index, partition, offset] of offsets)
            this.inside(group, index, partition, offset)
        }
        return
      case 'shares':
        for (const { group, topics, partitions } of parseShareGroups(payload)) {
          if (this.isNewGroup(group, 'share')) totals.shareGroups++
          for (const index of topics) this.inside(group, index, 0, 0)
          for (const [index, partition, end] of partitions)
            this.inside(group, index, partition, end)
        }
        return
      case 'producers':
        for (const { id, transactionalId } of parseProducers(payload)) {
          if (this.producers.has(transactionalId))
            throw new Error(`transactional id ${transactionalId} is there twice`)
          if (id >= (this.head?.nextProducerId ?? 0)) throw new Error(`producer ${id} is too high`)
          this.producers.add(transactionalId)
          totals.producers++
        }
        return
      case 'security':
        for (const right of parseRights(payload)) this.takeRight(right)
        return
      case 'batches':
        this.takeBatches(chunk)
        return
      case 'footer':
        this.takeFooter(chunk, digest)
    }
  }

  private takeRight(right: RestoredRight): void {
    const name =
      right.kind === 'key'
        ? right.key.id
        : right.kind === 'acl'
          ? bindingKey(right.binding)
          : right.principal
    const key = `${right.kind} ${name}`
    if (this.rights.has(key)) throw new Error(`${JSON.stringify(key)} is there twice`)
    this.rights.add(key)
    this.totals.rights++
  }

  private takeTopic(topic: TopicRow): void {
    if (this.names.has(topic.topic)) throw new Error(`topic ${topic.topic} is there twice`)
    this.names.add(topic.topic)
    this.topics.push(topic)
    this.totals.topics++
    this.totals.partitions += topic.ranges.length
  }

  /** A group may have several rows, one behind the other. */
  private isNewGroup(name: string, kind: 'group' | 'share'): boolean {
    const known = this.groups.get(name)
    const isContinued = known === kind && this.group === name
    if (known !== undefined && !isContinued) throw new Error(`group ${name} is there twice`)
    this.group = name
    this.groups.set(name, kind)
    return known === undefined
  }

  private inside(group: string, index: number, partition: number, offset: number): void {
    const topic = this.topics[index]
    const range = topic?.ranges[partition]
    if (topic === undefined || range === undefined)
      throw new Error(
        `group ${group} names partition ${partition} of topic ${index}: there is none`,
      )
    if (offset > range[1])
      throw new Error(`group ${group} is past the end of ${topic.topic}[${partition}]`)
  }

  private takeBatches(chunk: Chunk): void {
    const { index, partition, items } = placeOf(this.path, chunk)
    const { at } = this
    const isSame = at.index === index && at.partition === partition
    if (index < at.index || (index === at.index && partition < at.partition))
      throw new Error(`${index}[${partition}] comes after ${at.index}[${at.partition}]`)
    if (!isSame) this.passTo(index, partition)
    const topic = this.topics[index]
    const range = topic?.ranges[partition]
    if (topic === undefined || range === undefined)
      throw new Error(`partition ${partition} of topic ${index} does not exist`)
    for (const item of parseItems(items, chunkBytesMax)) this.takeItem(item, range)
  }

  private takeItem(item: RestoredBatch, [start, end]: readonly [number, number]): void {
    const { at, totals } = this
    const { batch, header, next, offset, timestamp } = item
    if (next <= start) throw new Error(`offsets below ${next} were gone already`)
    if (next > end) throw new Error(`offset ${next} lies past the end ${end}`)
    if (offset < (at.next ?? 0)) throw new Error(`offset ${offset} follows ${at.next}`)
    if (timestamp < at.timestamp) throw new Error('append times go back')
    if (timestamp > (this.head?.time ?? 0)) throw new Error('an append time is after the snapshot')
    at.next = next
    at.timestamp = timestamp
    totals.batchBytes += batch.length
    if (header === undefined) totals.lostOffsets += next - Math.max(offset, start)
    else {
      totals.batches++
      totals.records += header.count
    }
  }

  /** Everything up to this partition must be whole. */
  private passTo(index: number, partition: number): void {
    const { at } = this
    const isWhole = (range: readonly [number, number], next: number | undefined): boolean =>
      range[0] === range[1] ? next === undefined : next === range[1]
    for (;;) {
      const topic = this.topics[at.index]
      const range = topic?.ranges[at.partition]
      if (range !== undefined && !isWhole(range, at.next))
        throw new Error(
          `${topic?.topic}[${at.partition}] is there up to ${at.next ?? range[0]}, not to ${range[1]}`,
        )
      if (topic === undefined) break
      if (at.partition + 1 < topic.ranges.length) at.partition++
      else {
        at.index++
        at.partition = 0
      }
      at.next = undefined
      at.timestamp = 0
      if (at.index > index || (at.index === index && at.partition >= partition)) break
    }
    if (at.index !== index || at.partition !== partition)
      throw new Error(`partition ${partition} of topic ${index} does not exist`)
  }

  private takeFooter(chunk: Chunk, digest: Uint8Array): void {
    this.passTo(this.topics.length, 0)
    const { totals, sha256 } = footerOf(this.path, chunk)
    for (const name of totalNames)
      if (totals[name] !== this.totals[name])
        throw new Error(`the footer says ${totals[name]} ${name}, there are ${this.totals[name]}`)
    if (sha256 !== Buffer.from(digest).toString('hex'))
      throw new Error('the SHA-256 does not match')
    this.sha256 = sha256
  }
}

function headOf(path: string, chunk: Chunk): ArchiveHead {
  if (chunk.type !== 'head') throw corrupt(path, chunk.at, 'the head is missing')
  const frame = mapOf(path, chunk)
  const text = (key: string): string => {
    const value = frame[key]
    if (typeof value === 'string' && /^[\x20-\x7e]{0,200}$/.test(value)) return value
    throw corrupt(path, chunk.at, `${key} is no short text`)
  }
  const number = (key: string): number => numberOf(path, chunk, frame, key)
  return {
    id: text('id'),
    position: number('position'),
    time: number('time'),
    takenAt: number('takenAt'),
    clusterId: text('clusterId'),
    version: text('version'),
    nextProducerId: number('nextProducerId'),
  }
}

function footerOf(
  path: string,
  chunk: Chunk,
): { readonly totals: Totals; readonly sha256: string } {
  const frame = mapOf(path, chunk)
  const totals = noTotals()
  for (const name of totalNames) totals[name] = numberOf(path, chunk, frame, name)
  const { sha256 } = frame
  if (!(sha256 instanceof Uint8Array) || sha256.length !== 32)
    throw corrupt(path, chunk.at, 'the footer has no SHA-256')
  return { totals, sha256: Buffer.from(sha256).toString('hex') }
}

function mapOf(path: string, { at, payload }: Chunk): Frame {
  try {
    return unpackFrame(payload)
  } catch (error) {
    throw corrupt(path, at, (error as Error).message, error)
  }
}

function numberOf(path: string, { at }: Chunk, frame: Frame, key: string): number {
  const value = frame[key]
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw corrupt(path, at, `${key} is no whole number below 2^53`)
}
