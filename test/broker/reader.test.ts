// What the reader says of bytes that are not there any more: trimmed by another broker, whose trim is not applied here yet, or damaged.

import { describe, expect, it } from 'vitest'
import { Reader } from '../../broker/reader.ts'
import { TailCache } from '../../broker/engine/tail-cache.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { Topics } from '../../broker/state/topics.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'

function partitionOfThree() {
  const topics = new Topics(new MemoryStore())
  const topic = topics.create('t', 1, {}, 0, 0)
  const [partition] = topic.partitions
  if (partition === undefined) throw new Error('no partition')
  for (let i = 0; i < 3; i++)
    topics.append(partition, {
      base: i,
      span: 1,
      count: 1,
      lsn: i,
      start: 0,
      length: 100,
      effectLsn: i,
      timestamp: 0,
      maxTimestamp: 0,
    })
  return { topics, topic, partition }
}

/** A log of which everything was trimmed. */
const trimmedLog = {
  chain: { version: 1 },
  readSlices: (slices: readonly unknown[]) =>
    Promise.resolve(slices.map(() => ({ gap: 'trimmed' }))),
} as unknown as VirtualLog

/** `apply`: what comes in when it catches up with the other brokers. */
function readerOf(topics: Topics, damage: number[], apply: () => void): Reader {
  return new Reader({
    log: trimmedLog,
    topics,
    cache: new TailCache(0),
    onDamage: lsn => damage.push(lsn),
    sync: async () => apply(),
  })
}

describe('a reader of bytes that are trimmed', () => {
  it('catches up with the trim before it calls them damage', async () => {
    const { topics, topic, partition } = partitionOfThree()
    const damage: number[] = []
    // Another broker trimmed the first two; the third is gone without a reason.
    const reader = readerOf(topics, damage, () => topics.trim(partition, 2, 3))
    const { items } = await reader.read(topic.id, 0, 0, 1000)
    expect(items).toEqual([
      { kind: 'gap', gap: 'trimmed', offset: 0, next: 1 },
      { kind: 'gap', gap: 'trimmed', offset: 1, next: 2 },
      { kind: 'gap', gap: 'lost', offset: 2, next: 3 },
    ])
    expect(damage).toEqual([2])
  })

  it('says trimmed of a topic that was deleted meanwhile', async () => {
    const { topics, topic } = partitionOfThree()
    const damage: number[] = []
    const reader = readerOf(topics, damage, () => topics.delete(topic))
    const { items } = await reader.read(topic.id, 0, 0, 1000)
    expect(items.map(item => item.kind === 'gap' && item.gap)).toEqual(Array(3).fill('trimmed'))
    expect(damage).toEqual([])
  })
})

describe('a reader of the past', () => {
  it('passes what was compacted before its end, where no batch follows that would show it', async () => {
    const { topics, topic, partition } = partitionOfThree()
    const entry = topics.at(partition, 1)
    if (entry === undefined) throw new Error('no entry')
    topics.replace(partition, entry, undefined)
    const reader = readerOf(topics, [], () => topics.trim(partition, 1, 3))
    expect(reader.past(topic.id, 0, 2)).toEqual({ start: 0, end: 2 })
    const first = await reader.read(topic.id, 0, 0, 1, 2)
    expect(first.next).toBe(1)
    const rest = await reader.read(topic.id, 0, 1, 1000, 2)
    expect(rest).toMatchObject({
      items: [{ kind: 'gap', gap: 'compacted', offset: 1, next: 2 }],
      next: 2,
      end: 2,
    })
  })
})
