// The `memory` loglet: fast, bounded, and forgetful (DESIGN 4.4). A restart of the process loses it; the chain then reports its range as
// `lost`. Its provider owns the stores, so that several handles in one process see one loglet.

import {
  type Entry,
  type Loglet,
  LogletClosedError,
  LogletLostError,
  LogletRefusedError,
  LogletSealedError,
  type LogItem,
  type Position,
  position,
  type Slice,
  type SliceResult,
  type TailState,
} from '../contract.ts'
import { bytesOf, refusalOfSize } from '../entry-size.ts'
import { TailWatch } from '../tail-watch.ts'

/** Bytes that all loglets of one provider may hold together. */
export interface Budget {
  readonly bytesMax: number
  used: number
}

/** What an entry costs besides its bytes: the array, its slot, its header. */
const entryOverheadBytes = 128

/** The content of one memory loglet, shared by its handles. */
export class MemoryStore {
  readonly budget: Budget
  readonly watches = new Set<TailWatch>()
  /** `entries[p - trim]` is the entry at position p. */
  entries: Uint8Array[] = []
  trim = 0
  sealed = false
  /** Removed by the provider: what is left in open handles is lost. */
  removed = false

  constructor(budget: Budget) {
    this.budget = budget
  }

  get tail(): number {
    return this.trim + this.entries.length
  }

  push(bytes: Uint8Array): number {
    const at = this.tail
    this.entries.push(bytes)
    this.budget.used += costOf(bytes)
    this.announce()
    return at
  }

  trimTo(before: number): void {
    const count = Math.min(before, this.tail) - this.trim
    if (count <= 0) return
    for (const bytes of this.entries.slice(0, count)) this.budget.used -= costOf(bytes)
    this.entries = this.entries.slice(count)
    this.trim += count
  }

  announce(): void {
    for (const watch of this.watches) watch.merge(this.tail, this.sealed)
  }

  drop(): void {
    this.removed = true
    this.sealed = true
    for (const bytes of this.entries) this.budget.used -= costOf(bytes)
    this.entries = []
  }
}

/** One handle. */
export class MemoryLoglet implements Loglet {
  readonly kind = 'memory'
  private readonly store: MemoryStore
  private readonly watch: TailWatch
  private closed = false

  constructor(store: MemoryStore) {
    this.store = store
    this.watch = new TailWatch(store.tail, store.sealed)
    store.watches.add(this.watch)
  }

  append(entry: Entry): Promise<Position> {
    const { store } = this
    if (this.closed) return Promise.reject(closedError('refused'))
    if (store.sealed)
      return Promise.reject(new LogletSealedError('this memory loglet is sealed', 'refused'))
    const length = bytesOf(entry)
    const refusal = this.refuse(length)
    if (refusal !== undefined) return Promise.reject(refusal)
    return Promise.resolve(position(store.push(join(entry, length))))
  }

  checkTail(signal?: AbortSignal): Promise<TailState> {
    return this.run(signal, () => ({ tail: position(this.store.tail), sealed: this.store.sealed }))
  }

  readNext(
    from: Position,
    to: Position,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<readonly LogItem[]> {
    return this.run(signal, () => {
      const { entries, trim, tail } = this.store
      if (from < 0 || to > tail)
        throw new RangeError(`positions ${from} to ${to} are not all below the tail ${tail}`)
      const items: LogItem[] = []
      let at: number = from
      if (at < trim && at < to) {
        const end = Math.min(to, trim)
        items.push({ kind: 'gap', gap: 'trimmed', from, to: position(end) })
        at = end
      }
      for (let bytes = 0; at < to; at++) {
        const stored = entries[at - trim] as Uint8Array
        if (items.length > 0 && bytes + stored.length > maxBytes) break
        bytes += stored.length
        items.push({ kind: 'entry', position: position(at), bytes: stored.slice() })
      }
      return items
    })
  }

  readSlices(slices: readonly Slice[], signal?: AbortSignal): Promise<readonly SliceResult[]> {
    return this.run(signal, () => slices.map(slice => this.slice(slice)))
  }

  waitTail(beyond: Position, signal?: AbortSignal): Promise<TailState> {
    return this.watch.wait(beyond, signal)
  }

  prefixTrim(before: Position): Promise<Position> {
    return this.run(undefined, () => {
      this.store.trimTo(before)
      return position(this.store.trim)
    })
  }

  seal(): Promise<void> {
    return this.run(undefined, () => {
      this.store.sealed = true
      this.store.announce()
    })
  }

  close(): Promise<void> {
    this.closed = true
    this.store.watches.delete(this.watch)
    this.watch.end(closedError('unknown'))
    return Promise.resolve()
  }

  private refuse(length: number): LogletRefusedError | undefined {
    const refusal = refusalOfSize(length)
    if (refusal !== undefined) return refusal
    const { used, bytesMax } = this.store.budget
    if (used + length + entryOverheadBytes > bytesMax)
      return new LogletRefusedError(
        'no-space',
        `memory loglets hold ${used} of ${bytesMax} bytes, ${length} more do not fit: trim the log or switch to striped:2:file`,
      )
    return undefined
  }

  private slice({ position: at, start, length }: Slice): SliceResult {
    const { entries, trim, tail } = this.store
    if (at < trim) return { gap: 'trimmed' }
    const stored = entries[at - trim]
    if (stored === undefined) throw new RangeError(`position ${at} is not below the tail ${tail}`)
    if (start < 0 || length < 0 || start + length > stored.length)
      throw new RangeError(
        `bytes ${start} to ${start + length} lie outside entry ${at}, which has ${stored.length}`,
      )
    return stored.slice(start, start + length)
  }

  private run<T>(signal: AbortSignal | undefined, fn: () => T): Promise<T> {
    if (this.closed) return Promise.reject(closedError('unknown'))
    if (this.store.removed)
      return Promise.reject(new LogletLostError('this memory loglet was removed', 'unknown'))
    if (signal?.aborted) return Promise.reject(signal.reason as Error)
    try {
      return Promise.resolve(fn())
    } catch (error) {
      return Promise.reject(error)
    }
  }
}

function closedError(outcome: 'refused' | 'unknown'): LogletClosedError {
  return new LogletClosedError('this memory loglet is closed', outcome)
}

function costOf(bytes: Uint8Array): number {
  return bytes.length + entryOverheadBytes
}

/** The caller may change its buffers once the append settled, so the content is copied. */
function join(entry: Entry, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let at = 0
  for (const buffer of entry) {
    bytes.set(buffer, at)
    at += buffer.length
  }
  return bytes
}
