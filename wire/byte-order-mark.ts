// Text that begins with U+FEFF, for a decoder that takes it for a byte order mark and leaves it out.
//
// msgpackr decodes text of more than 64 bytes with a TextDecoder of its own, which drops a leading EF BB BF: what was sent is not what arrives. The
// guard notices such texts. For them, and only for them, the frame is decoded from a copy in which another character of three bytes, one that
// occurs nowhere in it, stands in the mark's place, and is put back afterwards.

import { LogloomError } from './errors.ts'
import type { Frame } from './frame.ts'

/** Shorter text is not decoded by a TextDecoder. */
export const markedTextBytesMin = 65
const mark = '\uFEFF'
/** Private use: U+E000 to U+E000 + candidates - 1, in UTF-8 EE 80 80 and following. */
const firstCandidate = 0xe000
const candidates = 4096

/** True when text of `bytes` at `at` begins with the mark. */
export function isMarked(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0xef && bytes[at + 1] === 0xbb && bytes[at + 2] === 0xbf
}

/** Decodes a frame whose texts at `places` begin with the mark. @throws BAD_FRAME when it has every character that could stand in */
export function decodeMarked(
  bytes: Uint8Array,
  places: readonly number[],
  decode: (bytes: Uint8Array) => Frame,
): Frame {
  const character = unusedCharacter(bytes)
  // A Buffer's own `slice` is a view.
  const copy = Uint8Array.prototype.slice.call(bytes)
  const stand = new TextEncoder().encode(character)
  for (const place of places) copy.set(stand, place)
  return restore(decode(copy), character) as Frame
}

function unusedCharacter(bytes: Uint8Array): string {
  const used = new Uint8Array(candidates)
  for (let at = 0; at + 2 < bytes.length; at++)
    if (bytes[at] === 0xee)
      used[(((bytes[at + 1] as number) & 0x3f) << 6) | ((bytes[at + 2] as number) & 0x3f)] = 1
  const free = used.indexOf(0)
  if (free >= 0) return String.fromCharCode(firstCandidate + free)
  throw new LogloomError('BAD_FRAME', 'text that begins with U+FEFF, and all of U+E000 to U+EFFF', {
    rule: 'text',
  })
}

function restore(value: unknown, character: string): unknown {
  if (typeof value === 'string') return value.startsWith(character) ? mark + value.slice(1) : value
  if (value === null || typeof value !== 'object' || value instanceof Uint8Array) return value
  if (Array.isArray(value)) return value.map(item => restore(item, character))
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      restore(key, character) as string,
      restore(item, character),
    ]),
  )
}
