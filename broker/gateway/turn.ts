// How long requests may keep the event loop at a stretch. A chunk of a socket holds a thousand small requests, and what each costs is the client's
// choice: without a bound one connection would hold up all others for a second at a time.
//
// A turn begins with the first message that comes in and ends when the event loop has come round. What is late in it waits for the next one,
// but for the first message of each connection: it would be taken in any case, and nobody should wait for what others have waiting.
// Within a turn messages are taken in bursts: behind each of them the promises of its requests get on, so that their time is seen, too.

/** All connections together. */
export const turnMsMax = 5
/** Messages taken before their promises get on, all connections together. */
export const burstMessagesMax = 32

let endsAt: number | undefined
let messages = 0
let turn = 0

const begin = (): void => {
  turn++
  endsAt = undefined
  messages = 0
}

/** Whether this turn has had its time. */
export function isTurnOver(): boolean {
  const now = performance.now()
  if (endsAt !== undefined) return now >= endsAt
  endsAt = now + turnMsMax
  setImmediate(begin)
  return false
}

/** Counts a message that is about to be taken; true when it has to wait: for the next turn if this one is over, else for the next burst. */
export function mustWait(): boolean {
  return isTurnOver() || ++messages > burstMessagesMax
}

/** Number of this turn. */
export function turnNow(): number {
  return turn
}

/** Promises had their chance. */
export function beginBurst(): void {
  messages = 0
}
