// What operators ask about share groups (protocol.md 11.4).

import type { Frame } from '../../wire/frame.ts'
import { holdersIn, type ShareGroup } from '../state/share/share-group.ts'
import type { PartitionState } from '../state/topics.ts'
import type { GatewayContext } from './context.ts'

export function shareListing(context: GatewayContext, group: ShareGroup) {
  const members = holdersIn(group).size
  let lag = 0
  for (const [topicId, partition] of placesIn(group))
    lag += context.broker.shareLag(group, topicId, partition)
  return { group: group.name, type: 'share', state: stateOf(members), members, lag }
}

export function shareDescription(
  { broker }: GatewayContext,
  group: ShareGroup,
  isShown: (topic: string) => boolean,
): Frame {
  const holders = holdersIn(group)
  const partitions: Frame[] = []
  for (const [topicId, number] of placesIn(group)) {
    const topic = broker.topicById(topicId)
    const partition = group.partitions.get(`${topicId}/${number}`)
    if (topic === undefined || partition === undefined || !isShown(topic.name)) continue
    const { start, end, held, records, delivered, redelivered, acknowledged, archived } = partition
    partitions.push({
      topic: topic.name,
      partition: number,
      startOffset: start,
      nextOffset: end,
      endOffset: topic.partitions[number]?.next ?? end,
      held,
      waiting: records.size - held,
      lag: broker.shareLag(group, topicId, number),
      delivered,
      redelivered,
      acknowledged,
      archived,
    })
  }
  return {
    group: group.name,
    type: 'share',
    state: stateOf(holders.size),
    deliveryCountLimit: group.deliveryCountLimit,
    keepsDead: group.keepsDead,
    members: [...holders].map(([memberId, records]) => ({ memberId, records })),
    partitions: partitions.sort((a, b) =>
      a.topic === b.topic
        ? Number(a.partition) - Number(b.partition)
        : String(a.topic) < String(b.topic)
          ? -1
          : 1,
    ),
  }
}

/** The partitions that a share group reads; undefined when there is no group. */
export function sharePlaces(
  { broker }: GatewayContext,
  group: ShareGroup | undefined,
): readonly PartitionState[] | undefined {
  if (group === undefined) return undefined
  return placesIn(group).flatMap(([topicId, partition]) => {
    const state = broker.topicById(topicId)?.partitions[partition]
    return state === undefined ? [] : [state]
  })
}

const placesIn = (group: ShareGroup): readonly (readonly [number, number])[] =>
  [...group.partitions.values()].map(({ topicId, partition }) => [topicId, partition])

const stateOf = (members: number): 'stable' | 'empty' => (members === 0 ? 'empty' : 'stable')
