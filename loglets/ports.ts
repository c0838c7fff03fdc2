// The ports through which time, randomness and the disk come in (DESIGN 9). Production adapters: node-disk.ts, node-clock.ts; the seeded
// simulator implements the same three, so the code under test is the code that ships.

export interface Clock {
  /** Monotonic milliseconds, fractions allowed; only differences mean anything. */
  now(): number
  /** Wall clock, milliseconds since 1970; may jump. */
  wall(): number
  /** Resolves after `ms`; rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export interface Random {
  /** Uniform in `[0, 1)`. */
  next(): number
  /** `bytes` random bytes as lower-case hex; unique in practice. */
  hex(bytes: number): string
}

/** Errors of a Disk keep Node's `code` (`ENOSPC`, `EIO`, `ENOENT`, …). Paths use `/` and are relative to the disk's root. */
export interface Disk {
  /** Opens for reading and writing. `create`: make it, EEXIST if it is there; else ENOENT if it is not. */
  open(path: string, options?: { create?: boolean }): Promise<DiskFile>
  /** Names in a directory, sorted; ENOENT when there is none. */
  list(path: string): Promise<readonly string[]>
  /** Makes the directory and its parents; no error when it exists. */
  mkdir(path: string): Promise<void>
  exists(path: string): Promise<boolean>
  /** Atomic; replaces the target. Durable only after `syncDir` of the parent. */
  rename(from: string, to: string): Promise<void>
  /** Removes a file or a directory tree; no error when absent. */
  remove(path: string): Promise<void>
  /** Makes creates, renames and removes in the directory durable. */
  syncDir(path: string): Promise<void>
}

export interface DiskFile {
  /**
   * Writes all buffers one after the other from `at`, looping over short writes. On an error (ENOSPC) any prefix may have been
   * written: the caller truncates. One write at a time per file.
   */
  write(buffers: readonly Uint8Array[], at: number): Promise<void>
  /** Reads up to `length` bytes at `at`; shorter only at the end of the file. */
  read(at: number, length: number): Promise<Uint8Array>
  /** fdatasync. After an error nothing un-synced in this file may be trusted again. */
  datasync(): Promise<void>
  truncate(length: number): Promise<void>
  size(): Promise<number>
  close(): Promise<void>
}
