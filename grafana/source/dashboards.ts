// The dashboards: what an operator looks for, in the order in which one looks for it.

import { type Dashboard, graph, quantile, rate, stat, table, type Variable } from './panels.ts'

const instance: Variable = { name: 'instance', metric: 'logloom_build_info' }
const topic: Variable = { name: 'topic', metric: 'logloom_topic_partitions' }
const group: Variable = { name: 'group', metric: 'logloom_consumer_group_members' }
const ofTopic = ', topic=~"$topic"'
const produce = ', api="produce"'

const overview: Dashboard = {
  uid: 'logloom-overview',
  title: 'Logloom / Overview',
  description: 'Is it well, how much goes through it, and how long does that take.',
  variables: [instance],
  rows: [
    {
      title: 'Health',
      panels: [
        stat(
          'Brokers up',
          'Brokers that Prometheus can scrape.',
          'short',
          'count(logloom_build_info)',
        ),
        stat(
          'Log available',
          'Lowest of all brokers: 0 while one cannot append or read.',
          'short',
          'min(logloom_log_available)',
          { redBelow: 1 },
        ),
        stat(
          'Damaged ranges',
          'Ranges of the log found lost. Must be 0.',
          'short',
          'max(logloom_log_damaged_ranges)',
          { redFrom: 1 },
        ),
        stat(
          'Copies missing',
          'Of the open segment. 0 on a broker alone, which has no copies.',
          'short',
          'max(logloom_loglet_replicas{state="open"} - logloom_loglet_replicas_in_sync{state="open"}) or vector(0)',
          { redFrom: 1 },
        ),
        stat(
          'Reconfigurations (1 h)',
          'Switches and repairs of the log.',
          'short',
          'sum(increase(logloom_reconfigurations_total{outcome="installed"}[1h]))',
        ),
        stat(
          'Produce p99',
          'From the request to its reply.',
          's',
          quantile(0.99, 'logloom_request_duration_seconds', '', produce),
        ),
        stat(
          'Disk used',
          'The fullest data directory.',
          'percentunit',
          'max(1 - logloom_storage_disk_free_bytes / logloom_storage_disk_total_bytes)',
          { redFrom: 0.85 },
        ),
        stat(
          'Versions',
          'More than one while an upgrade rolls.',
          'short',
          'count(count by (version) (logloom_build_info))',
        ),
      ],
    },
    {
      title: 'Throughput',
      panels: [
        graph('Records', 'Accepted, and sent to readers.', 'ops', [
          { expr: rate('logloom_produce_records_total'), legend: 'in' },
          { expr: rate('logloom_fetch_records_total'), legend: 'out' },
        ]),
        graph('Bytes', 'Of the batches, as stored.', 'Bps', [
          { expr: rate('logloom_produce_bytes_total'), legend: 'in' },
          { expr: rate('logloom_fetch_bytes_total'), legend: 'out' },
        ]),
        graph('Bytes in by topic', 'The 15 busiest.', 'Bps', [
          {
            expr: `topk(15, ${rate('logloom_produce_bytes_total', 'topic')})`,
            legend: '{{topic}}',
          },
        ]),
        graph('Requests', 'Answered, by kind.', 'reqps', [
          { expr: rate('logloom_requests_total', 'api'), legend: '{{api}}' },
        ]),
        graph('Requests refused', 'By code: docs/errors.md says what each means.', 'reqps', [
          { expr: rate('logloom_requests_total', 'code', ', code!="ok"'), legend: '{{code}}' },
        ]),
        graph('Batch size', 'Records of a batch: small ones cost most.', 'short', [
          { expr: quantile(0.5, 'logloom_produce_batch_records'), legend: 'p50' },
          { expr: quantile(0.95, 'logloom_produce_batch_records'), legend: 'p95' },
        ]),
        graph('Batch bytes', 'As stored: compressed, if the producer does that.', 'bytes', [
          { expr: quantile(0.5, 'logloom_produce_batch_bytes'), legend: 'p50' },
          { expr: quantile(0.95, 'logloom_produce_batch_bytes'), legend: 'p95' },
        ]),
      ],
    },
    {
      title: 'Latency',
      panels: [
        graph('Produce', 'From the request to its reply.', 's', [
          { expr: quantile(0.5, 'logloom_request_duration_seconds', '', produce), legend: 'p50' },
          { expr: quantile(0.95, 'logloom_request_duration_seconds', '', produce), legend: 'p95' },
          { expr: quantile(0.99, 'logloom_request_duration_seconds', '', produce), legend: 'p99' },
        ]),
        graph(
          'Stages of a produce, p99',
          'Where the time goes; docs/metrics.md says where each begins and ends.',
          's',
          [
            {
              expr: quantile(0.99, 'logloom_request_stage_duration_seconds', 'stage'),
              legend: '{{stage}}',
            },
          ],
        ),
        graph('Fetch p99', 'Without the wait of long polls.', 's', [
          {
            expr: quantile(0.99, 'logloom_request_duration_seconds', '', ', api="fetch"'),
            legend: 'p99',
          },
        ]),
        graph('fdatasync', 'What the disk takes.', 's', [
          {
            expr: quantile(0.5, 'logloom_fsync_duration_seconds', 'loglet_kind'),
            legend: '{{loglet_kind}} p50',
          },
          {
            expr: quantile(0.99, 'logloom_fsync_duration_seconds', 'loglet_kind'),
            legend: '{{loglet_kind}} p99',
          },
        ]),
        graph('Canary', 'A record of each broker, written and read back.', 's', [
          {
            expr: quantile(0.99, 'logloom_canary_roundtrip_seconds', 'instance'),
            legend: '{{instance}} p99',
          },
        ]),
        graph('Canary trouble', 'Records that got lost (must be 0) or were not taken.', 'ops', [
          { expr: rate('logloom_canary_lost_total', 'instance'), legend: '{{instance}} lost' },
          { expr: rate('logloom_canary_failed_total', 'instance'), legend: '{{instance}} failed' },
        ]),
      ],
    },
    {
      title: 'Load',
      panels: [
        graph(
          'Held for clients',
          'Against the budget: writes are refused from three quarters of it on.',
          'bytes',
          [
            {
              expr: 'sum by (kind) (logloom_held_bytes{instance=~"$instance"})',
              legend: '{{kind}}',
            },
            {
              expr: 'sum(logloom_memory_budget_bytes{instance=~"$instance"})',
              legend: 'budget',
            },
          ],
        ),
        graph('Subscriptions', 'Against how many the memory for clients has room for.', 'short', [
          {
            expr: 'logloom_subscriptions{instance=~"$instance"}',
            legend: '{{instance}}',
          },
          {
            expr: 'logloom_subscriptions_limit{instance=~"$instance"}',
            legend: '{{instance}} limit',
          },
        ]),
        graph(
          'Writes under way',
          'Against what the broker answers in queueTimeTargetMs.',
          'bytes',
          [
            {
              expr: 'logloom_writes_under_way_bytes{instance=~"$instance"}',
              legend: '{{instance}}',
            },
            {
              expr: 'logloom_write_window_bytes{instance=~"$instance"}',
              legend: '{{instance}} window',
            },
          ],
        ),
        graph('Writes refused', 'THROTTLED, before anything was done; clients try again.', 'ops', [
          { expr: rate('logloom_shed_total', 'reason'), legend: '{{reason}}' },
        ]),
        graph(
          'Throttled by quotas',
          'Seconds that principals were made to wait, per second.',
          'short',
          [{ expr: rate('logloom_quota_throttle_seconds_total', 'kind'), legend: '{{kind}}' }],
        ),
      ],
    },
    {
      title: 'Connections',
      panels: [
        graph('Connections', 'Open ones, by broker.', 'short', [
          { expr: 'logloom_ws_connections{instance=~"$instance"}', legend: '{{instance}}' },
        ]),
        graph('Opened and closed', 'By close code: docs/protocol.md 1.2.', 'ops', [
          { expr: rate('logloom_ws_opened_total'), legend: 'opened' },
          { expr: rate('logloom_ws_closed_total', 'code'), legend: 'closed {{code}}' },
        ]),
        graph('Output that waits', 'Readers that do not keep up.', 'bytes', [
          { expr: 'logloom_ws_buffered_bytes{instance=~"$instance"}', legend: '{{instance}}' },
        ]),
        graph(
          'Paused connections',
          'Not read for now: too much in flight, or the peer does not read.',
          'short',
          [
            {
              expr: 'logloom_ws_paused_connections{instance=~"$instance"}',
              legend: '{{instance}}',
            },
          ],
        ),
        graph('Refused upgrades', 'By the reason that was given.', 'ops', [
          { expr: rate('logloom_ws_rejected_total', 'reason'), legend: '{{reason}}' },
        ]),
        graph('Sockets without a hello', 'Many of them are an attack or a storm.', 'short', [
          { expr: 'logloom_ws_strangers{instance=~"$instance"}', legend: '{{instance}}' },
        ]),
        graph('Denied', 'By the right that was lacking: an ACL, or somebody who tries.', 'ops', [
          {
            expr: rate('logloom_authorization_denied_total', 'operation, resource'),
            legend: '{{operation}} {{resource}}',
          },
        ]),
        graph(
          'Failed authentications',
          'By what was presented. The log of the broker says from where, and why.',
          'ops',
          [{ expr: rate('logloom_auth_failures_total', 'mechanism'), legend: '{{mechanism}}' }],
        ),
        graph(
          'Readers that came back',
          'At the offset where they were, or to find it trimmed.',
          'ops',
          [{ expr: rate('logloom_ws_resumes_total', 'outcome'), legend: '{{outcome}}' }],
        ),
      ],
    },
  ],
}

const topics: Dashboard = {
  uid: 'logloom-topic',
  title: 'Logloom / Topics',
  description: 'What each topic takes, gives and keeps.',
  variables: [instance, topic],
  rows: [
    {
      title: 'All topics',
      panels: [
        table('Topics', 'Partitions, bytes stored, and what goes through them.', [
          {
            expr: 'max by (topic) (logloom_topic_partitions{topic=~"$topic"})',
            legend: 'partitions',
          },
          { expr: 'max by (topic) (logloom_topic_size_bytes{topic=~"$topic"})', legend: 'bytes' },
          { expr: rate('logloom_produce_records_total', 'topic', ofTopic), legend: 'records/s in' },
          { expr: rate('logloom_fetch_records_total', 'topic', ofTopic), legend: 'records/s out' },
        ]),
        stat('Topics', 'Of this log.', 'short', 'max(logloom_topics)', { width: 4 }),
        stat(
          'Without series',
          'Beyond metricsTopicsMax, counted as _other.',
          'short',
          'max(logloom_metrics_overflow_topics)',
          { width: 4, redFrom: 1 },
        ),
      ],
    },
    {
      title: '$topic',
      panels: [
        graph('Records in', 'Accepted from producers.', 'ops', [
          { expr: rate('logloom_produce_records_total', 'topic', ofTopic), legend: '{{topic}}' },
        ]),
        graph('Records out', 'Sent to readers.', 'ops', [
          { expr: rate('logloom_fetch_records_total', 'topic', ofTopic), legend: '{{topic}}' },
        ]),
        graph('Bytes in', 'Of the batches, as stored.', 'Bps', [
          { expr: rate('logloom_produce_bytes_total', 'topic', ofTopic), legend: '{{topic}}' },
        ]),
        graph('Bytes out', 'Of the batches, as stored.', 'Bps', [
          { expr: rate('logloom_fetch_bytes_total', 'topic', ofTopic), legend: '{{topic}}' },
        ]),
        graph(
          'Bytes stored',
          'Of the batches that the topic has.',
          'bytes',
          [
            {
              expr: 'max by (topic) (logloom_topic_size_bytes{topic=~"$topic"})',
              legend: '{{topic}}',
            },
          ],
          { stacked: true },
        ),
        graph('Lag of all groups', 'Records that some group has not committed.', 'short', [
          {
            expr: 'sum by (topic) (logloom_consumer_group_lag_records{topic=~"$topic"})',
            legend: '{{topic}}',
          },
        ]),
      ],
    },
    {
      title: 'Partitions (brokers with --metrics-per-partition)',
      panels: [
        graph('End offsets', 'Of each partition.', 'short', [
          {
            expr: 'logloom_partition_end_offset{topic=~"$topic"}',
            legend: '{{topic}}-{{partition}}',
          },
        ]),
        graph('Records kept', 'Between start and end; compacted ones are counted.', 'short', [
          {
            expr: 'logloom_partition_end_offset{topic=~"$topic"} - logloom_partition_start_offset{topic=~"$topic"}',
            legend: '{{topic}}-{{partition}}',
          },
        ]),
        graph('Bytes', 'Of each partition.', 'bytes', [
          {
            expr: 'logloom_partition_size_bytes{topic=~"$topic"}',
            legend: '{{topic}}-{{partition}}',
          },
        ]),
      ],
    },
  ],
}

const groups: Dashboard = {
  uid: 'logloom-groups',
  title: 'Logloom / Consumer groups',
  description: 'Who is behind, by how much, and whether it gets better.',
  variables: [instance, group, { name: 'topic', metric: 'logloom_topic_partitions' }],
  rows: [
    {
      title: 'Lag',
      panels: [
        graph(
          'Lag in seconds',
          'Age of the oldest record that is not committed: exact, from its append time.',
          's',
          [
            {
              expr: 'logloom_consumer_group_lag_seconds{group=~"$group", topic=~"$topic"}',
              legend: '{{group}} {{topic}}',
            },
          ],
          { width: 12 },
        ),
        graph(
          'Lag in records',
          'Between the committed offsets and the ends.',
          'short',
          [
            {
              expr: 'logloom_consumer_group_lag_records{group=~"$group", topic=~"$topic"}',
              legend: '{{group}} {{topic}}',
            },
          ],
          { width: 12 },
        ),
        table('Worst partitions', 'Brokers with --metrics-per-partition only.', [
          {
            expr: 'topk(20, logloom_consumer_group_partition_lag_records{group=~"$group", topic=~"$topic"})',
          },
        ]),
      ],
    },
    {
      title: 'Members',
      panels: [
        graph(
          'Members',
          'Also those in their grace period.',
          'short',
          [{ expr: 'logloom_consumer_group_members{group=~"$group"}', legend: '{{group}}' }],
          { width: 6 },
        ),
        graph(
          'Stalled members',
          'Connected, but without a commit for 5 minutes although there is something to read.',
          'short',
          [
            {
              expr: 'logloom_consumer_group_stalled_members{group=~"$group"}',
              legend: '{{group}}',
            },
          ],
          { width: 6, redFrom: 1 },
        ),
        graph(
          'Rebalances',
          'Changes of who should have which partition.',
          'ops',
          [
            {
              expr: 'sum by (group) (rate(logloom_consumer_group_rebalances_total{group=~"$group"}[$__rate_interval]))',
              legend: '{{group}}',
            },
          ],
          { width: 6 },
        ),
        graph(
          'Commits',
          'Taken by all brokers.',
          'ops',
          [
            {
              expr: 'sum by (group) (rate(logloom_consumer_group_commits_total{group=~"$group"}[$__rate_interval]))',
              legend: '{{group}}',
            },
          ],
          { width: 6 },
        ),
      ],
    },
    {
      title: 'Queues (share groups)',
      panels: [
        graph('Not finished', 'New, held, or waiting to be delivered again.', 'short', [
          { expr: 'logloom_share_group_lag_records', legend: '{{group}} {{topic}}' },
        ]),
        graph('Held', 'By members that work on them.', 'short', [
          { expr: 'logloom_share_group_held_records', legend: '{{group}} {{topic}}' },
        ]),
        graph('Members', 'That hold something.', 'short', [
          { expr: 'logloom_share_group_members', legend: '{{group}}' },
        ]),
        graph('Deliveries', 'All, and those that were not the first of their record.', 'ops', [
          {
            expr: 'sum by (group) (rate(logloom_share_group_delivered_total[$__rate_interval]))',
            legend: '{{group}}',
          },
          {
            expr: 'sum by (group) (rate(logloom_share_group_redelivered_total[$__rate_interval]))',
            legend: '{{group}} again',
          },
        ]),
        graph('Finished', 'Accepted, and given up without a dead letter.', 'ops', [
          {
            expr: 'sum by (group) (rate(logloom_share_group_acknowledged_total[$__rate_interval]))',
            legend: '{{group}} accepted',
          },
          {
            expr: 'sum by (group) (rate(logloom_share_group_archived_total[$__rate_interval]))',
            legend: '{{group}} given up',
          },
        ]),
      ],
    },
  ],
}

const log: Dashboard = {
  uid: 'logloom-log',
  title: 'Logloom / The log and its switches',
  description: 'What the virtual log is made of, and what a switch of the protocol gains.',
  variables: [instance],
  rows: [
    {
      title: 'What a switch gains',
      panels: [
        graph(
          'Append p99 by protocol',
          'The same load before and after a switch: the purple marks.',
          's',
          [
            {
              expr: quantile(0.99, 'logloom_append_duration_seconds', 'loglet_kind'),
              legend: '{{loglet_kind}}',
            },
          ],
          { width: 12, height: 10 },
        ),
        graph(
          'Records appended by protocol',
          'Per second, as they are acked.',
          'ops',
          [
            {
              expr: rate('logloom_append_records_total', 'loglet_kind'),
              legend: '{{loglet_kind}}',
            },
          ],
          { width: 12, height: 10, stacked: true },
        ),
        graph('Bytes appended by protocol', 'Of the entries of the log.', 'Bps', [
          { expr: rate('logloom_append_bytes_total', 'loglet_kind'), legend: '{{loglet_kind}}' },
        ]),
        graph('Produce p99', 'As clients see it.', 's', [
          { expr: quantile(0.99, 'logloom_request_duration_seconds', '', produce), legend: 'p99' },
        ]),
        graph('Replication and sync, p99', 'Within an append.', 's', [
          {
            expr: quantile(0.99, 'logloom_replication_duration_seconds', 'loglet_kind'),
            legend: '{{loglet_kind}} to a majority',
          },
          {
            expr: quantile(0.99, 'logloom_fsync_duration_seconds', 'loglet_kind'),
            legend: '{{loglet_kind}} fdatasync',
          },
        ]),
      ],
    },
    {
      title: 'The chain',
      panels: [
        {
          type: 'state-timeline',
          title: 'Open segment',
          description: 'The protocol that takes appends.',
          unit: 'none',
          width: 24,
          height: 5,
          queries: [
            {
              expr: 'max by (loglet_kind) (logloom_log_segments{state="open"})',
              legend: '{{loglet_kind}}',
            },
          ],
        },
        graph('Segments', 'By protocol and state.', 'short', [
          {
            expr: 'max by (loglet_kind, state) (logloom_log_segments)',
            legend: '{{loglet_kind}} {{state}}',
          },
        ]),
        graph('Reconfigurations', 'Installed, and lost to another node that was faster.', 'short', [
          {
            expr: 'sum by (reason, outcome) (increase(logloom_reconfigurations_total[$__rate_interval]))',
            legend: '{{reason}} {{outcome}}',
          },
        ]),
        graph('Time of a switch', 'Whole, and from the seal to the drained tail.', 's', [
          {
            expr: 'sum(rate(logloom_reconfiguration_duration_seconds_sum[$__rate_interval])) / sum(rate(logloom_reconfiguration_duration_seconds_count[$__rate_interval]))',
            legend: 'reconfiguration',
          },
          {
            expr: 'sum(rate(logloom_seal_duration_seconds_sum[$__rate_interval])) / sum(rate(logloom_seal_duration_seconds_count[$__rate_interval]))',
            legend: 'seal',
          },
        ]),
        graph('Copies', 'That segments were made with, and that are up.', 'short', [
          {
            expr: 'max by (loglet_kind, state) (logloom_loglet_replicas)',
            legend: '{{loglet_kind}} {{state}}',
          },
          {
            expr: 'min by (loglet_kind, state) (logloom_loglet_replicas_in_sync)',
            legend: '{{loglet_kind}} {{state}} up',
          },
        ]),
        graph('Writes of the chain', 'Conditional writes; mismatch: another was faster.', 'ops', [
          {
            expr: 'sum by (outcome) (rate(logloom_metastore_cas_total[$__rate_interval]))',
            legend: '{{outcome}}',
          },
        ]),
      ],
    },
    {
      title: 'Positions and space',
      panels: [
        graph('Tail', 'Positions per second.', 'ops', [
          { expr: 'max(rate(logloom_log_tail_position[$__rate_interval]))', legend: 'entries' },
        ]),
        graph('Apply lag', 'Positions that a broker knows and has not applied.', 'short', [
          {
            expr: 'logloom_log_tail_position{instance=~"$instance"} - logloom_log_applied_position{instance=~"$instance"}',
            legend: '{{instance}}',
          },
        ]),
        graph('Trim position', 'First that is not trimmed.', 'short', [
          { expr: 'logloom_log_trim_position{instance=~"$instance"}', legend: '{{instance}}' },
        ]),
        graph('Bytes', 'Of the log, and of what lives in it.', 'bytes', [
          { expr: 'max(logloom_log_bytes)', legend: 'log' },
          { expr: 'max(logloom_log_live_bytes)', legend: 'live' },
        ]),
        graph('Moved by cleaning', 'Live batches taken out of the oldest part.', 'Bps', [
          { expr: rate('logloom_relocated_bytes_total', 'instance'), legend: '{{instance}}' },
        ]),
        graph(
          'Batches moved, compaction',
          'Passes over compacted topics and what they removed.',
          'ops',
          [
            { expr: rate('logloom_relocated_batches_total'), legend: 'batches moved' },
            { expr: rate('logloom_compaction_runs_total'), legend: 'passes' },
            { expr: rate('logloom_compaction_removed_records_total'), legend: 'records removed' },
          ],
        ),
      ],
    },
  ],
}

const process: Dashboard = {
  uid: 'logloom-process',
  title: 'Logloom / Process',
  description: 'One Node process each: event loop, memory, disk.',
  variables: [instance],
  rows: [
    {
      title: 'Event loop and CPU',
      panels: [
        graph(
          'Event loop delay',
          'p99 of the last interval: what every request waits at least.',
          's',
          [
            {
              expr: 'nodejs_eventloop_lag_p99_seconds{instance=~"$instance"}',
              legend: '{{instance}}',
            },
          ],
        ),
        graph(
          'CPU',
          'Cores; the broker itself uses one, syncs and zlib some more.',
          'percentunit',
          [
            {
              expr: 'rate(process_cpu_seconds_total{instance=~"$instance"}[$__rate_interval])',
              legend: '{{instance}}',
            },
          ],
        ),
        graph('Garbage collection', 'Share of the time.', 'percentunit', [
          {
            expr: 'sum by (instance, kind) (rate(nodejs_gc_duration_seconds_sum{instance=~"$instance"}[$__rate_interval]))',
            legend: '{{instance}} {{kind}}',
          },
        ]),
      ],
    },
    {
      title: 'Memory',
      panels: [
        graph('Resident', 'Of the process.', 'bytes', [
          { expr: 'process_resident_memory_bytes{instance=~"$instance"}', legend: '{{instance}}' },
        ]),
        graph('Heap', 'Of JavaScript; batches live outside of it.', 'bytes', [
          { expr: 'nodejs_heap_size_used_bytes{instance=~"$instance"}', legend: '{{instance}}' },
        ]),
        graph(
          'Tail cache and backlog',
          'Newest entries for readers, and what waits to be appended.',
          'bytes',
          [
            {
              expr: 'logloom_tail_cache_bytes{instance=~"$instance"}',
              legend: '{{instance}} cache',
            },
            {
              expr: 'logloom_backlog_bytes{instance=~"$instance"}',
              legend: '{{instance}} backlog',
            },
          ],
        ),
      ],
    },
    {
      title: 'Disk and files',
      panels: [
        graph('Free', 'Below the data directory.', 'bytes', [
          {
            expr: 'logloom_storage_disk_free_bytes{instance=~"$instance"}',
            legend: '{{instance}}',
          },
        ]),
        graph('Open files', 'Against the limit of the process.', 'short', [
          { expr: 'process_open_fds{instance=~"$instance"}', legend: '{{instance}}' },
          { expr: 'process_max_fds{instance=~"$instance"}', legend: '{{instance}} limit' },
        ]),
        table(
          'Nodes',
          'Versions and roles.',
          [{ expr: 'logloom_build_info' }, { expr: 'logloom_node_info' }],
          { width: 8, height: 8 },
        ),
      ],
    },
  ],
}

/** By the name of their file. */
export const dashboards: Readonly<Record<string, Dashboard>> = {
  overview,
  topic: topics,
  'consumer-groups': groups,
  log,
  process,
}
