// Who should have what after members, subscriptions or topics have changed, and the steps from what is to what should be.

import type { Topics } from '../topics.ts'
import { assign, type Place } from './assignors.ts'
import { type Claim, claimKey, type Group, type Member, membersOf } from './group.ts'
import type { FollowedPatterns } from './followed-patterns.ts'
import { readablePartitions } from './reading-epoch.ts'

/** Topics that the member subscribes to and that exist. */
export function topicsOf(
  member: Member,
  topics: Topics,
  patterns: FollowedPatterns,
): ReadonlySet<number> {
  const found = new Set<number>()
  for (const name of member.topics) {
    const topic = topics.byName.get(name)
    if (topic !== undefined) found.add(topic.id)
  }
  const { pattern } = member
  if (pattern === undefined) return found
  const matching = patterns.found(pattern, topics.byName.values())
  if (found.size === 0) return matching
  for (const id of matching) found.add(id)
  return found
}

/** Computes the targets anew and moves what can move now. `time`: log time. Begins a new generation when a target has changed. */
export function rebalance(
  group: Group,
  topics: Topics,
  patterns: FollowedPatterns,
  time: number,
): void {
  const subscribers = membersOf(group).map(member => ({
    id: member.id,
    topics: topicsOf(member, topics, patterns),
  }))
  const wanted = new Map<number, number>()
  for (const topicId of new Set(subscribers.flatMap(subscriber => [...subscriber.topics]))) {
    const topic = topics.byId.get(topicId)
    wanted.set(topicId, topic === undefined ? 0 : readablePartitions(group, topic))
  }
  for (const [topicId, count] of wanted)
    for (let partition = 0; partition < count; partition++) {
      const key = claimKey(topicId, partition)
      if (!group.claims.has(key)) group.claims.set(key, newClaim(topicId, partition))
    }
  const places = claimsOf(group).flatMap((claim): Place[] => {
    const { topicId, partition, owner, target } = claim
    const exists = topics.partition(topicId, partition) !== undefined
    return exists && partition < (wanted.get(topicId) ?? 0)
      ? [{ topicId, partition, key: claimKey(topicId, partition), current: target ?? owner }]
      : []
  })
  const assignment = assign(group.assignor, subscribers, places)
  let changed = false
  for (const [key, claim] of group.claims) {
    const target = assignment.get(key)
    if (target !== claim.target) changed = true
    claim.target = target
  }
  if (changed) group.generation++
  for (const claim of group.claims.values()) settle(group, claim, time)
  for (const [key, claim] of group.claims)
    if (claim.owner === undefined && claim.target === undefined) group.claims.delete(key)
}

/** One step of a partition towards its target. */
export function settle(group: Group, claim: Claim, time: number): void {
  if (claim.owner !== undefined && !group.members.has(claim.owner)) claim.owner = undefined
  if (claim.owner === claim.target) {
    claim.revokedAt = undefined
    return
  }
  if (claim.owner !== undefined) {
    claim.revokedAt ??= time
    return
  }
  claim.owner = claim.target
  claim.generation = group.generation
  claim.revokedAt = undefined
}

/** Claims by topic and partition. */
export function claimsOf(group: Group): readonly Claim[] {
  return [...group.claims.values()].sort(
    (a, b) => a.topicId - b.topicId || a.partition - b.partition,
  )
}

function newClaim(topicId: number, partition: number): Claim {
  return {
    topicId,
    partition,
    owner: undefined,
    generation: 0,
    target: undefined,
    revokedAt: undefined,
  }
}
