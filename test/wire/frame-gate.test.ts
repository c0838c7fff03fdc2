// What lies between a stream and ws: every byte goes through in order, in pieces of so many frames; a paused stream holds the rest back; and once
// it is shut, nothing but the peer's close frame.

import { Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { FrameGate, FrameHeads, framesPerPiece } from '../../wire/frame-gate.ts'
import { webSocketFrame } from '../reliability/raw-socket.ts'

const pingOpcode = 9
const closeOpcode = 8
const empty = new Uint8Array()

/** A stream that somebody reads as ws does. */
function scene(onPiece: (piece: Uint8Array) => void = () => {}) {
  const stream = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })
  const pieces: Uint8Array[] = []
  stream.on('data', (piece: Uint8Array) => {
    pieces.push(piece)
    onPiece(piece)
  })
  const gate = new FrameGate(stream)
  let bytes = 0
  gate.onPiece = more => {
    bytes += more
  }
  return {
    stream,
    gate,
    pieces,
    come: async (...chunks: readonly Uint8Array[]): Promise<void> => {
      for (const chunk of chunks) {
        stream.push(chunk)
        await new Promise(resolve => setImmediate(resolve))
      }
    },
    passed: (): Buffer => Buffer.concat(pieces),
    counted: (): number => bytes,
  }
}

const ping = (): Uint8Array => webSocketFrame(empty, { opcode: pingOpcode })
const closeFrame = (): Uint8Array =>
  webSocketFrame(Buffer.from([3, 232, 111, 107]), { opcode: closeOpcode })

/** Numbers below `n`, always the same ones. */
function numbers(seed: number): (n: number) => number {
  let state = seed
  return n => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
}

function cut(bytes: Uint8Array, below: (n: number) => number, most: number): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + below(most)
    chunks.push(bytes.subarray(at, end))
    at = end
  }
  return chunks
}

/** Frames of all three kinds of lengths, some of them pings. */
function someFrames(below: (n: number) => number, count: number): Uint8Array[] {
  const sizes = [0, 1, 125, 126, 300, 65_535, 65_536, 70_000]
  return Array.from({ length: count }, () =>
    below(3) === 0
      ? webSocketFrame(Buffer.alloc(below(126)), { opcode: pingOpcode })
      : webSocketFrame(Buffer.alloc(sizes[below(sizes.length)] as number, below(256))),
  )
}

describe('frames', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('end where they end, however they are cut (seed %i)', seed => {
    const below = numbers(seed)
    const frames = someFrames(below, 40)
    const heads = new FrameHeads()
    const ends: number[] = []
    let before = 0
    for (const chunk of cut(Buffer.concat(frames), below, [3, 40, 5000][seed % 3] as number)) {
      for (let at = 0; at < chunk.length; ) {
        at = heads.next(chunk, at)
        if (heads.isBetween) ends.push(before + at)
      }
      before += chunk.length
    }
    let end = 0
    expect(ends).toEqual(frames.map(({ length }) => (end += length)))
  })
})

describe('a gate', () => {
  it.each([1, 2, 3])('passes every byte on, in order (seed %i)', async seed => {
    const below = numbers(seed)
    const all = Buffer.concat(someFrames(below, 60))
    const { come, passed, counted } = scene()
    await come(...cut(all, below, 70_000))
    expect(passed().equals(all)).toBe(true)
    expect(counted()).toBe(all.length)
  })

  it('passes a chunk of few frames on as it is', async () => {
    const chunk = Buffer.concat([webSocketFrame(Buffer.alloc(60_000)), ping()])
    const { come, pieces } = scene()
    await come(chunk)
    expect(pieces).toEqual([chunk])
  })

  it('passes a chunk of many frames on in pieces of so many', async () => {
    const frame = ping()
    const { come, pieces } = scene()
    await come(Buffer.concat(Array.from({ length: framesPerPiece * 2 + 1 }, () => frame)))
    expect(pieces.map(({ length }) => length / frame.length)).toEqual([
      framesPerPiece,
      framesPerPiece,
      1,
    ])
  })

  it('holds back what is left of a chunk while the stream is paused, and nothing overtakes it', async () => {
    const all = Buffer.concat(
      Array.from({ length: 3 * framesPerPiece }, (_, i) => webSocketFrame(Buffer.from([i & 255]))),
    )
    const held = scene(() => held.stream.pause())
    await held.come(all.subarray(0, 2000), all.subarray(2000))
    expect(held.pieces).toHaveLength(1)
    held.stream.push(null)
    let turns = 0
    for (; !held.stream.readableEnded && turns < 20; turns++) {
      const before = held.pieces.length
      held.stream.resume()
      await new Promise(resolve => setImmediate(resolve))
      expect(held.pieces.length - before).toBeLessThanOrEqual(1)
    }
    expect(turns).toBeGreaterThanOrEqual(3)
    expect(held.stream.readableEnded).toBe(true)
    expect(held.passed().equals(all)).toBe(true)
  })

  it('drops what the stream still had when it is gone', async () => {
    const all = Buffer.concat(Array.from({ length: 2 * framesPerPiece }, ping))
    const held = scene(() => held.stream.pause())
    await held.come(all, all)
    expect(held.pieces).toHaveLength(1)
    held.stream.resume()
    held.stream.destroy()
    await new Promise(resolve => held.stream.once('close', resolve))
    expect(held.pieces).toHaveLength(1)
    expect(held.stream.readableLength).toBe(0)
  })

  it('passes nothing on once the stream is destroyed', async () => {
    const ended = scene(() => ended.stream.destroy())
    await ended.come(Buffer.concat(Array.from({ length: 3 * framesPerPiece }, ping)))
    expect(ended.pieces).toHaveLength(1)
  })

  it.each([1, 2, 3, 4, 5, 6])(
    'that is shut lets only a close frame through, however it is cut (seed %i)',
    async seed => {
      const below = numbers(seed)
      const begun = webSocketFrame(Buffer.alloc(500, 7))
      const close = closeFrame()
      const { gate, come, passed, counted } = scene()
      const all = Buffer.concat([begun, ...someFrames(below, 30), close, ping(), close])
      await come(all.subarray(0, 1 + below(400)))
      gate.shut()
      await come(
        ...cut(all.subarray(passed().length), below, [20, 90, 100_000][seed % 3] as number),
      )
      // The frame that ws has the beginning of, and the close frame; behind it there is nothing.
      expect(passed().equals(Buffer.concat([begun, close]))).toBe(true)
      expect(counted()).toBe(all.length)
    },
  )

  it('that is shut while it passes pieces on drops the rest of the chunk', async () => {
    const frame = ping()
    const close = closeFrame()
    const shut = scene(() => shut.gate.shut())
    await shut.come(Buffer.concat([...Array.from({ length: 5000 }, () => frame), close]))
    expect(shut.pieces.map(({ length }) => length)).toEqual([
      framesPerPiece * frame.length,
      close.length,
    ])
  })

  it('passes nothing on behind a close frame', async () => {
    const close = closeFrame()
    const { come, pieces } = scene()
    await come(Buffer.concat([ping(), close]), ping(), close)
    expect(Buffer.concat(pieces).equals(Buffer.concat([ping(), close]))).toBe(true)
  })

  it('wants ws to be the only one who reads', () => {
    const stream = new Duplex({ read: () => {} })
    expect(() => new FrameGate(stream)).toThrow('besides that of ws')
    stream.on('data', () => {})
    stream.on('data', () => {})
    expect(() => new FrameGate(stream)).toThrow('1 listeners')
  })
})
