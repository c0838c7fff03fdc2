// A buffer that grows, for output built piece by piece without a string per record.

export class ByteSink {
  #bytes: Buffer
  #length = 0

  constructor(capacity = 64 * 1024) {
    this.#bytes = Buffer.allocUnsafe(capacity)
  }

  get length(): number {
    return this.#length
  }

  bytes(source: Uint8Array): void {
    const { length } = source
    this.#reserve(length)
    this.#bytes.set(source, this.#length)
    this.#length += length
  }

  byte(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#length++] = value
  }

  text(source: string): void {
    this.#reserve(source.length * 3)
    this.#length += this.#bytes.write(source, this.#length)
  }

  /** What was written; valid until the next write after {@link clear}. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  clear(): void {
    this.#length = 0
  }

  #reserve(more: number): void {
    const needed = this.#length + more
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2))
    grown.set(this.view())
    this.#bytes = grown
  }
}
