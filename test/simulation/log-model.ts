// What must be true of a log, whoever looks: the invariants of docs/architecture.md section 9 that need no broker (1 to 5, 9, 10). Fed by
// everything that happens in a simulated world; throws at the first contradiction.

import type { Chain } from '../../loglets/chain.ts'

export class InvariantError extends Error {
  override readonly name = 'InvariantError'
}

interface Acked {
  readonly payload: string
  readonly segmentIndex: number
}

export class LogModel {
  /** States reached, for the report: a run that never meets them proves little. */
  readonly states = new Map<string, number>()
  acks = 0
  reads = 0
  private readonly acked = new Map<number, Acked>()
  private readonly values = new Map<number, string>()
  private readonly refused = new Set<string>()
  private readonly attempted = new Set<string>()
  private readonly ends = new Map<number, number>()
  private readonly versions = new Map<number, string>()
  private readonly forgotten: { from: number; to: number }[] = []
  private highestAck = -1
  private highestTail = 0
  private trimmed = 0

  reached(state: string): void {
    this.states.set(state, (this.states.get(state) ?? 0) + 1)
  }

  attempt(payload: string): number {
    this.attempted.add(payload)
    return this.highestAck
  }

  /** Invariants 2, 3, 4: `before` is the highest ack when the append was sent. */
  ack(payload: string, lsn: number, segmentIndex: number, before: number): void {
    this.acks++
    this.check(
      lsn > before,
      `${payload} acked at ${lsn}, but ${before} was acked before it was sent`,
    )
    this.check(!this.acked.has(lsn), `position ${lsn} acked twice`)
    const end = this.ends.get(segmentIndex)
    this.check(
      end === undefined || lsn < end,
      `acked at ${lsn} in segment ${segmentIndex}, which ends at ${end}`,
    )
    this.acked.set(lsn, { payload, segmentIndex })
    this.highestAck = Math.max(this.highestAck, lsn)
    this.value(lsn, payload)
  }

  /** Invariant 9. */
  refuse(payload: string): void {
    this.refused.add(payload)
  }

  /** Invariants 1, 2, 9: somebody read `payload` at `lsn`. */
  read(lsn: number, payload: string): void {
    this.reads++
    this.check(this.attempted.has(payload), `${payload} at ${lsn} was never appended`)
    this.check(!this.refused.has(payload), `${payload} at ${lsn} was refused`)
    this.value(lsn, payload)
  }

  /** Invariant 1: a gap that hides an acked entry must have a reason. */
  gap(kind: string, from: number, to: number): void {
    this.reached(`gap ${kind}`)
    if (kind === 'trimmed')
      this.check(
        to <= this.trimmed,
        `[${from}, ${to}) reads as trimmed, trimmed is ${this.trimmed}`,
      )
    if (kind === 'trimmed') return
    // Acked, or seen by any reader: both are promises (invariants 1 and 2).
    for (const [lsn, payload] of this.values)
      if (lsn >= from && lsn < to)
        this.check(this.isForgotten(lsn), `acked or read ${payload} at ${lsn} reads as ${kind}`)
  }

  /** A tail check that began when `before` was the highest ack and `tailBefore` the highest tail answered. */
  tail(tail: number, began: { readonly ack: number; readonly tail: number }): void {
    this.check(tail > began.ack, `tail ${tail} after an ack at ${began.ack}`)
    this.check(tail >= began.tail, `tail went back from ${began.tail} to ${tail}`)
    this.highestTail = Math.max(this.highestTail, tail)
  }

  beginTail(): { ack: number; tail: number } {
    return { ack: this.highestAck, tail: this.highestTail }
  }

  /** Invariant 5. */
  chain(chain: Chain): void {
    const text = JSON.stringify(chain.segments)
    const seen = this.versions.get(chain.version)
    this.check(seen === undefined || seen === text, `two chains with version ${chain.version}`)
    this.versions.set(chain.version, text)
    chain.segments.forEach((segment, i) => {
      const next = chain.segments[i + 1]
      this.check(
        (segment.end === undefined) === (next === undefined),
        `segment ${segment.index} is open but not the last`,
      )
      if (next !== undefined) {
        this.check(
          segment.end === next.start,
          `segment ${segment.index} ends at ${segment.end}, the next starts at ${next.start}`,
        )
        this.check(next.index > segment.index, `index ${next.index} after ${segment.index}`)
      }
      if (segment.end === undefined) return
      const end = this.ends.get(segment.index)
      this.check(
        end === undefined || end === segment.end,
        `end of segment ${segment.index} moved from ${end} to ${segment.end}`,
      )
      this.ends.set(segment.index, segment.end)
      // Invariant 4, from the other side: what was acked there must lie below the end.
      if (end === undefined)
        for (const [lsn, ack] of this.acked)
          this.check(
            ack.segmentIndex !== segment.index || lsn < (segment.end as number),
            `segment ${segment.index} ends at ${segment.end}, below the ack at ${lsn}`,
          )
    })
  }

  trim(before: number): void {
    this.trimmed = Math.max(this.trimmed, before)
  }

  /** A crash emptied a volatile range: what was acked there may be gone. */
  forget(from: number, to: number): void {
    this.forgotten.push({ from, to })
  }

  /** Invariant 1 at the end: everything acked below `tail` was read, unless trimmed or forgotten. */
  finish(readable: ReadonlyMap<number, string>, tail = Number.POSITIVE_INFINITY): void {
    for (const [lsn, { payload }] of this.acked)
      if (lsn >= this.trimmed && lsn < tail && !this.isForgotten(lsn))
        this.check(
          readable.get(lsn) === payload,
          `acked ${payload} at ${lsn} reads as ${readable.get(lsn)}`,
        )
  }

  private value(lsn: number, payload: string): void {
    const known = this.values.get(lsn)
    this.check(
      known === undefined || known === payload,
      `position ${lsn} holds ${payload} and ${known}`,
    )
    this.values.set(lsn, payload)
  }

  private isForgotten(lsn: number): boolean {
    return this.forgotten.some(f => f.from <= lsn && lsn < f.to)
  }

  private check(holds: boolean, message: string): void {
    if (!holds) throw new InvariantError(message)
  }
}
