// Who should have which partition (Kafka's assignors, KIP-54 for sticky): pure functions, the same on every broker.
//
// Each partition goes to exactly one of the members that subscribe to its topic, to none when nobody does. Members come sorted by id,
// partitions by topic and number: the outcome depends on nothing else.

import type { Assignor } from './group.ts'

export interface Subscriber {
  readonly id: string
  readonly topics: ReadonlySet<number>
}

export interface Place {
  readonly topicId: number
  readonly partition: number
  readonly key: string
  /** Who has it, or was last meant to. */
  readonly current: string | undefined
}

/** Member by the place's key. */
export type Assignment = ReadonlyMap<string, string>

export function assign(
  assignor: Assignor,
  subscribers: readonly Subscriber[],
  places: readonly Place[],
): Assignment {
  if (assignor === 'range') return range(subscribers, places)
  if (assignor === 'roundrobin') return roundRobin(subscribers, places)
  return sticky(subscribers, places)
}

/** Per topic: consecutive partitions, the first members get one more. */
function range(subscribers: readonly Subscriber[], places: readonly Place[]): Assignment {
  const given = new Map<string, string>()
  for (const [topicId, ofTopic] of groupByTopic(places)) {
    const takers = subscribers.filter(({ topics }) => topics.has(topicId))
    const least = Math.floor(ofTopic.length / takers.length)
    const more = ofTopic.length % takers.length
    let at = 0
    takers.forEach(({ id }, i) => {
      for (let n = least + (i < more ? 1 : 0); n > 0; n--)
        given.set((ofTopic[at++] as Place).key, id)
    })
  }
  return given
}

/** All partitions in turn. */
function roundRobin(subscribers: readonly Subscriber[], places: readonly Place[]): Assignment {
  const given = new Map<string, string>()
  let turn = 0
  for (const { topicId, key } of places)
    for (let step = 0; step < subscribers.length; step++) {
      const { id, topics } = subscribers[(turn + step) % subscribers.length] as Subscriber
      if (!topics.has(topicId)) continue
      given.set(key, id)
      turn = (turn + step + 1) % subscribers.length
      break
    }
  return given
}

/** Keeps what is there, gives what is free to who has least, and moves only what makes the load more even. */
function sticky(subscribers: readonly Subscriber[], places: readonly Place[]): Assignment {
  const given = new Map<string, string>()
  const loads = new Map(subscribers.map(({ id }) => [id, 0]))
  const byId = new Map(subscribers.map(subscriber => [subscriber.id, subscriber]))
  const load = (id: string): number => loads.get(id) as number
  const give = ({ key }: Place, id: string): void => {
    const before = given.get(key)
    if (before !== undefined) loads.set(before, load(before) - 1)
    given.set(key, id)
    loads.set(id, load(id) + 1)
  }
  const leastLoaded = ({ topicId }: Place): string | undefined => {
    let best: string | undefined
    for (const { id, topics } of subscribers)
      if (topics.has(topicId) && (best === undefined || load(id) < load(best))) best = id
    return best
  }
  for (const place of places)
    if (place.current !== undefined && byId.get(place.current)?.topics.has(place.topicId) === true)
      give(place, place.current)
  for (const place of places) {
    const taker = given.has(place.key) ? undefined : leastLoaded(place)
    if (taker !== undefined) give(place, taker)
  }
  // Each move makes the sum of squares of the loads smaller, so this ends.
  for (let moved = true; moved; ) {
    moved = false
    for (const place of places) {
      const holder = given.get(place.key)
      const taker = leastLoaded(place)
      if (holder === undefined || taker === undefined || load(holder) - load(taker) < 2) continue
      give(place, taker)
      moved = true
    }
  }
  return given
}

function groupByTopic(places: readonly Place[]): Map<number, Place[]> {
  const byTopic = new Map<number, Place[]>()
  for (const place of places) {
    const list = byTopic.get(place.topicId)
    if (list === undefined) byTopic.set(place.topicId, [place])
    else list.push(place)
  }
  return byTopic
}
