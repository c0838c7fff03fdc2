// What the log's parts report while they work: plain numbers, turned into metrics at a scrape.

import type { VirtualLogEvent } from '../../loglets/virtual-log/virtual-log.ts'
import { Histogram, latencyBuckets } from '../gateway/stats.ts'

/** Upper bounds of the fdatasync histogram, seconds. */
export const syncBuckets = [0.0001, 0.00025, ...latencyBuckets] as const

interface AppendStats {
  bytes: number
  records: number
  readonly seconds: Histogram
}

/** What the log's parts report while they work. */
export class LogStats {
  readonly appends = new Map<string, AppendStats>()
  readonly syncs = new Map<string, Histogram>()
  /** By kind: how long an entry took to be on a majority of the log servers. */
  readonly replications = new Map<string, Histogram>()
  readonly reconfigurations = new Map<string, number>()
  readonly reconfigurationSeconds = new Histogram()
  readonly sealSeconds = new Histogram()
  readonly cas = new Map<string, number>([
    ['installed', 0],
    ['mismatch', 0],
    ['failed', 0],
  ])

  appended(spec: string, bytes: number, records: number, ms: number): void {
    let stats = this.appends.get(spec)
    if (stats === undefined) {
      stats = { bytes: 0, records: 0, seconds: new Histogram() }
      this.appends.set(spec, stats)
    }
    stats.bytes += bytes
    stats.records += records
    stats.seconds.observe(ms / 1000)
  }

  synced(kind: string, ms: number): void {
    let histogram = this.syncs.get(kind)
    if (histogram === undefined) {
      histogram = new Histogram(syncBuckets)
      this.syncs.set(kind, histogram)
    }
    histogram.observe(ms / 1000)
  }

  replicated(kind: string, ms: number): void {
    let histogram = this.replications.get(kind)
    if (histogram === undefined) {
      histogram = new Histogram()
      this.replications.set(kind, histogram)
    }
    histogram.observe(ms / 1000)
  }

  event(event: VirtualLogEvent): void {
    if (event.type === 'cas') {
      this.cas.set(event.outcome, (this.cas.get(event.outcome) ?? 0) + 1)
    }
    if (event.type !== 'reconfigured') return
    const key = [event.reason, event.from.spec, event.to.spec, event.outcome].join('\n')
    this.reconfigurations.set(key, (this.reconfigurations.get(key) ?? 0) + 1)
    this.reconfigurationSeconds.observe(event.totalMs / 1000)
    this.sealSeconds.observe(event.sealMs / 1000)
  }
}
