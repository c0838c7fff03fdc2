// The store's twin in memory: for brokers without a data directory, tests and simulation. Same contract, except that it forgets.

import {
  rangesFirst,
  type StateStore,
  type StoreOp,
  type StorePair,
  type StoreRange,
} from './store.ts'

export class MemoryStore implements StateStore {
  private readonly values = new Map<string, StorePair>()
  /** Sorted keys; rebuilt lazily after inserts, so bulk commits stay cheap. */
  private keys: string[] = []
  private stale = false

  get(key: Uint8Array): Uint8Array | undefined {
    return this.values.get(text(key))?.[1]
  }

  range(range: StoreRange): readonly StorePair[] {
    const { reverse = false, limit = Number.POSITIVE_INFINITY } = range
    this.sort()
    const low = this.lowerBound(text(range.low))
    const high = this.upperBound(text(range.high))
    const pairs: StorePair[] = []
    for (let i = reverse ? high - 1 : low; reverse ? i >= low : i < high; i += reverse ? -1 : 1) {
      if (pairs.length >= limit) break
      pairs.push(this.values.get(this.keys[i] as string) as StorePair)
    }
    return pairs
  }

  async commit(ops: readonly StoreOp[]): Promise<void> {
    for (const op of rangesFirst(ops)) {
      if (op.type === 'put') {
        const key = text(op.key)
        if (!this.values.has(key)) this.insert(key)
        this.values.set(key, [op.key, op.value])
      } else if (op.type === 'delete') this.remove(text(op.key))
      else this.removeRange(text(op.low), text(op.high))
    }
  }

  async clear(): Promise<void> {
    this.values.clear()
    this.keys = []
    this.stale = false
  }

  async close(): Promise<void> {}

  private insert(key: string): void {
    const last = this.keys.at(-1)
    if (last !== undefined && key < last) this.stale = true
    this.keys.push(key)
  }

  private remove(key: string): void {
    if (!this.values.delete(key)) return
    this.sort()
    this.keys.splice(this.lowerBound(key), 1)
  }

  private removeRange(low: string, high: string): void {
    this.sort()
    const from = this.lowerBound(low)
    for (const key of this.keys.splice(from, this.upperBound(high) - from)) this.values.delete(key)
  }

  private sort(): void {
    if (this.stale) this.keys.sort((a, b) => (a < b ? -1 : 1))
    this.stale = false
  }

  private lowerBound(key: string): number {
    let low = 0
    let high = this.keys.length
    while (low < high) {
      const mid = (low + high) >>> 1
      if ((this.keys[mid] as string) < key) low = mid + 1
      else high = mid
    }
    return low
  }

  private upperBound(key: string): number {
    const at = this.lowerBound(key)
    return this.keys[at] === key ? at + 1 : at
  }
}

/** One character per byte keeps the bytewise order. */
function text(key: Uint8Array): string {
  return String.fromCharCode(...key)
}
