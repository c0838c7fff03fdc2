// Makes msgpack from its grammar, mostly valid, with every width of every type, and now and then a length that lies or a byte that is not
// allowed: inputs that get past the first check more often than mutated ones.

import type { FuzzRandom } from './random.ts'

const names = [
  'op', 'id', 'topic', 'topics', 'partition', 'partitions', 'batch', 'batches', 'records', 'key', 'value', 'headers', 'timestamp', 'from', 'to',
  'until', 'at', 'asOf', 'last', 'maxBytes', 'maxWaitMs', 'acks', 'expect', 'offset', 'offsets', 'producerId', 'producerEpoch', 'baseSequence',
  'sequence', 'group', 'member', 'memberId', 'groupInstanceId', 'generation', 'pattern', 'config', 'credit', 'bytes', 'sub', 'format', 'codecs',
  'protocol', 'client', 'auth', 'token', 'spec', 'force', 'before', 'name', 'node', 'ifNotExists', 'sessionTimeoutMs', 'assignor',
  '__proto__', 'constructor', 'prototype', 'toString', 'toJSON', 'then', 'length', 'valueOf', '', 'hasOwnProperty', 'error', 'code', 'message',
] as const // biome-ignore format: a list of words

const edgeNumbers = [
  0,
  1,
  31,
  32,
  127,
  128,
  255,
  256,
  65_535,
  65_536,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
] as const

const encoder = new TextEncoder()

/** One at a time: `begin`, values, `end`. */
export class MsgpackMaker {
  readonly random: FuzzRandom
  private bytes = new Uint8Array(1 << 16)
  private view = new DataView(this.bytes.buffer)
  private at = 0

  private readonly truths: number

  /** Of so many lengths one is wrong. */
  constructor(random: FuzzRandom, truths = 200) {
    this.random = random
    this.truths = truths
  }

  begin(): this {
    this.at = 0
    return this
  }

  /** What was written since `begin`; valid until the next one. */
  end(): Uint8Array {
    return this.bytes.subarray(0, this.at)
  }

  /** A map with so many pairs follows; now and then the header lies. */
  map(pairs: number): void {
    const said = this.lie(pairs)
    if (said < 16 && !this.random.oneIn(8)) this.u8(0x80 | said)
    else if (said < 65_536) this.number(0xde, said, 2)
    else this.number(0xdf, said, 4)
  }

  array(items: number): void {
    const said = this.lie(items)
    if (said < 16 && !this.random.oneIn(8)) this.u8(0x90 | said)
    else if (said < 65_536) this.number(0xdc, said, 2)
    else this.number(0xdd, said, 4)
  }

  text(text: string): void {
    this.raw(encoder.encode(text), true)
  }

  binary(bytes: Uint8Array): void {
    this.raw(bytes, false)
  }

  key(): void {
    this.text(this.random.pick(names))
  }

  uint(value: number): void {
    const { random } = this
    if (value < 128 && !random.oneIn(8)) this.u8(value)
    else if (value < 256 && random.oneIn(2)) this.number(0xcc, value, 1)
    else if (value < 65_536 && random.oneIn(2)) this.number(0xcd, value, 2)
    else if (value < 2 ** 32 && !random.oneIn(3)) this.number(0xce, value, 4)
    else if (random.oneIn(3)) this.float(value)
    else {
      this.number(random.oneIn(2) ? 0xcf : 0xd3, Math.floor(value / 2 ** 32), 4)
      this.u32(value)
    }
  }

  /** Any value, nested up to `depth` more levels. */
  value(depth: number): void {
    const { random } = this
    if (this.at > 60_000) return this.u8(0xc0)
    switch (random.below(depth > 0 ? 16 : 11)) {
      case 0:
        return this.u8(0xc0)
      case 1:
        return this.u8(0xc2 + random.below(2))
      case 2:
      case 3:
        return this.uint(random.oneIn(2) ? random.pick(edgeNumbers) : random.size(1000))
      case 4:
        return this.u8(0xe0 + random.below(32))
      case 5: {
        const width = random.below(4)
        this.u8(0xd0 + width)
        return this.noise(1 << width)
      }
      case 6:
        return this.float(random.pick([0, -0, 1.5, -1, NaN, Infinity, 2 ** 53, 1e300, 5e-324]))
      case 7:
        return this.key()
      case 8: {
        this.raw(this.some(random.size(random.oneIn(20) ? 3000 : 40)), true)
        return
      }
      case 9:
        return this.raw(this.some(random.size(random.oneIn(20) ? 3000 : 80)), false)
      case 10:
        return random.oneIn(10) ? this.forbidden() : this.u8(random.below(128))
      case 11:
      case 12:
      case 13:
        return this.pairs(random.size(random.oneIn(50) ? 400 : 6), depth - 1)
      default: {
        const items = random.size(random.oneIn(50) ? 400 : 6)
        this.array(items)
        for (let i = 0; i < items; i++) this.value(depth - 1)
      }
    }
  }

  pairs(count: number, depth: number): void {
    this.map(count)
    for (let i = 0; i < count; i++) {
      this.key()
      this.value(depth)
    }
  }

  u8(value: number): void {
    this.room(1)
    this.bytes[this.at++] = value
  }

  private u32(value: number): void {
    this.room(4)
    this.view.setUint32(this.at, value % 2 ** 32)
    this.at += 4
  }

  private float(value: number): void {
    this.u8(0xcb)
    this.room(8)
    this.view.setFloat64(this.at, value)
    this.at += 8
  }

  private lie(count: number): number {
    if (!this.random.oneIn(this.truths)) return count
    return this.random.oneIn(2) ? this.random.u32() : count + 1
  }

  private raw(bytes: Uint8Array, isText: boolean): void {
    const said = this.lie(bytes.length)
    if (isText && said < 32 && !this.random.oneIn(8)) this.u8(0xa0 | said)
    else if (said < 256 && !this.random.oneIn(8)) this.number(isText ? 0xd9 : 0xc4, said, 1)
    else if (said < 65_536 && !this.random.oneIn(8)) this.number(isText ? 0xda : 0xc5, said, 2)
    else this.number(isText ? 0xdb : 0xc6, said, 4)
    this.room(bytes.length)
    this.bytes.set(bytes, this.at)
    this.at += bytes.length
  }

  private number(token: number, value: number, size: 1 | 2 | 4): void {
    this.u8(token)
    this.room(4)
    if (size === 1) this.view.setUint8(this.at, value)
    else if (size === 2) this.view.setUint16(this.at, value)
    else this.view.setUint32(this.at, value)
    this.at += size
  }

  /** Types that the protocol does not have, and a byte that msgpack does not. */
  private forbidden(): void {
    const { random } = this
    this.u8(random.pick([0xc1, 0xc7, 0xc8, 0xc9, 0xca, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8]))
    this.u8(random.pick([0x72, 0x78, 0x70, 0x65, 0x69, 0xff, 0x00]))
    this.noise(random.below(17))
  }

  private noise(count: number): void {
    for (let i = 0; i < count; i++) this.u8(this.random.u32() & 255)
  }

  /** Text of any script, bytes that are none, overlong and cut-off UTF-8. */
  private some(length: number): Uint8Array {
    const { random } = this
    const bytes = new Uint8Array(length)
    const kind = random.below(3)
    for (let i = 0; i < length; i++)
      bytes[i] = kind === 0 ? 0x61 + (i % 26) : kind === 1 ? random.u32() : 0xb8 + random.below(72)
    return bytes
  }

  private room(bytes: number): void {
    if (this.at + bytes <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.at + bytes))
    grown.set(this.bytes.subarray(0, this.at))
    this.bytes = grown
    this.view = new DataView(grown.buffer)
  }
}
