// Which batch was put where: one row per batch in the order of the log, so that the oldest part of the log can be asked for what lives in it
// without a look at every batch of every topic (DESIGN 5.2 "Cleaning").
//
// A row says that the batch was put there once; whether it still lies there only the index of its partition knows. So nothing is written when a
// batch dies: all rows below the trim point go at once. Rows are no part of the state's hash, and no apply depends on them.

import { getU64, setU64 } from '../../wire/u64.ts'
import { placeKey, placeOfKey } from './keys.ts'
import type { StateStore, StoreOp } from './store.ts'

/** A batch, by its partition and base offset, and the place where it was put: entry, and byte in it. */
export interface Place {
  readonly lsn: number
  readonly start: number
  readonly topicId: number
  readonly partition: number
  readonly base: number
}

const anyStart = 0xffff_ffff
/** Rows deleted with one commit: the store does that while nothing else runs. */
const rowsPerPrune = 5000

export class Places {
  private readonly store: StateStore
  /** Not in the store yet. */
  private pending: Place[] = []
  /** Rows below are to be deleted, by and by. */
  private prunedTo = 0

  constructor(store: StateStore) {
    this.store = store
  }

  add(place: Place): void {
    this.pending.push(place)
  }

  /** Batches that the store does not know yet. */
  get pendingCount(): number {
    return this.pending.length
  }

  /** Below this the store has every row of what took effect. */
  get storedBelow(): number {
    return this.pending.reduce((least, { lsn }) => Math.min(least, lsn), Number.MAX_SAFE_INTEGER)
  }

  /** Rows of the store in the order of the log, from this place on, below `before`; at most `limit`. */
  page(
    from: { readonly lsn: number; readonly start: number },
    before: number,
    limit: number,
  ): readonly Place[] {
    if (before <= from.lsn) return []
    const low = placeKey(from.lsn, from.start)
    return this.store
      .range({ low, high: placeKey(before - 1, anyStart), limit })
      .map(([key, value]) => decode(key, value))
  }

  /** Forgets what lies below `before`. */
  prune(before: number): void {
    this.pending = this.pending.filter(({ lsn }) => lsn >= before)
    this.prunedTo = Math.max(this.prunedTo, before)
  }

  /** What the store must be told, and what to forget once it knows. */
  takeChanges(ops: StoreOp[]): () => void {
    this.deleteSome(ops)
    const taken = new Set(this.pending)
    for (const place of taken)
      ops.push({ type: 'put', key: placeKey(place.lsn, place.start), value: encode(place) })
    return () => {
      this.pending = this.pending.filter(place => !taken.has(place))
    }
  }

  private deleteSome(ops: StoreOp[]): void {
    if (this.prunedTo === 0) return
    const [low, high] = [placeKey(0, 0), placeKey(this.prunedTo - 1, anyStart)]
    const rows = this.store.range({ low, high, limit: rowsPerPrune })
    const last = rows.at(-1)
    if (last !== undefined) ops.push({ type: 'deleteRange', low, high: last[0] })
    if (rows.length < rowsPerPrune) this.prunedTo = 0
  }
}

/** 0 u32 topic  4 u32 partition  8 u64 base offset */
function encode({ topicId, partition, base }: Place): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, topicId)
  view.setUint32(4, partition)
  setU64(view, 8, base)
  return bytes
}

function decode(key: Uint8Array, value: Uint8Array): Place {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  return {
    ...placeOfKey(key),
    topicId: view.getUint32(0),
    partition: view.getUint32(4),
    base: getU64(view, 8),
  }
}
