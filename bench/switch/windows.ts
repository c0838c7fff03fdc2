// Samples of a load, cut into windows of time.

import type { Sample } from '../../broker/cli/bench-load.ts'
import { quantileOf, type Spread, spreadOf } from '../stats.ts'

export interface Window {
  /** Records acked per second. */
  readonly acked: number
  /** ms, of the records that were due in it; undefined when none was acked. */
  readonly p50?: number
  readonly p99?: number
}

/** Windows of `ms` from `from` on, `count` of them. */
export function windowsOf(
  samples: readonly Sample[],
  ms: number,
  from: number,
  count: number,
): readonly Window[] {
  const latencies: number[][] = Array.from({ length: count }, () => [])
  const acked = latencies.map(() => 0)
  for (const sample of samples) {
    const due = Math.floor((sample.at - from) / ms)
    latencies[due]?.push(sample.ms)
    const then = Math.floor((sample.at + sample.ms - from) / ms)
    if (then >= 0 && then < count) acked[then] = (acked[then] ?? 0) + 1
  }
  return latencies.map((found, i) => ({
    acked: (acked[i] ?? 0) * (1000 / ms),
    ...(found.length === 0 ? {} : { p50: quantileOf(found, 0.5), p99: quantileOf(found, 0.99) }),
  }))
}

export interface Held {
  readonly recordsPerSecond: Spread
  readonly p50: Spread
  readonly p99: Spread
}

/** The spread of windows, those without a sample left out. */
export function heldOf(windows: readonly Window[]): Held {
  const full = windows.filter(w => w.p50 !== undefined && w.p99 !== undefined)
  return {
    recordsPerSecond: spreadOf(windows.map(w => w.acked)),
    p50: spreadOf(full.map(w => w.p50 as number)),
    p99: spreadOf(full.map(w => w.p99 as number)),
  }
}
