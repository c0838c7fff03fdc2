// Everything that a cluster says about its topics and groups, as plain values: what two clusters are compared by.

import { createHash } from 'node:crypto'
import type { Connection } from '../../client/connection.ts'
import { openConnection } from '../../client/open-connection.ts'
import type { Frame } from '../../wire/frame.ts'

export interface DumpedPartition {
  readonly start: number
  readonly end: number
  /** Offset, log append time and SHA-256 of each batch's bytes; of a gap its kind and bounds. */
  readonly items: readonly string[]
}

export interface Dump {
  readonly topics: Readonly<Record<string, Frame & { readonly dumped: readonly DumpedPartition[] }>>
  readonly groups: Readonly<Record<string, unknown>>
}

/** Runs `work` with a connection to `url`. */
export async function connected<T>(
  url: string,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await openConnection(url, {})
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}

/** All of it, as of `asOf` where that is given. */
export async function dump(connection: Connection, asOf?: number): Promise<Dump> {
  const topics: Record<string, Frame & { dumped: DumpedPartition[] }> = {}
  const { topics: listed } = await connection.call('listTopics')
  for (const { topic } of listed as { topic: string }[]) {
    const described = await connection.call('describeTopic', { topic })
    const { config, createdAt, epochs, partitions } = described
    const dumped: DumpedPartition[] = []
    for (const { partition } of partitions as { partition: number }[])
      dumped.push(await dumpPartition(connection, topic, partition, asOf))
    const ends = (epochs as { partitions: number; ends: number[] }[]).map(e => [
      e.partitions,
      e.ends,
    ])
    topics[topic] = { config, createdAt, epochs: ends, dumped }
  }
  const groups: Record<string, unknown> = {}
  const { groups: all } = await connection.call('listGroups')
  for (const { group, type } of all as { group: string; type: string }[])
    groups[group] =
      type === 'share'
        ? shareOf(await connection.call('describeGroup', { group }))
        : offsetsOf(await connection.call('fetchOffsets', { group }))
  // A group that has committed nothing is none.
  for (const [group, held] of Object.entries(groups))
    if (Array.isArray(held) && held.length === 0) delete groups[group]
  return { topics, groups }
}

async function dumpPartition(
  connection: Connection,
  topic: string,
  partition: number,
  asOf: number | undefined,
): Promise<DumpedPartition> {
  const items: string[] = []
  const at = asOf === undefined ? {} : { asOf }
  let from: unknown = 'beginning'
  for (;;) {
    const fields = { topic, partition, from, maxBytes: 4 << 20, maxWaitMs: 0, ...at }
    const reply = await connection.call('fetch', fields)
    for (const item of reply['items'] as Frame[]) items.push(itemOf(item))
    const { end, next, start } = reply as { end: number; next: number; start: number }
    if (next >= end) return { start, end, items }
    from = next
  }
}

function itemOf(item: Frame): string {
  const { batch, gap, next, offset, timestamp } = item
  if (gap !== undefined) return JSON.stringify([gap, offset, next])
  const bytes = batch as Uint8Array
  const sha = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
  return JSON.stringify([offset, timestamp, bytes.length, sha])
}

function offsetsOf({ offsets }: Frame): unknown {
  const rows = (offsets as Frame[]).map(({ committedAt, metadata, offset, partition, topic }) =>
    JSON.stringify([topic, partition, offset, metadata, committedAt]),
  )
  return rows.sort()
}

function shareOf(described: Frame): unknown {
  const { deliveryCountLimit, keepsDead, partitions } = described
  return { deliveryCountLimit, keepsDead, partitions }
}
