// State stores of simulated brokers.

import type { StateStore, StoreOp, StoreRange } from '../../broker/state/store.ts'
import type { Process } from './world.ts'

/** A store that survives its process: a commit happens whole or, when the process dies first, not at all. */
export class SimStore implements StateStore {
  private readonly inner: StateStore
  private readonly process: Process

  constructor(inner: StateStore, process: Process) {
    this.inner = inner
    this.process = process
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.inner.get(key)
  }

  range(range: StoreRange): ReturnType<StateStore['range']> {
    return this.inner.range(range)
  }

  async commit(ops: readonly StoreOp[]): Promise<void> {
    await this.process.latency(10)
    await this.inner.commit(ops)
    await this.process.latency(2)
  }

  clear(): Promise<void> {
    return this.inner.clear()
  }

  async close(): Promise<void> {}
}
