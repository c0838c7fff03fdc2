// What the log says about a topic to which partitions were added: entries go through their bytes, and the state through its store.

import { describe, expect, it } from 'vitest'
import { encodeEntry, parseEntry } from '../../broker/engine/entry.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { partitionEpochsMax, StateMachine } from '../../broker/state/state-machine.ts'
import { encodeBatch, readBatchHeader } from '../../wire/batch.ts'

const ok = { ok: true }

/** A machine that is fed the bytes of entries, which it keeps. */
class Played {
  readonly store = new MemoryStore()
  readonly machine = new StateMachine(this.store)
  private readonly entries: Uint8Array[] = []

  constructor() {
    this.apply(-1, { type: 'open', node: 'n', incarnation: 'i' })
    this.run({ type: 'createTopic', topic: 't', partitions: 3, config: {}, ifNotExists: false })
    this.run({ type: 'initProducer' })
  }

  run(command: Command): Decision {
    return this.apply(0, command) as Decision
  }

  add(partitions: number): Decision {
    return this.run({ type: 'addPartitions', topicId: 1, partitions, config: {} })
  }

  /** A batch of one record; `partitions`: out of how many its partition was chosen. */
  produce(sequence: number, partition: number, partitions?: number): Decision {
    const producer = { producerId: 1, producerEpoch: 0, baseSequence: sequence }
    const batch = encodeBatch([{ key: 'k', value: 'v' }], { now: 1, producer })
    return this.run({
      type: 'produce',
      topicId: 1,
      partition,
      batch,
      header: readBatchHeader(batch),
      ...(partitions === undefined ? {} : { partitions }),
    })
  }

  /** Both ways to the same state. */
  async check(): Promise<void> {
    const replayed = new StateMachine(new MemoryStore())
    for (const bytes of this.entries) replayed.apply(replayed.applied, parseEntry(bytes))
    expect(replayed.digest()).toBe(this.machine.digest())
    const changes = this.machine.takeChanges()
    await this.store.commit(changes.ops)
    changes.done()
    const restored = new StateMachine(this.store)
    expect(restored.digest()).toBe(this.machine.digest())
    for (const machine of [replayed, restored])
      expect(machine.topics.byId.get(1)?.epochs).toEqual(this.machine.topics.byId.get(1)?.epochs)
  }

  private apply(session: number, command: Command): Decision | undefined {
    const sequence = Math.max(0, this.entries.length - 1)
    const { buffers } = encodeEntry({ session, sequence, stamp: 1000 }, [command])
    const bytes = Buffer.concat(buffers)
    this.entries.push(bytes)
    return this.machine.apply(this.machine.applied, parseEntry(bytes)).applied[0]?.decisions[0]
  }
}

describe('a topic to which partitions are added', () => {
  it('takes batches of the present number only, and a refusal consumes no sequence', async () => {
    const played = new Played()
    expect(played.produce(0, 1, 3)).toMatchObject(ok)
    const lsn = played.machine.applied
    expect(played.add(12)).toMatchObject({ ok: true, result: { topic: 't', partitions: 12 } })
    // What was taken before is answered as before: its sender may not have heard.
    expect(played.produce(0, 1, 3)).toMatchObject({ ok: true, duplicate: true })
    const stale = { ok: false, decided: false, code: 'STALE_PARTITIONS' }
    expect(played.produce(1, 1, 3)).toMatchObject({ ...stale, details: { partitions: 12 } })
    expect(played.produce(1, 1, 3)).toMatchObject(stale)
    expect(played.produce(2, 1, 3)).toMatchObject({ code: 'OUT_OF_ORDER_SEQUENCE' })
    expect(played.produce(1, 1, 12)).toMatchObject({ ok: true, offsets: [{ offset: 1 }] })
    expect(played.produce(0, 11, 12)).toMatchObject(ok)
    // A partition that the sender wished for.
    expect(played.produce(2, 1)).toMatchObject(ok)
    expect(played.machine.topics.byId.get(1)?.epochs).toEqual([
      { partitions: 3, lsn: 1, ends: [] },
      { partitions: 12, lsn, ends: [0, 1, 0] },
    ])
    await played.check()
  })

  it('takes atomic publishes of the present numbers only, whole', async () => {
    const played = new Played()
    const batch = encodeBatch([{ key: 'k', value: 'v' }], { now: 1 })
    const publish = (sequence: number, partitions: number): Decision =>
      played.run({
        type: 'publish',
        producer: { id: 1, epoch: 0, sequence },
        batches: [{ topicId: 1, partition: 0, batch, header: readBatchHeader(batch) }],
        expect: [],
        maps: [[1, partitions]],
        commit: { group: 'g', offsets: [[1, 0, 0, -1, 'note']] },
      })
    expect(publish(0, 3)).toMatchObject(ok)
    played.add(4)
    expect(publish(0, 3)).toMatchObject({ ok: true, duplicate: true })
    expect(publish(1, 3)).toMatchObject({ decided: false, code: 'STALE_PARTITIONS' })
    expect(publish(1, 4)).toMatchObject({ ok: true, offsets: [{ offset: 1 }] })
    await played.check()
  })

  it('never has fewer, and not another number for ever', () => {
    const played = new Played()
    for (const partitions of [1, 3])
      expect(played.add(partitions)).toMatchObject({
        code: 'INVALID_PARTITIONS',
        details: { limit: 3, actual: partitions },
      })
    for (let n = 1; n < partitionEpochsMax; n++) expect(played.add(3 + n)).toMatchObject(ok)
    expect(played.add(100)).toMatchObject({
      code: 'LIMIT_EXCEEDED',
      details: { limit: partitionEpochsMax },
    })
  })
})
