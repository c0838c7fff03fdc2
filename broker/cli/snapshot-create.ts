// Takes a snapshot: the state of the cluster at one position, then all batches as of it, into one file.
//
// Guarantees: the file is there whole or not at all; memory does not grow with the number of records; what was dropped or rewritten while it was being read
// fails it. A broker that goes away while batches are read is replaced by another one.

import { randomBytes } from 'node:crypto'
import { readdir, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Connection } from '../../client/connection.ts'
import { LogloomError } from '../../wire/errors.ts'
import { array, bin, str, uint } from '../../wire/fields.ts'
import { type Frame, packFrame } from '../../wire/frame.ts'
import { ArchiveWriter } from '../snapshot/archive-writer.ts'
import { type ArchiveHead, ArchiveCheck, noTotals, type Totals } from '../snapshot/check-archive.ts'
import { archiveSuffix, type ChunkType, chunkTypes, partialSuffix } from '../snapshot/format.ts'
import { PartitionChunks } from '../snapshot/partition-chunks.ts'
import { parseTopics, type TopicRow } from '../snapshot/rows.ts'

export interface CreateOptions {
  /** Hashes of API keys, ACLs and quotas too; default true. */
  readonly security?: boolean
  /** How long the broker holds retention after it last heard of us, ms. */
  readonly holdMs?: number
  /** Told now and then how much was read. */
  readonly onProgress?: (done: number, all: number) => void
}

export interface CreatedSnapshot {
  readonly path: string
  readonly position: number
  /** Log time, ms. */
  readonly time: number
  readonly bytes: number
  readonly sha256: string
  readonly totals: Totals
}

const holdMsDefault = 60_000
/** A hold is renewed so often in its time. */
const renewalsPerHold = 4
/** How often everything begins anew because the broker that had the image went away. */
const attemptsMax = 3
const fetchBytes = 4 << 20
const firstFetchBytes = 1 << 20
/** Partitions whose first records are asked for ahead. */
const aheadMax = 8
/** A file that nobody has written to for so long was left behind, ms. */
const abandonedMs = 600_000
const requestMs = 120_000

/** Takes a snapshot into the file `path`, or into a file with a name of its own when `path` is a directory. @throws SNAPSHOT_EXPIRED, INVALID_REQUEST, … */
export async function createSnapshot(
  connection: Connection,
  path: string,
  o: CreateOptions = {},
): Promise<CreatedSnapshot> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await takeOnce(connection, path, o)
    } catch (error) {
      const isLost =
        error instanceof LogloomError &&
        error.code === 'SNAPSHOT_EXPIRED' &&
        error.details['reason'] === 'image'
      if (!isLost || attempt >= attemptsMax) throw error
    }
  }
}

async function takeOnce(
  connection: Connection,
  path: string,
  o: CreateOptions,
): Promise<CreatedSnapshot> {
  const isDirectory = (await stat(path).catch(() => undefined))?.isDirectory() === true
  await removeAbandoned(isDirectory ? path : dirname(resolve(path)))
  const holdMs = o.holdMs ?? holdMsDefault
  const opened = await connection.call(
    'openSnapshot',
    { holdMs, security: o.security ?? true },
    { timeoutMs: requestMs },
  )
  const head = headOf(opened)
  const hold = new Hold(connection, head.id, uint(opened, 'holdMs'))
  const target = isDirectory ? join(path, nameOf(head)) : path
  let writer: ArchiveWriter | undefined
  try {
    writer = await ArchiveWriter.create(target, randomBytes(6).toString('hex'))
    const taking = new Taking(connection, writer, head, hold)
    const pages = await taking.readPages(uint(opened, 'pages'))
    await taking.readBatches(pages, o.onProgress ?? (() => {}))
    // Whoever can still renew has missed nothing.
    await hold.renew()
    const { bytes, sha256 } = await writer.finish({ ...taking.totals })
    const { position, time } = head
    return { path: target, position, time, bytes, sha256, totals: taking.totals }
  } catch (error) {
    await writer?.abandon()
    throw hold.error ?? error
  } finally {
    await hold.end()
  }
}

function headOf(opened: Frame): ArchiveHead {
  return {
    id: str(opened, 'snapshot'),
    position: uint(opened, 'position'),
    time: uint(opened, 'time'),
    takenAt: Date.now(),
    clusterId: str(opened, 'clusterId'),
    version: str(opened, 'version'),
    nextProducerId: uint(opened, 'nextProducerId'),
  }
}

/** Such names sort by time. */
function nameOf({ takenAt, position }: ArchiveHead): string {
  const time = new Date(takenAt)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(':', '')
  return `${time}-${position}${archiveSuffix}`
}

/** The hold on retention and compaction, renewed until `end`. */
class Hold {
  /** Why it is over. */
  error: LogloomError | undefined
  private readonly connection: Connection
  private readonly id: string
  private readonly holdMs: number
  private readonly timer: NodeJS.Timeout
  private renewing: Promise<void> = Promise.resolve()

  constructor(connection: Connection, id: string, holdMs: number) {
    this.connection = connection
    this.id = id
    this.holdMs = holdMs
    const again = (): void => {
      this.renewing = this.renew().catch(() => {})
    }
    this.timer = setInterval(again, Math.max(1, holdMs / renewalsPerHold))
  }

  check(): void {
    if (this.error !== undefined) throw this.error
  }

  async renew(): Promise<void> {
    const { holdMs, id } = this
    try {
      await this.connection.call(
        'renewSnapshot',
        { snapshot: id, holdMs },
        { timeoutMs: Math.max(holdMs, requestMs) },
      )
    } catch (error) {
      if (error instanceof LogloomError) this.error ??= error
      throw error
    }
  }

  async end(): Promise<void> {
    clearInterval(this.timer)
    await this.renewing
    // It ends by itself as well.
    await this.connection
      .call('closeSnapshot', { snapshot: this.id }, { timeoutMs: 5000 })
      .catch(() => {})
  }
}

interface Place {
  readonly createdAt: number
  readonly index: number
  readonly topic: string
  readonly partition: number
  readonly start: number
  readonly end: number
}

class Taking {
  readonly totals = noTotals()
  private readonly connection: Connection
  private readonly writer: ArchiveWriter
  private readonly head: ArchiveHead
  private readonly hold: Hold

  constructor(connection: Connection, writer: ArchiveWriter, head: ArchiveHead, hold: Hold) {
    this.connection = connection
    this.writer = writer
    this.head = head
    this.hold = hold
  }

  /** The state but its batches. @returns the topics */
  async readPages(count: number): Promise<readonly TopicRow[]> {
    const { connection, head, totals, writer } = this
    const topics: TopicRow[] = []
    // What a broker says is checked as a stranger's archive is.
    const check = new ArchiveCheck(writer.path)
    const put = async (type: ChunkType, payload: Uint8Array): Promise<void> => {
      check.take({ type, at: writer.bytes, payload }, new Uint8Array())
      await writer.chunk(type, [payload])
    }
    await put('head', packFrame({ ...head }))
    for (let page = 0; page < count; page++) {
      const fields = { snapshot: head.id, page }
      const reply = await connection
        .call('readSnapshot', fields, { timeoutMs: requestMs })
        .catch(asLostImage)
      const type = str(reply, 'kind')
      const bytes = bin(reply, 'page')
      if (!Object.hasOwn(chunkTypes, type))
        throw new LogloomError('INTERNAL', `the broker sent a page of kind ${type.slice(0, 40)}`)
      await put(type as ChunkType, bytes)
      if (type === 'topics') topics.push(...parseTopics(bytes))
    }
    Object.assign(totals, check.counted)
    return topics
  }

  async readBatches(
    topics: readonly TopicRow[],
    onProgress: (done: number, all: number) => void,
  ): Promise<void> {
    const places = topics.flatMap(({ createdAt, ranges, topic }, index) =>
      ranges.flatMap(([start, end], partition): Place[] =>
        start < end ? [{ createdAt, index, topic, partition, start, end }] : [],
      ),
    )
    const all = places.reduce((sum, { start, end }) => sum + end - start, 0)
    let done = 0
    const ahead = new Map<Place, Promise<Frame>>()
    let asked = 0
    try {
      for (const [i, place] of places.entries()) {
        for (; asked < places.length && asked < i + aheadMax; asked++) {
          const next = places[asked] as Place
          const reply = this.fetch(next, next.start, firstFetchBytes)
          reply.catch(() => {})
          ahead.set(next, reply)
        }
        await this.readPartition(place, ahead.get(place) as Promise<Frame>, read =>
          onProgress(done + read, all),
        )
        ahead.delete(place)
        done += place.end - place.start
      }
    } finally {
      await Promise.allSettled(ahead.values())
    }
  }

  private async readPartition(
    place: Place,
    first: Promise<Frame>,
    onProgress: (read: number) => void,
  ): Promise<void> {
    const { createdAt, index, partition, start, end } = place
    const chunks = new PartitionChunks(index, partition, createdAt, this.totals)
    let reply: Promise<Frame> = first
    for (let next = start; next < end; ) {
      const frame = await reply
      this.hold.check()
      const items = array(frame, 'items') as Frame[]
      const before = next
      next = uint(frame, 'next')
      if (next <= before) throw this.expired(place, `nothing is left at offset ${before}`)
      if (next < end) {
        reply = this.fetch(place, next, fetchBytes)
        // Looked at in the next turn; whatever ends this one must not leave it alone.
        reply.catch(() => {})
      }
      for (const item of items) {
        const { gap } = item
        if (gap === undefined)
          chunks.addBatch(uint(item, 'offset'), uint(item, 'timestamp'), bin(item, 'batch'))
        else if (gap === 'trimmed')
          throw this.expired(place, `offsets up to ${uint(item, 'next')} were deleted`)
        else if (gap === 'lost') chunks.addLost(uint(item, 'offset'), uint(item, 'next'))
      }
      if (next >= end) chunks.endAt(end)
      for (const pieces of chunks.take(next >= end)) await this.writer.chunk('batches', pieces)
      onProgress(next - start)
    }
  }

  private async fetch(place: Place, from: number, maxBytes: number): Promise<Frame> {
    const { topic, partition } = place
    try {
      const fields = { topic, partition, from, maxBytes, maxWaitMs: 0, asOf: this.head.position }
      return await this.connection.call('fetch', fields, { timeoutMs: requestMs })
    } catch (error) {
      const { code } = error as { readonly code?: unknown }
      if (code === 'UNKNOWN_TOPIC') throw this.expired(place, 'the topic was deleted')
      if (code === 'OFFSET_TRIMMED') throw this.expired(place, 'its beginning was deleted')
      throw error
    }
  }

  private expired({ topic, partition }: Place, reason: string): LogloomError {
    return new LogloomError(
      'SNAPSHOT_EXPIRED',
      `${topic}[${partition}]: ${reason} while the snapshot was taken`,
      { topic, partition },
    )
  }
}

/** The broker that had the image went away: only this is worth another attempt. */
function asLostImage(error: unknown): never {
  if (error instanceof LogloomError && error.code === 'SNAPSHOT_EXPIRED')
    throw new LogloomError('SNAPSHOT_EXPIRED', error.message, { reason: 'image' }, { cause: error })
  throw error
}

/** Files of snapshots that were killed while they were taken. */
async function removeAbandoned(directory: string): Promise<void> {
  const pattern = /^\..+\.[0-9a-f]{12}\.partial$/
  for (const name of await readdir(directory).catch(() => [] as string[])) {
    if (!pattern.test(basename(name)) || !name.endsWith(partialSuffix)) continue
    const path = join(directory, name)
    const found = await stat(path).catch(() => undefined)
    if (found?.isFile() === true && Date.now() - found.mtimeMs > abandonedMs)
      await unlink(path).catch(() => {})
  }
}
