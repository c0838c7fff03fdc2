// What a broker may still push to one subscription (protocol.md 6.4).
//
// Guarantees: whatever a server sends, what passes is bounded by the credit that it was given, one frame that overdraws it, and a fixed number of
// gaps, which cost nothing. Knows nothing of queues or connections: who asks decides what becomes of a server that sends more.

import { batchHeaderBytes, type Frame, LogloomError } from '../wire/index.ts'

/** Gaps that wait, beyond one for each batch that waits. */
export const gapsQueuedMax = 16_384
/** Bytes of a push besides its batches, and for each item: fields that this version does not know among them. */
const frameOverheadMax = 4096
const itemOverheadMax = 1024

/** What one push costs, and what it brings. */
export interface PushCost {
  /** Taken from the credit. */
  readonly bytes: number
  readonly batches: number
  readonly gaps: number
}

/**
 * The cost of a checked `deliver`, which came in a message of `messageBytes`.
 * @throws BAD_FRAME for a message that is larger than what it says
 */
export function costOf(frame: Frame, messageBytes: number): PushCost {
  const items = frame['items'] as readonly Frame[]
  let batches = 0
  for (const item of items) if (item['gap'] === undefined) batches++
  // No batch is smaller, whatever the push says.
  const bytes = Math.max(Number(frame['bytes']), batches * batchHeaderBytes)
  const most = bytes + frameOverheadMax + items.length * itemOverheadMax
  if (messageBytes > most)
    throw badPush(
      `a push of ${messageBytes} bytes that counts ${bytes} in ${items.length} items, at most ${most} are possible`,
      { limit: most, actual: messageBytes },
    )
  return { bytes, batches, gaps: items.length - batches }
}

export class CreditWindow {
  #credit: number

  constructor(credit: number) {
    this.#credit = credit
  }

  add(bytes: number): void {
    this.#credit += bytes
  }

  /** @throws BAD_FRAME when there is nothing left to send it on; the last push may overdraw */
  spend({ bytes }: PushCost, of: string): void {
    if (bytes > 0 && this.#credit <= 0)
      throw badPush(`${bytes} bytes of ${of} beyond the credit that it was given`, {
        limit: 0,
        actual: bytes,
      })
    this.#credit -= bytes
  }
}

/** @throws BAD_FRAME when more gaps wait than a log can have between so many batches */
export function checkGaps(gaps: number, batches: number, of: string): void {
  const limit = batches + gapsQueuedMax
  if (gaps <= limit) return
  throw badPush(`more gaps of ${of} than can be, ${gaps} (gapsQueuedMax)`, {
    limit,
    actual: gaps,
  })
}

export function badPush(what: string, details: Frame): LogloomError {
  return new LogloomError(
    'BAD_FRAME',
    `the broker sent ${what}`,
    { rule: 'credit', ...details },
    { hint: 'the server does not keep to the protocol; connect to another one' },
  )
}
