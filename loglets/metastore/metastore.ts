// The MetaStore: one versioned register with compare-and-set (DESIGN 4.3). It decides who wins a reconfiguration and is never on the
// append path: when it is down, appends go on and only reconfiguration waits.

export interface MetaStore {
  /** The current value. Version 0 and no value before the first write. Linearizable. */
  read(): Promise<{ readonly value: Uint8Array | undefined; readonly version: number }>
  /**
   * Writes if the version still is `expectedVersion`; it then becomes `expectedVersion + 1`, durably. Else says what is there. A
   * rejection means that nobody knows: read again.
   */
  write(value: Uint8Array, expectedVersion: number): Promise<WriteResult>
  /** Where this node notes which loglets it has made and not yet placed. Without it a crash may leave stores that nobody deletes. */
  readonly notes?: NoteStore
}

export type WriteResult =
  | { readonly ok: true; readonly version: number }
  | { readonly ok: false; readonly version: number; readonly value: Uint8Array | undefined }

/**
 * A loglet that this node is about to make or to retire. `expectedIndex`: the write that would install it counts on this last segment.
 * `expectedVersion`: it counts on this version. The loglet may be deleted once the chain is past that and does not name it.
 */
export interface Note {
  readonly id: string
  readonly spec: string
  readonly placement?: readonly string[]
  readonly expectedIndex?: number
  readonly expectedVersion?: number
}

/** Small durable notes of this node, by loglet id. */
export interface NoteStore {
  list(): Promise<readonly Note[]>
  /** Durable once resolved; replaces an older note of the same id. */
  put(note: Note): Promise<void>
  /** Idempotent. */
  delete(id: string): Promise<void>
}

/** The stored register is damaged. Nothing is overwritten; an operator has to decide. */
export class MetaStoreCorruptError extends Error {
  override readonly name = 'MetaStoreCorruptError'
  readonly code = 'METASTORE_CORRUPT'
}
