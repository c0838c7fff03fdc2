// Frames: the guard, the decoder behind it, the readers of fields, and the packer (wire/guard.ts, frame.ts, fields.ts).
//
// Rules: only BAD_FRAME; what the guard takes the decoder takes too; what it makes is what a second decoder makes; the readers refuse with their
// two codes; packing what was decoded and decoding it again gives the same bytes.

import * as fields from '../../../wire/fields.ts'
import { type Frame, packFrame, unpackFrame } from '../../../wire/frame.ts'
import { MsgpackMaker } from '../msgpack-maker.ts'
import type { FuzzRandom } from '../random.ts'
import { difference, referenceDecode } from '../reference-msgpack.ts'
import { must, refusedWith, type Target } from '../target.ts'

const badFrame = new Set(['BAD_FRAME'])
const badField = new Set(['INVALID_REQUEST', 'NUMBER_OUT_OF_RANGE'])
const readers = [
  fields.str, fields.uint, fields.int, fields.bool, fields.bin, fields.map, fields.array,
  fields.optStr, fields.optUint, fields.optInt, fields.optBool, fields.optBin, fields.optMap, fields.optArray,
] as const // biome-ignore format: a list
let turn = 0
let maker: MsgpackMaker | undefined

export const frames: Target = {
  name: 'frames',
  bytesMax: 8192,
  seeds: () => [
    packFrame({ op: 'hello', id: 1, protocol: 1, client: 'fuzz' }),
    packFrame({
      op: 'produce',
      id: 2,
      topic: 't',
      partition: 0,
      batch: new Uint8Array(80),
      acks: -1,
    }),
    packFrame({ op: 'subscribe', id: 3, topic: 't', from: { timestamp: 1e12 }, codecs: ['none'] }),
    packFrame({ op: 'publish', id: 4, records: [{ topic: 't', value: 'v', headers: { a: 'b' } }] }),
    packFrame({ id: 5, list: Array.from({ length: 40 }, (_, i) => ({ i, text: 'x'.repeat(i) })) }),
    packFrame({ id: 2 ** 53 - 1, float: 0.1, negative: -(2 ** 40), nil: null, yes: true }),
    // Ten thousand elements, and deep ones.
    Uint8Array.from([0x81, 0xa1, 0x61, 0xdc, 0x20, 0, ...Array.from({ length: 8192 }, () => 0xc0)]),
    Uint8Array.from([0x81, 0xa1, 0x61, ...Array.from({ length: 6 }, () => 0x91), 0xc0]),
  ],
  generate: random => frameFrom(random),
  run: input => {
    let frame: Frame
    try {
      frame = unpackFrame(input)
    } catch (error) {
      must(
        (error as { details?: Frame }).details?.rule !== 'decoder',
        `the guard took what the decoder did not: ${(error as Error).message}`,
      )
      return refusedWith(error, badFrame)
    }
    must(Object.getPrototypeOf(frame) === Object.prototype, 'a frame has a foreign prototype')
    for (const key in frame) {
      must(Object.hasOwn(frame, key), `${key} is inherited`)
      try {
        ;(readers[turn++ % readers.length] as (typeof readers)[number])(frame, key)
      } catch (error) {
        refusedWith(error, badField)
      }
    }
    if (turn % 4 === 0) {
      const found = difference(referenceDecode(input), frame)
      must(found === undefined, `another decoder sees something else at ${found}`)
    }
    if (turn % 4 === 1) repack(frame)
    return true
  },
}

/** A frame as the grammar has it. */
export function frameFrom(random: FuzzRandom): Uint8Array {
  if (maker?.random !== random) maker = new MsgpackMaker(random)
  maker.begin()
  maker.pairs(random.size(12), 1 + random.below(8))
  return maker.end()
}

function repack(frame: Frame): void {
  const packed = packFrame(frame)
  const again = packFrame(unpackFrame(packed))
  must(Buffer.compare(packed, again) === 0, 'packing what was unpacked gives other bytes')
}
