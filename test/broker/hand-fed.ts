// A state machine that is fed by hand: entries go through their bytes into an array that stands for the log, and are applied at once. Commits of the
// state begin and end when the test says so.

import { encodeEntry, parseEntry } from '../../broker/engine/entry.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { StateMachine } from '../../broker/state/state-machine.ts'
import type { PartitionState } from '../../broker/state/topics.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { encodeBatch, readBatchHeader, type RecordInput } from '../../wire/index.ts'

export class HandFed {
  readonly store = new MemoryStore()
  readonly machine = new StateMachine(this.store)
  readonly entries: Uint8Array[] = []
  /** Entries below are gone. */
  trimPoint = 0
  stamp = 0
  private sequence = 0
  private committing: (() => Promise<void>) | undefined

  constructor() {
    this.put(-1, 0, [{ type: 'open', node: 'n', incarnation: 'i' }])
  }

  /** Only what reading batches and trimming need. */
  get log(): VirtualLog {
    const { entries } = this
    const log = {
      chain: { version: 1, segments: [] },
      readSlices: async (slices: readonly { lsn: number; start: number; length: number }[]) =>
        slices.map(({ lsn, start, length }) =>
          lsn < this.trimPoint
            ? { gap: 'trimmed' }
            : (entries[lsn] as Uint8Array).subarray(start, start + length),
        ),
    }
    Object.defineProperty(log, 'trimPoint', { get: () => this.trimPoint })
    return log as unknown as VirtualLog
  }

  propose(...commands: Command[]): Decision {
    const decisions = this.put(0, this.sequence++, commands)
    return decisions[0] as Decision
  }

  /** Two entries, the later one first: it is held back until the other is there. `between` runs while it is held. */
  async swapped(first: Command, second: Command, between: () => Promise<void>): Promise<void> {
    const { sequence } = this
    this.sequence += 2
    this.put(0, sequence + 1, [second])
    await between()
    this.put(0, sequence, [first])
  }

  createTopic(config: Readonly<Record<string, string>> = {}): number {
    const topic = `t${this.machine.topics.nextTopicId}`
    const create = { topic, partitions: 1, config, ifNotExists: false }
    const decision = this.propose({ type: 'createTopic', ...create })
    return decision.ok ? (decision.result?.topicId as number) : -1
  }

  /** @returns base offset */
  produce(topicId: number, records: readonly RecordInput[]): number {
    const batch = encodeBatch(records, { now: 1 })
    const header = readBatchHeader(batch)
    const decision = this.propose({ type: 'produce', topicId, partition: 0, batch, header })
    return decision.ok ? (decision.offsets?.[0]?.offset as number) : -1
  }

  partition(topicId: number): PartitionState {
    return this.machine.topics.partition(topicId, 0) as PartitionState
  }

  index(topicId: number, machine = this.machine) {
    const partition = machine.topics.partition(topicId, 0)
    return partition === undefined
      ? []
      : [...machine.topics.entriesFrom(partition, partition.start)]
  }

  /** The state as of now is on its way to the store until `finishCommit`. */
  beginCommit(): void {
    if (this.committing !== undefined) return
    const changes = this.machine.takeChanges()
    this.committing = async () => {
      await this.store.commit(changes.ops)
      changes.done()
    }
  }

  async finishCommit(): Promise<void> {
    await this.committing?.()
    this.committing = undefined
  }

  async commit(): Promise<void> {
    await this.finishCommit()
    this.beginCommit()
    await this.finishCommit()
  }

  /** What a restart makes of the store and the log. */
  async rebuilt(): Promise<StateMachine> {
    const store = new MemoryStore()
    const all = { low: new Uint8Array(), high: new Uint8Array(32).fill(0xff) }
    await store.commit(
      this.store.range(all).map(([key, value]) => ({ type: 'put' as const, key, value })),
    )
    const machine = new StateMachine(store)
    for (let lsn = machine.applied; lsn < this.entries.length; lsn++)
      machine.apply(lsn, parseEntry(this.entries[lsn] as Uint8Array))
    return machine
  }

  private put(
    session: number,
    sequence: number,
    commands: readonly Command[],
  ): readonly Decision[] {
    const header = { session, sequence, stamp: this.stamp }
    const bytes = new Uint8Array(Buffer.concat(encodeEntry(header, commands).buffers))
    const { applied } = this.machine.apply(this.entries.push(bytes) - 1, parseEntry(bytes))
    return applied[0]?.decisions ?? []
  }
}
