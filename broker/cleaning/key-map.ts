// The newest offset of each key, in bounded memory: an open hash table of 24 bytes per key (Kafka's SkimpyOffsetMap). Keys are known by 16 bytes of
// their SHA-256, so that nobody can make two keys collide.

import { createHash } from 'node:crypto'

const slotBytes = 24
/** Fuller tables probe too long. */
const fillMax = 0.75

/** What a map for so many keys takes. */
export function bytesForKeys(keys: number): number {
  return Math.ceil(keys / fillMax + 1) * slotBytes
}

export class KeyMap {
  private readonly hashes: BigUint64Array
  private readonly offsets: Float64Array
  private readonly slots: number
  private used = 0

  constructor(bytesMax: number) {
    this.slots = Math.max(16, Math.floor(bytesMax / slotBytes))
    this.hashes = new BigUint64Array(this.slots * 2)
    // Offset + 1; 0 is a free slot.
    this.offsets = new Float64Array(this.slots)
  }

  get size(): number {
    return this.used
  }

  /** Whether so many more keys have room, were they all new. */
  fits(keys: number): boolean {
    return this.used + keys <= this.slots * fillMax
  }

  /** Offsets of one key come in rising order. The caller has asked `fits`. */
  set(key: Uint8Array, offset: number): void {
    const slot = this.slotOf(key)
    if (this.offsets[slot] === 0) this.used++
    this.offsets[slot] = offset + 1
  }

  get(key: Uint8Array): number | undefined {
    const found = this.offsets[this.slotOf(key)] as number
    return found === 0 ? undefined : found - 1
  }

  clear(): void {
    this.offsets.fill(0)
    this.used = 0
  }

  /** The key's slot, or the free one where it belongs; its hash is written there. */
  private slotOf(key: Uint8Array): number {
    const digest = createHash('sha256').update(key).digest()
    const a = digest.readBigUInt64LE(0)
    const b = digest.readBigUInt64LE(8)
    let slot = digest.readUInt32LE(16) % this.slots
    while (this.offsets[slot] !== 0) {
      if (this.hashes[slot * 2] === a && this.hashes[slot * 2 + 1] === b) return slot
      slot = slot + 1 === this.slots ? 0 : slot + 1
    }
    this.hashes[slot * 2] = a
    this.hashes[slot * 2 + 1] = b
    return slot
  }
}
