// Restores an archive into a cluster: the whole file is checked first, then topics are made that nobody sees, filled, and given their names in one step.
//
// Guarantees: nothing is written for a file that is not whole; nobody sees a part of a restore; the same restore run again goes on where it ended and
// doubles nothing. Nothing is written to any disk but the cluster's.

import { createHash } from 'node:crypto'
import type { Connection } from '../../client/connection.ts'
import { LogloomError } from '../../wire/errors.ts'
import { array, bool, optBool, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { checkTopicName } from '../../wire/topic-name.ts'
import { ArchiveReader, type Chunk } from '../snapshot/archive-reader.ts'
import {
  checkArchive,
  type CheckedArchive,
  placeOf,
  type Totals,
} from '../snapshot/check-archive.ts'
import { chunkBytesMax, corrupt } from '../snapshot/format.ts'
import { parseItems } from '../snapshot/items.ts'
import { packPage, topicRow, unpackNumbers } from '../snapshot/rows.ts'

export interface RestoreOptions {
  /** Names in the archive; default all. */
  readonly topics?: readonly string[] | undefined
  /** Put before each name. */
  readonly prefix?: string | undefined
  /** New names by those in the archive. */
  readonly rename?: Readonly<Record<string, string>> | undefined
  /** Checks everything and writes nothing. */
  readonly dryRun?: boolean | undefined
  /** Makes the API keys, ACLs and quotas of the archive that there are none of. */
  readonly security?: boolean | undefined
  readonly onProgress?: (stage: 'checking' | 'restoring', done: number, all: number) => void
}

export interface RestoredTopic {
  /** In the archive. */
  readonly from: string
  /** In the cluster. */
  readonly topic: string
  readonly partitions: number
  /** Offsets between start and end. */
  readonly records: number
}

export interface RestoreResult {
  /** Name of the restore: the same file and the same choice have the same. */
  readonly restore: string
  readonly position: number
  readonly time: number
  readonly topics: readonly RestoredTopic[]
  /** Of the whole archive. */
  readonly totals: Totals
  /** Bytes of batches that were sent, and that were there from an earlier try. */
  readonly sentBytes: number
  readonly skippedBytes: number
  readonly outcome: 'restored' | 'already restored' | 'dry run'
}

const requestMs = 120_000
const inFlightBytesMax = 8 << 20
const inFlightMax = 32
const topicsInFlightMax = 16
const conflictsShown = 10

/** @throws SNAPSHOT_CORRUPT, TOPIC_EXISTS, INVALID_REQUEST, … */
export async function restoreSnapshot(
  connection: Connection,
  path: string,
  o: RestoreOptions = {},
): Promise<RestoreResult> {
  const progress = o.onProgress ?? (() => {})
  const archive = await checkArchive(path, (done, all) => progress('checking', done, all))
  const chosen = chosenTopics(archive, o)
  const restore = restoreId(archive, chosen)
  const restoring = new Restoring(connection, path, archive, chosen, restore)
  const known = await restoring.describe()
  await restoring.refuseConflicts(known)
  const isDone = known.size === chosen.size && [...known.values()].every(({ done }) => done)
  const report = (outcome: RestoreResult['outcome']): RestoreResult => ({
    restore,
    position: archive.head.position,
    time: archive.head.time,
    topics: [...chosen].map(([index, topic]) => listed(archive, index, topic)),
    totals: archive.totals,
    sentBytes: restoring.sentBytes,
    skippedBytes: restoring.skippedBytes,
    outcome,
  })
  if (o.dryRun === true) return report('dry run')
  if (isDone && chosen.size > 0) return report('already restored')
  await restoring.makeTopics()
  await restoring.sendBatches((done, all) => progress('restoring', done, all))
  await restoring.sendState(o.security === true)
  const finished = await restoring.finish()
  return report(finished || chosen.size === 0 ? 'restored' : 'already restored')
}

/** Drops what an unfinished restore has made. @returns how many topics @throws SNAPSHOT_CORRUPT, INVALID_REQUEST */
export async function dropRestore(
  connection: Connection,
  path: string,
  o: RestoreOptions = {},
): Promise<number> {
  const archive = await checkArchive(path)
  const restore = restoreId(archive, chosenTopics(archive, o))
  const reply = await connection.call('dropRestore', { restore }, { timeoutMs: requestMs })
  return uint(reply, 'topics')
}

/** Names in the cluster by number in the archive. @throws INVALID_REQUEST, INVALID_TOPIC_NAME */
function chosenTopics(
  { topics }: CheckedArchive,
  { topics: wanted, prefix = '', rename = {} }: RestoreOptions,
): ReadonlyMap<number, string> {
  const names = new Set(topics.map(({ topic }) => topic))
  for (const name of [...(wanted ?? []), ...Object.keys(rename)])
    if (!names.has(name))
      throw new LogloomError(
        'UNKNOWN_TOPIC',
        `the archive has no topic ${JSON.stringify(name)}`,
        { topic: name },
        { hint: 'see the names with --dry-run' },
      )
  const chosen = new Map<number, string>()
  const taken = new Set<string>()
  for (const [index, { topic }] of topics.entries()) {
    if (wanted !== undefined && wanted.length > 0 && !wanted.includes(topic)) continue
    const name = Object.hasOwn(rename, topic) ? (rename[topic] as string) : `${prefix}${topic}`
    checkTopicName(name)
    if (taken.has(name))
      throw new LogloomError('INVALID_REQUEST', `two topics would be named ${name}`, {
        topic: name,
      })
    taken.add(name)
    chosen.set(index, name)
  }
  return chosen
}

function restoreId({ sha256 }: CheckedArchive, chosen: ReadonlyMap<number, string>): string {
  const text = JSON.stringify([sha256, [...chosen]])
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}

function listed({ topics }: CheckedArchive, index: number, topic: string): RestoredTopic {
  const { topic: from, ranges } = topics[index] as CheckedArchive['topics'][number]
  const records = ranges.reduce((sum, [start, end]) => sum + end - start, 0)
  return { from, topic, partitions: ranges.length, records }
}

/** What the cluster has of a topic already. */
interface Known {
  readonly done: boolean
  /** Up to which offset each partition is there. */
  readonly next: readonly number[]
}

class Restoring {
  sentBytes = 0
  skippedBytes = 0
  private readonly connection: Connection
  private readonly path: string
  private readonly archive: CheckedArchive
  private readonly chosen: ReadonlyMap<number, string>
  private readonly restore: string

  constructor(
    connection: Connection,
    path: string,
    archive: CheckedArchive,
    chosen: ReadonlyMap<number, string>,
    restore: string,
  ) {
    this.connection = connection
    this.path = path
    this.archive = archive
    this.chosen = chosen
    this.restore = restore
  }

  async describe(): Promise<ReadonlyMap<number, Known>> {
    const known = new Map<number, Known>()
    for (let from = 0, more = true; more; ) {
      const reply = await this.call('describeRestore', { from })
      for (const row of array(reply, 'topics') as Frame[]) {
        const index = uint(row, 'index')
        known.set(index, {
          done: bool(row, 'done'),
          next: unpackNumbers(row['next'], this.archive.totals.partitions),
        })
        from = index + 1
      }
      more = bool(reply, 'more')
    }
    return known
  }

  /** @throws TOPIC_EXISTS naming what is in the way */
  async refuseConflicts(known: ReadonlyMap<number, Known>): Promise<void> {
    const reply = await this.call('listTopics', {})
    const names = new Set((array(reply, 'topics') as Frame[]).map(row => str(row, 'topic')))
    const conflicts = [...this.chosen]
      .filter(([index, name]) => names.has(name) && known.get(index)?.done !== true)
      .map(([, name]) => name)
    if (conflicts.length === 0) return
    const shown = conflicts.slice(0, conflictsShown).join(', ')
    const rest = conflicts.length - conflictsShown
    throw new LogloomError(
      'TOPIC_EXISTS',
      `the cluster has topics of these names: ${shown}${rest > 0 ? ` and ${rest} more` : ''}`,
      { topics: conflicts.slice(0, conflictsShown), actual: conflicts.length },
      { hint: 'restore into a fresh cluster, or under other names with --prefix or --rename' },
    )
  }

  async makeTopics(): Promise<void> {
    const window = new Window(topicsInFlightMax, Number.MAX_SAFE_INTEGER)
    for (const [index, topic] of this.chosen) {
      const row = this.archive.topics[index] as CheckedArchive['topics'][number]
      const page = packPage([topicRow({ ...row, topic })])
      await window.run(page.length, () => this.call('restoreTopic', { index, page }))
    }
    await window.drained()
  }

  async sendBatches(onProgress: (done: number, all: number) => void): Promise<void> {
    const { chosen, archive } = this
    const known = await this.describe()
    const window = new Window(inFlightMax, inFlightBytesMax)
    const all = archive.totals.batchBytes
    let at = { index: -1, partition: -1, next: 0 }
    let done = 0
    for await (const chunk of this.chunks()) {
      if (chunk.type !== 'batches') continue
      const { index, partition, items } = placeOf(this.path, chunk)
      if (index !== at.index || partition !== at.partition) at = { index, partition, next: 0 }
      const last = parseItems(items, chunkBytesMax).at(-1)
      if (last === undefined) throw corrupt(this.path, chunk.at, 'a chunk of batches is empty')
      const after = at.next
      at.next = last.next
      done += items.length
      onProgress(Math.min(done, all), all)
      if (!chosen.has(index)) continue
      if ((known.get(index)?.next[partition] ?? 0) >= last.next) {
        this.skippedBytes += items.length
        continue
      }
      this.sentBytes += items.length
      const fields = { index, partition, after, items }
      await window.run(items.length, () => this.call('restoreBatches', fields))
    }
    await window.drained()
  }

  /** Groups and producers: small, and in one row after the other. */
  async sendState(security: boolean): Promise<void> {
    // First, so that the ids of those with names are nobody else's.
    await this.call('restoreState', { nextProducerId: this.archive.head.nextProducerId })
    for await (const { type, payload } of this.chunks()) {
      if (type === 'batches' || type === 'footer') break
      const isSent = type === 'groups' || type === 'shares' || type === 'producers'
      if (isSent || (type === 'security' && security))
        await this.call('restoreState', { kind: type, page: payload })
    }
  }

  /** @returns whether this call did it */
  async finish(): Promise<boolean> {
    const reply = await this.call('finishRestore', { topics: this.chosen.size })
    return optBool(reply, 'finished') ?? false
  }

  /** The file again; it must be the one that was checked. */
  private async *chunks(): AsyncGenerator<Chunk> {
    const reader = await ArchiveReader.open(this.path)
    try {
      let digest = ''
      const chunks = reader.chunks(found => {
        digest = Buffer.from(found).toString('hex')
      })
      for await (const chunk of chunks) {
        if (chunk.type === 'footer' && digest !== this.archive.sha256)
          throw corrupt(this.path, chunk.at, 'the file was changed while it was restored')
        yield chunk
      }
    } finally {
      await reader.close()
    }
  }

  private call(op: string, fields: Frame): Promise<Frame> {
    return this.connection.call(op, { restore: this.restore, ...fields }, { timeoutMs: requestMs })
  }
}

/** Requests under way, bounded in number and bytes; the first failure ends them all. */
class Window {
  private readonly countMax: number
  private readonly bytesMax: number
  private readonly running = new Set<Promise<void>>()
  private bytes = 0
  private failure: { readonly error: unknown } | undefined

  constructor(countMax: number, bytesMax: number) {
    this.countMax = countMax
    this.bytesMax = bytesMax
  }

  /** Resolves once the request was begun. */
  async run(bytes: number, request: () => Promise<unknown>): Promise<void> {
    while (
      this.running.size > 0 &&
      (this.running.size >= this.countMax || this.bytes + bytes > this.bytesMax)
    )
      await Promise.race(this.running)
    this.check()
    this.bytes += bytes
    const over: Promise<void> = request().then(
      () => this.end(over, bytes),
      (error: unknown) => {
        this.failure ??= { error }
        this.end(over, bytes)
      },
    )
    this.running.add(over)
  }

  async drained(): Promise<void> {
    await Promise.all(this.running)
    this.check()
  }

  private end(over: Promise<void>, bytes: number): void {
    this.running.delete(over)
    this.bytes -= bytes
  }

  private check(): void {
    if (this.failure !== undefined) throw this.failure.error
  }
}
