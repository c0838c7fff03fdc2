// What a broker tells of itself (protocol.md 7.1).

/** Counts of a histogram: one for each bound, and one for what lies beyond them. */
export type BucketCounts = readonly number[]

export interface BrokerDescription {
  readonly serverId: string
  readonly version: string
  readonly uptimeMs: number
  /** Since its start. */
  readonly counters: {
    readonly produceRecords: number
    readonly produceBytes: number
    readonly fetchRecords: number
    readonly fetchBytes: number
    readonly requests: number
    /** Of the requests those that ended with an error. */
    readonly refused: number
  }
  readonly latency: {
    /** Upper bounds, seconds. */
    readonly bounds: readonly number[]
    /** From a request to its reply. */
    readonly durations: Readonly<Record<'produce' | 'fetch' | 'group' | 'admin', BucketCounts>>
  }
  /** Of a produce, see docs/metrics.md. */
  readonly stages: Readonly<
    Record<'queue' | 'append' | 'replicate' | 'sync' | 'apply' | 'reply', BucketCounts>
  >
  readonly connections: number
  /** Not read for now: too much in flight, or the peer does not read. */
  readonly pausedConnections: number
  readonly bufferedBytes: number
  /** Proposed and not answered. */
  readonly backlogBytes: number
  readonly rssBytes: number
  readonly heapBytes: number
  /** Processor time since its start. */
  readonly cpuMs: number
}

export interface ConnectionDescription {
  readonly id: number
  /** As it called itself. */
  readonly client: string
  /** Who it is, `User:alice`. */
  readonly principal: string
  readonly remoteAddress: string
  /** Milliseconds since 1970. */
  readonly openedAt: number
  readonly requestsInFlight: number
  readonly subscriptions: number
  /** In consumer groups. */
  readonly memberships: number
  /** Output that waits. */
  readonly bufferedBytes: number
  readonly paused: boolean
}
