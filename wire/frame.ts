// Frames: one msgpack map per WebSocket message (protocol.md 1).
//
// Guarantees: what is packed lies in the protocol's subset, with integers from 2^32 up as 64-bit integers; what is unpacked has passed the
// guard, and integers are numbers of any size, never bigints: fields.ts refuses the ones that a number cannot hold, by name. Large frames are
// packed into a buffer of their own size, so a batch is copied once. msgpackr's JavaScript half only: its native scanner reads ahead of the
// value it is asked for and is not needed behind the guard.

import { Packr, RESET_BUFFER_MODE } from 'msgpackr/pack'
import { allocate } from '#platform'
import { decodeMarked } from './byte-order-mark.ts'
import { LogloomError } from './errors.ts'
import { checkFrame, type GuardLimits } from './guard.ts'
import { wireLimits } from './limits.ts'

/** A decoded frame: plain keys, numbers, strings, byte arrays, arrays and maps. */
export interface Frame {
  [key: string]: unknown
}

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  variableMapSize: true,
  encodeUndefinedAsNil: true,
  useToJSON: false,
  int64AsType: 'number',
})

/** What msgpackr wants free before it begins; it goes to another buffer of the same size otherwise. */
const packerRoomBytes = 0x800
const u32Max = 2 ** 32
const soleKey = 'v'
/** fixmap of one pair, fixstr of one character, the character. */
const soleKeyBytes = 3
/** Most bytes that the values seen by `toWire` can take, for the frame being packed. */
let bytesAtMost = 0

/**
 * Encodes a frame; the result is the caller's own. `undefined` becomes nil.
 * @throws INVALID_REQUEST for what the protocol cannot carry (dates, sets, functions, nesting deeper than 8)
 */
export function packFrame(frame: Frame): Uint8Array {
  bytesAtMost = 0
  const wire = toWire(frame, 1)
  // The packer's buffer is shared with everybody who uses msgpackr in this process: put back and copied out, never kept.
  if (bytesAtMost < packerRoomBytes - 64)
    return Uint8Array.prototype.slice.call(packr.pack(wire, RESET_BUFFER_MODE))
  // A buffer of its own, with room behind the frame for the small frames that follow.
  packr.useBuffer(allocate(bytesAtMost + 2 * packerRoomBytes))
  const packed = packr.pack(wire)
  // Text is estimated at three bytes a character; what waits in a socket should not hold much more than it sends.
  return packed.length * 2 < bytesAtMost ? Uint8Array.prototype.slice.call(packed) : packed
}

/** Encodes the value of one field, as it stands in a frame. The result is the caller's own. @throws INVALID_REQUEST as {@link packFrame} */
export function packField(value: unknown): Uint8Array {
  return packFrame({ [soleKey]: value }).subarray(soleKeyBytes)
}

/**
 * Encodes a frame whose last field is packed already: what comes before it, to be sent right before its bytes. So a large field that many are sent is packed once for all of them.
 */
export function packFrameHead(frame: Frame, lastKey: string): Uint8Array {
  // The placeholder makes the map one pair longer; its one byte is left out.
  return packFrame({ ...frame, [lastKey]: null }).subarray(0, -1)
}

/**
 * Decodes a frame; bin fields are views of `bytes`. Limits are those of a client's frame unless others are given.
 * @throws BAD_FRAME
 */
export function unpackFrame(bytes: Uint8Array, limits: Partial<GuardLimits> = wireLimits): Frame {
  const marked = checkFrame(bytes, limits)
  try {
    return marked === undefined
      ? (packr.unpack(bytes) as Frame)
      : decodeMarked(bytes, marked, copy => packr.unpack(copy) as Frame)
  } catch (error) {
    if (error instanceof LogloomError) throw error
    throw new LogloomError(
      'BAD_FRAME',
      `not decodable: ${(error as Error).message}`,
      { rule: 'decoder' },
      { cause: error },
    )
  }
}

/** Large integers as bigint, so that they are packed as 64-bit integers and not as floats. Copies only what changes. */
function toWire(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
      bytesAtMost += 5 + value.length * 3
      return value
    case 'number':
      bytesAtMost += 9
      return Number.isSafeInteger(value) && (value >= u32Max || value < -(2 ** 31))
        ? BigInt(value)
        : value
    case 'boolean':
    case 'undefined':
      bytesAtMost += 1
      return value
    case 'bigint':
      return toWire(safeNumber(value), depth)
    case 'object':
      break
    case 'function':
    case 'symbol':
      return unsupported(typeof value)
  }
  bytesAtMost += 5
  if (value === null) return value
  if (value instanceof Uint8Array) {
    bytesAtMost += value.length
    return value
  }
  if (depth > wireLimits.depthMax)
    throw new LogloomError(
      'INVALID_REQUEST',
      `nested ${depth} levels deep, the limit is ${wireLimits.depthMax} (depthMax)`,
      { limit: wireLimits.depthMax, actual: depth },
    )
  if (Array.isArray(value)) return arrayToWire(value, depth)
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
    ? mapToWire(value as Frame, depth)
    : unsupported(value.constructor.name)
}

function arrayToWire(values: readonly unknown[], depth: number): readonly unknown[] {
  let copy: unknown[] | undefined
  for (let i = 0; i < values.length; i++) {
    const wire = toWire(values[i], depth + 1)
    if (wire === values[i]) continue
    copy ??= [...values]
    copy[i] = wire
  }
  return copy ?? values
}

function mapToWire(map: Frame, depth: number): Frame {
  let copy: Frame | undefined
  for (const key of Object.keys(map)) {
    bytesAtMost += 5 + key.length * 3
    const wire = toWire(map[key], depth + 1)
    if (wire === map[key]) continue
    copy ??= { ...map }
    copy[key] = wire
  }
  return copy ?? map
}

function safeNumber(value: bigint): number {
  const number = Number(value)
  if (Number.isSafeInteger(number)) return number
  throw new LogloomError('NUMBER_OUT_OF_RANGE', `integer ${value} is beyond ±(2^53 - 1)`, {
    actual: String(value),
  })
}

function unsupported(type: string): never {
  throw new LogloomError('INVALID_REQUEST', `a frame cannot carry a ${type}`, { actual: type })
}
