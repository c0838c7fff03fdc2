// Medians, quantiles and spreads: what all figures of the report are made of.

/** Of the same measure, taken several times. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
  /** How often it was measured. */
  readonly n: number
}

/** @throws RangeError of no values */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = sortedOf(values)
  const [min] = sorted
  const max = sorted.at(-1)
  if (min === undefined || max === undefined) throw new RangeError('the spread of no values')
  return { median: medianOf(sorted), min, max, n: sorted.length }
}

/** The middle value, or the mean of the two in the middle; NaN of none. */
export function medianOf(values: readonly number[]): number {
  const sorted = sortedOf(values)
  const half = sorted.length >> 1
  const upper = sorted[half] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2
}

/** The smallest value that at least a share `q` of them does not exceed (nearest rank); NaN of none. */
export function quantileOf(values: readonly number[], q: number): number {
  const sorted = sortedOf(values)
  const rank = Math.max(1, Math.ceil(q * sorted.length))
  return sorted[rank - 1] ?? Number.NaN
}

/**
 * The ratio of two sides that were measured in the same rounds: the median of each round's own ratio, so that what slowed a whole round down
 * slows neither side. @throws RangeError when the sides differ in length
 */
export function ratioOf(values: readonly number[], base: readonly number[]): Spread {
  if (values.length !== base.length)
    throw new RangeError(`${values.length} rounds beside ${base.length}`)
  return spreadOf(values.map((value, i) => value / (base[i] as number)))
}

export interface Bin {
  /** `[from, to)`, the last one `[from, to]`. */
  readonly from: number
  readonly to: number
  readonly count: number
}

/** `count` bins of equal width from the smallest value to the largest. */
export function histogramOf(values: readonly number[], count: number): readonly Bin[] {
  const { min, max } = spreadOf(values)
  const width = (max - min) / count || 1
  const counts = Array.from({ length: count }, () => 0)
  for (const value of values) {
    const at = Math.min(count - 1, Math.floor((value - min) / width))
    counts[at] = (counts[at] ?? 0) + 1
  }
  return counts.map((n, i) => ({ from: min + i * width, to: min + (i + 1) * width, count: n }))
}

function sortedOf(values: readonly number[]): readonly number[] {
  return [...values].sort((a, b) => a - b)
}
