// The one binary search over things that lie in the order of their positions.

/** How many of the items lie at or before `position`: the index of the first one above it. */
export function upperBound<T>(
  items: readonly T[],
  position: number,
  positionOf: (item: T) => number,
): number {
  let low = 0
  let high = items.length
  while (low < high) {
    const mid = (low + high) >>> 1
    if (positionOf(items[mid] as T) <= position) low = mid + 1
    else high = mid
  }
  return low
}
