// Where a position of a striped loglet lives (DESIGN 4.4 "striped"). Pure arithmetic; the only place that knows it.
//
//   position    0  1  2  3  4  5  6 ...      of S = 3 stripes
//   stripe      0  1  2  0  1  2  0          position mod S
//   local       0  0  0  1  1  1  2          position div S

export const stripeOf = (at: number, stripes: number): number => at % stripes

export const localOf = (at: number, stripes: number): number => Math.floor(at / stripes)

export const globalOf = (stripe: number, local: number, stripes: number): number =>
  local * stripes + stripe

/** How many positions of `stripe` lie below `at`: its local trim point, tail or range end for the whole's. */
export const localBelow = (stripe: number, at: number, stripes: number): number =>
  Math.max(0, Math.ceil((at - stripe) / stripes))

/** First position that is not filled on every stripe: `min_i(tail_i * S + i)`. */
export function openTail(tails: readonly number[]): number {
  const stripes = tails.length
  let tail = Number.POSITIVE_INFINITY
  for (let i = 0; i < stripes; i++) {
    const at = (tails[i] as number) * stripes + i
    if (at < tail) tail = at
  }
  return tail
}

/** The stripe whose next position comes first. */
export function firstOpenStripe(next: readonly number[]): number {
  return openTail(next) % next.length
}
