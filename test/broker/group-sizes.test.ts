// Groups of many partitions: whatever a request may ask for can be read back, from the log and from the store.

import { describe, expect, it } from 'vitest'
import { encodeEntry, parseEntry } from '../../broker/engine/entry.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { offsetsPerCommitMax } from '../../broker/gateway/group-limits.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { StateMachine } from '../../broker/state/state-machine.ts'

const partitions = 10_000

/** A machine of one broker's session, whose entries go through their bytes. */
class Played {
  readonly store = new MemoryStore()
  readonly machine = new StateMachine(this.store)
  private sequence = 0

  constructor() {
    this.apply(-1, 0, { type: 'open', node: 'n', incarnation: 'i' })
    this.run({ type: 'createTopic', topic: 't', partitions, config: {}, ifNotExists: false })
  }

  run(command: Command): Decision {
    return this.apply(0, this.sequence++, command) as Decision
  }

  private apply(session: number, sequence: number, command: Command): Decision | undefined {
    const { buffers } = encodeEntry({ session, sequence, stamp: 1000 }, [command])
    const entry = parseEntry(Buffer.concat(buffers))
    return this.machine.apply(this.machine.applied, entry).applied[0]?.decisions[0]
  }
}

const join: Command = {
  type: 'joinGroup',
  group: 'g',
  memberId: 'm',
  topics: ['t'],
  assignor: 'sticky',
  sessionTimeoutMs: 1000,
  rebalanceTimeoutMs: 1000,
}

describe('a group with ten thousand partitions', () => {
  it('commits, resets and releases them in one entry that every broker can read', () => {
    const played = new Played()
    expect(played.run(join)).toMatchObject({ ok: true })
    const numbers = Array.from({ length: offsetsPerCommitMax }, (_, partition) => partition)
    const offsets = numbers.map(partition => [1, partition, 0, 1, 'note'] as const)
    expect(played.run({ type: 'commitOffsets', group: 'g', memberId: 'm', offsets })).toMatchObject(
      { ok: true },
    )
    expect(
      played.run({
        type: 'publish',
        batches: [],
        expect: [],
        commit: { group: 'g', memberId: 'm', offsets },
      }),
    ).toMatchObject({ ok: true })
    const released = numbers.map(partition => [1, partition, 1] as const)
    expect(
      played.run({ type: 'releasePartitions', group: 'g', memberId: 'm', partitions: released }),
    ).toMatchObject({ ok: true })
    expect(played.run({ type: 'leaveGroup', group: 'g', memberId: 'm' })).toMatchObject({
      ok: true,
    })
    const rows = numbers.map(partition => [1, partition, 0] as const)
    expect(played.run({ type: 'resetOffsets', group: 'g', offsets: rows })).toMatchObject({
      ok: true,
    })
  })

  it('is there again after a restart', async () => {
    const played = new Played()
    played.run(join)
    const changes = played.machine.takeChanges()
    await played.store.commit(changes.ops)
    const group = new StateMachine(played.store).groups.registry.byName.get('g')
    expect(group?.claims.size).toBe(partitions)
  })
})
