// Reads `-o`: where consuming starts, per partition.
//
//   beginning | end | N (an offset) | -N (the last N) | @2026-01-31T08:00:00Z or @MILLISECONDS (the first record at or after)

import { InvalidArgumentError } from 'commander'

export type StartOffset =
  | 'beginning'
  | 'end'
  | number
  | { readonly last: number }
  | { readonly timestamp: number }

/** @throws InvalidArgumentError when the text has none of the forms */
export function parseStartOffset(text: string): StartOffset {
  if (text === 'beginning' || text === 'end') return text
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text)
  if (/^-\d+$/.test(text) && Number.isSafeInteger(Number(text)))
    return { last: Math.abs(Number(text)) }
  if (text.startsWith('@')) {
    const time = text.slice(1)
    const timestamp = /^\d+$/.test(time) ? Number(time) : Date.parse(time)
    if (Number.isSafeInteger(timestamp) && timestamp >= 0) return { timestamp }
  }
  throw new InvalidArgumentError(
    'It must be beginning, end, an offset N, -N for the last N, or @ with an ISO time or milliseconds.',
  )
}
