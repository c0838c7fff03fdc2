// Chance for the fuzzers: sfc32, 32 bits at a time, no objects. A seed names a run; inputs that fail are kept as files all the same.

export class FuzzRandom {
  private a: number
  private b: number
  private c: number
  private counter = 1

  constructor(seed: number) {
    this.a = seed | 0
    this.b = Math.floor(seed / 2 ** 32) | 0
    this.c = 0x9e3779b9 | 0
    for (let i = 0; i < 12; i++) this.u32()
  }

  u32(): number {
    const t = (((this.a + this.b) | 0) + this.counter) | 0
    this.counter = (this.counter + 1) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (this.c << 21) | (this.c >>> 11)
    this.c = (this.c + t) | 0
    return t >>> 0
  }

  /** 0 to n − 1. */
  below(n: number): number {
    return n <= 1 ? 0 : this.u32() % n
  }

  /** True once in `n`. */
  oneIn(n: number): boolean {
    return this.below(n) === 0
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T
  }

  /** Small numbers mostly, large ones now and then. */
  size(max: number): number {
    const bits = this.below(Math.ceil(Math.log2(max + 1)) + 1)
    return Math.min(max, this.below(2 ** bits))
  }
}
