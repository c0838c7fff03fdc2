// What one broker tells of itself (protocol.md 7.1): counters since its start, from which whoever asks twice makes rates, and its connections.

import { optUint, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { GatewayContext } from './context.ts'
import { type Histogram, latencyBuckets } from './stats.ts'

/** Connections that one answer lists. */
export const connectionsListedMax = 1000

export function describeBroker({
  broker,
  stats,
  version,
  serverId,
  startedAt,
}: GatewayContext): Frame {
  const { heapUsed, rss } = process.memoryUsage()
  const { user, system } = process.cpuUsage()
  const traffic = { produceRecords: 0, produceBytes: 0, fetchRecords: 0, fetchBytes: 0 }
  for (const each of stats.traffic.values())
    for (const key of Object.keys(traffic) as (keyof typeof traffic)[]) traffic[key] += each[key]
  let requests = 0
  let refused = 0
  for (const codes of stats.requests.values())
    for (const [code, count] of codes) {
      requests += count
      if (code !== 'ok') refused += count
    }
  const durations = Object.fromEntries(
    [...stats.durations].map(([api, histogram]) => [api, countsOf(histogram)]),
  )
  return {
    serverId,
    version,
    uptimeMs: Math.round(performance.now() - startedAt),
    counters: { ...traffic, requests, refused },
    // Upper bounds in seconds; counts of one bucket each, the last beyond all bounds.
    latency: { bounds: [...latencyBuckets], durations },
    stages: Object.fromEntries(
      [...stats.stages].map(([stage, histogram]) => [stage, countsOf(histogram)]),
    ),
    connections: stats.connections,
    pausedConnections: stats.pausedConnections,
    bufferedBytes: stats.bufferedBytes(),
    backlogBytes: broker.backlogBytes,
    rssBytes: rss,
    heapBytes: heapUsed,
    cpuMs: Math.round((user + system) / 1000),
  }
}

function countsOf(histogram: Histogram): readonly number[] {
  const counted = histogram.counts.reduce((sum, count) => sum + count, 0)
  return [...histogram.counts, histogram.count - counted]
}

/** The connections of this broker, the oldest first. @throws INVALID_REQUEST */
export function listConnections({ connections }: GatewayContext, frame: Frame): Frame {
  const limit = optUint(frame, 'limit') ?? connectionsListedMax
  if (limit < 1 || limit > connectionsListedMax)
    throw new LogloomError(
      'INVALID_REQUEST',
      `field limit: ${limit}: use 1 to ${connectionsListedMax} (connectionsListedMax)`,
      { field: 'limit', limit: connectionsListedMax, actual: limit },
    )
  const rows: Frame[] = []
  let total = 0
  for (const connection of connections()) {
    total++
    if (rows.length < limit) rows.push(connection.describe())
  }
  return { total, connections: rows }
}

/** Ends a connection of this broker; its client may dial again. `closed` is false when there is none of that number (any more). */
export function closeConnection({ connections }: GatewayContext, frame: Frame): Frame {
  const id = uint(frame, 'connection')
  for (const connection of connections()) {
    if (connection.id !== id || connection.closed) continue
    // After the answer, which may go to the same connection.
    setImmediate(() => connection.dismiss('an operator closed the connection'))
    return { closed: true }
  }
  return { closed: false }
}
