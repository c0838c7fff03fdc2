// How long requests may keep the event loop at a stretch. A chunk of a socket holds a thousand small requests, and what each costs is the client's
// choice: without a bound one connection would hold up all others for a second at a time.
//
// A turn begins with the first message that comes in and ends when the event loop has come round. What is late in it waits for the next one.

/** All connections together. */
export const turnMsMax = 10

let endsAt: number | undefined

const begin = (): void => {
  endsAt = undefined
}

/** Whether this turn has had its time. */
export function isTurnOver(): boolean {
  const now = performance.now()
  if (endsAt !== undefined) return now >= endsAt
  endsAt = now + turnMsMax
  setImmediate(begin)
  return false
}
