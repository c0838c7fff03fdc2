// Changes bytes as damage and attackers do: flipped bits, lengths that lie, pieces moved, doubled, cut off, taken from elsewhere. Works in one
// buffer of its own; what it returns is valid until the next call.

import type { FuzzRandom } from './random.ts'

/** Values that lengths, counts and offsets are compared with. */
const magic32 = [
  0, 1, 2, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0xf_ffff,
  0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff,
] as const
const magic8 = [
  0, 1, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4, 0xc6, 0xc7, 0xc9, 0xca, 0xcb,
  0xcf, 0xd3, 0xd4, 0xd8, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xff,
] as const

export class Mutator {
  private readonly random: FuzzRandom
  private readonly buffer: Uint8Array<ArrayBuffer>
  private readonly view: DataView
  private length = 0

  constructor(random: FuzzRandom, bytesMax: number) {
    this.random = random
    this.buffer = new Uint8Array(bytesMax)
    this.view = new DataView(this.buffer.buffer)
  }

  /** A changed copy; `other` is where foreign pieces come from. */
  mutate(source: Uint8Array, other: Uint8Array): Uint8Array<ArrayBuffer> {
    this.length = Math.min(source.length, this.buffer.length)
    this.buffer.set(source.length > this.length ? source.subarray(0, this.length) : source)
    const changes = 1 + this.random.below(this.random.oneIn(4) ? 12 : 3)
    for (let i = 0; i < changes; i++) this.change(other)
    return this.buffer.subarray(0, this.length)
  }

  private change(other: Uint8Array): void {
    const { random, buffer, length } = this
    const at = random.below(length)
    if (length === 0) {
      this.insert(0, other, random.below(other.length + 1))
      return
    }
    switch (random.below(12)) {
      case 0:
      case 1:
        buffer[at] = (buffer[at] as number) ^ (1 << random.below(8))
        break
      case 2:
        buffer[at] = random.u32()
        break
      case 3:
        buffer[at] = random.pick(magic8)
        break
      case 4:
        this.number(at)
        break
      case 5:
        buffer[at] = (buffer[at] as number) + (random.oneIn(2) ? 1 : 255)
        break
      case 6:
        this.length = random.oneIn(2) ? at : length - 1 - random.below(Math.min(length, 8))
        break
      case 7:
        this.remove(at, 1 + random.size(length - at))
        break
      case 8:
        this.insert(at, buffer.slice(at, at + 1 + random.size(length - at)), Infinity)
        break
      case 9: {
        const from = random.below(other.length)
        this.insert(at, other.subarray(from), 1 + random.size(other.length - from))
        break
      }
      case 10: {
        const from = random.below(other.length)
        const piece = other.subarray(from, from + 1 + random.size(length - at))
        buffer.set(piece.subarray(0, length - at), at)
        break
      }
      default: {
        const until = at + 1 + random.size(length - at)
        buffer.fill(random.oneIn(2) ? 0 : random.u32(), at, Math.min(until, length))
      }
    }
  }

  private number(at: number): void {
    const { random, view, length } = this
    const left = length - at
    const value = random.oneIn(3) ? length - random.below(72) : random.pick(magic32)
    if (left >= 8 && random.oneIn(4)) {
      view.setUint32(at, random.oneIn(2) ? 0 : random.pick(magic32))
      view.setUint32(at + 4, value)
    } else if (left >= 4 && random.oneIn(2)) view.setUint32(at, value)
    else if (left >= 2) view.setUint16(at, value)
    else view.setUint8(at, value)
  }

  private remove(at: number, count: number): void {
    const end = Math.min(this.length, at + count)
    this.buffer.copyWithin(at, end, this.length)
    this.length -= end - at
  }

  private insert(at: number, piece: Uint8Array, count: number): void {
    const size = Math.min(piece.length, count, this.buffer.length - this.length)
    this.buffer.copyWithin(at + size, at, this.length)
    this.buffer.set(piece.subarray(0, size), at)
    this.length += size
  }
}
