// What the topics are: partitions, bounds and bytes. Told by one broker of a log, as what groups are: all brokers know the same.

import type { Broker } from '../broker.ts'
import type { TopicState } from '../state/topics.ts'
import { type Families, one } from './families.ts'

/** Name under which topics beyond the cap are counted together. */
const overflowTopic = '_other'

export interface TopicMetricsOptions {
  readonly broker: () => Broker | undefined
  /** Topics beyond it have no series of their own. */
  readonly topicsMax: number
  /** Series of each partition as well. */
  readonly perPartition: boolean
}

export function topicMetrics(families: Families, options: TopicMetricsOptions): void {
  const { broker, topicsMax, perPartition } = options
  const topics = (): Iterable<TopicState> => (broker()?.isOldest === true ? own(broker()) : [])
  function* sums(pick: (topic: TopicState) => number): Generator<[{ topic: string }, number]> {
    let left = topicsMax
    let others = 0
    for (const topic of topics())
      if (left-- > 0) yield [{ topic: topic.name }, pick(topic)]
      else others += pick(topic)
    if (left < 0) yield [{ topic: overflowTopic }, others]
  }
  families.gauge('logloom_topics', 'Topics', [], () => one(countOf(own(broker()))))
  families.gauge('logloom_metrics_overflow_topics', 'Topics without series of their own', [], () =>
    one(Math.max(0, countOf(own(broker())) - topicsMax)),
  )
  families.gauge('logloom_topic_partitions', 'Partitions of the topic', ['topic'], () =>
    sums(topic => topic.partitions.length),
  )
  families.gauge('logloom_topic_size_bytes', 'Stored batch bytes of the topic', ['topic'], () =>
    sums(topic => topic.partitions.reduce((sum, { bytes }) => sum + bytes, 0)),
  )
  const ofPartitions = (name: string, help: string, pick: 'start' | 'next' | 'bytes'): void =>
    families.gauge(name, help, ['topic', 'partition'], function* () {
      if (!perPartition) return
      let left = topicsMax
      for (const { name: topic, partitions } of topics()) {
        if (left-- <= 0) return
        for (const state of partitions)
          yield [{ topic, partition: String(state.partition) }, state[pick]]
      }
    })
  ofPartitions('logloom_partition_start_offset', 'First offset that can be read', 'start')
  ofPartitions('logloom_partition_end_offset', 'Offset of the next record', 'next')
  ofPartitions('logloom_partition_size_bytes', 'Stored batch bytes of the partition', 'bytes')
}

function own(broker: Broker | undefined): Iterable<TopicState> {
  return broker?.topics() ?? []
}

function countOf(items: Iterable<unknown>): number {
  let count = 0
  for (const _ of items) count++
  return count
}
