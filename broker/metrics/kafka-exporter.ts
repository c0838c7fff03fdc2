// The same numbers under the names of kafka_exporter, so that boards and scalers made for it work as they are (docs/metrics.md). Per partition by nature;
// told by one broker of a log, as those boards add up what they scrape.

import type { Broker } from '../broker.ts'
import type { ReplicaCount } from '../cluster/segment-copies.ts'
import type { GatewayStats } from '../gateway/stats.ts'
import { committed, placesIn } from '../state/groups/group.ts'

export interface KafkaExporterOptions {
  readonly broker: () => Broker | undefined
  readonly gateway: GatewayStats
  readonly replicas?: () => readonly ReplicaCount[]
}

type Labels = Readonly<Record<string, string | number>>

class Page {
  private readonly lines: string[] = []

  family(name: string, help: string, rows: Iterable<readonly [Labels, number]>): void {
    this.lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} gauge`)
    for (const [labels, value] of rows) {
      const text = Object.entries(labels)
        .map(([key, label]) => `${key}="${escape(String(label))}"`)
        .join(',')
      this.lines.push(text === '' ? `${name} ${value}` : `${name}{${text}} ${value}`)
    }
  }

  toString(): string {
    return `${this.lines.join('\n')}\n`
  }
}

export function kafkaExporterPage({
  broker: get,
  gateway,
  replicas,
}: KafkaExporterOptions): string {
  const page = new Page()
  const broker = get()
  if (broker?.isOldest !== true) return page.toString()
  page.family('kafka_brokers', 'Number of brokers of the log', [[{}, broker.liveSessions]])
  topics(page, broker, gateway.topicsMax, replicas?.() ?? [])
  groups(page, broker, gateway.topicsMax)
  return page.toString()
}

function topics(page: Page, broker: Broker, max: number, replicas: readonly ReplicaCount[]): void {
  const some = [...broker.topics()].slice(0, max)
  const each = (
    value: (partition: { readonly start: number; readonly next: number }) => number,
  ): readonly (readonly [Labels, number])[] =>
    some.flatMap(({ name: topic, partitions }) =>
      partitions.map(p => [{ topic, partition: p.partition }, value(p)] as const),
    )
  // All partitions live in one log: the copies are those of the segment that takes appends.
  const open = replicas.find(({ state }) => state === 'open')
  const copies = open?.replicas ?? 1
  const inSync = open?.inSync ?? 1
  page.family(
    'kafka_topic_partitions',
    'Number of partitions of the topic',
    some.map(({ name, partitions }) => [{ topic: name }, partitions.length]),
  )
  page.family(
    'kafka_topic_partition_current_offset',
    'Offset of the next record',
    each(p => p.next),
  )
  page.family(
    'kafka_topic_partition_oldest_offset',
    'First offset that can be read',
    each(p => p.start),
  )
  page.family(
    'kafka_topic_partition_leader',
    'Any broker takes records of any partition: 0',
    each(() => 0),
  )
  page.family(
    'kafka_topic_partition_replicas',
    'Copies of what is appended now',
    each(() => copies),
  )
  page.family(
    'kafka_topic_partition_in_sync_replica',
    'Copies whose log server is up',
    each(() => inSync),
  )
  page.family(
    'kafka_topic_partition_under_replicated_partition',
    '1 when a copy is missing',
    each(() => Number(inSync < copies)),
  )
}

function groups(page: Page, broker: Broker, max: number): void {
  const offsets: (readonly [Labels, number])[] = []
  const lags: (readonly [Labels, number])[] = []
  const sums: (readonly [Labels, number])[] = []
  const members: (readonly [Labels, number])[] = []
  for (const group of [...broker.groups()].slice(0, max)) {
    const consumergroup = group.name
    members.push([{ consumergroup }, group.members.size])
    const byTopic = new Map<string, number>()
    for (const [topicId, partition] of placesIn(group)) {
      const topic = broker.topicById(topicId)?.name
      const offset = committed(group, topicId, partition)?.offset
      if (topic === undefined || offset === undefined) continue
      const lag = broker.lagRecords(topicId, partition, offset)
      offsets.push([{ consumergroup, topic, partition }, offset])
      lags.push([{ consumergroup, topic, partition }, lag])
      byTopic.set(topic, (byTopic.get(topic) ?? 0) + lag)
    }
    for (const [topic, lag] of byTopic) sums.push([{ consumergroup, topic }, lag])
  }
  page.family('kafka_consumergroup_current_offset', 'Committed offset', offsets)
  page.family('kafka_consumergroup_lag', 'Records that are not committed', lags)
  page.family('kafka_consumergroup_lag_sum', 'Records of the topic that are not committed', sums)
  page.family('kafka_consumergroup_members', 'Members of the group', members)
}

function escape(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
