// Many readers at the tail of a partition: one read and one packed copy of the records for all of them.

import { describe, expect, it } from 'vitest'
import type { Broker } from '../../broker/broker.ts'
import { type PackedRead, SharedReads } from '../../broker/gateway/shared-reads.ts'
import { readFormat } from '../../broker/gateway/items.ts'
import type { ReadResult } from '../../broker/reader.ts'
import { packField, packFrame, packFrameHead } from '../../wire/frame.ts'
import { handBatch } from './raw-client.ts'

const batch = handBatch([{ value: 'one' }])
const batches = readFormat({})

/** A partition of `count` batches of one record each. */
class OneBatchEach {
  reads = 0
  isCold = false
  private readonly count: number

  constructor(count: number) {
    this.count = count
  }

  read(_topic: number, _partition: number, from: number, maxBytes: number): unknown {
    this.reads++
    const fitting = Math.max(1, Math.floor(maxBytes / batch.length))
    const next = Math.min(this.count, from + fitting)
    const items: ReadResult['items'] = Array.from({ length: next - from }, (_, i) => ({
      kind: 'batch',
      offset: from + i,
      span: 1,
      count: 1,
      lsn: from + i,
      timestamp: 0,
      batch,
    }))
    const bytes = items.length * batch.length
    const result: ReadResult = { items, next, start: 0, end: this.count, bytes }
    return this.isCold ? Promise.resolve(result) : result
  }
}

function reader(partition: OneBatchEach): {
  read: (more?: object) => PackedRead | Promise<PackedRead>
  endTurn: () => void
} {
  const deferred: (() => void)[] = []
  const reads = new SharedReads(partition as unknown as Broker, fn => void deferred.push(fn))
  const place = {
    topicId: 1,
    partition: 0,
    from: 0,
    maxBytes: 10_000,
    until: undefined,
    format: batches,
  }
  return {
    read: more => reads.read({ ...place, ...more }),
    endTurn: () => {
      for (const fn of deferred.splice(0)) fn()
    },
  }
}

describe('reads of one turn', () => {
  it('are made once for all that want the same, and share their bytes', () => {
    const partition = new OneBatchEach(3)
    const { read } = reader(partition)
    const all = Array.from({ length: 50 }, () => read() as PackedRead)
    expect(partition.reads).toBe(1)
    expect(new Set(all.map(({ packed }) => packed)).size).toBe(1)
    expect(all[0]).toMatchObject({ next: 3, end: 3, records: 3, bytes: 3 * batch.length })
  })

  it('are shared with whoever has less room but room enough', () => {
    const partition = new OneBatchEach(3)
    const { read } = reader(partition)
    const whole = read()
    expect(read({ maxBytes: 3 * batch.length })).toBe(whole)
    expect(read({ maxBytes: 3 * batch.length - 1 })).toMatchObject({ next: 2 })
    expect(partition.reads).toBe(2)
  })

  it('that were cut are not given to whoever has more room', () => {
    const partition = new OneBatchEach(3)
    const { read } = reader(partition)
    expect(read({ maxBytes: batch.length })).toMatchObject({ next: 1 })
    expect(read()).toMatchObject({ next: 3 })
  })

  it.each([
    ['another place', { from: 1 }],
    ['another partition', { partition: 1 }],
    ['another topic', { topicId: 2 }],
    ['the past', { until: 3 }],
    ['other codecs', { format: readFormat({ codecs: ['none'] }) }],
    ['opened records', { format: readFormat({ format: 'records' }) }],
  ])('of %s are reads of their own', async (_, more) => {
    const partition = new OneBatchEach(3)
    const { read } = reader(partition)
    void read()
    await read(more)
    expect(partition.reads).toBe(2)
  })

  it('do not outlive it: the partition may have grown', () => {
    const partition = new OneBatchEach(3)
    const { read, endTurn } = reader(partition)
    void read()
    endTurn()
    void read()
    expect(partition.reads).toBe(2)
  })

  it('are not shared when they had to wait for the log', async () => {
    const partition = new OneBatchEach(3)
    partition.isCold = true
    const { read } = reader(partition)
    await read()
    await read()
    expect(partition.reads).toBe(2)
  })
})

it.each([1, 5, 14, 15, 40])(
  'a frame made of a head of %i fields and a packed field is the frame made in one piece',
  count => {
    const items = [{ offset: 2 ** 40, batch: Uint8Array.of(1, 2, 3) }, { gap: 'trimmed' }]
    const fields = Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 2 ** i]))
    const inPieces = Buffer.concat([packFrameHead(fields, 'items'), packField(items)])
    expect(Buffer.compare(inPieces, packFrame({ ...fields, items }))).toBe(0)
  },
)
