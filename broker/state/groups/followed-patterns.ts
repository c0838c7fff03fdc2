// The patterns that groups subscribe to, and the topics that each finds. A name is matched once for each pattern, when the topic or the pattern is new: a
// rebalance matches nothing, so what a pattern costs does not grow with members and their comings and goings.

import type { TopicState } from '../topics.ts'
import type { Group } from './group.ts'
import { matchesPattern } from './pattern.ts'

/** Different patterns in all: each is matched with every new topic. */
export const patternsMax = 500

interface Followed {
  readonly groups: Set<Group>
  /** Topics that it finds; undefined until somebody asks. */
  topicIds: Set<number> | undefined
}

export class FollowedPatterns {
  private readonly byPattern = new Map<string, Followed>()

  /** Whether one more pattern, or one that is known, may be followed. */
  hasRoom(pattern: string): boolean {
    return this.byPattern.has(pattern) || this.byPattern.size < patternsMax
  }

  follow(pattern: string, group: Group): void {
    const known = this.byPattern.get(pattern)
    if (known === undefined)
      this.byPattern.set(pattern, { groups: new Set([group]), topicIds: undefined })
    else known.groups.add(group)
  }

  unfollow(pattern: string, group: Group): void {
    const known = this.byPattern.get(pattern)
    known?.groups.delete(group)
    if (known?.groups.size === 0) this.byPattern.delete(pattern)
  }

  /** Numbers of the topics that the pattern finds among all that exist. */
  found(pattern: string, topics: Iterable<TopicState>): ReadonlySet<number> {
    const followed = this.byPattern.get(pattern)
    if (followed?.topicIds !== undefined) return followed.topicIds
    const topicIds = new Set<number>()
    for (const { id, name } of topics) if (matchesPattern(pattern, name)) topicIds.add(id)
    if (followed !== undefined) followed.topicIds = topicIds
    return topicIds
  }

  /** A topic that is there from now on. @returns the groups that subscribe to it by a pattern */
  topicMade({ id, name }: TopicState): Set<Group> {
    const groups = new Set<Group>()
    for (const [pattern, followed] of this.byPattern) {
      if (!matchesPattern(pattern, name)) continue
      followed.topicIds?.add(id)
      for (const group of followed.groups) groups.add(group)
    }
    return groups
  }

  topicGone(topicId: number): void {
    for (const { topicIds } of this.byPattern.values()) topicIds?.delete(topicId)
  }
}
