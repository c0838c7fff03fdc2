// The sparse index of one segment file: where to begin looking for a position. One point per 64 KiB or 64 records, so that 1,000,000
// entries take at most some 16,000 points, and one read of 64 KiB behind a point meets any position.

/** Most bytes between a point and the records that it stands for, except that one record may be larger. */
export const pointBytes = 65_536
const pointRecords = 64

export interface Point {
  readonly position: number
  /** File offset of the record with that position. */
  readonly at: number
}

export class SparseIndex {
  /** Pairs of position and file offset, rising. */
  readonly points: number[]
  private since = pointRecords

  constructor(points: readonly number[] = []) {
    this.points = [...points]
  }

  add(position: number, at: number): void {
    const lastAt = this.points.at(-1)
    // A copy that strayed: positions rise.
    if (position <= (this.points.at(-2) ?? -1)) return
    this.since++
    if (lastAt !== undefined && this.since <= pointRecords && at - lastAt < pointBytes) return
    this.points.push(position, at)
    this.since = 1
  }

  /** The last point at or before the position; undefined when it lies before all of them. */
  before(position: number): Point | undefined {
    const { points } = this
    let low = 0
    let high = points.length / 2
    while (low < high) {
      const mid = (low + high) >>> 1
      if ((points[mid * 2] as number) <= position) low = mid + 1
      else high = mid
    }
    if (low === 0) return undefined
    return { position: points[low * 2 - 2] as number, at: points[low * 2 - 1] as number }
  }
}
