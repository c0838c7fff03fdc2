// What the acceptance programs measure with: a bare connection, and quantiles of how long its requests took.

import { type Frame, openSocket, RequestChannel } from '../../wire/index.ts'

/** A connection that has said hello. `onPush` gets the frames without an id. */
export async function openChannel(
  url: string,
  onPush: (frame: Frame) => void = () => {},
): Promise<RequestChannel> {
  const channel = new RequestChannel(await openSocket(url), { onPush })
  await channel.request('hello', { protocol: 1, client: 'acceptance' })
  return channel
}

export interface Latency {
  readonly requests: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

export function latencyOf(latencies: readonly number[]): Latency {
  const sorted = latencies.toSorted((a, b) => a - b)
  const at = (share: number): number =>
    Number((sorted[Math.floor((sorted.length - 1) * share)] ?? 0).toFixed(2))
  return { requests: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
}
