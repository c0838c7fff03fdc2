// Looking through large batches takes turns: a body of many records is walked a little at a time, and between two turns of it the event loop gets
// round, however many bodies are being walked at once.
//
// A turn begins with the first piece that is walked and ends with the event loop's round. Whoever finds its time spent waits in line: one a round
// gets a piece at least, whatever others have begun in it, and the rest of the turn if there is any.

import { nextRound } from '#platform'

/** All walks together. */
export const scanTurnMsMax = 2
/** Walked before the clock is looked at: half a millisecond of the smallest records. */
export const scanPieceBytes = 8 << 10

let endsAt: number | undefined
let line: Promise<void> = Promise.resolve()

/** Calls `walk` with the pieces of `bytes`, one after the other, when it is their turn. */
export async function walkInTurns(
  bytes: Uint8Array,
  walk: (piece: Uint8Array) => void,
): Promise<void> {
  for (let at = 0; at < bytes.length; at += scanPieceBytes) {
    if (isTurnOver()) await (line = line.then(nextRound))
    walk(bytes.subarray(at, at + scanPieceBytes))
  }
}

function isTurnOver(): boolean {
  const now = performance.now()
  if (endsAt !== undefined) return now >= endsAt
  endsAt = now + scanTurnMsMax
  void nextRound().then(() => {
    endsAt = undefined
  })
  return false
}
