// The rolling hash over the state's logical changes (DESIGN 5.2): two brokers that applied the same prefix hold the same value, and
// so does a state rebuilt from a checkpoint and the log. It detects divergence; it is no cryptographic commitment.

/** Changes whenever the meaning of what is mixed in changes; hashes of different versions are not comparable. */
export const stateVersion = 1

export class StateHash {
  private a = 0x9e3779b9
  private b = 0x85ebca6b

  /** Mixes a safe integer in. */
  number(value: number): void {
    this.word(value >>> 0)
    this.word(Math.floor(value / 2 ** 32) >>> 0)
  }

  string(value: string): void {
    this.word(value.length)
    for (let i = 0; i < value.length; i++) this.word(value.charCodeAt(i))
  }

  /** 16 hexadecimal digits. */
  digest(): string {
    return hex(this.a) + hex(this.b)
  }

  /** Continues from a digest. */
  restore(digest: string): void {
    this.a = Number.parseInt(digest.slice(0, 8), 16)
    this.b = Number.parseInt(digest.slice(8), 16)
  }

  private word(value: number): void {
    let a = Math.imul(this.a ^ value, 0xcc9e2d51)
    a = (a << 15) | (a >>> 17)
    const b = Math.imul(this.b ^ a, 0x1b873593)
    this.a = (Math.imul(a, 5) + 0xe6546b64 + this.b) >>> 0
    this.b = (((b << 13) | (b >>> 19)) ^ this.a) >>> 0
  }
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0')
}
