// Frames: one msgpack map per WebSocket message (protocol.md 1). The guard runs before the decoder; integers stay numbers.

import { Packr, Unpackr } from 'msgpackr'
import { LogloomError } from './errors.ts'
import { checkFrame } from './guard.ts'

/** A decoded frame: plain keys, numbers, strings, byte arrays, arrays and maps. */
export interface Frame {
  [key: string]: unknown
}

const options = { useRecords: false, mapsAsObjects: true, int64AsType: 'bigint', variableMapSize: true, encodeUndefinedAsNil: true } as const
const packr = new Packr(options)
const unpackr = new Unpackr(options)
const u32Max = 2 ** 32
/** Above this a bin is appended by hand instead of going through the packer's own buffer. */
const largeBinBytes = 4096

/** Encodes a frame; the result is the caller's own. Integers from 2^32 up become uint64/int64. */
export function packFrame(frame: Frame): Uint8Array {
  const large = largeBin(frame)
  if (large === undefined) return Uint8Array.prototype.slice.call(packr.pack(toWire(frame)))
  return packWithBin(frame, large)
}

/** Decodes a frame; bin fields are views of `bytes`. @throws BAD_FRAME */
export function unpackFrame(bytes: Uint8Array): Frame {
  checkFrame(bytes)
  return unpackChecked(bytes) as Frame
}

/** Decodes any value that the guard has passed. @throws BAD_FRAME */
export function unpackChecked(bytes: Uint8Array): unknown {
  try {
    return fromWire(unpackr.unpack(bytes))
  } catch (error) {
    if (error instanceof LogloomError) throw error
    throw new LogloomError('BAD_FRAME', `not decodable: ${(error as Error).message}`, {}, { cause: error })
  }
}

/** The key of a top-level bin that is worth not copying twice. */
function largeBin(frame: Frame): string | undefined {
  for (const key in frame) {
    const value = frame[key]
    if (value instanceof Uint8Array && value.length >= largeBinBytes) return key
  }
  return undefined
}

/** Packs everything else, then key, bin header and bytes behind it: the bytes are copied once. */
function packWithBin(frame: Frame, key: string): Uint8Array {
  const { [key]: bin, ...rest } = frame
  const bytes = bin as Uint8Array
  const head = packr.pack(toWire({ ...rest, [key]: null }))
  const result = new Uint8Array(head.length - 1 + 5 + bytes.length)
  // The last byte of `head` is the nil that stands for the bin.
  result.set(head.subarray(0, head.length - 1))
  const view = new DataView(result.buffer)
  view.setUint8(head.length - 1, 0xc6)
  view.setUint32(head.length, bytes.length)
  result.set(bytes, head.length + 4)
  return result
}

/** Large integers as bigint, so that they are packed as 64-bit integers and not as floats. Copies only what changes. */
function toWire(value: unknown): unknown {
  if (typeof value === 'number')
    return Number.isSafeInteger(value) && (value >= u32Max || value < -(2 ** 31)) ? BigInt(value) : value
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item = toWire(value[i])
      if (item !== value[i]) return value.map(toWire)
    }
    return value
  }
  const map = value as Frame
  for (const key in map) {
    const item = toWire(map[key])
    if (item !== map[key])
      return Object.fromEntries(Object.entries(map).map(([k, v]) => [k, toWire(v)]))
  }
  return value
}

/** 64-bit integers back to numbers, in place. @throws NUMBER_OUT_OF_RANGE beyond ±(2^53 − 1) */
function fromWire(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value)
    if (!Number.isSafeInteger(number))
      throw new LogloomError('NUMBER_OUT_OF_RANGE', `integer ${value} is beyond ±(2^53 - 1)`, { actual: String(value) })
    return number
  }
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i]
      if (typeof item === 'bigint' || typeof item === 'object') value[i] = fromWire(item)
    }
    return value
  }
  const map = value as Frame
  for (const key in map) {
    const item = map[key]
    if (typeof item === 'bigint' || typeof item === 'object') map[key] = fromWire(item)
  }
  return value
}
