// Counters of the gateway: plain numbers on the hot path, turned into metrics when somebody scrapes.

export interface TopicTraffic {
  produceRecords: number
  produceBytes: number
  fetchRecords: number
  fetchBytes: number
}

/** Upper bounds of the request histogram, seconds (reference: docs/metrics.md). */
export const latencyBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const

/** A histogram of plain numbers. */
export class Histogram {
  readonly counts: number[]
  sum = 0
  count = 0
  private readonly bounds: readonly number[]

  constructor(bounds: readonly number[] = latencyBuckets) {
    this.bounds = bounds
    this.counts = bounds.map(() => 0)
  }

  observe(value: number): void {
    this.sum += value
    this.count++
    for (let i = 0; i < this.bounds.length; i++)
      if (value <= (this.bounds[i] as number)) {
        this.counts[i] = (this.counts[i] as number) + 1
        return
      }
  }
}

/** Operations grouped for metrics. */
export const apis = ['produce', 'fetch', 'admin'] as const
export type Api = (typeof apis)[number]

export class GatewayStats {
  connections = 0
  pausedConnections = 0
  opened = 0
  readonly closed = new Map<number, number>()
  readonly rejected = new Map<string, number>()
  /** `api` → code → count. */
  readonly requests = new Map<Api, Map<string, number>>(apis.map(api => [api, new Map([['ok', 0]])]))
  readonly durations = new Map<Api, Histogram>(apis.map(api => [api, new Histogram()]))
  readonly traffic = new Map<string, TopicTraffic>()
  private readonly topicsMax: number

  constructor(topicsMax: number) {
    this.topicsMax = topicsMax
  }

  request(api: Api, code: string, seconds: number): void {
    const codes = this.requests.get(api) as Map<string, number>
    codes.set(code, (codes.get(code) ?? 0) + 1)
    this.durations.get(api)?.observe(seconds)
  }

  /** Traffic of a topic; beyond the cap all share `_other`. */
  topic(name: string): TopicTraffic {
    const known = this.traffic.get(name)
    if (known !== undefined) return known
    if (name !== '_other' && this.traffic.size >= this.topicsMax) return this.topic('_other')
    const traffic = { produceRecords: 0, produceBytes: 0, fetchRecords: 0, fetchBytes: 0 }
    this.traffic.set(name, traffic)
    return traffic
  }

  forgetTopic(name: string): void {
    this.traffic.delete(name)
  }
}

export function count<K>(map: Map<K, number>, key: K): void {
  map.set(key, (map.get(key) ?? 0) + 1)
}
