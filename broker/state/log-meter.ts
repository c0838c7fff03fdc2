// How many bytes of entries lie below each position of the log, about: a mark now and then, finer the smaller the log is. Cleaning compares the
// bytes of the log with those that live. No part of the state's hash, and no apply depends on it.
//
//   marks   lsn 0 ------- lsn 812 ------- lsn 1650 ---      total
//           0 bytes       65 KiB          131 KiB           bytes of all entries ever applied

import { upperBound } from '../../loglets/upper-bound.ts'
import { getU64, setU64 } from '../../wire/u64.ts'
import { markKey, prefixRange } from './keys.ts'
import type { StateStore, StoreOp } from './store.ts'

interface Mark {
  readonly lsn: number
  /** Bytes of all entries below. */
  readonly below: number
}

const markBytesMin = 64 << 10
/** Marks lie closer together than this share of the log. */
const marksPerLog = 4096

export class LogMeter {
  /** Bytes of all entries ever applied. */
  total = 0
  private readonly store: StateStore
  private marks: Mark[] = []
  private unsaved: Mark[] = []
  private deletions: StoreOp[] = []

  constructor(store: StateStore) {
    this.store = store
  }

  /** `total` as it was stored; undefined for a state of before there was a meter, where `live` bytes are known to lie below `applied`. */
  load(total: number | undefined, live: number): void {
    this.total = total ?? live
    if (total === undefined && live > 0) {
      this.marks = [{ lsn: 0, below: 0 }]
      this.unsaved = [...this.marks]
    }
    for (const [key, value] of this.store.range(prefixRange(11)))
      this.marks.push({
        lsn: getU64(new DataView(key.buffer, key.byteOffset), 1),
        below: getU64(new DataView(value.buffer, value.byteOffset), 0),
      })
  }

  /** The entry at `lsn` has so many bytes. Positions come in rising order. */
  add(lsn: number, bytes: number): void {
    const last = this.marks.at(-1)
    const inLog = this.total - (this.marks[0]?.below ?? 0)
    const step = Math.max(markBytesMin, inLog / marksPerLog)
    if (last === undefined || this.total - last.below >= step) {
      const mark = { lsn, below: this.total }
      this.marks.push(mark)
      this.unsaved.push(mark)
    }
    this.total += bytes
  }

  /** Bytes of the entries below `lsn`; too few by a mark's distance at most. */
  below(lsn: number): number {
    return this.marks[Math.max(0, this.lastMark(lsn))]?.below ?? 0
  }

  /** Forgets the marks that only tell of what lies below `before`. */
  prune(before: number): void {
    const kept = this.lastMark(before)
    if (kept <= 0) return
    const { lsn } = this.marks[kept] as Mark
    this.marks = this.marks.slice(kept)
    this.unsaved = this.unsaved.filter(mark => mark.lsn >= lsn)
    this.deletions.push({ type: 'deleteRange', low: markKey(0), high: markKey(lsn - 1) })
  }

  takeChanges(ops: StoreOp[]): void {
    ops.push(...this.deletions)
    this.deletions = []
    for (const { lsn, below } of this.unsaved) {
      const value = new Uint8Array(8)
      setU64(new DataView(value.buffer), 0, below)
      ops.push({ type: 'put', key: markKey(lsn), value })
    }
    this.unsaved = []
  }

  /** Index of the last mark at or before the position; -1 when there is none. */
  private lastMark(lsn: number): number {
    return upperBound(this.marks, lsn, mark => mark.lsn) - 1
  }
}
