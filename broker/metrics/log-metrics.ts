// The log as this broker sees it: appends, syncs and replication by kind, positions, bytes, segments, reconfigurations, cleaning.

import type { Broker } from '../broker.ts'
import type { CleaningStats } from '../cleaning/cleaner.ts'
import { latencyBuckets } from '../gateway/stats.ts'
import type { ReplicaCount } from '../cluster/segment-copies.ts'
import { type Families, one } from './families.ts'
import { type LogStats, syncBuckets } from './log-stats.ts'

export interface LogSources {
  readonly broker: () => Broker | undefined
  readonly log: LogStats
  /** Of the segments of a cluster's log; a broker alone has none. */
  readonly replicas?: () => readonly ReplicaCount[]
}

export function logMetrics(families: Families, { broker, log, replicas }: LogSources): void {
  families.histogram(
    'logloom_append_duration_seconds',
    'Time of one append to the log',
    'loglet_kind',
    latencyBuckets,
    function* () {
      for (const [kind, stats] of log.appends) yield [kind, stats.seconds]
    },
  )
  families.histogram(
    'logloom_fsync_duration_seconds',
    'Time of one fdatasync',
    'loglet_kind',
    syncBuckets,
    () => log.syncs,
  )
  families.histogram(
    'logloom_replication_duration_seconds',
    'Time from an entry at its sequencer to a majority of its log servers',
    'loglet_kind',
    latencyBuckets,
    () => log.replications,
  )
  const appended = (name: string, help: string, pick: 'bytes' | 'records'): void =>
    families.counter(name, help, ['loglet_kind'], function* () {
      for (const [kind, stats] of log.appends) yield [{ loglet_kind: kind }, stats[pick]]
    })
  appended(
    'logloom_append_bytes_total',
    'Entry bytes appended, by the open segment’s spec',
    'bytes',
  )
  appended(
    'logloom_append_records_total',
    'Records appended, by the open segment’s spec',
    'records',
  )
  const gauge = (name: string, help: string, value: (broker: Broker) => number | undefined): void =>
    families.gauge(name, help, [], () => {
      const now = broker()
      return one(now === undefined ? undefined : value(now))
    })
  gauge('logloom_log_available', 'Whether the log can be appended to and read', b =>
    Number(b.health().status !== 'unavailable'),
  )
  gauge('logloom_log_tail_position', 'First unwritten position known here', b => b.tail)
  gauge('logloom_log_applied_position', 'Next position to apply', b => b.applied)
  gauge(
    'logloom_log_trim_position',
    'First position that is not trimmed',
    b => b.describeLog().trim,
  )
  gauge('logloom_log_bytes', 'Bytes of the entries that are not trimmed', b => b.logBytes.total)
  gauge('logloom_log_live_bytes', 'Bytes of batches that some topic has', b => b.logBytes.live)
  gauge(
    'logloom_log_damaged_ranges',
    'Ranges found lost since the start; must be 0',
    b => b.damagedRanges,
  )
  gauge('logloom_tail_cache_bytes', 'Newest entries kept in memory', b => b.tailCacheBytes)
  segments(families, broker, replicas)
  reconfigurations(families, log)
  const cleaned = (name: string, help: string, pick: keyof CleaningStats): void =>
    families.counter(name, help, [], () => one(broker()?.cleaning[pick] ?? 0))
  cleaned('logloom_relocated_bytes_total', 'Bytes of batches moved to the tail', 'relocatedBytes')
  cleaned('logloom_relocated_batches_total', 'Batches moved to the tail', 'relocatedBatches')
  cleaned('logloom_compaction_runs_total', 'Passes over compacted partitions', 'compactionRuns')
  cleaned(
    'logloom_compaction_removed_records_total',
    'Records that had a newer one of their key',
    'compactionRemovedRecords',
  )
}

function segments(
  families: Families,
  broker: () => Broker | undefined,
  replicas: LogSources['replicas'],
): void {
  families.gauge(
    'logloom_log_segments',
    'Segments of the chain',
    ['loglet_kind', 'state'],
    function* () {
      const counts = new Map<string, number>()
      for (const { spec, state } of broker()?.describeLog().segments ?? [])
        counts.set(`${spec}\n${state}`, (counts.get(`${spec}\n${state}`) ?? 0) + 1)
      for (const [key, n] of counts) {
        const [kind = '', state = ''] = key.split('\n')
        yield [{ loglet_kind: kind, state }, n]
      }
    },
  )
  families.gauge(
    'logloom_log_open_segment_index',
    'Number of the segment that takes appends; it grows with every reconfiguration',
    ['loglet_kind'],
    function* () {
      const open = broker()?.describeLog().segments.at(-1)
      if (open !== undefined) yield [{ loglet_kind: open.spec }, open.index]
    },
  )
  const copies = (name: string, help: string, pick: 'replicas' | 'inSync'): void =>
    families.gauge(name, help, ['loglet_kind', 'state'], function* () {
      for (const count of replicas?.() ?? [])
        yield [{ loglet_kind: count.spec, state: count.state }, count[pick]]
    })
  copies('logloom_loglet_replicas', 'Copies that segments were made with', 'replicas')
  copies('logloom_loglet_replicas_in_sync', 'Those whose log server is up and has them', 'inSync')
}

function reconfigurations(families: Families, log: LogStats): void {
  families.counter(
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
  families.histogram(
    'logloom_reconfiguration_duration_seconds',
    'Time of one reconfiguration',
    undefined,
    latencyBuckets,
    () => [['', log.reconfigurationSeconds]],
  )
  families.histogram(
    'logloom_seal_duration_seconds',
    'Time from seal to the installed chain',
    undefined,
    latencyBuckets,
    () => [['', log.sealSeconds]],
  )
  families.counter(
    'logloom_metastore_cas_total',
    'Conditional writes of the chain',
    ['outcome'],
    function* () {
      for (const [outcome, n] of log.cas) yield [{ outcome }, n]
    },
  )
}
