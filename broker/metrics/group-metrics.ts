// Series of consumer groups and share groups (docs/metrics.md). What the state knows is told by one broker of a log, the one with the oldest session: told
// by each it would be counted once for each. Made from the state, so what is gone has no series any more.

import type { Broker } from '../broker.ts'
import type { GatewayStats } from '../gateway/stats.ts'
import { claimKey, committed, type Group, placesIn } from '../state/groups/group.ts'
import { holdersIn, type ShareGroup } from '../state/share/share-group.ts'
import type { SharePartition } from '../state/share/share-partition.ts'
import type { Families } from './families.ts'

/** A member that has left records unread for this long, and committed nothing meanwhile, is stalled. */
const stalledAfterMs = 300_000

export interface GroupMetricsOptions {
  readonly broker: () => Broker | undefined
  readonly gateway: GatewayStats
  /** Groups beyond it have no series of their own. */
  readonly groupsMax: number
  /** Lag of each partition as well. */
  readonly perPartition: boolean
}

export function groupMetrics(families: Families, options: GroupMetricsOptions): void {
  const { gateway } = options
  const groups = new GroupRows(options)
  families.gauge(
    'logloom_consumer_group_lag_records',
    'Records that the group has not committed',
    ['group', 'topic'],
    () => groups.lag('records'),
  )
  families.gauge(
    'logloom_consumer_group_lag_seconds',
    'Age of the oldest record that the group has not committed',
    ['group', 'topic'],
    () => groups.lag('seconds'),
  )
  families.gauge(
    'logloom_consumer_group_partition_lag_records',
    'Records of the partition that the group has not committed',
    ['group', 'topic', 'partition'],
    () => groups.partitionLag(),
  )
  families.gauge(
    'logloom_consumer_group_members',
    'Members of the group, also those in their grace period',
    ['group'],
    () => groups.each(group => group.members.size),
  )
  families.gauge(
    'logloom_consumer_group_stalled_members',
    'Members that do not get on although there is something to read',
    ['group'],
    () => groups.stalled(),
  )
  families.counter(
    'logloom_consumer_group_rebalances_total',
    'Changes of who should have which partition',
    ['group'],
    () => groups.each(group => group.generation),
  )
  families.counter(
    'logloom_consumer_group_commits_total',
    'Commits that this broker took',
    ['group'],
    function* () {
      for (const [group, n] of gateway.groupCommits) yield [{ group }, n]
    },
  )
}

export function shareGroupMetrics(families: Families, options: GroupMetricsOptions): void {
  const groups = new ShareRows(options)
  families.gauge(
    'logloom_share_group_lag_records',
    'Records that are not finished',
    ['group', 'topic'],
    () => groups.lag(),
  )
  families.gauge(
    'logloom_share_group_held_records',
    'Records that a member holds',
    ['group', 'topic'],
    () => groups.held(),
  )
  families.gauge('logloom_share_group_members', 'Members that hold records', ['group'], () =>
    groups.members(),
  )
  const sum = (
    name: string,
    help: string,
    pick: 'delivered' | 'redelivered' | 'acknowledged' | 'archived',
  ): void => families.counter(name, help, ['group'], () => groups.sum(pick))
  sum('logloom_share_group_delivered_total', 'Deliveries', 'delivered')
  sum('logloom_share_group_redelivered_total', 'Deliveries after the first', 'redelivered')
  sum('logloom_share_group_acknowledged_total', 'Records that were accepted', 'acknowledged')
  sum('logloom_share_group_archived_total', 'Records that were given up', 'archived')
}

class GroupRows {
  private readonly options: GroupMetricsOptions

  constructor(options: GroupMetricsOptions) {
    this.options = options
  }

  /** By group and topic: records between the committed offsets and the ends, or the age of the oldest of them in seconds. */
  *lag(unit: 'records' | 'seconds'): Generator<[{ group: string; topic: string }, number]> {
    const broker = this.options.broker()
    if (broker === undefined) return
    for (const group of this.groups()) {
      const byTopic = new Map<string, number>()
      for (const [topicId, partition] of placesIn(group)) {
        const topic = broker.topicById(topicId)?.name
        if (topic === undefined) continue
        const before = byTopic.get(topic) ?? 0
        const { offset } = committed(group, topicId, partition) ?? {}
        if (offset === undefined) byTopic.set(topic, before)
        else if (unit === 'records')
          byTopic.set(topic, before + broker.lagRecords(topicId, partition, offset))
        else byTopic.set(topic, Math.max(before, broker.lagMs(topicId, partition, offset) / 1000))
      }
      for (const [topic, value] of byTopic) yield [{ group: group.name, topic }, value]
    }
  }

  *partitionLag(): Generator<[{ group: string; topic: string; partition: string }, number]> {
    const { broker: get, perPartition } = this.options
    const broker = get()
    if (broker === undefined || !perPartition) return
    for (const group of this.groups())
      for (const [topicId, partition] of placesIn(group)) {
        const topic = broker.topicById(topicId)?.name
        const { offset } = committed(group, topicId, partition) ?? {}
        if (topic === undefined || offset === undefined) continue
        const lag = broker.lagRecords(topicId, partition, offset)
        yield [{ group: group.name, topic, partition: String(partition) }, lag]
      }
  }

  /** One number of each group. */
  *each(pick: (group: Group) => number): Generator<[{ group: string }, number]> {
    for (const group of this.groups()) yield [{ group: group.name }, pick(group)]
  }

  stalled(): Iterable<[{ group: string }, number]> {
    const broker = this.options.broker()
    if (broker === undefined) return []
    return this.each(group => {
      const members = new Set<string>()
      for (const [topicId, partition] of placesIn(group)) {
        const owner = group.claims.get(claimKey(topicId, partition))?.owner
        const last = committed(group, topicId, partition)
        if (owner === undefined || last === undefined || members.has(owner)) continue
        if (group.members.get(owner)?.session === undefined) continue
        const isQuiet = broker.now - last.committedAt >= stalledAfterMs
        if (isQuiet && broker.lagMs(topicId, partition, last.offset) >= stalledAfterMs)
          members.add(owner)
      }
      return members.size
    })
  }

  private *groups(): Generator<Group> {
    const broker = this.options.broker()
    if (broker?.isOldest === true) yield* firstOf(broker.groups(), this.options.groupsMax)
  }
}

class ShareRows {
  private readonly options: GroupMetricsOptions

  constructor(options: GroupMetricsOptions) {
    this.options = options
  }

  lag(): Iterable<[{ group: string; topic: string }, number]> {
    return this.byTopic((broker, group, { topicId, partition }) =>
      broker.shareLag(group, topicId, partition),
    )
  }

  held(): Iterable<[{ group: string; topic: string }, number]> {
    return this.byTopic((_broker, _group, partition) => partition.held)
  }

  *members(): Generator<[{ group: string }, number]> {
    for (const group of this.groups()) yield [{ group: group.name }, holdersIn(group).size]
  }

  *sum(
    pick: 'delivered' | 'redelivered' | 'acknowledged' | 'archived',
  ): Generator<[{ group: string }, number]> {
    for (const group of this.groups()) {
      let sum = 0
      for (const partition of group.partitions.values()) sum += partition[pick]
      yield [{ group: group.name }, sum]
    }
  }

  private *byTopic(
    count: (broker: Broker, group: ShareGroup, partition: SharePartition) => number,
  ): Generator<[{ group: string; topic: string }, number]> {
    const broker = this.options.broker()
    if (broker === undefined) return
    for (const group of this.groups()) {
      const byTopic = new Map<string, number>()
      for (const partition of group.partitions.values()) {
        const topic = broker.topicById(partition.topicId)?.name
        if (topic === undefined) continue
        byTopic.set(topic, (byTopic.get(topic) ?? 0) + count(broker, group, partition))
      }
      for (const [topic, value] of byTopic) yield [{ group: group.name, topic }, value]
    }
  }

  private *groups(): Generator<ShareGroup> {
    const broker = this.options.broker()
    if (broker?.isOldest === true) yield* firstOf(broker.shareGroups(), this.options.groupsMax)
  }
}

function* firstOf<T>(items: Iterable<T>, max: number): Generator<T> {
  let left = max
  for (const item of items) {
    if (left-- <= 0) return
    yield item
  }
}
