// What follows a refused batch in its lane is refused as well, until that one comes again.

import { describe, expect, it } from 'vitest'
import { ShedLanes } from '../../../broker/gateway/load/shed-lanes.ts'
import { type Frame, handBatch } from '../raw-client.ts'

const produce = (baseSequence: number, producerId = 7, partition = 0): Frame => ({
  op: 'produce',
  topic: 't',
  partition,
  batch: handBatch([{ value: 'v' }], { producerId, baseSequence }),
})

describe('lanes of which something was refused', () => {
  it('miss it until it comes again', () => {
    const lanes = new ShedLanes()
    lanes.note(produce(5))
    expect(lanes.missing(produce(6))).toBe(5)
    lanes.note(produce(6))
    expect(lanes.missing(produce(7))).toBe(5)
    // What came before it may be tried again.
    expect(lanes.missing(produce(4))).toBeUndefined()
    expect(lanes.missing(produce(5))).toBeUndefined()
    expect(lanes.missing(produce(6))).toBeUndefined()
  })

  it('wrap around', () => {
    const lanes = new ShedLanes()
    lanes.note(produce(2 ** 31 - 1))
    expect(lanes.missing(produce(0))).toBe(2 ** 31 - 1)
    expect(lanes.missing(produce(2 ** 31 - 2))).toBeUndefined()
  })

  it('are one per producer and partition; without an identity there is none', () => {
    const lanes = new ShedLanes()
    lanes.note(produce(5))
    lanes.note(produce(5, 0))
    expect(lanes.missing(produce(6, 8))).toBeUndefined()
    expect(lanes.missing(produce(6, 7, 1))).toBeUndefined()
    expect(lanes.missing(produce(6, 0))).toBeUndefined()
  })

  it('are left alone by what is no batch', () => {
    const lanes = new ShedLanes()
    lanes.note(produce(5))
    expect(lanes.missing({ op: 'produce', batch: new Uint8Array(3) })).toBeUndefined()
    expect(lanes.missing({ op: 'publish', records: [] })).toBeUndefined()
  })
})
