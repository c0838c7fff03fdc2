// What the broker says of itself once a second, as rates of the last interval, for as long as the plots reach back.

import type { BrokerDescription, Client, LogDescription } from '../../client/index.ts'

const everyMs = 1000
/** Points that are kept: five minutes. */
const pointsMax = 300

export interface Point {
  /** Seconds since 1970. */
  readonly at: number
  readonly recordsIn: number
  readonly recordsOut: number
  readonly bytesIn: number
  /** Seconds; undefined when there was nothing. */
  readonly p50: number | undefined
  readonly p99: number | undefined
  readonly appendP99: number | undefined
}

/** A reconfiguration that was seen. */
export interface Mark {
  readonly at: number
  readonly spec: string
}

export class Stats {
  readonly points: Point[] = []
  readonly marks: Mark[] = []
  latest: BrokerDescription | undefined
  log: LogDescription | undefined
  private readonly client: Client
  private readonly listeners = new Set<() => void>()
  private before: { readonly at: number; readonly told: BrokerDescription } | undefined

  constructor(client: Client) {
    this.client = client
    void this.poll()
  }

  /** Calls `listener` after each look. Returns the way to stop. */
  on(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  private async poll(): Promise<void> {
    for (;;) {
      try {
        await this.look()
      } catch {
        // The next look may find a broker: the status line says that there is none.
        this.before = undefined
      }
      for (const listener of this.listeners) listener()
      await new Promise(resolve => setTimeout(resolve, everyMs))
    }
  }

  private async look(): Promise<void> {
    const admin = this.client.admin()
    const [told, log] = await Promise.all([admin.describeBroker(), admin.describeLog()])
    const at = performance.now()
    this.mark(log)
    this.latest = told
    this.log = log
    const { before } = this
    this.before = { at, told }
    // Another broker, or this one anew: its counters began again.
    if (before === undefined || before.told.serverId !== told.serverId) return
    this.points.push(pointOf(before.told, told, (at - before.at) / 1000))
    if (this.points.length > pointsMax) this.points.shift()
  }

  private mark(log: LogDescription): void {
    const open = log.segments.at(-1)
    const known = this.log?.segments.at(-1)
    if (open === undefined || known === undefined || open.index === known.index) return
    this.marks.push({ at: Date.now() / 1000, spec: open.spec })
    if (this.marks.length > pointsMax) this.marks.shift()
  }
}

function pointOf(before: BrokerDescription, now: BrokerDescription, seconds: number): Point {
  const rate = (key: keyof BrokerDescription['counters']): number =>
    Math.max(0, now.counters[key] - before.counters[key]) / seconds
  const { bounds, durations } = now.latency
  const produces = between(before.latency.durations.produce, durations.produce)
  return {
    at: Date.now() / 1000,
    recordsIn: rate('produceRecords'),
    recordsOut: rate('fetchRecords'),
    bytesIn: rate('produceBytes'),
    p50: quantile(0.5, bounds, produces),
    p99: quantile(0.99, bounds, produces),
    appendP99: quantile(0.99, bounds, between(before.stages.append, now.stages.append)),
  }
}

function between(before: readonly number[], now: readonly number[]): readonly number[] {
  return now.map((value, i) => value - (before[i] ?? 0))
}

/** As Prometheus does: between two bounds the values are taken to be spread evenly. */
export function quantile(
  q: number,
  bounds: readonly number[],
  counts: readonly number[],
): number | undefined {
  const total = counts.reduce((sum, n) => sum + n, 0)
  if (total === 0) return undefined
  let left = q * total
  for (const [i, n] of counts.entries()) {
    const high = bounds[i]
    const low = i === 0 ? 0 : (bounds[i - 1] ?? 0)
    if (high === undefined) return low
    if (left <= n) return low + ((high - low) * left) / n
    left -= n
  }
  return bounds.at(-1)
}
