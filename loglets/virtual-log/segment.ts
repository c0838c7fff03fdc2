// One segment and the loglet that serves it. The only file that converts between LSNs and positions:
//
//   lsn        start ............ end
//   position   0 ................ end - start        lsn = start + position
//
// What the loglet holds past the chain's `end` are zombies; no answer from here reaches past it.

import type { Hole, Segment } from '../chain.ts'
import {
  type Entry,
  type GapKind,
  type Loglet,
  type LogItem,
  type Lsn,
  lsn,
  type Position,
  position,
  type SliceResult,
} from '../contract.ts'

/** An entry or a gap, in LSN space. */
export type LsnItem =
  | { readonly kind: 'entry'; readonly lsn: Lsn; readonly bytes: Uint8Array }
  | { readonly kind: 'gap'; readonly gap: GapKind; readonly from: Lsn; readonly to: Lsn }

/** A piece of one entry: `length` bytes from byte `start` of the entry at `lsn`. */
export interface LsnSlice {
  readonly lsn: Lsn
  readonly start: number
  readonly length: number
}

export interface LsnTail {
  readonly tail: Lsn
  readonly sealed: boolean
}

/** The loglet of one segment; `loglet` is undefined when its store is lost. */
export class SegmentReader {
  readonly id: string
  readonly loglet: Loglet | undefined
  /** As the chain says now; replaced when the chain changes. */
  segment: Segment

  constructor(segment: Segment, loglet: Loglet | undefined) {
    this.id = segment.id
    this.segment = segment
    this.loglet = loglet
  }

  toLsn(at: Position): Lsn {
    return lsn(this.segment.start + at)
  }

  /** Clamped to the segment. */
  toPosition(at: Lsn): Position {
    return position(Math.max(0, Math.min(at, this.segment.end ?? at) - this.segment.start))
  }

  async append(loglet: Loglet, entry: Entry): Promise<Lsn> {
    return this.toLsn(await loglet.append(entry))
  }

  async checkTail(loglet: Loglet, signal?: AbortSignal): Promise<LsnTail> {
    const { tail, sealed } = await loglet.checkTail(signal)
    return { tail: this.toLsn(tail), sealed }
  }

  /** `beyond` is not below the segment's start: what lies there is committed anyway. */
  async waitTail(loglet: Loglet, beyond: Lsn, signal?: AbortSignal): Promise<LsnTail> {
    const local = position(Math.max(0, beyond - this.segment.start))
    const { tail, sealed } = await loglet.waitTail(local, signal)
    return { tail: this.toLsn(tail), sealed }
  }

  /** Items of `[from, min(to, end))`; `from` lies in the segment. */
  async readNext(
    from: Lsn,
    to: Lsn,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<readonly LsnItem[]> {
    const { loglet, segment } = this
    const limit = lsn(Math.min(to, segment.end ?? to))
    if (limit <= from) return []
    if (loglet === undefined) return [{ kind: 'gap', gap: 'lost', from, to: limit }]
    const items = await loglet.readNext(
      this.toPosition(from),
      this.toPosition(limit),
      maxBytes,
      signal,
    )
    const converted = items.map(item => this.convert(item))
    return segment.holes === undefined ? converted : punch(converted, segment.holes)
  }

  async readSlices(
    slices: readonly LsnSlice[],
    signal?: AbortSignal,
  ): Promise<readonly SliceResult[]> {
    const { loglet, segment } = this
    if (loglet === undefined)
      return slices.map(() => ({ gap: 'lost', detail: `segment ${segment.index} is lost` }))
    const results = await loglet.readSlices(
      slices
        .filter(s => holeAt(segment.holes, s.lsn) === undefined)
        .map(s => ({ position: this.toPosition(s.lsn), start: s.start, length: s.length })),
      signal,
    )
    if (segment.holes === undefined) return results
    let next = 0
    return slices.map(s => {
      const hole = holeAt(segment.holes, s.lsn)
      return hole === undefined ? (results[next++] as SliceResult) : { gap: hole.gap }
    })
  }

  private convert(item: LogItem): LsnItem {
    if (item.kind === 'entry')
      return { kind: 'entry', lsn: this.toLsn(item.position), bytes: item.bytes }
    const { gap, from, to } = item
    return { kind: 'gap', gap, from: this.toLsn(from), to: this.toLsn(to) }
  }
}

function holeAt(holes: readonly Hole[] | undefined, at: Lsn): Hole | undefined {
  return holes?.find(hole => hole.from <= at && at < hole.to)
}

/** Turns the placeholder entries of a copied segment back into gaps. */
function punch(items: readonly LsnItem[], holes: readonly Hole[]): readonly LsnItem[] {
  const punched: LsnItem[] = []
  for (const item of items) {
    const hole = item.kind === 'entry' ? holeAt(holes, item.lsn) : undefined
    if (item.kind === 'gap' || hole === undefined) {
      punched.push(item)
      continue
    }
    const before = punched.at(-1)
    const to = lsn(item.lsn + 1)
    if (before?.kind === 'gap' && before.gap === hole.gap && before.to === item.lsn)
      punched[punched.length - 1] = { ...before, to }
    else punched.push({ kind: 'gap', gap: hole.gap, from: item.lsn, to })
  }
  return punched
}
