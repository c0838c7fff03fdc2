// The token walk before decoding (protocol.md 1.1). Checks the structure of a msgpack value without building anything, so that what
// reaches the decoder is small, shallow, complete and free of extensions: a 72 KB frame of nested arrays can abort a decoder that trusts
// declared lengths. One pass, no recursion, one small typed array.

import { LogloomError } from './errors.ts'
import { wireLimits } from './limits.ts'

export interface GuardLimits {
  readonly depthMax: number
  /** Array items and map pairs in all. */
  readonly elementsMax: number
}

const frameLimits: GuardLimits = { depthMax: wireLimits.depthMax, elementsMax: wireLimits.elementsMax }
const depthHardMax = 64
/** Values still to come at each open level. The walk is synchronous, so one array serves all calls. */
const remaining = new Float64Array(depthHardMax + 1)
/** 1 where the level is a map, whose values alternate key and value. */
const mapLevel = new Uint8Array(depthHardMax + 1)

/** Checks a frame: one map with string keys and nothing after it. @throws BAD_FRAME */
export function checkFrame(bytes: Uint8Array, limits: Partial<GuardLimits> = {}): void {
  const first = bytes[0]
  if (first === undefined) bad('the frame is empty')
  const isMap = (first & 0xf0) === 0x80 || first === 0xde || first === 0xdf
  if (!isMap) bad(`a frame is a msgpack map, this begins with 0x${first.toString(16)}`)
  checkMsgpack(bytes, { ...frameLimits, ...limits })
}

/** Checks one msgpack value that fills `bytes`. @throws BAD_FRAME naming the rule, the limit and the value */
export function checkMsgpack(bytes: Uint8Array, limits: GuardLimits): void {
  const end = bytes.length
  const depthMax = Math.min(limits.depthMax, depthHardMax)
  let at = 0
  let depth = 0
  let elements = 0
  remaining[0] = 1
  mapLevel[0] = 0
  for (;;) {
    while (remaining[depth] === 0) {
      if (depth === 0) {
        if (at !== end) bad(`${end - at} bytes after the end of the value`)
        return
      }
      depth--
    }
    if (at >= end) bad('the frame ends before its last value')
    const left = remaining[depth] as number
    const isKey = mapLevel[depth] === 1 && left % 2 === 0
    remaining[depth] = left - 1
    const token = bytes[at++] as number
    if (isKey && !isString(token)) bad(`map keys are strings, found 0x${token.toString(16)}`)
    let items = -1
    let isMap = false
    if (token < 0x80 || token >= 0xe0) continue
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
        case 0xd9:
          at += 1 + length(bytes, at, 1)
          break
        case 0xc5:
        case 0xda:
          at += 2 + length(bytes, at, 2)
          break
        case 0xc6:
        case 0xdb:
          at += 4 + length(bytes, at, 4)
          break
        case 0xcc:
        case 0xd0:
          at += 1
          break
        case 0xcd:
        case 0xd1:
          at += 2
          break
        case 0xca:
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
          bad('byte 0xc1 is not msgpack')
          break
        default:
          bad(`extension types are not allowed, found 0x${token.toString(16)}`)
      }
    if (at > end) bad(`a value reaches ${at - end} bytes past the end`)
    if (items < 0) continue
    elements += items
    if (elements > limits.elementsMax) bad(`more than ${limits.elementsMax} elements (elementsMax)`)
    const values = isMap ? items * 2 : items
    // Every value takes at least one byte: a length that cannot be true is refused before anything relies on it.
    if (values > end - at) bad(`${values} values declared in ${end - at} bytes`)
    depth++
    if (depth > depthMax) bad(`nested deeper than ${limits.depthMax} levels (depthMax)`)
    remaining[depth] = values
    mapLevel[depth] = isMap ? 1 : 0
  }
}

function isString(token: number): boolean {
  return (token >= 0xa0 && token < 0xc0) || (token >= 0xd9 && token <= 0xdb)
}

function length(bytes: Uint8Array, at: number, size: 1 | 2 | 4): number {
  if (at + size > bytes.length) bad('the frame ends inside a length')
  let value = 0
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[at + i] as number)
  return value
}

function bad(reason: string): never {
  throw new LogloomError('BAD_FRAME', reason)
}
