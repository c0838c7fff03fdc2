// What a load client says first, and what it does with an answer that turns it away.

import { packFrame, unpackFrame } from '../../wire/index.ts'

interface Refusal {
  readonly code: string
  readonly retryAfterMs?: number
}

/** When the broker does not say. */
const retryMs = 100

export const helloFrame = packFrame({ op: 'hello', id: 0, protocol: 1, client: 'bench' })

/**
 * True when the broker turned the request away for now: `again` is called with its index among the frames when the broker says, as the SDK
 * would do it. @throws on any other error
 */
export function isTurnedAway(reply: Uint8Array, again: (index: number) => void): boolean {
  // Replies without an error are far shorter than any error.
  if (reply.length < 80) return false
  const { id, error } = unpackFrame(reply) as { id: number; error?: Refusal }
  if (error === undefined) return false
  if (error.code !== 'THROTTLED') throw new Error(JSON.stringify(error))
  setTimeout(() => again(id - 1), error.retryAfterMs ?? retryMs)
  return true
}
