// What goes through the broker: records and bytes by topic, requests by kind and result, and the time of each stage of a produce.

import type { Broker } from '../broker.ts'
import {
  byteBuckets,
  type GatewayStats,
  latencyBuckets,
  recordBuckets,
  type TopicTraffic,
} from '../gateway/stats.ts'
import { shedReasons } from '../gateway/load/admission.ts'
import type { LoadControl } from '../gateway/load/load-control.ts'
import { heldKinds } from '../gateway/load/memory-budget.ts'
import { type Families, one } from './families.ts'

export interface TrafficSources {
  readonly broker: () => Broker | undefined
  readonly gateway: GatewayStats
}

export function trafficMetrics(families: Families, { broker, gateway }: TrafficSources): void {
  const traffic = (name: string, help: string, pick: keyof TopicTraffic): void =>
    families.counter(name, help, ['topic'], function* () {
      gateway.keepTopics(topic => broker()?.topicByName(topic) !== undefined)
      for (const [topic, counts] of gateway.traffic) yield [{ topic }, counts[pick]]
    })
  traffic('logloom_produce_records_total', 'Records accepted', 'produceRecords')
  traffic('logloom_produce_bytes_total', 'Batch bytes accepted', 'produceBytes')
  traffic('logloom_fetch_records_total', 'Records sent to readers', 'fetchRecords')
  traffic('logloom_fetch_bytes_total', 'Batch bytes sent to readers', 'fetchBytes')
  families.counter(
    'logloom_requests_total',
    'Requests answered, by result',
    ['api', 'code'],
    function* () {
      for (const [api, codes] of gateway.requests)
        for (const [code, n] of codes) yield [{ api, code }, n]
    },
  )
  families.counter(
    'logloom_authorization_denied_total',
    'Requests denied, by the right that they lacked',
    ['operation', 'resource'],
    function* () {
      for (const [right, n] of gateway.denied) {
        const [operation = '', resource = ''] = right.split(' ')
        yield [{ operation, resource }, n]
      }
    },
  )
  families.histogram(
    'logloom_request_duration_seconds',
    'Time from request to reply, without the wait of long polls',
    'api',
    latencyBuckets,
    () => gateway.durations,
  )
  families.histogram(
    'logloom_request_stage_duration_seconds',
    'Time of one stage of a produce',
    'stage',
    latencyBuckets,
    () => gateway.stages,
    { api: 'produce' },
  )
  families.histogram(
    'logloom_produce_batch_records',
    'Records of a batch',
    undefined,
    recordBuckets,
    () => [['', gateway.batchRecords]],
  )
  families.histogram(
    'logloom_produce_batch_bytes',
    'Bytes of a batch',
    undefined,
    byteBuckets,
    () => [['', gateway.batchBytes]],
  )
  families.gauge('logloom_backlog_bytes', 'Bytes proposed and not answered', [], () =>
    one(broker()?.backlogBytes),
  )
}

/** What is held for clients, what gets in, and who has to wait. */
export function loadMetrics(families: Families, gateway: GatewayStats): void {
  const load = (): LoadControl | undefined => gateway.load
  families.gauge('logloom_held_bytes', 'Bytes held for clients', ['kind'], function* () {
    const budget = load()?.budget
    if (budget !== undefined)
      for (const kind of heldKinds) yield [{ kind }, budget.heldOf(kind)] as const
  })
  families.gauge('logloom_memory_budget_bytes', 'Bytes that may be held for clients', [], () =>
    one(load()?.budget.hardBytes),
  )
  families.gauge('logloom_subscriptions', 'Open subscriptions of all connections', [], () =>
    one(load()?.subscriptions.open),
  )
  families.gauge('logloom_subscriptions_limit', 'Subscriptions that fit the memory', [], () =>
    one(load()?.subscriptions.limit),
  )
  families.gauge('logloom_writes_under_way_bytes', 'Bytes of writes without an answer', [], () =>
    one(load()?.admission.underWay),
  )
  families.gauge(
    'logloom_write_window_bytes',
    'Bytes of writes that may be under way at the present rate',
    [],
    () => one(load()?.admission.windowBytes),
  )
  families.counter('logloom_shed_total', 'Writes refused with THROTTLED', ['reason'], function* () {
    const admission = load()?.admission
    if (admission !== undefined)
      for (const reason of shedReasons) yield [{ reason }, admission.shed[reason]] as const
  })
  families.counter(
    'logloom_quota_throttle_seconds_total',
    'Time that principals were made to wait by their quotas',
    ['kind'],
    function* () {
      for (const [kind, seconds] of gateway.throttles) yield [{ kind }, seconds]
    },
  )
  families.gauge('logloom_ws_strangers', 'Sockets that have not said hello', [], () =>
    one(load()?.door.strangerCount),
  )
}

/** What the sockets do. */
export function connectionMetrics(families: Families, gateway: GatewayStats): void {
  families.gauge('logloom_ws_connections', 'Open connections', [], () => one(gateway.connections))
  families.gauge('logloom_ws_buffered_bytes', 'Output waiting on all connections', [], () =>
    one(gateway.bufferedBytes()),
  )
  families.gauge(
    'logloom_ws_paused_connections',
    'Connections whose socket is not read for now',
    [],
    () => one(gateway.pausedConnections),
  )
  families.counter('logloom_ws_opened_total', 'Connections opened', [], () => one(gateway.opened))
  families.counter('logloom_ws_closed_total', 'Connections closed', ['code'], function* () {
    for (const [code, n] of gateway.closed) yield [{ code: String(code) }, n]
  })
  families.counter(
    'logloom_ws_rejected_total',
    'Upgrades and connections refused',
    ['reason'],
    function* () {
      for (const [reason, n] of gateway.rejected) yield [{ reason }, n]
    },
  )
  families.counter(
    'logloom_ws_resumes_total',
    'Subscriptions that began at an offset which the reader named',
    ['outcome'],
    function* () {
      for (const [outcome, n] of gateway.resumes) yield [{ outcome }, n]
    },
  )
}
