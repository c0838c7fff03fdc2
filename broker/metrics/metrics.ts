// Prometheus metrics (docs/metrics.md): the only door to prom-client. Hot paths count plain numbers; what is exported is read from them
// when somebody scrapes.

import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'
import type { Broker } from '../broker.ts'
import type { CleaningStats } from '../cleaning/cleaner.ts'
import { diskSpace } from '../disk-space.ts'
import { type GatewayStats, type Histogram, latencyBuckets } from '../gateway/stats.ts'
import { type LogStats, syncBuckets } from './log-stats.ts'
import { GroupMetrics } from './group-metrics.ts'
import { SnapshotHistogram } from './snapshot-histogram.ts'

export interface MetricsOptions {
  readonly version: string
  readonly nodeId: string
  readonly broker: () => Broker | undefined
  readonly gateway: GatewayStats
  readonly log: LogStats
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

/** What `/metrics` shows. */
export interface Metrics {
  render(): Promise<{ readonly contentType: string; readonly text: string }>
  /** Everything that is exported, for the test that holds docs and code together. */
  list(): Promise<readonly MetricDescription[]>
}

/** A registry of its own, so that several brokers live in one process. */
export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const { gateway, log } = options

  const gauge = (name: string, help: string, value: () => number | undefined): void => {
    const metric = new Gauge({
      name,
      help,
      registers: [],
      collect() {
        const now = value()
        if (now !== undefined) this.set(now)
      },
    })
    registry.registerMetric(metric)
  }
  /** A counter or gauge whose series are read anew at every scrape, so that nothing stale stays. */
  const table = <L extends string>(
    Type: typeof Counter<L> | typeof Gauge<L>,
    name: string,
    help: string,
    labelNames: readonly L[],
    rows: () => Iterable<readonly [Record<L, string>, number]>,
  ): void => {
    const metric = new Type({
      name,
      help,
      labelNames: [...labelNames],
      registers: [],
      collect() {
        this.reset()
        for (const [labels, value] of rows()) this.inc(labels, value)
      },
    })
    registry.registerMetric(metric)
  }
  const histogram = (
    name: string,
    help: string,
    labelName: string | undefined,
    bounds: readonly number[],
    rows: () => Iterable<readonly [string, Histogram]>,
  ): void => {
    registry.registerMetric(new SnapshotHistogram(name, help, labelName, bounds, rows))
  }

  table(Gauge, 'logloom_build_info', 'Version of this broker', ['version'], () => [
    [{ version: options.version }, 1],
  ])
  table(Gauge, 'logloom_node_info', 'Identity of this node', ['node', 'role'], () => [
    [{ node: options.nodeId, role: 'broker' }, 1],
  ])
  const traffic = (pick: 'produceRecords' | 'produceBytes' | 'fetchRecords' | 'fetchBytes') =>
    function* (): Generator<readonly [{ topic: string }, number]> {
      gateway.keepTopics(name => options.broker()?.topicByName(name) !== undefined)
      for (const [topic, counts] of gateway.traffic) yield [{ topic }, counts[pick]]
    }
  table(
    Counter,
    'logloom_produce_records_total',
    'Records accepted',
    ['topic'],
    traffic('produceRecords'),
  )
  table(
    Counter,
    'logloom_produce_bytes_total',
    'Batch bytes accepted',
    ['topic'],
    traffic('produceBytes'),
  )
  table(
    Counter,
    'logloom_fetch_records_total',
    'Records sent to readers',
    ['topic'],
    traffic('fetchRecords'),
  )
  table(
    Counter,
    'logloom_fetch_bytes_total',
    'Batch bytes sent to readers',
    ['topic'],
    traffic('fetchBytes'),
  )
  table(
    Counter,
    'logloom_requests_total',
    'Requests answered, by result',
    ['api', 'code'],
    function* () {
      for (const [api, codes] of gateway.requests)
        for (const [code, n] of codes) yield [{ api, code }, n]
    },
  )
  histogram(
    'logloom_request_duration_seconds',
    'Time from request to reply, without the wait of long polls',
    'api',
    latencyBuckets,
    () => gateway.durations,
  )
  histogram(
    'logloom_append_duration_seconds',
    'Time of one append to the log',
    'loglet_kind',
    latencyBuckets,
    function* () {
      for (const [kind, stats] of log.appends) yield [kind, stats.seconds]
    },
  )
  histogram(
    'logloom_fsync_duration_seconds',
    'Time of one fdatasync',
    'loglet_kind',
    syncBuckets,
    () => log.syncs,
  )
  table(
    Counter,
    'logloom_append_bytes_total',
    'Entry bytes appended, by the open segment’s spec',
    ['loglet_kind'],
    function* () {
      for (const [kind, stats] of log.appends) yield [{ loglet_kind: kind }, stats.bytes]
    },
  )
  table(
    Counter,
    'logloom_append_records_total',
    'Records appended, by the open segment’s spec',
    ['loglet_kind'],
    function* () {
      for (const [kind, stats] of log.appends) yield [{ loglet_kind: kind }, stats.records]
    },
  )
  const groups = new GroupMetrics(options.broker, gateway.topicsMax)
  table(
    Gauge,
    'logloom_consumer_group_lag_records',
    'Records that the group has not committed',
    ['group', 'topic'],
    () => groups.lag('records'),
  )
  table(
    Gauge,
    'logloom_consumer_group_lag_seconds',
    'Age of the oldest record that the group has not committed',
    ['group', 'topic'],
    () => groups.lag('seconds'),
  )
  table(
    Gauge,
    'logloom_consumer_group_members',
    'Members of the group, also those in their grace period',
    ['group'],
    () => groups.each(group => group.members.size),
  )
  table(
    Counter,
    'logloom_consumer_group_rebalances_total',
    'Changes of who should have which partition',
    ['group'],
    () => groups.each(group => group.generation),
  )
  table(
    Counter,
    'logloom_consumer_group_commits_total',
    'Commits that this broker took',
    ['group'],
    function* () {
      for (const [group, n] of gateway.groupCommits) yield [{ group }, n]
    },
  )
  gauge('logloom_topics', 'Topics', () => [...(options.broker()?.topics() ?? [])].length)
  gauge(
    'logloom_log_tail_position',
    'First unwritten position known here',
    () => options.broker()?.tail,
  )
  gauge('logloom_log_applied_position', 'Next position to apply', () => options.broker()?.applied)
  gauge(
    'logloom_log_trim_position',
    'First position that is not trimmed',
    () => options.broker()?.describeLog().trim,
  )
  gauge(
    'logloom_log_bytes',
    'Bytes of the entries that are not trimmed',
    () => options.broker()?.logBytes.total,
  )
  gauge(
    'logloom_log_live_bytes',
    'Bytes of batches that some topic has',
    () => options.broker()?.logBytes.live,
  )
  const cleaned = (name: string, help: string, pick: keyof CleaningStats): void =>
    table(Counter, name, help, [], () => [[{}, options.broker()?.cleaning[pick] ?? 0]])
  cleaned('logloom_relocated_bytes_total', 'Bytes of batches moved to the tail', 'relocatedBytes')
  cleaned('logloom_relocated_batches_total', 'Batches moved to the tail', 'relocatedBatches')
  cleaned('logloom_compaction_runs_total', 'Passes over compacted partitions', 'compactionRuns')
  cleaned(
    'logloom_compaction_removed_records_total',
    'Records that had a newer one of their key',
    'compactionRemovedRecords',
  )
  gauge(
    'logloom_log_damaged_ranges',
    'Ranges found lost since the start; must be 0',
    () => options.broker()?.damagedRanges,
  )
  gauge(
    'logloom_tail_cache_bytes',
    'Newest entries kept in memory',
    () => options.broker()?.tailCacheBytes,
  )
  gauge(
    'logloom_backlog_bytes',
    'Bytes proposed and not answered',
    () => options.broker()?.backlogBytes,
  )
  table(
    Gauge,
    'logloom_log_segments',
    'Segments of the chain',
    ['loglet_kind', 'state'],
    function* () {
      const counts = new Map<string, number>()
      for (const s of options.broker()?.describeLog().segments ?? [])
        counts.set(`${s.spec}\n${s.state}`, (counts.get(`${s.spec}\n${s.state}`) ?? 0) + 1)
      for (const [key, n] of counts) {
        const [kind = '', state = ''] = key.split('\n')
        yield [{ loglet_kind: kind, state }, n]
      }
    },
  )
  table(
    Counter,
    'logloom_reconfigurations_total',
    'Reconfigurations of the log',
    ['reason', 'from_kind', 'to_kind', 'outcome'],
    function* () {
      for (const [key, n] of log.reconfigurations) {
        const [reason = '', from = '', to = '', outcome = ''] = key.split('\n')
        yield [{ reason, from_kind: from, to_kind: to, outcome }, n]
      }
    },
  )
  histogram(
    'logloom_reconfiguration_duration_seconds',
    'Time of one reconfiguration',
    undefined,
    latencyBuckets,
    () => [['', log.reconfigurationSeconds]],
  )
  histogram(
    'logloom_seal_duration_seconds',
    'Time from seal to the installed chain',
    undefined,
    latencyBuckets,
    () => [['', log.sealSeconds]],
  )
  table(
    Counter,
    'logloom_metastore_cas_total',
    'Conditional writes of the chain',
    ['outcome'],
    function* () {
      for (const [outcome, n] of log.cas) yield [{ outcome }, n]
    },
  )
  gauge('logloom_ws_connections', 'Open connections', () => gateway.connections)
  gauge('logloom_ws_buffered_bytes', 'Output waiting on all connections', () =>
    gateway.bufferedBytes(),
  )
  gauge(
    'logloom_ws_paused_connections',
    'Connections whose socket is not read for now',
    () => gateway.pausedConnections,
  )
  table(Counter, 'logloom_ws_opened_total', 'Connections opened', [], () => [[{}, gateway.opened]])
  table(Counter, 'logloom_ws_closed_total', 'Connections closed', ['code'], function* () {
    for (const [code, n] of gateway.closed) yield [{ code: String(code) }, n]
  })
  table(
    Counter,
    'logloom_ws_rejected_total',
    'Upgrades and connections refused',
    ['reason'],
    function* () {
      for (const [reason, n] of gateway.rejected) yield [{ reason }, n]
    },
  )
  const { dataPath } = options
  if (dataPath !== undefined) {
    gauge(
      'logloom_storage_disk_free_bytes',
      'Free space below the data directory',
      () => diskSpace(dataPath)?.free,
    )
    gauge(
      'logloom_storage_disk_total_bytes',
      'Size of the file system below the data directory',
      () => diskSpace(dataPath)?.total,
    )
  }
  return {
    render: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
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
