// Holds of snapshots under way: while one lasts, retention drops nothing and compaction rewrites nothing, on any broker (docs/adr/0007-snapshots.md).
//
// By log time, and part of the state: whether a hold lasted without a break is the same on all brokers, so a snapshot whose hold could still be renewed
// at its end has missed nothing.

/** Snapshots that may be taken at once. */
export const snapshotHoldsMax = 8

interface Hold {
  readonly begunAt: number
  until: number
}

export class Holds {
  private readonly holds = new Map<string, Hold>()

  /** Rows for the store. */
  rows(): readonly (readonly [string, number, number])[] {
    return [...this.holds].map(([id, { begunAt, until }]) => [id, begunAt, until])
  }

  load(rows: readonly (readonly [string, number, number])[]): void {
    for (const [id, begunAt, until] of rows) this.holds.set(id, { begunAt, until })
  }

  /** Whether any hold lasts at log time `time`. Changes nothing: those whose time is over go with the next change. */
  lasts(time: number): boolean {
    for (const { until } of this.holds.values()) if (until > time) return true
    return false
  }

  /** @returns until when it lasts, undefined when there are too many */
  begin(id: string, ms: number, time: number): number | undefined {
    this.expire(time)
    const known = this.holds.get(id)
    if (known === undefined && this.holds.size >= snapshotHoldsMax) return undefined
    const until = time + ms
    this.holds.set(id, { begunAt: known?.begunAt ?? time, until })
    return until
  }

  /** @returns until when it lasts, undefined when it is over */
  renew(id: string, ms: number, maxMs: number, time: number): number | undefined {
    this.expire(time)
    const hold = this.holds.get(id)
    if (hold === undefined) return undefined
    hold.until = Math.max(hold.until, Math.min(time + ms, hold.begunAt + maxMs))
    return hold.until
  }

  /** @returns whether it lasted until now */
  end(id: string, time: number): boolean {
    this.expire(time)
    return this.holds.delete(id)
  }

  private expire(time: number): void {
    for (const [id, { until }] of this.holds) if (until <= time) this.holds.delete(id)
  }
}
