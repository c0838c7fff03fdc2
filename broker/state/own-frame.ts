// Frames that this broker wrote itself: rows of the store, commands of the log. What they may hold was bounded when it was asked for; the limits
// of a client's frame are for strangers, and a row or an entry that cannot be read back stops every broker for good.

import { type Frame, unpackFrame } from '../../wire/frame.ts'

/** Array items and map pairs: more than the largest entry or row can hold. */
const ownElementsMax = 1 << 28

/** @throws BAD_FRAME when it is damaged */
export function unpackOwn(bytes: Uint8Array): Frame {
  return unpackFrame(bytes, { elementsMax: ownElementsMax })
}
