// Recording and alert rules. An alert is a value and the condition that makes it one, so that a test can ask for the value while all is well.

export interface Alert {
  readonly name: string
  readonly value: string
  readonly condition: string
  /** How long it has to hold. */
  readonly for: string
  readonly severity: 'critical' | 'warning'
  readonly summary: string
}

export interface Recording {
  readonly record: string
  readonly expr: string
}

const p99 = (metric: string, by: string, selector = ''): string =>
  `histogram_quantile(0.99, sum by (${by}, le) (rate(${metric}_bucket${selector}[5m])))`

export const recordings: readonly Recording[] = [
  {
    record: 'logloom:produce_records:rate1m',
    expr: 'sum by (topic) (rate(logloom_produce_records_total[1m]))',
  },
  {
    record: 'logloom:fetch_records:rate1m',
    expr: 'sum by (topic) (rate(logloom_fetch_records_total[1m]))',
  },
  {
    record: 'logloom:produce_duration_seconds:p99_5m',
    expr: p99('logloom_request_duration_seconds', 'instance', '{api="produce"}'),
  },
  {
    record: 'logloom:append_duration_seconds:p99_5m',
    expr: p99('logloom_append_duration_seconds', 'loglet_kind'),
  },
  {
    record: 'logloom:request_errors:ratio5m',
    expr: 'sum by (instance) (rate(logloom_requests_total{code!="ok"}[5m])) / sum by (instance) (rate(logloom_requests_total[5m]))',
  },
]

export const alerts: readonly Alert[] = [
  {
    name: 'LogloomBrokerDown',
    value: 'up{job="logloom"}',
    condition: '== 0',
    for: '1m',
    severity: 'critical',
    summary: '{{ $labels.instance }} cannot be scraped',
  },
  {
    name: 'LogloomLogUnavailable',
    value: 'logloom_log_available',
    condition: '== 0',
    for: '1m',
    severity: 'critical',
    summary: '{{ $labels.instance }} cannot append to the log, or not read it',
  },
  {
    name: 'LogloomLogDamaged',
    value: 'logloom_log_damaged_ranges',
    condition: '> 0',
    for: '0m',
    severity: 'critical',
    summary: '{{ $labels.instance }} found {{ $value }} lost or damaged ranges of the log',
  },
  {
    name: 'LogloomUnderReplicated',
    value: 'logloom_loglet_replicas - logloom_loglet_replicas_in_sync',
    condition: '> 0',
    for: '5m',
    severity: 'warning',
    summary:
      '{{ $value }} copies of {{ $labels.state }} {{ $labels.loglet_kind }} segments are not up',
  },
  {
    name: 'LogloomUnderMinReplicas',
    value: 'logloom_loglet_replicas_in_sync{state="open"} / logloom_loglet_replicas{state="open"}',
    condition: '<= 0.5',
    for: '1m',
    severity: 'critical',
    summary: 'too few copies of the open {{ $labels.loglet_kind }} segment are up: no majority',
  },
  {
    name: 'LogloomFsyncSlow',
    value: p99('logloom_fsync_duration_seconds', 'instance'),
    condition: '> 0.5',
    for: '10m',
    severity: 'warning',
    summary:
      'the disk of {{ $labels.instance }} takes {{ $value | humanizeDuration }} (p99) to sync',
  },
  {
    name: 'LogloomReconfigurationLoop',
    value:
      'max(max_over_time(logloom_log_open_segment_index[10m])) - min(min_over_time(logloom_log_open_segment_index[10m]))',
    condition: '> 5',
    for: '0m',
    severity: 'warning',
    summary: 'the log was reconfigured {{ $value }} times in 10 minutes',
  },
  {
    name: 'LogloomRequestErrors',
    value:
      'sum by (instance) (rate(logloom_requests_total{code=~"INTERNAL|LOG_UNAVAILABLE|LOG_LOST|STORAGE_FULL"}[5m]))',
    condition: '> 0',
    for: '2m',
    severity: 'critical',
    summary: '{{ $labels.instance }} fails {{ $value }} requests per second',
  },
  {
    name: 'LogloomDiskWillFill',
    value: 'predict_linear(logloom_storage_disk_free_bytes[1h], 4 * 3600)',
    condition: '< 0',
    for: '15m',
    severity: 'warning',
    summary: 'the disk of {{ $labels.instance }} will be full within four hours',
  },
  {
    name: 'LogloomCertExpiring',
    value: 'logloom_tls_cert_expiry_timestamp_seconds - time()',
    condition: '< 7 * 86400',
    for: '10m',
    severity: 'warning',
    summary:
      'the certificate of {{ $labels.instance }} for {{ $labels.listener }} ends in {{ $value | humanizeDuration }}',
  },
  {
    name: 'LogloomEventLoopBlocked',
    value: 'nodejs_eventloop_lag_p99_seconds{job="logloom"}',
    condition: '> 0.5',
    for: '5m',
    severity: 'warning',
    summary:
      'requests to {{ $labels.instance }} wait {{ $value | humanizeDuration }} (p99) for the event loop',
  },
  {
    name: 'LogloomShedding',
    value: 'sum by (instance, reason) (rate(logloom_shed_total[5m]))',
    condition: '> 0',
    for: '5m',
    severity: 'warning',
    summary:
      '{{ $labels.instance }} refuses {{ $value }} writes per second ({{ $labels.reason }}): it is beyond its capacity',
  },
  {
    name: 'LogloomCanaryLost',
    value: 'increase(logloom_canary_lost_total[10m])',
    condition: '> 0',
    for: '0m',
    severity: 'critical',
    summary: '{{ $labels.instance }} could not read back what it had written',
  },
  {
    name: 'LogloomLagSecondsHigh',
    value: 'max by (group, topic) (logloom_consumer_group_lag_seconds)',
    condition: '> 300',
    for: '5m',
    severity: 'warning',
    summary:
      'group {{ $labels.group }} is {{ $value | humanizeDuration }} behind in {{ $labels.topic }}',
  },
  {
    name: 'LogloomLagKeepsIncreasing',
    value:
      'min by (group, topic) (min_over_time(deriv(logloom_consumer_group_lag_records[5m])[10m:15s]))',
    condition: '> 0',
    for: '10m',
    severity: 'warning',
    summary:
      'the lag of group {{ $labels.group }} in {{ $labels.topic }} grows by {{ $value }} records per second',
  },
  {
    name: 'LogloomStalledMember',
    value: 'logloom_consumer_group_stalled_members',
    condition: '> 0',
    for: '5m',
    severity: 'warning',
    summary: '{{ $value }} members of group {{ $labels.group }} do not get on',
  },
  {
    name: 'LogloomQueueGivesUp',
    value: 'sum by (group) (increase(logloom_share_group_archived_total[10m]))',
    condition: '> 0',
    for: '0m',
    severity: 'warning',
    summary: 'queue {{ $labels.group }} gave up {{ $value }} records without a dead letter',
  },
]

/** In this package and its repository. */
const runbooks = 'docs/runbooks.md'

/** The rule file that Prometheus reads. */
export function rulesYaml(): string {
  const recording = recordings.map(
    ({ record, expr }) => `      - record: ${record}\n        expr: ${quoted(expr)}\n`,
  )
  const alerting = alerts.map(
    ({ name, value, condition, for: forTime, severity, summary }) =>
      `      - alert: ${name}
        expr: ${quoted(`${value} ${condition}`)}
        for: ${forTime}
        labels:
          severity: ${severity}
        annotations:
          summary: ${quoted(summary)}
          runbook_url: ${runbooks}#${name.toLowerCase()}
`,
  )
  return `# Made from grafana/source/rules.ts: change it there, then \`npm run grafana\`.
groups:
  - name: logloom-recording
    rules:
${recording.join('')}  - name: logloom-alerts
    rules:
${alerting.join('')}`
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
