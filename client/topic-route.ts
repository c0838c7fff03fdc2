// One topic as a producer sees it: its partitions, and the records that wait to learn how many there are.
//
// Guarantees: records reach their partitions in the order in which they were added, also those that came before the partition count
// was known. Kafka's partitioning: murmur2 of the key, else one partition per batch in turn (KIP-480).

import { LogloomError, partitionForKey, type RecordInput } from '../wire/index.ts'
import type { PartitionLane } from './partition-lane.ts'
import type { Partitioner } from './producer-options.ts'
import type { PendingTicket } from './records.ts'

/** A record that waits for its topic's partition count. */
export interface PendingRecord {
  readonly record: RecordInput
  readonly partition: number | undefined
  readonly expectOffset: number | undefined
  readonly ticket: PendingTicket
  readonly bytes: number
  readonly deadlineMs: number
  /** Called once it waits no more. */
  onLeft?: () => void
}

const encoder = new TextEncoder()

export class TopicRoute {
  readonly name: string
  readonly lanes: (PartitionLane | undefined)[] = []
  pending: PendingRecord[] = []
  /** Set while the partition count is asked for, or what was chosen out of another one is chosen again. */
  loading: Promise<void> | undefined
  /** Out of how many partitions records were chosen last. */
  chosenOutOf: number | undefined
  /** Ends the wait for a batch that was sent. */
  wake: (() => void) | undefined
  readonly #partitioner: Partitioner | undefined
  #sticky: number

  /** `start` in `[0, 1)` chooses where keyless records begin. */
  constructor(name: string, partitioner: Partitioner | undefined, start: number) {
    this.name = name
    this.#partitioner = partitioner
    this.#sticky = Math.floor(start * 2 ** 20)
  }

  /** Records wait for its partitions, or for others to be chosen. */
  get hasWaiting(): boolean {
    return this.pending.length > 0 || this.lanes.some(lane => (lane?.recalled.length ?? 0) > 0)
  }

  /** Resolves once the records that wait now have places, or were rejected. */
  async placed(): Promise<void> {
    const last = this.pending.at(-1)
    if (last === undefined) return
    await new Promise<void>(resolve => {
      const { onLeft } = last
      last.onLeft = () => (onLeft?.(), resolve())
    })
  }

  /** They wait no more. */
  left(records: readonly PendingRecord[]): void {
    for (const { onLeft } of records) onLeft?.()
  }

  /** Chooses a partition. @throws INVALID_REQUEST when the caller's partitioner is wrong */
  choose(record: RecordInput, partitions: number): number {
    const key = record.key ?? null
    if (!this.#partitioner) {
      if (partitions === 1) return 0
      return key === null ? this.#sticky % partitions : partitionForKey(keyBytes(key), partitions)
    }
    const chosen = this.#partitioner(this.name, key === null ? null : keyBytes(key), partitions)
    if (Number.isSafeInteger(chosen) && chosen >= 0 && chosen < partitions) return chosen
    const what = `partitioner chose ${String(chosen)} of ${partitions} partitions of ${this.name}`
    throw new LogloomError('INVALID_REQUEST', what)
  }

  /** A batch of `partition` is full: keyless records go elsewhere if they went there. */
  moveOn(partition: number, partitions: number): void {
    if (this.#sticky % partitions === partition) this.#sticky++
  }
}

function keyBytes(key: string | Uint8Array): Uint8Array {
  return typeof key === 'string' ? encoder.encode(key) : key
}
