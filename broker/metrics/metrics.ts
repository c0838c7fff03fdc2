// Prometheus metrics (docs/metrics.md): the only door to prom-client. Hot paths count plain numbers; what is exported is read from them
// when somebody scrapes.

import { collectDefaultMetrics, Registry } from 'prom-client'
import type { Broker } from '../broker.ts'
import type { CanaryStats } from '../canary.ts'
import type { ReplicaCount } from '../cluster/segment-copies.ts'
import type { AuthFailures } from '../security/authenticator.ts'
import type { Certificate } from '../security/certificate.ts'
import { diskSpace } from '../disk-space.ts'
import { type GatewayStats, latencyBuckets } from '../gateway/stats.ts'
import { Families, one } from './families.ts'
import { groupMetrics, shareGroupMetrics } from './group-metrics.ts'
import { kafkaExporterPage } from './kafka-exporter.ts'
import { logMetrics } from './log-metrics.ts'
import type { LogStats } from './log-stats.ts'
import { securityMetrics } from './security-metrics.ts'
import { topicMetrics } from './topic-metrics.ts'
import { connectionMetrics, loadMetrics, trafficMetrics } from './traffic-metrics.ts'

export interface MetricsOptions {
  readonly version: string
  /** Of the sources that it was built from; `unknown` when nobody noted it. */
  readonly commit: string
  readonly nodeId: string
  /** What this node does: broker, logserver. */
  readonly role: string
  readonly broker: () => Broker | undefined
  readonly gateway: GatewayStats
  readonly log: LogStats
  /** Series of each partition as well. */
  readonly perPartition: boolean
  readonly canary?: CanaryStats
  /** Of the segments of a cluster's log; a broker alone has none. */
  readonly replicas?: () => readonly ReplicaCount[]
  readonly authFailures?: AuthFailures
  readonly certificates?: () => readonly Certificate[]
  /** Directory whose file system is reported; absent for a broker in memory. */
  readonly dataPath?: string
}

export interface MetricDescription {
  readonly name: string
  readonly type: string
  readonly labels: readonly string[]
}

interface LabelledMetric {
  readonly labelNames: readonly string[]
}

export interface MetricsPage {
  readonly contentType: string
  readonly text: string
}

/** What `/metrics` shows. */
export interface Metrics {
  /** `names`: `kafka_exporter` for the names of that exporter. */
  render(names?: string): Promise<MetricsPage>
  /** Everything that is exported, for the test that holds docs and code together. */
  list(): Promise<readonly MetricDescription[]>
}

/** A registry of its own, so that several brokers live in one process. */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const { broker, gateway, perPartition } = options
  const families = new Families(registry)
  const groups = { broker, gateway, groupsMax: gateway.topicsMax, perPartition }
  nodeMetrics(families, options)
  trafficMetrics(families, options)
  topicMetrics(families, { broker, topicsMax: gateway.topicsMax, perPartition })
  groupMetrics(families, groups)
  shareGroupMetrics(families, groups)
  logMetrics(families, options)
  connectionMetrics(families, gateway)
  securityMetrics(families, options)
  loadMetrics(families, gateway)
  return {
    render: async names => ({
      contentType: registry.contentType,
      text: names === 'kafka_exporter' ? kafkaExporterPage(options) : await registry.metrics(),
    }),
    list: async () => {
      const labelled = registry.getMetricsAsArray() as unknown as readonly LabelledMetric[]
      return (await registry.getMetricsAsJSON()).map(({ name, type }, i) => ({
        name,
        type: String(type),
        labels: labelled[i]?.labelNames ?? [],
      }))
    },
  }
}

function nodeMetrics(families: Families, options: MetricsOptions): void {
  const { version, commit, nodeId: node, role, dataPath, canary } = options
  families.gauge('logloom_build_info', 'Version of this broker', ['version', 'commit'], () => [
    [{ version, commit }, 1],
  ])
  families.gauge('logloom_node_info', 'Identity of this node', ['node', 'role'], () => [
    [{ node, role }, 1],
  ])
  if (canary !== undefined) {
    families.histogram(
      'logloom_canary_roundtrip_seconds',
      'Time from the proposal of a canary record until it was read back',
      undefined,
      latencyBuckets,
      () => [['', canary.roundtrips]],
    )
    families.counter(
      'logloom_canary_lost_total',
      'Canary records that were not read back',
      [],
      () => one(canary.lost),
    )
    families.counter('logloom_canary_failed_total', 'Canary records that were not taken', [], () =>
      one(canary.failed),
    )
  }
  if (dataPath === undefined) return
  families.gauge('logloom_storage_disk_free_bytes', 'Free space below the data directory', [], () =>
    one(diskSpace(dataPath)?.free),
  )
  families.gauge(
    'logloom_storage_disk_total_bytes',
    'Size of the file system below the data directory',
    [],
    () => one(diskSpace(dataPath)?.total),
  )
}
