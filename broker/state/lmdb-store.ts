// The production store: one LMDB environment. A commit is one write transaction that LMDB makes durable on its own thread, so the
// event loop never waits for it. The store may always be deleted: the log and the checkpoints rebuild it.

import { join } from 'node:path'
import { open, type RootDatabase } from 'lmdb'
import { pagesNeeded, pagesNeededToClear, RoomAhead, type TreePages } from './room-ahead.ts'
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
  return new LmdbStore(db, new RoomAhead(join(path, 'data.mdb')))
}

/** One key each. */
type KeyedOp = Exclude<StoreOp, { readonly type: 'deleteRange' }>

class LmdbStore implements StateStore {
  private readonly db: RootDatabase<Uint8Array, Uint8Array>

  private readonly room: RoomAhead

  constructor(db: RootDatabase<Uint8Array, Uint8Array>, room: RoomAhead) {
    this.db = db
    this.room = room
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
    const keyed = rangesFirst(ops).flatMap((op): readonly KeyedOp[] =>
      op.type === 'deleteRange' ? this.deletionsOf(op.low, op.high) : [op],
    )
    let bytes = 0
    for (const op of keyed) if (op.type === 'put') bytes += op.key.length + op.value.length
    await this.makeRoom(tree => pagesNeeded({ keys: keyed.length, bytes }, tree))
    await this.write(
      // A batch, no `transaction`: that runs its callback while the store's thread waits for the event loop, and a process that ends
      // just then never does, since it joins the thread first.
      this.db.batch(() => {
        for (const op of keyed)
          if (op.type === 'put') void this.db.put(op.key, op.value)
          else void this.db.remove(op.key)
      }),
    )
  }

  async clear(): Promise<void> {
    await this.makeRoom(pagesNeededToClear)
    await this.write(this.db.clearAsync())
  }

  async close(): Promise<void> {
    await this.db.close()
    await this.room.close()
  }

  private async makeRoom(pages: (tree: TreePages) => number): Promise<void> {
    const tree = this.db.getStats() as TreePages & { readonly lastPageNumber: number }
    await this.room.extendTo((tree.lastPageNumber + 1 + pages(tree)) * tree.pageSize)
  }

  private async write(work: Promise<unknown>): Promise<void> {
    try {
      await work
      await this.db.flushed
    } catch (error) {
      // A failed commit carries its cause as a promise of its own, which would end the process if nobody took it.
      const { commitError } = error as { commitError?: Promise<unknown> }
      commitError?.catch(() => {})
      throw error
    }
  }

  private deletionsOf(low: Uint8Array, high: Uint8Array): readonly KeyedOp[] {
    return this.range({ low, high }).map(([key]) => ({ type: 'delete', key }))
  }
}
