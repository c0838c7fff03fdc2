// Finds members whose grace period is over, partitions that are not given back, and groups that nobody uses (Kafka's offsets.retention.minutes). Proposes
// only: apply looks again, by log time, so all brokers see the same.

import type { Clock } from '../loglets/ports.ts'
import { sweepShareGroupsOnce } from './share-sweep.ts'
import type { Command, Decision } from './state/commands.ts'
import type { Group } from './state/groups/group.ts'
import type { StateMachine } from './state/state-machine.ts'

export interface GroupSweepOptions {
  readonly machine: StateMachine
  readonly clock: Clock
  /** Log time, or the wall clock where that is believed and ahead, ms: log time stands still while nobody writes. */
  readonly now: () => number
  readonly intervalMs: number
  /** Empty groups are forgotten after this. */
  readonly retentionMs: number
  /** Whether this broker is the one that does it: that with the oldest session. */
  readonly isActing: () => boolean
  readonly propose: (command: Command) => Promise<Decision>
}

/** Groups in one command. */
const groupsPerSweepMax = 500

/** Sweeps until the signal says stop. Never rejects. */
export async function sweepGroups(options: GroupSweepOptions, signal: AbortSignal): Promise<void> {
  const { clock, intervalMs } = options
  while (!signal.aborted) {
    try {
      await clock.sleep(intervalMs, signal)
      await sweepGroupsOnce(options)
      await sweepShareGroupsOnce(options)
    } catch {
      // Stopping, or the broker takes nothing now.
    }
  }
}

/** One sweep. @returns how many groups were proposed to be looked at */
export async function sweepGroupsOnce({
  machine,
  now,
  retentionMs,
  isActing,
  propose,
}: GroupSweepOptions): Promise<number> {
  if (!isActing()) return 0
  const time = now()
  const due: string[] = []
  for (const group of machine.groups.registry.byName.values()) {
    if (isDue(group, time, retentionMs)) due.push(group.name)
    if (due.length >= groupsPerSweepMax) break
  }
  if (due.length > 0) await propose({ type: 'sweepGroups', groups: due, retentionMs })
  return due.length
}

function isDue(group: Group, time: number, retentionMs: number): boolean {
  if (group.members.size === 0) return time - group.emptySince >= retentionMs
  for (const { detachedAt, sessionTimeoutMs } of group.members.values())
    if (detachedAt !== undefined && time - detachedAt >= sessionTimeoutMs) return true
  for (const { owner, revokedAt } of group.claims.values()) {
    const member = owner === undefined ? undefined : group.members.get(owner)
    if (revokedAt !== undefined && member !== undefined)
      if (time - revokedAt >= member.rebalanceTimeoutMs) return true
  }
  return false
}
