// Series of consumer groups (docs/metrics.md). Members, lag and rebalances are told by one broker of a log, the one with the oldest session: told by each
// they would be counted once for each. Made from the state, so what is gone has no series any more.

import type { Broker } from '../broker.ts'
import { committed, type Group, placesIn } from '../state/groups/group.ts'

/** Groups beyond the cap have no series of their own. */
export class GroupMetrics {
  private readonly broker: () => Broker | undefined
  private readonly groupsMax: number

  constructor(broker: () => Broker | undefined, groupsMax: number) {
    this.broker = broker
    this.groupsMax = groupsMax
  }

  /** By group and topic: records between the committed offsets and the ends, or the age of the oldest of them in seconds. */
  *lag(unit: 'records' | 'seconds'): Generator<[{ group: string; topic: string }, number]> {
    const broker = this.broker()
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

  /** One number of each group. */
  *each(pick: (group: Group) => number): Generator<[{ group: string }, number]> {
    for (const group of this.groups()) yield [{ group: group.name }, pick(group)]
  }

  private *groups(): Generator<Group> {
    const broker = this.broker()
    if (broker?.isOldest !== true) return
    let left = this.groupsMax
    for (const group of broker.groups()) {
      if (left-- <= 0) return
      yield group
    }
  }
}
