// The embedded store below the state machine: five methods, so that LMDB in production and a sorted map in simulation are
// interchangeable (DESIGN 5.2). Keys and values are opaque bytes; keys are ordered bytewise.

export type StoreOp =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: Uint8Array }
  /** Deletes every key in `[low, high]` that an earlier commit put there. */
  | { readonly type: 'deleteRange'; readonly low: Uint8Array; readonly high: Uint8Array }

export interface StoreRange {
  /** Both inclusive. */
  readonly low: Uint8Array
  readonly high: Uint8Array
  readonly reverse?: boolean
  readonly limit?: number
}

export type StorePair = readonly [key: Uint8Array, value: Uint8Array]

export interface StateStore {
  get(key: Uint8Array): Uint8Array | undefined
  /** A consistent read: the pairs as of the last finished commit. Pairs are valid after the next call, too. */
  range(range: StoreRange): readonly StorePair[]
  /** Applies the operations atomically and durably: ranges first, the others in order. One commit at a time. */
  commit(ops: readonly StoreOp[]): Promise<void>
  /** Removes everything; for a rebuild. */
  clear(): Promise<void>
  close(): Promise<void>
}

/** The operations in the order in which a commit applies them. */
export function rangesFirst(ops: readonly StoreOp[]): readonly StoreOp[] {
  return [...ops].sort(
    (a, b) => Number(b.type === 'deleteRange') - Number(a.type === 'deleteRange'),
  )
}
