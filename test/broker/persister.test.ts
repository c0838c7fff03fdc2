// When the state goes to its store: soon once much is new, rarely while little is, and not again at once where the store refuses.

import { describe, expect, it } from 'vitest'
import { encodeEntry } from '../../broker/engine/entry.ts'
import { Persister } from '../../broker/engine/persister.ts'
import type { Command } from '../../broker/state/commands.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { StateMachine } from '../../broker/state/state-machine.ts'
import type { StoreOp } from '../../broker/state/store.ts'
import type { Clock } from '../../loglets/ports.ts'
import { encodeBatch, readBatchHeader } from '../../wire/batch.ts'

const intervalMs = 1000

/** A clock that goes on when it is told; sleeps in the order in which they end. */
class HandClock implements Clock {
  private time = 0
  private readonly sleepers = new Set<{ readonly until: number; readonly wake: () => void }>()

  now(): number {
    return this.time
  }

  wall(): number {
    return this.time
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper = { until: this.time + ms, wake: resolve }
      this.sleepers.add(sleeper)
      signal?.addEventListener('abort', () => {
        this.sleepers.delete(sleeper)
        reject(signal.reason as Error)
      })
    })
  }

  async pass(ms: number): Promise<void> {
    for (const end = this.time + ms; this.time < end; this.time++) {
      for (const sleeper of this.sleepers)
        if (sleeper.until <= this.time && this.sleepers.delete(sleeper)) sleeper.wake()
      await new Promise(resolve => setImmediate(resolve))
    }
  }
}

class CountingStore extends MemoryStore {
  commits = 0
  isFull = false

  override async commit(ops: readonly StoreOp[]): Promise<void> {
    this.commits++
    if (this.isFull) throw new Error('ENOSPC')
    await super.commit(ops)
  }
}

function scene() {
  const store = new CountingStore()
  const machine = new StateMachine(store)
  const clock = new HandClock()
  const troubles: Error[] = []
  const persister = new Persister({
    machine,
    store,
    clock,
    intervalMs,
    onTrouble: error => troubles.push(error),
  })
  let sequence = 0
  const put = (session: number, commands: readonly Command[]): void => {
    const { parsed } = encodeEntry(
      { session, sequence: session < 0 ? 0 : sequence++, stamp: 0 },
      commands,
    )
    machine.apply(machine.applied, parsed)
    persister.nudge()
  }
  put(-1, [{ type: 'open', node: 'n', incarnation: 'i' }])
  put(0, [{ type: 'createTopic', topic: 't', partitions: 1, config: {}, ifNotExists: false }])
  const batch = encodeBatch([{ value: 'x' }], { now: 0 })
  const header = readBatchHeader(batch)
  const produce = (batches: number): void => {
    for (let i = 0; i < batches; i++)
      put(0, [{ type: 'produce', topicId: 1, partition: 0, batch, header }])
  }
  persister.start()
  return { store, machine, clock, troubles, persister, produce }
}

describe('the state', () => {
  it('is stored once an interval while little changes', async () => {
    const { store, clock, produce, persister, machine } = scene()
    for (let i = 0; i < 12; i++) {
      produce(1)
      await clock.pass(intervalMs / 5)
    }
    expect(store.commits).toBe(2)
    produce(1)
    await clock.pass(intervalMs)
    expect(persister.persisted).toBe(machine.applied)
  })

  it('is stored long before that once many batches are new, in commits that are small', async () => {
    const { store, clock, produce, persister, machine } = scene()
    for (let i = 0; i < 50; i++) {
      produce(32)
      await clock.pass(2)
    }
    // 1,600 batches in a tenth of the interval.
    expect(store.commits).toBeGreaterThanOrEqual(4)
    expect(store.commits).toBeLessThanOrEqual(10)
    expect(machine.applied - persister.persisted).toBeLessThan(600)
  })

  it('is not offered again and again to a store that is full', async () => {
    const { store, clock, produce, troubles, persister, machine } = scene()
    store.isFull = true
    for (let i = 0; i < 100; i++) {
      produce(10)
      await clock.pass(30)
    }
    expect(troubles.length).toBeGreaterThanOrEqual(2)
    expect(store.commits).toBeLessThanOrEqual(4)
    expect(persister.stalled).toBe(true)
    store.isFull = false
    await clock.pass(3 * intervalMs)
    expect(persister.persisted).toBe(machine.applied)
  })
})
