// Between a stream and ws. A chunk of 64 KB may hold eleven thousand frames, and ws takes a whole chunk apart before anybody else gets on. So it
// gets a chunk in pieces of so many frames: after each of them the stream may be paused, which holds the rest of the chunk back, or the peer may
// be one whose frames nobody wants any more, after which only its close frame goes through.
//
//   stream ── chunk ──► FrameGate ── at most framesPerPiece frames ──► ws
//      ▲                    │
//      └── while it is paused: the rest of the chunk, in front of all else
//
// It holds no bytes: the stream has them, so its end comes after the last of them. What a stream that is gone still has is dropped.
// Only heads are looked at (RFC 6455, 5.2), a chunk inside a large frame goes through as it is. What is wrong with a head is for ws to say.

import type { Duplex } from 'node:stream'

/** Frames that ws takes apart at a stretch: a tenth of a millisecond. */
export const framesPerPiece = 256

const closeOpcode = 8

type Deliver = (piece: Uint8Array) => void

export class FrameGate {
  /** Told how many bytes were passed on or dropped. */
  onPiece: (bytes: number) => void = () => {}
  private readonly stream: Duplex
  private readonly deliver: Deliver
  private readonly heads = new FrameHeads()
  /** Only a close frame goes through. */
  private isShut = false
  /** The frame that has begun is dropped. */
  private isDropping = false
  /** Nothing goes through any more. */
  private isOver = false

  /** Takes the place of the one listener that ws has at `stream`, before any data came. */
  constructor(stream: Duplex) {
    const [listener, ...others] = stream.listeners('data') as Deliver[]
    if (listener === undefined || others.length > 0)
      throw new Error(`the stream has ${others.length} listeners for data besides that of ws`)
    this.stream = stream
    this.deliver = piece => listener.call(stream, piece)
    stream.off('data', listener)
    const take = (chunk: Uint8Array): void => this.take(chunk)
    stream.on('data', take)
    // Before ws, which would take all that is left apart at once.
    stream.prependListener('close', () => {
      stream.off('data', take)
      if (stream.readableLength > 0) stream.read(stream.readableLength)
    })
  }

  /** From here on the peer's close frame is all that goes through. */
  shut(): void {
    this.isShut = true
  }

  /** From here on nothing goes through. */
  end(): void {
    this.isOver = true
  }

  private take(chunk: Uint8Array): void {
    const { stream } = this
    for (let at = 0; at < chunk.length && !stream.destroyed; ) {
      if (at > 0 && stream.isPaused()) {
        stream.unshift(chunk.subarray(at))
        return
      }
      const from = at
      at = this.isUnwanted(chunk, at) ? this.drop(chunk, at) : this.pass(chunk, at)
      this.onPiece(at - from)
    }
  }

  /** What ws has the beginning of goes through to its end, whatever it is. */
  private isUnwanted(chunk: Uint8Array, at: number): boolean {
    if (this.isOver || !this.isShut) return this.isOver
    return this.heads.isBetween ? opcodeOf(chunk, at) !== closeOpcode : this.isDropping
  }

  /** @returns where what was passed on ends */
  private pass(chunk: Uint8Array, from: number): number {
    const { heads } = this
    let at = from
    let frames = this.isShut ? framesPerPiece - 1 : 0
    do at = heads.next(chunk, at)
    while (at < chunk.length && ++frames < framesPerPiece && !heads.isClosed)
    // ws reads nothing after a close frame.
    this.isOver ||= heads.isClosed
    this.deliver(at - from === chunk.length ? chunk : chunk.subarray(from, at))
    return at
  }

  /** @returns where the close frame begins, or the end of the chunk */
  private drop(chunk: Uint8Array, from: number): number {
    const { heads } = this
    if (this.isOver) return chunk.length
    let at = from
    while (at < chunk.length) {
      if (heads.isBetween && opcodeOf(chunk, at) === closeOpcode) break
      at = heads.next(chunk, at)
    }
    this.isDropping = !heads.isBetween
    return at
  }
}

/** Where frames end, from chunk to chunk. */
export class FrameHeads {
  /** A close frame has come whole. */
  isClosed = false
  /** Bytes of the frame still to come, behind its head. */
  private rest = 0
  /** Of a head that has not come whole. */
  private readonly head = new Uint8Array(14)
  private headBytes = 0
  private isClose = false

  /** Whether the next byte begins a frame. */
  get isBetween(): boolean {
    return this.rest === 0 && this.headBytes === 0
  }

  /** @returns where the frame that `at` is in, or begins, ends; the end of the chunk if it goes on */
  next(chunk: Uint8Array, at: number): number {
    let from = at
    if (this.rest === 0) {
      from = this.readHead(chunk, at)
      if (this.headBytes > 0) return from
    }
    const end = Math.min(chunk.length, from + this.rest)
    this.rest -= end - from
    this.isClosed ||= this.isClose && this.rest === 0
    return end
  }

  /** @returns where the head ends; it has come whole if no bytes of it are kept */
  private readHead(chunk: Uint8Array, at: number): number {
    if (this.headBytes === 0) {
      const size = headSize(chunk, at, chunk.length)
      if (size <= chunk.length - at) {
        this.begin(chunk, at)
        return at + size
      }
    }
    let from = at
    while (from < chunk.length) {
      this.head[this.headBytes++] = chunk[from++] as number
      if (this.headBytes < headSize(this.head, 0, this.headBytes)) continue
      this.headBytes = 0
      this.begin(this.head, 0)
      break
    }
    return from
  }

  private begin(bytes: Uint8Array, at: number): void {
    this.isClose = opcodeOf(bytes, at) === closeOpcode
    const short = (bytes[at + 1] as number) & 0x7f
    if (short < 126) this.rest = short
    else {
      this.rest = 0
      const end = at + 2 + lengthSize(short)
      for (let i = at + 2; i < end; i++) this.rest = this.rest * 256 + (bytes[i] as number)
    }
  }
}

function opcodeOf(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) & 0x0f
}

/** Of the head that begins at `at`; at least 2, and more once the second byte before `end` says so. */
function headSize(bytes: Uint8Array, at: number, end: number): number {
  if (at + 2 > end) return 2
  const second = bytes[at + 1] as number
  return 2 + lengthSize(second & 0x7f) + (second & 0x80 ? 4 : 0)
}

function lengthSize(short: number): number {
  return short < 126 ? 0 : short === 126 ? 2 : 8
}
