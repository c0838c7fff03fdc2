// `relocate` and what finds its work: a batch may lie elsewhere, offsets and times stay, and nothing that lives is ever overlooked.

import { array, assert, asyncProperty, constantFrom, nat, record } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LivePlaces } from '../../broker/cleaning/live-places.ts'
import { Pace } from '../../broker/cleaning/pace.ts'
import { Relocation } from '../../broker/cleaning/relocation.ts'
import { TailCache } from '../../broker/engine/tail-cache.ts'
import { Reader } from '../../broker/reader.ts'
import type { Command, Move } from '../../broker/state/commands.ts'
import { metaKey, prefixRange } from '../../broker/state/keys.ts'
import { StateMachine } from '../../broker/state/state-machine.ts'
import type { IndexEntry } from '../../broker/state/topics.ts'
import { nodeClock } from '../../loglets/node-clock.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { encodeBatch, packFrame, readBatchHeader, unpackFrame } from '../../wire/index.ts'
import { HandFed } from './hand-fed.ts'

function batchAt({ entries }: HandFed, { lsn, start, length }: IndexEntry): Uint8Array {
  return (entries[lsn] as Uint8Array).slice(start, start + length)
}

function moveOf(fed: HandFed, topicId: number, entry: IndexEntry): Move & { batch: Uint8Array } {
  const { base, lsn, start } = entry
  const batch = batchAt(fed, entry)
  const header = readBatchHeader(batch)
  return { topicId, partition: 0, base, lsn, start, batch, header }
}

async function lowestOf(machine: StateMachine): Promise<number> {
  return new LivePlaces(machine, nodeClock).lowest()
}

describe('relocate', () => {
  it('changes the place of a batch, and nothing else of it', () => {
    const fed = new HandFed()
    const topicId = fed.createTopic()
    fed.stamp = 1000
    fed.produce(topicId, [{ value: 'a' }, { value: 'b' }])
    fed.produce(topicId, [{ value: 'c' }])
    fed.stamp = 5000
    const [first, second] = fed.index(topicId) as [IndexEntry, IndexEntry]
    const bytes = batchAt(fed, first)
    const { bytes: stored } = fed.partition(topicId)
    const decision = fed.propose({ type: 'relocate', moves: [moveOf(fed, topicId, first)] })
    expect(decision).toMatchObject({ ok: true, result: { moved: 1 } })
    const [moved, other] = fed.index(topicId) as [IndexEntry, IndexEntry]
    expect(moved).toEqual({ ...first, lsn: fed.entries.length - 1, start: moved.start })
    expect(batchAt(fed, moved)).toEqual(bytes)
    expect(other).toEqual(second)
    expect(fed.partition(topicId)).toMatchObject({ start: 0, next: 3, bytes: stored })
  })

  it('has no effect on a batch that lies elsewhere, was given up, or never was', () => {
    const fed = new HandFed()
    const topicId = fed.createTopic()
    for (const value of ['a', 'b', 'c']) fed.produce(topicId, [{ value }])
    const [first, second, third] = fed.index(topicId) as [IndexEntry, IndexEntry, IndexEntry]
    const move = moveOf(fed, topicId, second)
    fed.propose({ type: 'relocate', moves: [move] })
    fed.propose({ type: 'deleteRecords', topicId, partition: 0, before: 1 })
    const before = fed.index(topicId)
    const stale: Move[] = [
      move,
      moveOf(fed, topicId, first),
      { ...moveOf(fed, topicId, third), start: third.start + 1 },
      { ...moveOf(fed, topicId, third), base: 7 },
      { ...moveOf(fed, topicId, third), topicId: 99 },
      { ...moveOf(fed, topicId, third), partition: 1 },
      { ...move, batch: new Uint8Array() },
    ]
    for (const one of stale)
      expect(fed.propose({ type: 'relocate', moves: [one] })).toMatchObject({
        ok: true,
        result: { moved: 0 },
      })
    expect(fed.index(topicId)).toEqual(before)
  })

  it('takes a batch of other offsets for what it is: a defect', () => {
    const fed = new HandFed()
    const topicId = fed.createTopic()
    fed.produce(topicId, [{ value: 'a' }])
    fed.produce(topicId, [{ value: 'b' }, { value: 'c' }])
    const [first, second] = fed.index(topicId) as [IndexEntry, IndexEntry]
    const { batch } = moveOf(fed, topicId, second)
    const mixed = { ...moveOf(fed, topicId, first), batch }
    fed.propose({ type: 'relocate', moves: [mixed] })
    expect(fed.index(topicId)).toEqual([first, second])
  })

  it('gives up what precedes, when a forced trim takes a batch behind one that was moved', () => {
    const fed = new HandFed()
    const topicId = fed.createTopic()
    for (const value of ['a', 'b', 'c']) fed.produce(topicId, [{ value }])
    const [first, second, third] = fed.index(topicId) as [IndexEntry, IndexEntry, IndexEntry]
    fed.propose({ type: 'relocate', moves: [moveOf(fed, topicId, first)] })
    fed.propose({ type: 'trim', before: second.lsn + 1 })
    expect(fed.index(topicId)).toEqual([third])
  })
})

describe('cleaning', () => {
  it('looks again when the store did not know of any place yet', async () => {
    const fed = new HandFed()
    const kept = fed.createTopic()
    const gone = fed.createTopic()
    const value = 'x'.repeat(10_000)
    for (let i = 0; i < 10; i++) fed.produce(kept, [{ value }])
    for (let i = 0; i < 60; i++) fed.produce(gone, [{ value }])
    fed.propose({ type: 'deleteRecords', topicId: gone, partition: 0, before: 60 })
    let moved = 0
    let cuts = 0
    const relocation = new Relocation({
      machine: fed.machine,
      log: fed.log,
      places: new LivePlaces(fed.machine, nodeClock),
      pace: new Pace({ clock: nodeClock, bytesPerSecond: 1e9, backlogBytes: () => 0 }),
      targetPercent: 200,
      slackBytes: 65_536,
      isActing: () => true,
      propose: async command => fed.propose(command),
      whileDurable: work => work(),
      cut: async () => {
        cuts++
      },
      moved: batches => {
        moved += batches
      },
    })
    const { signal } = new AbortController()
    expect(relocation.isDue).toBe(true)
    await relocation.run(signal)
    expect([moved, cuts]).toEqual([0, 0])
    // Nobody writes any more; the state is stored a little later.
    await fed.commit()
    expect(relocation.isDue).toBe(true)
    await relocation.run(signal)
    expect(moved).toBeGreaterThan(0)
  })
})

describe('the lowest place', () => {
  it('is not above an entry that is held back, nor above one that took effect since the state was stored', async () => {
    const fed = new HandFed()
    const { machine } = fed
    const topicId = fed.createTopic()
    const produce = (value: string): Command => {
      const batch = encodeBatch([{ value }], { now: 1 })
      const header = readBatchHeader(batch)
      return { type: 'produce', topicId, partition: 0, batch, header }
    }
    const places = new LivePlaces(machine, nodeClock)
    const at = fed.entries.length
    await fed.swapped(produce('a'), produce('b'), async () => {
      await fed.commit()
      expect(await places.lowest()).toBe(at)
    })
    fed.propose({ type: 'stamp' })
    expect(await places.lowest()).toBe(at)
    await fed.commit()
    expect(await places.lowest()).toBe(at)
    expect(fed.index(topicId).map(({ lsn }) => lsn)).toEqual([at + 1, at])
    // Of the two, the one that was held back is the second.
    fed.propose({ type: 'deleteRecords', topicId, partition: 0, before: 1 })
    await fed.commit()
    expect(await places.lowest()).toBe(at)
  })

  it('is found in a state of before places were written down', async () => {
    const fed = new HandFed()
    const topicId = fed.createTopic()
    for (const value of ['a', 'b', 'c']) fed.produce(topicId, [{ value }])
    fed.propose({ type: 'deleteRecords', topicId, partition: 0, before: 1 })
    await fed.commit()
    const meta = unpackFrame(fed.store.get(metaKey) as Uint8Array)
    const { logBytes: _, ...old } = meta
    await fed.store.commit([
      { type: 'put', key: metaKey, value: packFrame(old) },
      { type: 'deleteRange', ...prefixRange(10) },
      { type: 'deleteRange', ...prefixRange(11) },
    ])
    const machine = new StateMachine(fed.store)
    const lowest = fed.index(topicId)[0]?.lsn as number
    expect(await lowestOf(machine)).toBeLessThanOrEqual(lowest)
    const changes = machine.takeChanges()
    await fed.store.commit(changes.ops)
    changes.done()
    expect(await lowestOf(machine)).toBe(lowest)
    expect(await lowestOf(new StateMachine(fed.store))).toBe(lowest)
  })
})

describe('a reader', () => {
  it.each([
    ['is moved', 'batch'],
    ['is compacted away', 'compacted'],
    ['is given up', 'trimmed'],
  ])(
    'that is under way when a batch %s and its place is trimmed gets the batch, or hears why not',
    async (change, result) => {
      const fed = new HandFed()
      const topicId = fed.createTopic()
      for (const value of ['a', 'b']) fed.produce(topicId, [{ value }])
      const [entry, next] = fed.index(topicId) as [IndexEntry, IndexEntry]
      const bytes = batchAt(fed, entry)
      const { log } = fed
      let isFirst = true
      const slow = Object.create(log, {
        readSlices: {
          value: async (slices: never) => {
            if (isFirst) {
              const move = moveOf(fed, topicId, entry)
              const other = moveOf(fed, topicId, next)
              const moves: Move[] = [other]
              if (change === 'is moved') moves.push(move)
              if (change === 'is compacted away') moves.push(removal(move))
              fed.propose({ type: 'relocate', moves })
              if (change === 'is given up')
                fed.propose({ type: 'deleteRecords', topicId, partition: 0, before: 1 })
              fed.trimPoint = next.lsn + 1
            }
            isFirst = false
            return log.readSlices(slices)
          },
        },
      }) as VirtualLog
      const reader = new Reader({
        log: slow,
        topics: fed.machine.topics,
        cache: new TailCache(0),
        onDamage: (_, detail) => {
          throw new Error(detail)
        },
        sync: async () => {},
      })
      const { items } = await reader.read(topicId, 0, 0, 1000)
      expect(items).toMatchObject([
        result === 'batch'
          ? { kind: 'batch', offset: 0, batch: bytes }
          : { kind: 'gap', gap: result, offset: 0, next: 1 },
        { kind: 'batch', offset: 1 },
      ])
    },
  )
})

function removal({ topicId, partition, base, lsn, start }: Move): Move {
  return { topicId, partition, base, lsn, start, batch: new Uint8Array() }
}

const step = record({
  kind: constantFrom(
    'produce',
    'produce',
    'produce',
    'relocate',
    'relocate',
    'stale',
    'remove',
    'deleteRecords',
    'trim',
    'cut',
    'begin',
    'begin',
    'finish',
    'finish',
    'deleteTopic',
  ),
  topic: nat(1),
  at: nat(1000),
})

/** What has to be there, by topic and base offset. */
type Model = Map<number, Map<number, IndexEntry>>

async function play(steps: readonly { kind: string; topic: number; at: number }[]): Promise<void> {
  const fed = new HandFed()
  const { machine } = fed
  const { topics } = machine
  let ids = [fed.createTopic(), fed.createTopic()]
  const model: Model = new Map(ids.map(id => [id, new Map()]))
  const places = new LivePlaces(machine, nodeClock)
  const stale: Move[] = []
  for (const { kind, topic, at } of steps) {
    const id = ids[topic] as number
    const held = model.get(id) as Map<number, IndexEntry>
    const live = [...held.values()].sort((a, b) => a.base - b.base)
    // Few batches, so that one is chosen again while the state is on its way to the store.
    const chosen = live[at % Math.min(4, Math.max(1, live.length))]
    if (kind === 'produce') {
      fed.produce(
        id,
        Array.from({ length: 1 + (at % 3) }, (_, i) => ({ value: `${at}${i}` })),
      )
      const entry = fed.index(id).at(-1) as IndexEntry
      held.set(entry.base, entry)
    } else if (kind === 'relocate' && chosen !== undefined) {
      const move = moveOf(fed, id, chosen)
      stale.push(move)
      fed.propose({ type: 'relocate', moves: [move] })
      const now = topics.at(fed.partition(id), chosen.base) as IndexEntry
      expect(now).toEqual({ ...chosen, lsn: fed.entries.length - 1, start: now.start })
      held.set(chosen.base, now)
    } else if (kind === 'stale' && stale.length > 0)
      fed.propose({ type: 'relocate', moves: [stale[at % stale.length] as Move] })
    else if (kind === 'remove' && chosen !== undefined && chosen !== live.at(-1)) {
      fed.propose({ type: 'relocate', moves: [removal(moveOf(fed, id, chosen))] })
      held.delete(chosen.base)
    } else if (kind === 'deleteRecords' && chosen !== undefined) {
      const before = chosen.base + (at % 2)
      fed.propose({ type: 'deleteRecords', topicId: id, partition: 0, before })
      for (const { base, span } of live) if (base + span <= before) held.delete(base)
    } else if (kind === 'trim') {
      const before = Math.floor((fed.entries.length * (at % 100)) / 200)
      fed.propose({ type: 'trim', before })
      for (const entries of model.values()) {
        const gone = [...entries.values()].filter(({ lsn }) => lsn < before)
        const end = Math.max(-1, ...gone.map(({ base, span }) => base + span))
        for (const { base, span } of entries.values()) if (base + span <= end) entries.delete(base)
      }
    } else if (kind === 'cut') {
      const before = await places.lowest()
      fed.propose({ type: 'trim', before, clean: true })
      fed.trimPoint = Math.max(fed.trimPoint, before)
    } else if (kind === 'begin') fed.beginCommit()
    else if (kind === 'finish') await fed.finishCommit()
    else if (kind === 'deleteTopic' && at % 5 === 0) {
      fed.propose({ type: 'deleteTopic', topicId: id })
      model.delete(id)
      const fresh = fed.createTopic()
      model.set(fresh, new Map())
      ids = ids.map(one => (one === id ? fresh : one))
    }
    await compare(fed, machine, model)
    // Nothing that lives is overlooked, whatever the store has by now.
    expect(await places.lowest()).toBeLessThanOrEqual(lowestIn(model))
  }
  await fed.commit()
  await compare(fed, machine, model)
  const rows = [...model.values()].reduce((sum, held) => sum + held.size, 0)
  expect(fed.store.range(prefixRange(4))).toHaveLength(rows)
  const lowest = Math.min(lowestIn(model), machine.applied)
  expect(await places.lowest()).toBe(lowest)
  expect(await lowestOf(machine)).toBe(lowest)
  const rebuilt = await fed.rebuilt()
  expect(rebuilt.digest()).toBe(machine.digest())
  await compare(fed, rebuilt, model)
  expect(await lowestOf(rebuilt)).toBe(lowest)
}

async function compare(fed: HandFed, machine: StateMachine, model: Model): Promise<void> {
  let bytes = 0
  for (const [id, held] of model) {
    const expected = [...held.values()].sort((a, b) => a.base - b.base)
    expect(fed.index(id, machine)).toEqual(expected)
    const partition = machine.topics.partition(id, 0)
    if (partition === undefined) throw new Error('no partition')
    expect(partition.bytes).toBe(expected.reduce((sum, { length }) => sum + length, 0))
    bytes += partition.bytes
    for (const entry of expected) {
      expect(machine.topics.at(partition, entry.base)).toEqual(entry)
      expect(machine.topics.floor(partition, entry.base + entry.span - 1)).toEqual(entry)
    }
  }
  expect(machine.topics.bytes).toBe(bytes)
}

function lowestIn(model: Model): number {
  const lsns = [...model.values()].flatMap(held => [...held.values()].map(({ lsn }) => lsn))
  return Math.min(Number.MAX_SAFE_INTEGER, ...lsns)
}

describe('index and places', () => {
  it('are those of a model, whenever the state is stored, and after a rebuild', async () => {
    await assert(asyncProperty(array(step, { maxLength: 60 }), play), { numRuns: 300 })
  })
})
