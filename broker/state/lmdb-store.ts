// The production store: one LMDB environment. A commit is one write transaction that LMDB makes durable on its own thread, so the
// event loop never waits for it. The store may always be deleted: the log and the checkpoints rebuild it.

import { open, type RootDatabase } from 'lmdb'
import {
  rangesFirst,
  type StateStore,
  type StoreOp,
  type StorePair,
  type StoreRange,
} from './store.ts'

/** Opens or makes the environment in the directory `path`. `mapBytes` bounds its address space, not its memory. */
export function openLmdbStore(path: string): StateStore {
  const db = open<Uint8Array, Uint8Array>({
    path,
    encoding: 'binary',
    keyEncoding: 'binary',
    // Writes come in large transactions of our own; LMDB's event-turn batching would only add latency.
    eventTurnBatching: false,
    noMemInit: true,
  })
  return new LmdbStore(db)
}

class LmdbStore implements StateStore {
  private readonly db: RootDatabase<Uint8Array, Uint8Array>

  constructor(db: RootDatabase<Uint8Array, Uint8Array>) {
    this.db = db
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.db.get(key)
  }

  range(range: StoreRange): readonly StorePair[] {
    const { low, high, reverse = false, limit } = range
    const pairs: StorePair[] = []
    const start = reverse ? high : low
    const stop = reverse ? low : high
    for (const { key, value } of this.db.getRange({
      start,
      reverse,
      ...(limit === undefined ? {} : { limit }),
    })) {
      const order = Buffer.compare(key, stop)
      if (reverse ? order < 0 : order > 0) break
      pairs.push([key, value])
    }
    return pairs
  }

  async commit(ops: readonly StoreOp[]): Promise<void> {
    try {
      // A batch, no `transaction`: that runs its callback while the store's thread waits for the event loop, and a process that ends
      // just then never does, since it joins the thread first.
      await this.db.batch(() => {
        for (const op of rangesFirst(ops)) {
          if (op.type === 'put') void this.db.put(op.key, op.value)
          else if (op.type === 'delete') void this.db.remove(op.key)
          else this.deleteRange(op.low, op.high)
        }
      })
      await this.db.flushed
    } catch (error) {
      // A failed commit carries its cause as a promise of its own, which would end the process if nobody took it.
      const { commitError } = error as { commitError?: Promise<unknown> }
      commitError?.catch(() => {})
      throw error
    }
  }

  async clear(): Promise<void> {
    await this.db.clearAsync()
    await this.db.flushed
  }

  async close(): Promise<void> {
    await this.db.close()
  }

  private deleteRange(low: Uint8Array, high: Uint8Array): void {
    for (const [key] of this.range({ low, high })) void this.db.remove(key)
  }
}
