// Partitions were added to a topic: what was chosen out of the old number and is not written yet is taken back, to be chosen again.
//
//   lane 0   [ b1✗ b4? ]  b7          ✓ written, ✗ refused, ? sent: the answer is awaited
//   lane 1   [ b2✓ b5✗ ]              b7 waits: it is taken back at once
//
// Guarantees: nothing is chosen again before every batch of the old number is written or taken back, so the records of a key leave in their order. What is
// taken back was not written and never will be as it is: the number only grows. It does not send.

import type { LogloomError, RecordInput } from '../wire/index.ts'
import { OutgoingBatch } from './outgoing-batch.ts'
import type { LaneItem } from './lane.ts'
import type { PartitionLane } from './partition-lane.ts'
import { Outcome, type RecordPlace } from './records.ts'

type Lanes = readonly (PartitionLane | undefined)[]

/** Takes back what waits in the lanes, chosen out of another number than `partitions`. @returns whether some of it was sent and has no answer */
export function takeBack(lanes: Lanes, partitions: number): boolean {
  const isOld = (item: LaneItem): boolean =>
    item instanceof OutgoingBatch &&
    item.recall !== undefined &&
    item.terms.partitions !== undefined &&
    item.terms.partitions !== partitions
  let isAwaited = false
  for (const lane of lanes) {
    if (lane === undefined) continue
    if (lane.open && isOld(lane.open)) lane.recallOpen()
    for (const item of lane.lane.recall(isOld)) lane.recalled.push(item as OutgoingBatch)
    if (lane.lane.holds(isOld)) isAwaited = true
  }
  return isAwaited
}

/** Records of batches that were taken back, by batch. */
export type Reopened = ReadonlyMap<OutgoingBatch, readonly RecordInput[]>

/** The records of everything that was taken back. */
export async function reopen(lanes: Lanes): Promise<Reopened> {
  const records = new Map<OutgoingBatch, readonly RecordInput[]>()
  for (let known = -1; known < records.size; ) {
    known = records.size
    for (const batch of recalledIn(lanes))
      if (!batch.outcome.settled && !records.has(batch)) records.set(batch, await batch.records())
  }
  return records
}

/** Sends what was taken back through `add`, in order per former partition; `add` returns the record's new batch, the record being the last there. */
export function sendAgain(
  lanes: Lanes,
  reopened: Reopened,
  add: (record: RecordInput, deadlineMs: number) => OutgoingBatch,
  onRejected: (batch: OutgoingBatch, error: unknown) => LogloomError,
): void {
  const batches = recalledIn(lanes)
  for (const lane of lanes) lane?.recalled.splice(0)
  for (const batch of batches) {
    // Its deadline may have passed meanwhile.
    if (batch.outcome.settled) continue
    const used = new Set<number>()
    const places = (reopened.get(batch) ?? []).map((record): RecordPlace => {
      try {
        const { outcome, count, route } = add(record, batch.deadlineMs)
        used.add(route.partition)
        return { outcome, index: count - 1 }
      } catch (error) {
        const outcome = new Outcome()
        outcome.fail(onRejected(batch, error))
        return { outcome, index: 0 }
      }
    })
    // Records of other batches have other deadlines.
    for (const partition of used) lanes[partition]?.closeOpen()
    batch.move(places)
  }
}

function recalledIn(lanes: Lanes): readonly OutgoingBatch[] {
  return lanes.flatMap(lane => (lane?.recalled ?? []).toSorted((a, b) => a.order - b.order))
}
