// Finds locks and delays of share groups whose time is over while nobody asks for records, and groups that nobody uses. Proposes only, as group-sweep does.

import type { GroupSweepOptions } from './group-sweep.ts'
import { dueOf, type ShareGroup } from './state/share/share-group.ts'

/** Share groups in one command. */
const shareGroupsPerSweepMax = 100

/** One sweep. @returns how many groups were proposed to be looked at */
export async function sweepShareGroupsOnce({
  machine,
  now,
  retentionMs,
  isActing,
  propose,
}: GroupSweepOptions): Promise<number> {
  if (!isActing()) return 0
  const time = now()
  const isDue = (group: ShareGroup): boolean =>
    dueOf(group) <= time || time - group.usedAt >= retentionMs
  const due: string[] = []
  for (const group of machine.shares.registry.byName.values()) {
    if (isDue(group)) due.push(group.name)
    if (due.length >= shareGroupsPerSweepMax) break
  }
  if (due.length > 0) await propose({ type: 'sweepShareGroups', groups: due, retentionMs })
  return due.length
}
