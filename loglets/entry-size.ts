// The one look at an entry's size that every loglet takes before it takes the entry (contract.ts, `append`).

import { type Entry, entryBytesMax, LogletRefusedError } from './contract.ts'

/** Bytes of all buffers. */
export function bytesOf(entry: Entry): number {
  let bytes = 0
  for (const buffer of entry) bytes += buffer.length
  return bytes
}

/** Why no loglet takes an entry of that size; undefined when it may. */
export function refusalOfSize(bytes: number): LogletRefusedError | undefined {
  if (bytes === 0)
    return new LogletRefusedError('empty', 'an empty entry is the filler and cannot be appended')
  if (bytes <= entryBytesMax) return undefined
  return new LogletRefusedError(
    'too-large',
    `the entry has ${bytes} bytes, the limit is ${entryBytesMax} (entryBytesMax)`,
  )
}
