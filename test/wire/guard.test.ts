import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkFrame, checkMsgpack, LogloomError, packFrame } from '../../wire/index.ts'
import { codeOf, frameOf, hex, join } from './bytes.ts'

/** The rule that a frame breaks, or undefined when the guard lets it pass. */
function broken(bytes: Uint8Array): unknown {
  try {
    checkFrame(bytes)
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(LogloomError)
    expect((error as LogloomError).code).toBe('BAD_FRAME')
    return (error as LogloomError).details.rule
  }
}

/** `levels` arrays of one item around nil, in the map of a frame. */
function nested(levels: number): Uint8Array {
  return frameOf(new Uint8Array(levels).fill(0x91), [0xc0])
}

/** 24,000 array16 headers, each claiming 65,535 items: 72 KB that abort decoders which allocate what is declared. */
function nestBomb(): Uint8Array {
  return frameOf(hex('dcffff'.repeat(24_000)))
}

describe('the guard refuses', () => {
  const hostile: readonly (readonly [string, string, Uint8Array])[] = [
    ['nothing at all', 'complete', hex('')],
    ['an array as frame', 'map', hex('91 80')],
    ['a number as frame', 'map', hex('01')],
    ['a bin as frame', 'map', hex('c4 00')],
    ['array32 of 2^32 - 1 in five bytes', 'elements', frameOf(hex('dd ff ff ff ff'))],
    ['map32 of 2^32 - 1 in five bytes', 'elements', hex('df ff ff ff ff')],
    ['bin32 of 2^32 - 1 bytes', 'complete', frameOf(hex('c6 ff ff ff ff'))],
    ['str32 of 2^32 - 1 bytes', 'complete', frameOf(hex('db ff ff ff ff'))],
    ['an array longer than what is left', 'complete', frameOf(hex('dc 00 64 c0'))],
    ['a map longer than what is left', 'complete', hex('8f a1 61 c0')],
    ['a bin one byte short', 'complete', frameOf(hex('c4 02 00'))],
    ['a str8 one byte short', 'complete', frameOf(hex('d9 02 61'))],
    ['a fixstr one byte short', 'complete', frameOf(hex('a2 61'))],
    ['a length cut in two', 'complete', frameOf(hex('c5 00'))],
    ['a uint64 one byte short', 'complete', frameOf(hex('cf 00 00 00 00 00 00 00'))],
    ['a key without value', 'complete', hex('81 a1 61')],
    ['a bomb of nested arrays', 'elements', nestBomb()],
    ['nine levels', 'depth', nested(8)],
    ['ten thousand levels', 'depth', nested(10_000)],
    [
      'ten thousand and one empty maps',
      'elements',
      frameOf(hex('dc 27 11'), new Uint8Array(10_001).fill(0x80)),
    ],
    ['ten thousand and one pairs', 'elements', join(hex('de 27 11'), hex('a0c0'.repeat(10_001)))],
    ['a RegExp extension', 'types', frameOf(hex('d4 78 00'))],
    ['a timestamp extension', 'types', frameOf(hex('d6 ff 00 00 00 00'))],
    ['a record definition', 'types', frameOf(hex('d4 72 40 91 a1 61 c0'))],
    ['a pointer extension', 'types', frameOf(hex('d6 70 00 00 00 01'))],
    ['a bundle of strings', 'types', frameOf(hex('d6 62 00 00 00 00'))],
    ['ext8', 'types', frameOf(hex('c7 01 01 00'))],
    ['ext16', 'types', frameOf(hex('c8 00 01 01 00'))],
    ['ext32', 'types', frameOf(hex('c9 00 00 00 01 01 00'))],
    [
      'an extension deep inside',
      'types',
      frameOf(hex('91 81 a1 62 92 01 d8 01'), new Uint8Array(16)),
    ],
    ['the unused byte', 'types', frameOf([0xc1])],
    ['float32', 'types', frameOf(hex('ca 3f 80 00 00'))],
    ['a byte behind the map', 'trailing', hex('80 c0')],
    ['a second frame behind the map', 'trailing', hex('80 80')],
    ['an integer key', 'keys', hex('81 01 c0')],
    ['a bin key', 'keys', hex('81 c4 01 61 c0')],
    ['a map as key', 'keys', hex('81 80 c0')],
    ['a nil key in a nested map', 'keys', frameOf(hex('81 c0 c0'))],
  ]

  it.each(hostile)('%s', (_, rule, bytes) => {
    expect(broken(bytes)).toBe(rule)
  })

  it('limits with their value and the actual one', () => {
    expect(() => checkFrame(nested(8))).toThrow(
      expect.objectContaining({ details: { rule: 'depth', limit: 8, actual: 9 } }),
    )
    expect(() => checkFrame(hex('de 27 11'))).toThrow(/limit is 10000 \(elementsMax\)/)
  })

  it('every strict prefix of a frame', () => {
    const frame = packFrame({
      op: 'x',
      n: [1, 300, 70_000, 2 ** 40, -1, -200, 1.5, true, null],
      map: { text: 'y'.repeat(300), bin: new Uint8Array(70_000) },
    })
    expect(broken(frame)).toBeUndefined()
    for (let length = 0; length < frame.length; length += length < 400 ? 1 : 997)
      expect(broken(frame.subarray(0, length)), `${length} bytes`).toBeDefined()
  })
})

describe('the guard lets pass', () => {
  const fine: readonly (readonly [string, Uint8Array])[] = [
    ['the empty map', hex('80')],
    ['map16 and map32 headers that are too wide', hex('df 00 00 00 01 a1 61 de 00 00')],
    ['keys in str8, str16 and str32', hex('83 d9 01 61 c0 da 00 01 62 c0 db 00 00 00 01 63 c0')],
    ['eight levels', nested(7)],
    ['ten thousand elements', join(hex('de 27 10'), hex('a0c0'.repeat(10_000)))],
    [
      'every width of integers',
      frameOf(
        hex(
          '9a 00 ff cc ff cd ff ff ce ff ff ff ff cf 00 00 00 00 ff ff ff ff d0 80 d1 80 00 d2 80 00 00 00 d3 80 00 00 00 00 00 00 00',
        ),
      ),
    ],
    ['float64, booleans and nil', frameOf(hex('94 cb 3f f8 00 00 00 00 00 00 c2 c3 c0'))],
    ['bytes in a bin that look like an extension', frameOf(hex('c4 03 d4 78 00'))],
  ]

  it.each(fine)('%s', (_, bytes) => {
    expect(broken(bytes)).toBeUndefined()
  })

  it('what other limits allow', () => {
    checkFrame(nested(20), { depthMax: 30 })
    checkMsgpack(hex('93 01 02 03'), { depthMax: 1, elementsMax: 3 })
    expect(codeOf(() => checkMsgpack(hex('93 01 02 03'), { depthMax: 1, elementsMax: 2 }))).toBe(
      'BAD_FRAME',
    )
    expect(codeOf(() => checkMsgpack(hex('91 90'), { depthMax: 1, elementsMax: 9 }))).toBe(
      'BAD_FRAME',
    )
  })
})

describe('the guard', () => {
  it('throws nothing but BAD_FRAME, whatever the bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom(0x80, 0x81, 0x85, 0xde, 0xdf),
        (tail, head) => {
          expect([undefined, 'BAD_FRAME']).toContain(codeOf(() => checkFrame(join([head], tail))))
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('is not disturbed by a walk that failed half-way', () => {
    const frame = packFrame({ a: [{ b: 1 }] })
    expect(broken(nested(8))).toBe('depth')
    expect(broken(frame)).toBeUndefined()
  })
})
