// Splits a byte stream into lines without decoding it.
//
// Guarantees: every line once, in order, without its newline byte; the last one also without a newline at the end, unless empty.
// Carriage returns are content. A line is bounded by `lineBytesMax`. Lines are views of the chunks they came in, where possible.

import { LogloomError } from '../../wire/errors.ts'

const newline = 10

export class LineSplitter {
  readonly #lineBytesMax: number
  #rest: Buffer[] = []
  #restBytes = 0

  constructor(lineBytesMax: number) {
    this.#lineBytesMax = lineBytesMax
  }

  /** Each line that `chunk` completes. @throws MESSAGE_TOO_LARGE */
  *split(chunk: Buffer): Generator<Buffer, void, void> {
    let from = 0
    for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, from)) {
      const piece = chunk.subarray(from, at)
      from = at + 1
      yield this.#restBytes === 0 ? piece : this.#joined(piece)
    }
    if (from === chunk.length) return
    this.#rest.push(chunk.subarray(from))
    this.#restBytes += chunk.length - from
    if (this.#restBytes <= this.#lineBytesMax) return
    throw new LogloomError(
      'MESSAGE_TOO_LARGE',
      `a line of stdin has more than ${this.#lineBytesMax} bytes`,
      { limit: this.#lineBytesMax, actual: this.#restBytes },
    )
  }

  /** The last line, when the stream did not end in a newline. */
  *end(): Generator<Buffer, void, void> {
    if (this.#restBytes > 0) yield this.#joined(Buffer.alloc(0))
  }

  #joined(piece: Buffer): Buffer {
    const whole = Buffer.concat([...this.#rest, piece])
    this.#rest = []
    this.#restBytes = 0
    return whole
  }
}
