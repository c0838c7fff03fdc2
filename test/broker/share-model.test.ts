// Share groups against a model: members that take, finish, give back, keep and vanish, locks and delays that end, records that are trimmed.

import {
  array,
  assert,
  asyncProperty,
  boolean,
  constant,
  constantFrom,
  integer,
  oneof,
  record,
} from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Decision } from '../../broker/state/commands.ts'
import { type AckType, ackTypes } from '../../broker/state/share/commands.ts'
import type { StateMachine } from '../../broker/state/state-machine.ts'
import { recordLocksMax } from '../../broker/state/share/share-partition.ts'
import { HandFed } from './hand-fed.ts'

const group = 'g'
const limit = 3
const lockMs = 1000
const members = ['a', 'b', 'c'] as const

interface Known {
  count: number
  holder?: string
  until?: number
}

/** What the group should know, in the words of its users: every record is new, known (held, waiting or delayed) or done. */
class Model {
  readonly known = new Map<number, Known>()
  readonly accepted: number[] = []
  readonly dead: number[] = []
  next = 0
  private readonly keepsDead: boolean

  constructor(keepsDead: boolean) {
    this.keepsDead = keepsDead
  }

  expire(time: number): void {
    for (const [offset, { holder, until }] of this.known)
      if (until !== undefined && until <= time)
        if (holder === undefined) this.known.set(offset, { count: this.countOf(offset) })
        else this.giveBack(offset, 0, time)
  }

  trim(start: number): void {
    for (const offset of this.known.keys()) if (offset < start) this.known.delete(offset)
    this.next = Math.max(this.next, start)
  }

  /** @returns [offset, delivery count] of each */
  acquire(member: string, time: number, max: number, end: number): [number, number][] {
    const waiting = [...this.known]
      .filter(([, { until }]) => until === undefined)
      .map(([offset]) => offset)
      .sort((a, b) => a - b)
    const chosen = waiting.slice(0, max)
    while (chosen.length >= waiting.length && chosen.length < max && this.next < end)
      chosen.push(this.next++)
    return chosen.map(offset => {
      const count = Math.min(this.countOf(offset) + 1, limit + 1)
      this.known.set(offset, { count, holder: member, until: time + lockMs })
      return [offset, count]
    })
  }

  holds(member: string, offset: number): boolean {
    return this.known.get(offset)?.holder === member
  }

  acknowledge(offset: number, type: AckType, ms: number, time: number): void {
    const { count, holder = '' } = this.known.get(offset) as Known
    if (type === 'renew') this.known.set(offset, { count, holder, until: time + ms })
    else if (type === 'release') this.giveBack(offset, ms, time)
    else this.known.delete(offset)
    if (type === 'accept') this.accepted.push(offset)
  }

  leave(member: string, except: readonly number[]): void {
    for (const [offset, { count, holder }] of this.known)
      if (holder === member && !except.includes(offset))
        this.known.set(offset, { count: count - 1 })
  }

  private giveBack(offset: number, delayMs: number, time: number): void {
    const count = this.countOf(offset)
    if (count >= limit && !this.keepsDead) {
      this.known.delete(offset)
      this.dead.push(offset)
    } else this.known.set(offset, delayMs === 0 ? { count } : { count, until: time + delayMs })
  }

  private countOf(offset: number): number {
    return this.known.get(offset)?.count ?? 0
  }
}

class Run {
  readonly fed = new HandFed()
  readonly model: Model
  readonly topicId: number
  produced = 0
  trimmedTo = 0

  constructor(keepsDead: boolean) {
    this.model = new Model(keepsDead)
    this.fed.stamp = 1000
    this.topicId = this.fed.createTopic()
    const open = { group, topics: [this.topicId], deliveryCountLimit: limit, keepsDead }
    expect(this.fed.propose({ type: 'openShareGroup', reset: 'earliest', ...open }).ok).toBe(true)
  }

  get time(): number {
    return this.fed.stamp
  }

  produce(count: number): void {
    this.fed.produce(
      this.topicId,
      Array.from({ length: count }, () => ({ key: 'k', value: 'v' })),
    )
    this.produced += count
  }

  acquire(memberId: string, maxRecords: number): void {
    const partitions = [[this.topicId, 0]] as const
    const { fed, model } = this
    const decision = fed.propose({
      type: 'acquireRecords',
      group,
      memberId,
      partitions,
      maxRecords,
      maxBytes: 1 << 20,
      lockMs,
    })
    model.trim(this.trimmedTo)
    model.expire(this.time)
    const expected = model.acquire(memberId, this.time, maxRecords, this.produced)
    const taken = resultOf(decision)['taken'] as [number, number, number, number, number][]
    const given = taken.flatMap(([, , first, count, deliveryCount]) =>
      Array.from({ length: count }, (_, i) => [first + i, deliveryCount]),
    )
    expect(given).toEqual(expected)
  }

  acknowledge(memberId: string, first: number, count: number, type: AckType, ms: number): void {
    const ack = [this.topicId, 0, first, count, ackTypes[type], ms] as const
    const acks = { group, memberId, acks: [ack] }
    const { fed, model } = this
    const offsets = Array.from({ length: count }, (_, i) => first + i)
    const refused = offsets.filter(offset => !model.holds(memberId, offset))
    expect(fed.machine.shares.checkAck(acks) === undefined).toBe(refused.length === 0)
    const decision = fed.propose({ type: 'acknowledgeRecords', ...acks })
    const runs = (resultOf(decision)['refused'] ?? []) as [number, number, number, number][]
    expect(
      runs.flatMap(([, , from, length]) => Array.from({ length }, (_, i) => from + i)),
    ).toEqual(refused)
    for (const offset of offsets)
      if (!refused.includes(offset)) model.acknowledge(offset, type, ms, this.time)
  }

  leave(memberId: string, first: number, count: number): void {
    const except = [[this.topicId, 0, first, count]] as const
    this.fed.propose({ type: 'releaseRecords', group, memberId, except })
    this.model.leave(
      memberId,
      Array.from({ length: count }, (_, i) => first + i),
    )
  }

  sweep(): void {
    this.fed.propose({ type: 'sweepShareGroups', groups: [group], retentionMs: 1e9 })
    this.model.expire(this.time)
  }

  trim(before: number): void {
    this.trimmedTo = Math.max(this.trimmedTo, Math.min(before, this.produced))
    const at = { topicId: this.topicId, partition: 0, before: this.trimmedTo }
    this.fed.propose({ type: 'deleteRecords', ...at })
  }

  /** What the machine knows is what the model knows, after a restart and after a replay as well. */
  async check(): Promise<void> {
    const share = this.share()
    expect(new Map([...share.records].map(([offset, d]) => [offset, plain(d)]))).toEqual(
      new Map([...this.model.known].sort(([a], [b]) => a - b)),
    )
    expect([...share.records.keys()]).toEqual([...share.records.keys()].sort((a, b) => a - b))
    expect(share.acknowledged).toBe(this.model.accepted.length)
    await this.fed.commit()
    const rebuilt = await this.fed.rebuilt()
    expect(rebuilt.digest()).toBe(this.fed.machine.digest())
    expect(shown(rebuilt)).toEqual(shown(this.fed.machine))
    const untils = [...share.records.values()].flatMap(({ until }) => until ?? [])
    expect(share.due).toBeLessThanOrEqual(Math.min(...untils))
  }

  share() {
    const found = this.fed.machine.shares.registry.byName
      .get(group)
      ?.partitions.get(`${this.topicId}/0`)
    if (found === undefined) throw new Error('the group does not know the partition')
    return found
  }
}

/** `due` may be earlier than what is due, and is made anew by a restart. */
function shown({ shares }: StateMachine): unknown {
  const found = shares.registry.byName.get(group)
  return [...(found?.partitions.values() ?? [])].map(each =>
    Object.entries(each).filter(([field]) => field !== 'due'),
  )
}

function resultOf(decision: Decision): Readonly<Record<string, unknown>> {
  if (!decision.ok) throw new Error(decision.message)
  return decision.result ?? {}
}

const plain = ({
  count,
  holder,
  until,
}: {
  count: number
  holder: string | undefined
  until: number | undefined
}): Known => ({
  count,
  ...(holder === undefined ? {} : { holder }),
  ...(until === undefined ? {} : { until }),
})

const member = constantFrom(...members)
const first = integer({ min: 0, max: 40 })
const step = oneof(
  {
    weight: 2,
    arbitrary: record({ kind: constant('produce' as const), count: integer({ min: 1, max: 6 }) }),
  },
  {
    weight: 5,
    arbitrary: record({
      kind: constant('acquire' as const),
      member,
      max: integer({ min: 1, max: 8 }),
    }),
  },
  {
    weight: 8,
    arbitrary: record({
      kind: constant('acknowledge' as const),
      member,
      first,
      count: integer({ min: 1, max: 6 }),
      type: constantFrom<AckType>('accept', 'accept', 'release', 'reject', 'renew', 'gap'),
      ms: constantFrom(0, 300, 3000),
    }),
  },
  {
    weight: 1,
    arbitrary: record({
      kind: constant('leave' as const),
      member,
      first,
      count: integer({ min: 1, max: 10 }),
    }),
  },
  {
    weight: 3,
    arbitrary: record({ kind: constant('wait' as const), ms: constantFrom(100, 600, 1000, 5000) }),
  },
  { weight: 1, arbitrary: record({ kind: constant('sweep' as const) }) },
  { weight: 1, arbitrary: record({ kind: constant('trim' as const), before: first }) },
  { weight: 1, arbitrary: record({ kind: constant('check' as const) }) },
)

describe('a share group', () => {
  it('does what its model does, and forgets no record that is not finished', () =>
    assert(
      asyncProperty(array(step, { maxLength: 60 }), boolean(), async (steps, keepsDead) => {
        const run = new Run(keepsDead)
        for (const s of steps)
          if (s.kind === 'produce') run.produce(s.count)
          else if (s.kind === 'acquire') run.acquire(s.member, s.max)
          else if (s.kind === 'acknowledge')
            run.acknowledge(
              s.member,
              s.first,
              s.count,
              s.type,
              s.type === 'renew' ? s.ms + 1 : s.ms,
            )
          else if (s.kind === 'leave') run.leave(s.member, s.first, s.count)
          else if (s.kind === 'wait') run.fed.stamp += s.ms
          else if (s.kind === 'sweep') run.sweep()
          else if (s.kind === 'trim') run.trim(s.before)
          else await run.check()
        // All vanish; who comes afterwards gets everything that is not finished, however long that takes.
        const before = new Set(run.model.accepted)
        const open = [...run.model.known.keys()].filter(offset => offset >= run.trimmedTo)
        for (let offset = Math.max(run.model.next, run.trimmedTo); offset < run.produced; offset++)
          open.push(offset)
        for (let turn = 0; turn < 40 && (run.share().records.size > 0 || turn < 2); turn++) {
          run.fed.stamp += 5000
          run.acquire('z', 1000)
          for (const offset of run.share().records.keys())
            if (run.model.holds('z', offset)) run.acknowledge('z', offset, 1, 'accept', 0)
        }
        const finished = new Set([...run.model.accepted, ...run.model.dead])
        for (const offset of open) expect(finished.has(offset), `offset ${offset}`).toBe(true)
        expect(new Set(run.model.accepted).size).toBe(run.model.accepted.length)
        expect(before.size).toBeLessThanOrEqual(run.model.accepted.length)
        if (keepsDead) expect(run.model.dead).toEqual([])
        await run.check()
      }),
      { numRuns: 400 },
    ))

  it('delivers no new records while too many are not finished', () => {
    const run = new Run(false)
    for (let i = 0; i < 5; i++) run.produce(recordLocksMax / 4)
    const taken = (): number => run.share().records.size
    for (let i = 0; i < 4; i++) run.acquire('a', recordLocksMax / 4)
    expect(taken()).toBe(recordLocksMax)
    run.fed.propose({
      type: 'acquireRecords',
      group,
      memberId: 'b',
      partitions: [[run.topicId, 0]],
      maxRecords: 10,
      maxBytes: 1 << 20,
      lockMs,
    })
    expect(taken()).toBe(recordLocksMax)
    // The first one stays with its holder; that does not hold up what comes behind.
    for (let offset = 1; offset < recordLocksMax; offset += 500)
      run.acknowledge('a', offset, Math.min(500, recordLocksMax - offset), 'accept', 0)
    run.acquire('b', 10)
    expect(run.share().start).toBe(0)
    expect(run.share().end).toBe(recordLocksMax + 10)
  })

  it('is one kind of group under one name', () => {
    const run = new Run(false)
    const kind = (decision: Decision) => (decision.ok ? 'ok' : decision.code)
    expect(
      kind(
        run.fed.propose({
          type: 'commitOffsets',
          group,
          offsets: [[run.topicId, 0, 0, -1, '']],
        }),
      ),
    ).toBe('INCONSISTENT_GROUP_PROTOCOL')
    run.fed.propose({ type: 'commitOffsets', group: 'c', offsets: [[run.topicId, 0, 0, -1, '']] })
    const open = {
      topics: [run.topicId],
      reset: 'latest',
      deliveryCountLimit: 5,
      keepsDead: false,
    } as const
    expect(kind(run.fed.propose({ type: 'openShareGroup', group: 'c', ...open }))).toBe(
      'INCONSISTENT_GROUP_PROTOCOL',
    )
    run.produce(1)
    run.acquire('a', 1)
    expect(kind(run.fed.propose({ type: 'deleteGroup', group }))).toBe('GROUP_NOT_EMPTY')
    run.acknowledge('a', 0, 1, 'accept', 0)
    expect(
      kind(run.fed.propose({ type: 'resetOffsets', group, offsets: [[run.topicId, 0, 0]] })),
    ).toBe('ok')
    run.model.next = 0
    run.acquire('a', 1)
    run.acknowledge('a', 0, 1, 'accept', 0)
    expect(kind(run.fed.propose({ type: 'deleteGroup', group }))).toBe('ok')
    expect(run.fed.machine.shares.has(group)).toBe(false)
  })
})
