// Found by the fuzzer of frames: msgpackr takes the first character of long text for a byte order mark when it is U+FEFF.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { packFrame, unpackFrame } from '../../wire/index.ts'
import { codeOf } from './bytes.ts'

const text = fc.tuple(
  fc.constantFrom('', '\uFEFF', '\uFEFF\uFEFF', '\uE000', '\uE001\uFEFF', 'a\uFEFF'),
  fc.string({ unit: 'grapheme', maxLength: 10 }),
  fc.constantFrom(0, 50, 61, 62, 63, 64, 70_000),
)

describe('text that begins with U+FEFF', () => {
  it.each([1, 10, 61, 62, 63, 300, 70_000])(
    'arrives whole with %i characters behind it',
    length => {
      const value = `\uFEFF${'x'.repeat(length)}`
      expect(unpackFrame(packFrame({ value }))).toEqual({ value })
    },
  )

  it('arrives whole as value, as key, in lists and beside the characters that stand in for it', () => {
    fc.assert(
      fc.property(fc.array(text, { maxLength: 6 }), parts => {
        const texts = parts.map(([first, more, length]) => first + more + 'y'.repeat(length))
        const frame = {
          list: texts,
          ...Object.fromEntries(texts.map((t, i) => [`${t}k${i}`, { t }])),
        }
        expect(unpackFrame(packFrame(frame))).toEqual(frame)
      }),
    )
  })

  it('leaves bytes as they are', () => {
    const bin = Uint8Array.of(0xef, 0xbb, 0xbf, 0xee, 0x80, 0x80)
    const value = `\uFEFF${'x'.repeat(99)}`
    const packed = Buffer.from(packFrame({ bin, value }))
    const before = packed.toString('hex')
    const frame = unpackFrame(packed)
    expect(packed.toString('hex')).toBe(before)
    expect([...(frame.bin as Uint8Array)]).toEqual([...bin])
    expect(frame.value).toBe(value)
  })

  it('is refused in a frame that has every character that could stand in for it', () => {
    const all = Array.from({ length: 4096 }, (_, i) => String.fromCharCode(0xe000 + i)).join('')
    const frame = packFrame({ all, value: `\uFEFF${'x'.repeat(99)}` })
    expect(codeOf(() => unpackFrame(frame))).toBe('BAD_FRAME')
    expect(unpackFrame(packFrame({ all }))).toEqual({ all })
  })
})
