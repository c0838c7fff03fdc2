// Several records in one atomic unit (protocol.md 3): encoded as batches, one per partition as a rule, sent as one `publish` on the command lane.
//
// Guarantees: the acks stand in the order of the records; nothing is sent when the whole cannot fit one frame. It does not know
// retries: the command lane sends the same command until it is decided.

import { BatchBuilder, LogloomError, type RecordInput, wireLimits } from '../wire/index.ts'
import { abortable } from './abortable.ts'
import type { Catalog } from './catalog.ts'
import type { CommandLane } from './command-lane.ts'
import { rowsOf, uintOf } from './checked.ts'
import type { Connection } from './connection.ts'
import { notSentError } from './failures.ts'
import type { Lsn, Offset } from './positions.ts'
import { type Ack, sealMetIn } from './records.ts'
import type { SendWindow } from './send-window.ts'
import type { TopicRoute } from './topic-route.ts'

/** A record with its destination; without `partition` the route chooses. */
export interface PublishEntry {
  readonly topic: string
  readonly partition: number | undefined
  readonly record: RecordInput
}

export interface PublishContext {
  readonly connection: Connection
  readonly catalog: Catalog
  readonly commands: CommandLane
  readonly window: SendWindow
  readonly acks: number
  readonly deliveryTimeoutMs: number
  /** Aborts when the producer is closed, with the error that says so. */
  readonly closed: AbortSignal
  route(topic: string): TopicRoute
}

export interface PublishOptions {
  readonly expect?: readonly {
    readonly topic: string
    readonly partition: number
    readonly offset: number
  }[]
  readonly commit?: Readonly<Record<string, unknown>>
  readonly ack?: Readonly<Record<string, unknown>>
  readonly signal?: AbortSignal
}

interface Group {
  readonly topic: string
  readonly partition: number
  readonly builder: BatchBuilder
  /** Out of how many the partition was chosen for a key in it; undefined: for none. */
  partitions: number | undefined
}

/** What a frame holds besides its batches, at most: keys, numbers, topic names are counted apart. */
const frameOverheadBytes = 1024

export async function publishAtomically(
  context: PublishContext,
  entries: readonly PublishEntry[],
  o: PublishOptions,
): Promise<readonly Ack[]> {
  const { connection, window, commands, deliveryTimeoutMs: timeoutMs } = context
  const deadlineMs = connection.clock.nowMs() + timeoutMs
  const leftMs = (): number => Math.max(1, deadlineMs - connection.clock.nowMs())
  await loadPartitions(context, entries, o.signal)
  let { groups, places } = group(context, entries)
  let batches = batchesOf(groups)
  const bytes = sizeOf(batches)
  checkSize(connection, bytes)
  const run = () => {
    window.take(bytes)
    const { expect, commit, ack } = o
    const fields = {
      batches,
      acks: context.acks,
      ...(expect && { expect }),
      ...(commit && { commit }),
      ...(ack && { ack }),
    }
    const renew = (error: LogloomError): typeof fields => {
      context.catalog.learn(String(error.details['topic']), error)
      // What is expected of a partition need not hold for another one: the caller looks again.
      if (expect?.length) throw error
      ;({ groups, places } = group(context, entries))
      batches = batchesOf(groups)
      checkSize(connection, sizeOf(batches))
      return { ...fields, batches }
    }
    const options = { signal: o.signal, timeoutMs: leftMs(), renew }
    return { reply: commands.run('publish', fields, options) }
  }
  const pending = await window.admit(run, o.signal, Math.min(window.blockMs, leftMs()))
  try {
    const reply = await pending.reply
    const offsets = rowsOf(reply, 'offsets').map(row => uintOf(row, 'offset'))
    const lsn = uintOf(reply, 'lsn') as Lsn
    const timestamp = uintOf(reply, 'timestamp')
    const met = sealMetIn(reply)
    return places.map(({ at, index }) => {
      const { topic, partition } = groups[at] as Group
      const offset = ((offsets[at] ?? Number.NaN) + index) as Offset
      return { topic, partition, offset, lsn, timestamp, ...met }
    })
  } finally {
    window.release(bytes)
  }
}

function batchesOf(groups: readonly Group[]) {
  return groups.map(({ topic, partition, builder, partitions }) => {
    const batch = builder.build()
    return { topic, partition, batch, ...(partitions !== undefined && { partitions }) }
  })
}

function sizeOf(batches: ReturnType<typeof batchesOf>): number {
  return batches.reduce((sum, { topic, batch }) => sum + batch.byteLength + topic.length + 64, 0)
}

async function loadPartitions(
  { catalog, closed, connection, deliveryTimeoutMs: timeoutMs }: PublishContext,
  entries: readonly PublishEntry[],
  signal: AbortSignal | undefined,
): Promise<void> {
  // All of them, also where the partition is given: batches are refused for topics that do not exist yet.
  const topics = [...new Set(entries.map(entry => entry.topic))]
  const loaded = Promise.all(topics.map(topic => catalog.loadOrCreate(topic, { timeoutMs })))
  // Whoever else asks for them may have more time.
  const late = new AbortController()
  const cancel = connection.clock.schedule(timeoutMs, () => {
    const message = `${topics.join(', ')}: no answer about partitions in time`
    late.abort(notSentError(message, connection.lastError, connection.link !== undefined))
  })
  try {
    await abortable(loaded, late.signal, closed, signal)
  } finally {
    cancel()
  }
}

/** Collects the records of each partition, and remembers each record's group and index there. */
function group(context: PublishContext, entries: readonly PublishEntry[]) {
  const now = context.connection.clock.wallMs()
  const bytesMax = context.connection.link?.limits.batchBytesMax ?? wireLimits.batchBytesMax
  const groups: Group[] = []
  const found = new Map<string, number>()
  const keyless = new Map<string, number>()
  const places = entries.map(({ topic, partition: given, record }) => {
    const partitions = context.catalog.partitions(topic) ?? 1
    const route = context.route(topic)
    let partition = given
    if (partition === undefined && (record.key ?? null) === null) {
      // One partition per request and topic, as the broker would choose.
      partition = keyless.get(topic) ?? route.choose(record, partitions)
      keyless.set(topic, partition)
    }
    partition ??= route.choose(record, partitions)
    const key = `${topic}-${partition}`
    let at = found.get(key)
    if (at === undefined || !groups[at]?.builder.tryAppend(record)) {
      // The first of its partition, or older than those before it: a batch of its own.
      at = groups.length
      found.set(key, at)
      const builder = new BatchBuilder({ bytesMax, now })
      builder.tryAppend(record)
      groups.push({ topic, partition, builder, partitions: undefined })
    }
    const isByKey = given === undefined && (record.key ?? null) !== null
    if (isByKey) (groups[at] as Group).partitions = partitions
    return { at, index: (groups[at] as Group).builder.count - 1 }
  })
  for (const [topic, partition] of keyless) {
    context.route(topic).moveOn(partition, context.catalog.partitions(topic) ?? 1)
  }
  return { groups, places }
}

function checkSize(connection: Connection, bytes: number): void {
  const limit = connection.link?.limits.frameBytesMax
  if (limit === undefined || bytes + frameOverheadBytes <= limit) return
  throw new LogloomError(
    'MESSAGE_TOO_LARGE',
    `an atomic batch of ${bytes} bytes does not fit one request of frameBytesMax = ${limit} bytes`,
    { limit, actual: bytes },
  )
}
