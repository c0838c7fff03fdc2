import * as fc from 'fast-check'
import { pack } from 'msgpackr'
import { describe, expect, it } from 'vitest'
import { type Frame, packFrame, uint, unpackFrame } from '../../wire/index.ts'
import { codeOf, frameOf, hex, join } from './bytes.ts'

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.string({ unit: 'grapheme', maxLength: 100 }),
)
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 2000, max: 70_000 }).map(length => new Uint8Array(length).fill(length)),
)
const number = fc.oneof(
  fc.maxSafeInteger(),
  fc.integer(),
  fc.double({ noNaN: true }).filter(value => !Object.is(value, -0)),
)
const { value } = fc.letrec(tie => ({
  value: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    text,
    bytes,
    number,
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 5 }),
    tie('map'),
  ),
  map: fc.dictionary(
    fc.oneof(text, fc.constantFrom('0', '17', 'constructor', 'toJSON', 'hasOwnProperty')),
    tie('value'),
    { maxKeys: 5 },
  ),
}))
const frames = fc
  .dictionary(text, value, { maxKeys: 8 })
  .filter(frame => !Object.hasOwn(frame, '__proto__'))

/** Byte arrays of any class as arrays of numbers, so that only their content counts. */
function plain(input: unknown): unknown {
  if (input instanceof Uint8Array) return { bin: Buffer.from(input).toString('hex') }
  if (Array.isArray(input)) return input.map(plain)
  if (typeof input === 'object' && input !== null)
    return Object.fromEntries(Object.entries(input).map(([key, item]) => [key, plain(item)]))
  return input
}

describe('frames', () => {
  it('come back as they were packed', () => {
    fc.assert(
      fc.property(frames, frame => {
        const clean = JSON.stringify(plain(frame)).includes('"__proto__"') ? {} : frame
        expect(plain(unpackFrame(packFrame(clean)))).toEqual(plain(clean))
      }),
      { numRuns: 500 },
    )
  })

  it('belong to the caller: later frames do not change them', () => {
    const packed: Uint8Array[] = []
    const copies: string[] = []
    for (let i = 0; i < 300; i++) {
      const frame = packFrame({
        op: 'x',
        id: i,
        bin: new Uint8Array(i * 31).fill(i),
        text: `${i}`.repeat(i % 40),
      })
      packed.push(frame)
      copies.push(Buffer.from(frame).toString('hex'))
    }
    expect(packed.map(frame => Buffer.from(frame).toString('hex'))).toEqual(copies)
  })

  it('leave alone what others pack with the same library', () => {
    const theirs: Uint8Array[] = []
    const copies: string[] = []
    for (let i = 0; i < 300; i++) {
      const view = pack({ i, text: 'not ours' })
      theirs.push(view)
      copies.push(view.toString('hex'))
      packFrame({ op: 'x', id: i, bin: new Uint8Array(i % 3 === 0 ? 9000 : 10) })
    }
    expect(theirs.map(view => Buffer.from(view).toString('hex'))).toEqual(copies)
  })

  it('give bins as views of the message', () => {
    const message = packFrame({ batch: new Uint8Array(100).fill(7) })
    const { batch } = unpackFrame(message)
    expect((batch as Uint8Array).buffer).toBe(message.buffer)
  })

  it('carry undefined as nil', () => {
    expect(unpackFrame(packFrame({ a: undefined, b: [undefined] }))).toEqual({ a: null, b: [null] })
  })

  it('do not change the object that is packed', () => {
    const frame = Object.freeze({
      at: 2 ** 40,
      items: Object.freeze([Object.freeze({ n: 2 ** 50 })]),
    })
    expect(unpackFrame(packFrame(frame))).toEqual({ at: 2 ** 40, items: [{ n: 2 ** 50 }] })
    expect(frame.items[0]?.n).toBe(2 ** 50)
  })

  it('keep a byte order mark and other odd text', () => {
    for (const odd of ['\uFEFFx', 'é', '\u0000', '💧'.repeat(30), 'ß'.repeat(3000)])
      expect(unpackFrame(packFrame({ [odd]: odd }))).toEqual({ [odd]: odd })
  })

  it.each([
    ['a date', new Date(0)],
    ['a set', new Set([1])],
    ['a map object', new Map([['a', 1]])],
    ['a regular expression', /x/],
    ['a function', () => 1],
    ['an array buffer', new ArrayBuffer(8)],
    ['a symbol', Symbol('s')],
  ])('are not packed with %s', (_, odd) => {
    expect(codeOf(() => packFrame({ a: [odd] }))).toBe('INVALID_REQUEST')
  })

  it('are not packed from cycles', () => {
    const frame: Frame = {}
    frame.self = frame
    expect(codeOf(() => packFrame(frame))).toBe('INVALID_REQUEST')
  })
})

describe('numbers', () => {
  const widths: readonly (readonly [number, string])[] = [
    [127, '7f'],
    [128, 'cc80'],
    [65_535, 'cdffff'],
    [2 ** 31 - 1, 'ce7fffffff'],
    [2 ** 31, 'ce80000000'],
    [2 ** 32 - 1, 'ceffffffff'],
    [2 ** 32, 'd30000000100000000'],
    [2 ** 53 - 1, 'd3001fffffffffffff'],
    [-1, 'ff'],
    [-(2 ** 31), 'd280000000'],
    [-(2 ** 31) - 1, 'd3ffffffff7fffffff'],
    [-(2 ** 53) + 1, 'd3ffe0000000000001'],
    [1.5, 'cb3ff8000000000000'],
  ]

  it.each(widths)('%d travels in its width and comes back', (number, expected) => {
    const packed = packFrame({ a: number })
    expect(Buffer.from(packed.subarray(3)).toString('hex')).toBe(expected)
    expect(unpackFrame(packed)).toEqual({ a: number })
  })

  it.each([
    ['uint64 2^32', 'cf 00 00 00 01 00 00 00 00', 2 ** 32],
    ['uint64 2^53 - 1', 'cf 00 1f ff ff ff ff ff ff', 2 ** 53 - 1],
    ['int64 of a small number', 'd3 00 00 00 00 00 00 00 05', 5],
    ['float64 of an integer', 'cb 41 f0 00 00 00 00 00 00', 2 ** 32],
    ['float64 of 2^53 - 1', 'cb 43 3f ff ff ff ff ff ff', 2 ** 53 - 1],
    ['uint32 of a small number', 'ce 00 00 00 07', 7],
  ])('%s is taken', (_, value, expected) => {
    expect(uint(unpackFrame(frameOf(hex(value))), 'a')).toBe(expected)
  })

  it.each([
    ['uint64 2^53', 'cf 00 20 00 00 00 00 00 00'],
    ['uint64 2^53 + 1', 'cf 00 20 00 00 00 00 00 01'],
    ['uint64 2^64 - 1', 'cf ff ff ff ff ff ff ff ff'],
    ['int64 2^53', 'd3 00 20 00 00 00 00 00 00'],
    ['int64 -2^63', 'd3 80 00 00 00 00 00 00 00'],
    ['float64 2^53', 'cb 43 40 00 00 00 00 00 00'],
    ['float64 1.5', 'cb 3f f8 00 00 00 00 00 00'],
    ['float64 NaN', 'cb 7f f8 00 00 00 00 00 00'],
    ['float64 infinity', 'cb 7f f0 00 00 00 00 00 00'],
    ['a negative number', 'ff'],
  ])('%s is out of range for an offset, and never a bigint', (_, value) => {
    const frame = unpackFrame(frameOf(hex(value)))
    expect(typeof frame.a).toBe('number')
    expect(codeOf(() => uint(frame, 'a'))).toBe('NUMBER_OUT_OF_RANGE')
  })

  it('given as bigint are packed when a number can hold them', () => {
    expect(unpackFrame(packFrame({ a: 5n, b: 2n ** 53n - 1n }))).toEqual({ a: 5, b: 2 ** 53 - 1 })
    expect(codeOf(() => packFrame({ a: 2n ** 53n }))).toBe('NUMBER_OUT_OF_RANGE')
  })
})

describe('unpacking', () => {
  it('throws nothing but BAD_FRAME, whatever the bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom(0x80, 0x82, 0x8f, 0xde, 0xdf),
        (tail, head) => {
          expect([undefined, 'BAD_FRAME']).toContain(codeOf(() => unpackFrame(join([head], tail))))
        },
      ),
      { numRuns: 3000 },
    )
  })

  it('throws nothing but BAD_FRAME for frames with damaged bytes, and gives plain values otherwise', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    })
    fc.assert(
      fc.property(frames, damage, (frame, changes) => {
        const bytes = packFrame(frame)
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte
        const code = codeOf(() => expectPlain(unpackFrame(bytes)))
        expect([undefined, 'BAD_FRAME']).toContain(code)
      }),
      { numRuns: 2000 },
    )
  })

  it('reads text that is no UTF-8 without leaving its place', () => {
    // Every first byte of a longer sequence, at the very end of a string: the next value must still be read where it begins.
    for (const lead of [0x80, 0xbf, 0xc0, 0xc3, 0xe0, 0xe2, 0xf0, 0xf4, 0xf8, 0xff])
      for (const length of [1, 2, 15, 16, 40, 70]) {
        const string = new Uint8Array(length).fill(0x61)
        string[length - 1] = lead
        const bytes = join(
          [0x82, 0xa1, 0x61, 0xd9, length],
          string,
          [0xa1, 0x62, 0xc4, 0x02, 0xd4, 0x78],
        )
        expect(plain(unpackFrame(bytes).b), `${lead} at ${length}`).toEqual({ bin: 'd478' })
      }
  })

  it('keeps prototypes intact', () => {
    const attack = join(
      [0x82, 0xa9],
      Buffer.from('__proto__'),
      [0x81, 0xa8],
      Buffer.from('polluted'),
      [0xc3, 0xa1, 0x61, 0x01],
    )
    const frame = unpackFrame(attack)
    expect(Object.getPrototypeOf(frame)).toBe(Object.prototype)
    expect('polluted' in frame).toBe(false)
    expect('polluted' in {}).toBe(false)
    expect(frame.a).toBe(1)
  })

  it('takes longer replies when asked to', () => {
    const packed = packFrame({ items: Array.from({ length: 10_001 }, () => 1) })
    expect(codeOf(() => unpackFrame(packed))).toBe('BAD_FRAME')
    expect(unpackFrame(packed, { elementsMax: 20_000 }).items).toHaveLength(10_001)
  })
})

function expectPlain(value: unknown): void {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) {
    expect(['string', 'number', 'boolean', 'object']).toContain(typeof value)
    return
  }
  if (!Array.isArray(value)) expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
  for (const item of Object.values(value)) expectPlain(item)
}
