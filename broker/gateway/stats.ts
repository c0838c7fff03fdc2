// Counters of the gateway: plain numbers on the hot path, turned into metrics when somebody scrapes.

import type { ErrorCode } from '../../wire/errors.ts'
import { type ThrottleKind, throttleKinds } from './load/account.ts'
import type { LoadControl } from './load/load-control.ts'
import { operationsOn } from '../security/check-binding.ts'
import { resourceTypes } from '../security/grant.ts'

/** Name under which topics beyond the cap are counted; a real topic of this name shares it. */
const overflowTopic = '_other'

/** What went through one topic. */
export interface TopicTraffic {
  produceRecords: number
  produceBytes: number
  fetchRecords: number
  fetchBytes: number
}

/** Upper bounds of the request histogram, seconds (reference: docs/metrics.md). */
export const latencyBuckets = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const

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

/** Records of a batch. */
export const recordBuckets = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000] as const
/** Bytes of a batch. */
export const byteBuckets = [100, 1000, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304] as const

/** What a produce goes through in the broker: docs/metrics.md says where each begins and ends. */
export const stages = ['queue', 'append', 'replicate', 'sync', 'apply', 'reply'] as const
export type Stage = (typeof stages)[number]

/** Operations grouped for metrics. */
export const apis = ['produce', 'fetch', 'group', 'admin'] as const
export type Api = (typeof apis)[number]

/** Codes whose first occurrence must show in `increase()`: their series exist from the start. */
const watchedCodes: readonly ErrorCode[] = [
  'INTERNAL',
  'INVALID_REQUEST',
  'AUTHORIZATION_FAILED',
  'LIMIT_EXCEEDED',
  'LOG_LOST',
  'LOG_UNAVAILABLE',
  'MESSAGE_TOO_LARGE',
  'OUTCOME_UNKNOWN',
  'OUT_OF_ORDER_SEQUENCE',
  'STORAGE_FULL',
  'THROTTLED',
  'UNKNOWN_TOPIC',
]

/** Everything that the gateway counts. */
export class GatewayStats {
  /** Commits by group; groups beyond the cap are counted together. */
  readonly groupCommits = new Map<string, number>()
  connections = 0
  pausedConnections = 0
  opened = 0
  /** Output waiting on all connections; asked at a scrape. */
  bufferedBytes: () => number = () => 0
  readonly closed = zeros([1001, 1006, 1008, 1009, 1013, 3005, 3008])
  readonly rejected = zeros<string>([
    'FORBIDDEN_HOST',
    'FORBIDDEN_ORIGIN',
    'AUTHENTICATION_REQUIRED',
    'AUTHENTICATION_FAILED',
    'TOKEN_IN_URL',
    'WRONG_PORT',
    'LIMIT_EXCEEDED',
    'BAD_FRAME',
    'HELLO_REQUIRED',
    'QUOTA_EXCEEDED',
    'HANDSHAKE_RATE',
    'ADDRESS_LIMIT',
    'STRANGER_LIMIT',
  ])
  /** Seconds that principals were made to wait by their quotas. */
  readonly throttles = zeros<ThrottleKind>(throttleKinds)
  /** Set once the gateway is there. */
  load: LoadControl | undefined
  /** `api` → code → count. */
  readonly requests = new Map<Api, Map<string, number>>(
    apis.map(api => [api, zeros<string>(['ok', ...watchedCodes])]),
  )
  readonly durations = new Map<Api, Histogram>(apis.map(api => [api, new Histogram()]))
  readonly stages = new Map<Stage, Histogram>(stages.map(stage => [stage, new Histogram()]))
  readonly batchRecords = new Histogram(recordBuckets)
  readonly batchBytes = new Histogram(byteBuckets)
  /** Subscriptions that began at an offset which the reader named: it was there, or trimmed. */
  readonly resumes = zeros<string>(['resumed', 'trimmed'])
  /** Requests that were denied, by the right that they lacked: `operation resource`. */
  readonly denied = zeros<string>(
    resourceTypes.flatMap(resource => operationsOn[resource].map(op => `${op} ${resource}`)),
  )
  readonly traffic = new Map<string, TopicTraffic>()
  readonly topicsMax: number

  constructor(topicsMax: number) {
    this.topicsMax = topicsMax
  }

  request(api: Api, code: string, seconds: number): void {
    const codes = this.requests.get(api) as Map<string, number>
    codes.set(code, (codes.get(code) ?? 0) + 1)
    this.durations.get(api)?.observe(seconds)
  }

  throttled(kind: ThrottleKind, seconds: number): void {
    this.throttles.set(kind, (this.throttles.get(kind) ?? 0) + seconds)
  }

  deny(operation: string | undefined, resource: string | undefined): void {
    const key = `${operation ?? ''} ${resource ?? ''}`
    if (this.denied.has(key)) count(this.denied, key)
  }

  stage(stage: Stage, seconds: number): void {
    this.stages.get(stage)?.observe(seconds)
  }

  /** A batch was accepted. */
  produced(topic: string, records: number, bytes: number): void {
    const traffic = this.topic(topic)
    traffic.produceRecords += records
    traffic.produceBytes += bytes
    this.batchRecords.observe(records)
    this.batchBytes.observe(bytes)
  }

  /** Traffic of a topic; beyond the cap all share `_other`. */
  topic(name: string): TopicTraffic {
    const known = this.traffic.get(name)
    if (known !== undefined) return known
    if (name !== overflowTopic && this.traffic.size >= this.topicsMax)
      return this.topic(overflowTopic)
    const traffic = { produceRecords: 0, produceBytes: 0, fetchRecords: 0, fetchBytes: 0 }
    this.traffic.set(name, traffic)
    return traffic
  }

  /** Drops the series of topics that are gone. */
  keepTopics(exists: (name: string) => boolean): void {
    for (const name of this.traffic.keys())
      if (name !== overflowTopic && !exists(name)) this.traffic.delete(name)
  }
}

function zeros<K>(keys: readonly K[]): Map<K, number> {
  return new Map(keys.map(key => [key, 0]))
}

/** Adds one to a key's number. */
export function count<K>(map: Map<K, number>, key: K): void {
  map.set(key, (map.get(key) ?? 0) + 1)
}
