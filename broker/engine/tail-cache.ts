// The newest entries of the log, as the buffers in which they were appended: what followers read without touching the disk.
//
// Bounded in bytes; the oldest entry goes first. Buffers are shared with the append path and never copied.

interface CachedEntry {
  readonly buffers: readonly Uint8Array[]
  readonly bytes: number
}

export class TailCache {
  private readonly entries = new Map<number, CachedEntry>()
  private readonly bytesMax: number
  private used = 0

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get bytes(): number {
    return this.used
  }

  put(lsn: number, buffers: readonly Uint8Array[], bytes: number): void {
    if (bytes > this.bytesMax || this.entries.has(lsn)) return
    this.entries.set(lsn, { buffers, bytes })
    this.used += bytes
    for (const [oldest, entry] of this.entries) {
      if (this.used <= this.bytesMax) return
      this.entries.delete(oldest)
      this.used -= entry.bytes
    }
  }

  /** A view of `length` bytes from byte `start` of the entry, if it is cached and the range lies in one of its buffers. */
  slice(lsn: number, start: number, length: number): Uint8Array | undefined {
    const entry = this.entries.get(lsn)
    if (entry === undefined) return undefined
    let at = start
    for (const buffer of entry.buffers) {
      if (at < buffer.length)
        return at + length <= buffer.length ? buffer.subarray(at, at + length) : undefined
      at -= buffer.length
    }
    return undefined
  }
}
