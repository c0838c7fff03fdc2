// The group members of one connection, and the joins of theirs that are on their way into the log. A join may take effect long after it was asked for:
// by then the connection has ended, the member has left, or it has asked again.
//
// Guarantees: whoever is made a member late is said to be away at once, so that its session timeout runs; a member that joins anew is told nothing of
// its older joins.

import type { Access } from '../security/authorizer.ts'
import type { Membership } from './membership.ts'

/** A join that was asked for. */
export interface PendingJoin {
  readonly key: string
  hasLeft: boolean
}

/** Names one member among all groups: neither name holds a space, and both may hold anything else that is visible. */
export function memberKey(group: string, memberId: string): string {
  return `${group} ${memberId}`
}

/** By `memberKey`. */
export class Memberships {
  private readonly members = new Map<string, Membership>()
  /** Of members that have not left meanwhile. */
  private readonly pending = new Map<string, Set<PendingJoin>>()

  get size(): number {
    return this.members.size
  }

  isJoining(key: string): boolean {
    return this.pending.has(key)
  }

  /** To be ended by `endJoin`, whatever comes of it. */
  beginJoin(key: string): PendingJoin {
    const join = { key, hasLeft: false }
    const ofKey = this.pending.get(key)
    if (ofKey === undefined) this.pending.set(key, new Set([join]))
    else ofKey.add(join)
    return join
  }

  endJoin(join: PendingJoin): void {
    const ofKey = this.pending.get(join.key)
    if (ofKey?.delete(join) === true && ofKey.size === 0) this.pending.delete(join.key)
  }

  /** The join has taken effect: its member takes the place of what came of older ones. `isAway`: the connection has ended, or is about to. */
  add({ key, hasLeft }: PendingJoin, membership: Membership, isAway: boolean): void {
    if (hasLeft) {
      membership.detach()
      return
    }
    this.members.get(key)?.end()
    this.members.delete(key)
    if (isAway) membership.detach()
    else this.members.set(key, membership)
  }

  /** The member's socket is gone, as far as the group is concerned. */
  detach(key: string): void {
    this.leavePending(key)
    this.members.get(key)?.detach()
    this.members.delete(key)
  }

  /** The member has left by itself: the end of the connection means nothing to it. */
  leave(key: string): void {
    this.leavePending(key)
    this.members.get(key)?.end()
    this.members.delete(key)
  }

  /** Puts out who may not be a member any more. */
  recheck(access: Access): void {
    for (const [key, membership] of this.members)
      if (!membership.recheck(access)) this.members.delete(key)
  }

  private leavePending(key: string): void {
    for (const join of this.pending.get(key) ?? []) join.hasLeft = true
    this.pending.delete(key)
  }
}
