// What a striped loglet stores in its stripes: one byte that says what it is, then the entry as it came.
//
//   data    | 1 | entry bytes ... |        filler  | 0 |
//
// Stripes refuse empty entries, so a filler needs a byte; the prefix makes nesting work (a filler of the outer is data of the inner).

import type { Entry } from '../contract.ts'

export const prefixBytes = 1

const data = Uint8Array.of(1)
const filler: Entry = [Uint8Array.of(0)]

/** The buffers are not copied. */
export const dataFrame = (entry: Entry): Entry => [data, ...entry]

export const fillerFrame = (): Entry => filler

/** `damaged`: no striped loglet wrote this. */
export function frameKind(frame: Uint8Array): 'data' | 'filler' | 'damaged' {
  if (frame[0] === 1 && frame.length > prefixBytes) return 'data'
  return frame[0] === 0 && frame.length === prefixBytes ? 'filler' : 'damaged'
}
