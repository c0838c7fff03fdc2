// Lag over what cannot be read any more: lost ranges and trimmed records.

import { describe, expect, it } from 'vitest'
import { lagFrom } from '../../broker/group-lag.ts'
import type { Command } from '../../broker/state/commands.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { lostOffsets, StateMachine } from '../../broker/state/state-machine.ts'
import type { PartitionState } from '../../broker/state/topics.ts'
import { encodeBatch, readBatchHeader } from '../../wire/batch.ts'

describe('lag', () => {
  it('leaves out lost ranges and what was trimmed, and is as old as the first record that can be read', () => {
    const machine = new StateMachine(new MemoryStore())
    let time = 1000
    let session = 0
    let sequence = 0
    const open = (): void => {
      session = machine.applied
      sequence = 0
      const command = { type: 'open', node: 'n', incarnation: 'i' } as const
      const header = { session: -1, sequence: 0, stamp: time }
      machine.apply(session, { header, bytes: 0, commands: [{ command, batchStarts: [] }] })
    }
    const run = (command: Command): void => {
      const header = { session, sequence: sequence++, stamp: time }
      machine.apply(machine.applied, {
        header,
        bytes: 0,
        commands: [{ command, batchStarts: [0] }],
      })
    }
    const produce = (): void => {
      const batch = encodeBatch([{ value: 'v' }], { now: 0 })
      const header = readBatchHeader(batch)
      run({ type: 'produce', topicId: 1, partition: 0, batch, header })
    }
    open()
    run({ type: 'createTopic', topic: 't', partitions: 1, config: {}, ifNotExists: false })
    const partition = machine.topics.partition(1, 0) as PartitionState
    const lag = (offset: number): unknown => lagFrom(machine.topics, partition, offset)
    for (let i = 0; i < 3; i++) produce()
    expect(lag(1)).toEqual({ records: 2, appendedAt: 1000 })
    machine.lose(machine.applied, machine.applied + 3)
    time += 5000
    open()
    produce()
    expect(lag(1)).toEqual({ records: 3, appendedAt: 1000 })
    expect(lag(3)).toEqual({ records: 1, appendedAt: 6000 })
    run({ type: 'deleteRecords', topicId: 1, partition: 0, before: lostOffsets + 3 })
    expect(lag(1)).toEqual({ records: 1, appendedAt: 6000 })
    expect(lag(lostOffsets + 4)).toEqual({ records: 0, appendedAt: undefined })
  })
})
