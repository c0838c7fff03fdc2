// Key compaction, against a map that is built from the input: on a state machine that is fed by hand, with passes at random moments.

import { array, assert, asyncProperty, constantFrom, integer, nat, record } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Compaction } from '../../broker/cleaning/compaction.ts'
import { KeyMap } from '../../broker/cleaning/key-map.ts'
import { Pace } from '../../broker/cleaning/pace.ts'
import { TailCache } from '../../broker/engine/tail-cache.ts'
import { Reader, type ReadItem } from '../../broker/reader.ts'
import type { Command } from '../../broker/state/commands.ts'
import { nodeClock } from '../../loglets/node-clock.ts'
import { compressBatch, decodeBatch, encodeBatch, readBatchHeader } from '../../wire/index.ts'
import { HandFed } from './hand-fed.ts'

const signal = new AbortController().signal
const compacted = { 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': '0' }

function compactionOf(
  fed: HandFed,
  options: { keyBytes?: number; tailBytes?: number; before?: (command: Command) => void } = {},
): Compaction {
  const { keyBytes = 1 << 20, tailBytes = 0, before } = options
  const pace = new Pace({ clock: nodeClock, bytesPerSecond: 1e12, backlogBytes: () => 0 })
  return new Compaction({
    machine: fed.machine,
    log: fed.log,
    clock: { ...nodeClock, sleep: async () => {} },
    pace,
    now: () => fed.stamp,
    keyBytesMax: keyBytes,
    tailBytes,
    isActing: () => true,
    ran: () => {},
    whileDurable: work => work(),
    propose: async command => {
      before?.(command)
      return fed.propose(command)
    },
  })
}

async function compact(fed: HandFed, compaction = compactionOf(fed)): Promise<void> {
  for (const [topic, partition] of compaction.due()) await compaction.run(topic, partition, signal)
}

function readerOf(fed: HandFed): Reader {
  return new Reader({
    log: fed.log,
    topics: fed.machine.topics,
    cache: new TailCache(0),
    onDamage: (lsn, detail) => {
      throw new Error(`damage at ${lsn}: ${detail}`)
    },
    sync: async () => {},
  })
}

async function itemsOf(fed: HandFed, topicId: number, from: number): Promise<readonly ReadItem[]> {
  const reader = readerOf(fed)
  const items: ReadItem[] = []
  for (let at = from; at < fed.partition(topicId).next; ) {
    const result = await reader.read(topicId, 0, at, 200)
    items.push(...result.items)
    at = result.next
  }
  return items
}

interface Seen {
  readonly offset: number
  readonly key: string | null
  readonly value: string | null
}

async function readAll(
  fed: HandFed,
  topicId: number,
  from = fed.partition(topicId).start,
): Promise<readonly Seen[]> {
  const text = (bytes: Uint8Array | null): string | null =>
    bytes === null ? null : Buffer.from(bytes).toString()
  const seen: Seen[] = []
  let next = from
  for (const item of await itemsOf(fed, topicId, from)) {
    // Every offset is in a batch or in a gap that says why.
    expect(item.offset <= next || next < from).toBe(true)
    next = item.kind === 'gap' ? item.next : item.offset + item.span
    if (item.kind === 'gap') {
      expect(item.gap).toBe('compacted')
      continue
    }
    for (const { offsetDelta, key, value } of await decodeBatch(item.batch)) {
      const offset = item.offset + offsetDelta
      if (offset >= from) seen.push({ offset, key: text(key), value: text(value) })
    }
  }
  expect(next).toBe(fed.partition(topicId).next)
  return seen
}

const step = record({
  kind: constantFrom('produce', 'produce', 'produce', 'compact', 'move', 'commit', 'read', 'wait'),
  records: array(record({ key: nat(25), isDelete: nat(3) }), { minLength: 1, maxLength: 6 }),
  at: nat(1000),
})
type Step = {
  readonly kind: string
  readonly records: readonly { readonly key: number; readonly isDelete: number }[]
  readonly at: number
}

describe('compaction', () => {
  it('serves the last value of every key, and nothing else of it before the dirty tail', async () => {
    await assert(
      asyncProperty(
        array(step, { maxLength: 40 }),
        constantFrom(4096, 400),
        async (steps, keyBytes) => {
          await play(steps, keyBytes)
        },
      ),
      { numRuns: 200 },
    )
  }, 60_000)

  async function play(steps: readonly Step[], keyBytes: number): Promise<void> {
    const fed = new HandFed()
    const topicId = fed.createTopic({ ...compacted, 'delete.retention.ms': '1000' })
    const input: Seen[] = []
    let serial = 0
    for (const { kind, records, at } of steps) {
      fed.stamp += 10
      if (kind === 'produce') {
        const made = records.map(({ key, isDelete }) => ({
          key: `k${key}`,
          value: isDelete === 0 ? null : `v${serial++}`,
        }))
        const base = fed.produce(topicId, made)
        made.forEach((one, i) => input.push({ offset: base + i, ...one }))
      } else if (kind === 'compact') await compact(fed, compactionOf(fed, { keyBytes }))
      else if (kind === 'move') moveSome(fed, topicId, at)
      else if (kind === 'commit') await fed.commit()
      else if (kind === 'wait') fed.stamp += 700
      else await check(fed, topicId, input, Math.floor((at / 1001) * (input.length + 1)))
    }
    fed.stamp += 5000
    // What is left is compacted, and what may go now goes.
    await compact(fed)
    fed.stamp += 5000
    await compact(fed)
    await check(fed, topicId, input, 0)
    await fed.commit()
    const rebuilt = await fed.rebuilt()
    expect(rebuilt.digest()).toBe(fed.machine.digest())
    expect(rebuilt.topics.partition(topicId, 0)?.compaction).toEqual(
      fed.partition(topicId).compaction,
    )
  }

  async function check(
    fed: HandFed,
    topicId: number,
    input: readonly Seen[],
    from: number,
  ): Promise<void> {
    const seen = await readAll(fed, topicId, from)
    const { to, horizon } = fed.partition(topicId).compaction
    const known = new Map(input.map(one => [one.offset, one]))
    for (const one of seen) expect(known.get(one.offset)).toEqual(one)
    const offsets = seen.map(({ offset }) => offset)
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b))
    const present = new Set(offsets)
    const last = new Map(input.map(({ key, offset }) => [key, offset]))
    const lastClean = new Map(
      input.filter(({ offset }) => offset < to).map(({ key, offset }) => [key, offset]),
    )
    for (const { key, offset, value } of input) {
      if (offset < from) continue
      // A value that is the last of its key is there; so is everything in the dirty tail.
      if (offset >= to) expect(present.has(offset)).toBe(true)
      else if (last.get(key) === offset && value !== null) expect(present.has(offset)).toBe(true)
      else if (lastClean.get(key) !== offset) expect(present.has(offset)).toBe(false)
      // A tombstone stays at least until its time has begun.
      else if (value === null && offset >= horizon && last.get(key) === offset)
        expect(present.has(offset)).toBe(true)
    }
  }

  function moveSome(fed: HandFed, topicId: number, at: number): void {
    const entries = fed.index(topicId)
    const entry = entries[at % Math.max(1, entries.length)]
    if (entry === undefined) return
    const { base, lsn, start, length } = entry
    const batch = (fed.entries[lsn] as Uint8Array).slice(start, start + length)
    const header = readBatchHeader(batch)
    fed.propose({
      type: 'relocate',
      moves: [{ topicId, partition: 0, base, lsn, start, batch, header }],
    })
  }

  it('keeps offsets, times, codec and identity of a batch, and the last batch whole', async () => {
    const fed = new HandFed()
    const topicId = fed.createTopic(compacted)
    fed.stamp = 1000
    const records = ['a', 'b', 'a', 'c'].map((key, i) => ({
      key,
      value: `${key}${i}`.repeat(50),
      timestamp: 100 + i,
      headers: { h: String(i) },
    }))
    const producer = { producerId: 1, producerEpoch: 0, baseSequence: 0 }
    fed.propose({ type: 'initProducer' })
    const batch = await compressBatch(encodeBatch(records, { now: 0, producer }), 'gzip')
    const header = readBatchHeader(batch)
    fed.propose({ type: 'produce', topicId, partition: 0, batch, header })
    fed.produce(topicId, [{ key: 'b', value: 'new' }])
    fed.produce(topicId, [{ key: 'b', value: 'newest' }])
    const [before] = fed.index(topicId)
    await compact(fed)
    const entries = fed.index(topicId)
    // The one in the middle is gone: its only record has a newer one... in the tail, which no pass looks at.
    expect(entries.map(({ base }) => base)).toEqual([0, 4, 5])
    expect(entries[0]).toMatchObject({
      span: 4,
      count: 2,
      effectLsn: before?.effectLsn,
      timestamp: before?.timestamp,
      maxTimestamp: before?.maxTimestamp,
    })
    const [first] = await itemsOf(fed, topicId, 0)
    if (first?.kind !== 'batch') throw new Error('no batch')
    expect(readBatchHeader(first.batch)).toMatchObject({
      ...producer,
      codec: 'gzip',
      sparse: true,
      span: 4,
      count: 2,
    })
    expect(
      (await decodeBatch(first.batch)).map(r => [r.offsetDelta, r.timestamp, r.headers.length]),
    ).toEqual([
      [2, 102, 1],
      [3, 103, 1],
    ])
  })

  it('tells of offsets without records as compacted; times and starts are found all the same', async () => {
    const fed = new HandFed()
    const topicId = fed.createTopic(compacted)
    for (let i = 0; i < 10; i++)
      fed.produce(topicId, [{ key: 'k', value: String(i), timestamp: 1000 + i }])
    fed.produce(topicId, [{ key: 'other', value: 'x', timestamp: 2000 }])
    await compact(fed)
    const reader = readerOf(fed)
    expect(await itemsOf(fed, topicId, 0)).toMatchObject([
      { kind: 'gap', gap: 'compacted', offset: 0, next: 9 },
      { kind: 'batch', offset: 9 },
      { kind: 'batch', offset: 10 },
    ])
    expect(await itemsOf(fed, topicId, 4)).toMatchObject([
      { kind: 'gap', gap: 'compacted', offset: 4, next: 9 },
      { kind: 'batch', offset: 9 },
      { kind: 'batch', offset: 10 },
    ])
    expect(reader.offsetAt(topicId, 0, 'beginning')).toBe(0)
    expect(reader.offsetAt(topicId, 0, { last: 3 })).toBe(8)
    for (const [timestamp, offset] of [
      [0, 9],
      [1004, 9],
      [1009, 9],
      [1500, 10],
      [2001, 11],
    ] as const)
      expect(await reader.offsetAt(topicId, 0, { timestamp }), String(timestamp)).toBe(offset)
    expect(fed.produce(topicId, [{ key: 'k', value: 'next' }])).toBe(11)
  })

  it('finds times behind a hole in the middle', async () => {
    const fed = new HandFed()
    const topicId = fed.createTopic(compacted)
    fed.produce(topicId, [{ key: 'first', value: 'x', timestamp: 500 }])
    for (let i = 0; i < 10; i++)
      fed.produce(topicId, [{ key: 'k', value: String(i), timestamp: 1000 + i }])
    fed.produce(topicId, [{ key: 'last', value: 'x', timestamp: 2000 }])
    await compact(fed)
    expect(fed.index(topicId).map(({ base }) => base)).toEqual([0, 10, 11])
    for (const [timestamp, offset] of [
      [400, 0],
      [501, 10],
      [1009, 10],
      [1010, 11],
    ] as const)
      expect(await readerOf(fed).offsetAt(topicId, 0, { timestamp }), String(timestamp)).toBe(
        offset,
      )
  })

  it('drops records without key, which a topic may have from before it was compacted', async () => {
    const fed = new HandFed()
    const topicId = fed.createTopic()
    fed.produce(topicId, [{ value: 'none' }, { key: 'k', value: 'v' }, { value: 'none' }])
    fed.produce(topicId, [{ value: 'in the tail' }])
    fed.propose({ type: 'alterTopic', topicId, config: compacted })
    await compact(fed)
    expect((await readAll(fed, topicId)).map(({ offset }) => offset)).toEqual([1, 3])
  })

  it('waits for the dirty ratio, the lag and the tail, and leaves other topics alone', async () => {
    const fed = new HandFed()
    const half = fed.createTopic({
      'cleanup.policy': 'compact',
      'min.cleanable.dirty.ratio': '0.6',
    })
    const lagging = fed.createTopic({ ...compacted, 'min.compaction.lag.ms': '500' })
    const plain = fed.createTopic()
    const due = (tailBytes = 0): readonly number[] =>
      compactionOf(fed, { tailBytes })
        .due()
        .map(([{ id }]) => id)
    for (const id of [half, lagging, plain])
      for (let i = 0; i < 4; i++) fed.produce(id, [{ key: `k${i}`, value: 'v' }])
    expect(due()).toEqual([half])
    expect(due(1 << 20)).toEqual([])
    await compact(fed)
    expect(due()).toEqual([])
    // Two of five batches are dirty; then five of eight.
    fed.produce(half, [{ key: 'k', value: 'v' }])
    expect(due()).toEqual([])
    for (let i = 0; i < 3; i++) fed.produce(half, [{ key: 'k', value: 'v' }])
    expect(due()).toEqual([half])
    fed.stamp = 600
    expect([...due()].sort((a, b) => a - b)).toEqual([half, lagging])
  })

  it('removes no tombstone in a pass in which something could not be removed', async () => {
    const fed = new HandFed()
    const topicId = fed.createTopic({ ...compacted, 'delete.retention.ms': '0' })
    fed.produce(topicId, [
      { key: 'k', value: 'old' },
      { key: 'other', value: 'v' },
    ])
    fed.produce(topicId, [{ key: 'k', value: null }])
    fed.produce(topicId, [{ key: 'tail', value: 'v' }])
    let isOnce = true
    const racing = compactionOf(fed, {
      before: command => {
        // Another broker moves the batch at the last moment.
        if (command.type !== 'relocate' || !isOnce) return
        isOnce = false
        moveSome(fed, topicId, 0)
      },
    })
    await compact(fed, racing)
    expect(fed.partition(topicId).compaction.to).toBe(0)
    expect((await readAll(fed, topicId)).filter(({ key }) => key === 'k')).toHaveLength(2)
    for (let pass = 0; pass < 3; pass++) {
      await compact(fed)
      const values = (await readAll(fed, topicId)).filter(({ key }) => key === 'k')
      expect(values.every(({ value }) => value === null)).toBe(true)
    }
    expect((await readAll(fed, topicId)).map(({ key }) => key)).toEqual(['other', 'tail'])
  })

  it('keeps a tombstone for its time from the pass that removed what it hides', async () => {
    const fed = new HandFed()
    const topicId = fed.createTopic({ ...compacted, 'delete.retention.ms': '1000' })
    fed.produce(topicId, [
      { key: 'k', value: 'v' },
      { key: 'k', value: null },
    ])
    fed.produce(topicId, [{ key: 'tail', value: 'v' }])
    // Long after it was written, but compacted only now.
    fed.stamp = 100_000
    fed.propose({ type: 'stamp' })
    await compact(fed)
    const tombstones = async (): Promise<number> =>
      (await readAll(fed, topicId)).filter(({ value }) => value === null).length
    fed.stamp += 999
    await compact(fed)
    expect(await tombstones()).toBe(1)
    fed.stamp += 1
    await compact(fed)
    expect(await tombstones()).toBe(0)
  })
})

describe('the map of keys', () => {
  it('gives the newest offset of each key, and says when it is full', async () => {
    await assert(
      asyncProperty(
        array(record({ key: nat(50), step: integer({ min: 1, max: 9 }) })),
        async all => {
          const map = new KeyMap(24 * 80)
          const model = new Map<number, number>()
          let offset = 0
          for (const { key, step: by } of all) {
            map.set(Buffer.from(`key ${key}`), offset)
            model.set(key, offset)
            offset += by
          }
          expect(map.size).toBe(model.size)
          for (let key = 0; key <= 50; key++)
            expect(map.get(Buffer.from(`key ${key}`))).toBe(model.get(key))
          expect(map.fits(60 - model.size)).toBe(true)
          expect(map.fits(61 - model.size)).toBe(false)
          map.clear()
          expect(map.get(Buffer.from('key 1'))).toBeUndefined()
        },
      ),
    )
  })
})
