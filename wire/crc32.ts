// CRC-32 (IEEE 802.3, as zlib's): the platform's own where it has one, and arithmetic on finished ones.
//
// A CRC is a remainder of polynomials over GF(2): that of A and B together is that of A times x^(8·length of B), plus that of B. So bytes whose CRC is
// known need not be looked at again when they become a part of something larger; `knownCrc` carries it from the check of a batch to the
// record of the log that holds it, which also covers what happens to the bytes in between.

import { crc32 } from '#platform'

export { crc32 }

/** x^32 + x^26 + … + 1, bit 31 the coefficient of x^0. */
const polynomial = 0xedb8_8320
const one = 0x8000_0000
/** x^8 */
const oneByte = 0x0080_0000
/** Lengths whose power is kept: those of batches repeat. */
const powersMax = 256
/** Where the arithmetic costs about what looking at the bytes does. */
const worthBytes = 2048

const powers = new Map<number, number>()
const known = new WeakMap<Uint8Array, number>()

/** CRC of two byte strings one after the other, from the CRC of each and the length of the second. */
export function combineCrc(first: number, second: number, secondBytes: number): number {
  return (times(powerOf(secondBytes), first) ^ second) >>> 0
}

/** Says what the CRC of these bytes is. They MUST NOT change afterwards. */
export function rememberCrc(bytes: Uint8Array, crc: number): void {
  if (bytes.length >= worthBytes) known.set(bytes, crc)
}

/** CRC of what came before, whose CRC is `seed`, and `bytes`, which are not read if theirs is remembered. */
export function crcThrough(bytes: Uint8Array, seed: number): number {
  const crc = bytes.length < worthBytes ? undefined : known.get(bytes)
  return crc === undefined ? crc32(bytes, seed) : combineCrc(seed, crc, bytes.length)
}

/** x^(8·bytes) */
function powerOf(bytes: number): number {
  const kept = powers.get(bytes)
  if (kept !== undefined) return kept
  let power = one
  let square = oneByte
  for (let rest = bytes; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) power = times(power, square)
    square = times(square, square)
  }
  if (powers.size >= powersMax) powers.clear()
  powers.set(bytes, power)
  return power
}

/** Product modulo the polynomial. */
function times(a: number, b: number): number {
  let product = 0
  let shifted = b
  for (let bit = 31; bit >= 0; bit--) {
    if (((a >>> bit) & 1) === 1) product ^= shifted
    shifted = (shifted & 1) === 1 ? (shifted >>> 1) ^ polynomial : shifted >>> 1
  }
  return product >>> 0
}
