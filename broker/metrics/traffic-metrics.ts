// What goes through the broker: records and bytes by topic, requests by kind and result, and the time of each stage of a produce.

import type { Broker } from '../broker.ts'
import {
  byteBuckets,
  type GatewayStats,
  latencyBuckets,
  recordBuckets,
  type TopicTraffic,
} from '../gateway/stats.ts'
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
