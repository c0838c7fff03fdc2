// The token walk before decoding (protocol.md 1.1).
//
// Checks the structure of a msgpack value without building anything, so that what reaches the decoder is complete, shallow, small and free of
// extensions: decoders that trust declared lengths can be aborted, not merely made to throw, by 72 KB of nested arrays. One pass, no
// recursion, nothing allocated. It does not know what a frame means, and it does not look into text: keys and UTF-8 are the reader's business.

import { isMarked, markedTextBytesMin } from './byte-order-mark.ts'
import { LogloomError } from './errors.ts'
import { wireLimits } from './limits.ts'

export interface GuardLimits {
  /** Nested arrays and maps; the outermost one is level 1. At most 64. */
  readonly depthMax: number
  /** Array items and map pairs in all. */
  readonly elementsMax: number
}

const depthHardMax = 64
/** Values still to come at each open level. The walk is synchronous, so one array serves all calls. */
const remaining = new Float64Array(depthHardMax + 1)
/** 1 where the level is a map, whose values alternate key and value. */
const mapLevel = new Uint8Array(depthHardMax + 1)

/**
 * Checks a frame: one map with string keys and nothing after it. @throws BAD_FRAME
 * @returns where long text begins with U+FEFF, if any does (byte-order-mark.ts)
 */
export function checkFrame(
  bytes: Uint8Array,
  limits: Partial<GuardLimits> = wireLimits,
): readonly number[] | undefined {
  const first = bytes[0]
  if (first === undefined) bad('complete', 'the frame is empty')
  const isMap = (first & 0xf0) === 0x80 || first === 0xde || first === 0xdf
  if (!isMap) bad('map', `a frame is a msgpack map, this begins with ${hex(first)}`)
  return walk(
    bytes,
    limits.depthMax ?? wireLimits.depthMax,
    limits.elementsMax ?? wireLimits.elementsMax,
  )
}

/** Checks one msgpack value that fills `bytes`. @throws BAD_FRAME naming the rule, the limit and the value */
export function checkMsgpack(bytes: Uint8Array, limits: GuardLimits): void {
  walk(bytes, limits.depthMax, limits.elementsMax)
}

function walk(
  bytes: Uint8Array,
  depthMax: number,
  elementsMax: number,
): readonly number[] | undefined {
  const end = bytes.length
  const deepest = Math.min(depthMax, depthHardMax)
  let at = 0
  let depth = 0
  let elements = 0
  let marked: number[] | undefined
  remaining[0] = 1
  mapLevel[0] = 0
  for (;;) {
    while (remaining[depth] === 0) {
      if (depth === 0) {
        if (at !== end) bad('trailing', `${end - at} bytes after the end of the value`)
        return marked
      }
      depth--
    }
    if (at >= end) bad('complete', `the frame ends after ${end} bytes, before its last value`)
    const left = remaining[depth] as number
    const isKey = mapLevel[depth] === 1 && left % 2 === 0
    remaining[depth] = left - 1
    const token = bytes[at++] as number
    if (isKey && !isString(token)) bad('keys', `map keys are strings, found ${hex(token)}`)
    // Numbers of one byte: the most frequent token.
    if (token < 0x80 || token >= 0xe0) continue
    let items = -1
    let isMap = false
    if (token < 0x90) {
      items = token & 0x0f
      isMap = true
    } else if (token < 0xa0) items = token & 0x0f
    else if (token < 0xc0) at += token & 0x1f
    else
      switch (token) {
        case 0xc0:
        case 0xc2:
        case 0xc3:
          break
        case 0xc4:
          at += 1 + length(bytes, at, 1)
          break
        case 0xc5:
          at += 2 + length(bytes, at, 2)
          break
        case 0xc6:
          at += 4 + length(bytes, at, 4)
          break
        case 0xd9:
        case 0xda:
        case 0xdb: {
          const size = (1 << (token - 0xd9)) as 1 | 2 | 4
          const start = at + size
          at = start + length(bytes, at, size)
          if (at - start >= markedTextBytesMin && isMarked(bytes, start)) {
            marked ??= []
            marked.push(start)
          }
          break
        }
        case 0xcc:
        case 0xd0:
          at += 1
          break
        case 0xcd:
        case 0xd1:
          at += 2
          break
        case 0xce:
        case 0xd2:
          at += 4
          break
        case 0xcb:
        case 0xcf:
        case 0xd3:
          at += 8
          break
        case 0xdc:
        case 0xde:
          items = length(bytes, at, 2)
          isMap = token === 0xde
          at += 2
          break
        case 0xdd:
        case 0xdf:
          items = length(bytes, at, 4)
          isMap = token === 0xdf
          at += 4
          break
        case 0xc1:
          bad('types', 'byte 0xc1 is not msgpack')
          break
        case 0xca:
          bad('types', 'floats have 64 bits, found 0xca')
          break
        default:
          bad('types', `extension types are not allowed, found ${hex(token)}`)
      }
    if (at > end) bad('complete', `a value reaches ${at - end} bytes past the end`)
    if (items < 0) continue
    elements += items
    if (elements > elementsMax)
      bad('elements', `at least ${elements} elements`, elementsMax, elements, 'elementsMax')
    depth++
    if (depth > deepest) bad('depth', `nested ${depth} levels deep`, deepest, depth, 'depthMax')
    remaining[depth] = isMap ? items * 2 : items
    mapLevel[depth] = isMap ? 1 : 0
  }
}

function isString(token: number): boolean {
  return (token >= 0xa0 && token < 0xc0) || (token >= 0xd9 && token <= 0xdb)
}

function length(bytes: Uint8Array, at: number, size: 1 | 2 | 4): number {
  if (at + size > bytes.length) bad('complete', 'the frame ends inside a length')
  let value = 0
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[at + i] as number)
  return value
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, '0')}`
}

function bad(rule: string, reason: string): never
function bad(rule: string, reason: string, limit: number, actual: number, name: string): never
function bad(rule: string, reason: string, limit?: number, actual?: number, name?: string): never {
  if (limit === undefined) throw new LogloomError('BAD_FRAME', reason, { rule })
  throw new LogloomError('BAD_FRAME', `${reason}, the limit is ${limit} (${name})`, {
    rule,
    limit,
    actual,
  })
}
