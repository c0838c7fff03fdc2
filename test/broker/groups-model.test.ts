// Consumer groups against a model: members that come, go, hang and are replaced, topics that come and go, commits in time and too late.

import {
  array,
  assert,
  asyncProperty,
  constant,
  constantFrom,
  integer,
  oneof,
  record,
} from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { claimKey, type Group } from '../../broker/state/groups/group.ts'
import { viewOf } from '../../broker/state/groups/group-machine.ts'
import { topicsOf } from '../../broker/state/groups/rebalance.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { StateMachine } from '../../broker/state/state-machine.ts'
import { encodeBatch, readBatchHeader } from '../../wire/batch.ts'

const sessionTimeoutMs = 1000
const rebalanceTimeoutMs = 5000
const retentionMs = 60_000
const groupName = 'g'
const nodes = ['n1', 'n2'] as const

/** A state machine that is fed entries of two brokers, and can be rebuilt from its store or from all entries. */
class World {
  readonly store = new MemoryStore()
  machine = new StateMachine(this.store)
  time = 1000
  private lsn = 0
  private readonly sessions = new Map<string, { id: number; next: number }>()
  private readonly entries: ((machine: StateMachine) => void)[] = []

  constructor() {
    for (const node of nodes) this.open(node)
  }

  /** A broker (re)starts: its former session ends. */
  open(node: string): void {
    const id = this.lsn++
    const header = { session: -1, sequence: 0, stamp: this.time }
    const command: Command = { type: 'open', node, incarnation: String(id) }
    this.put(machine => {
      machine.apply(id, { header, bytes: 0, commands: [{ command, batchStarts: [0] }] })
    })
    this.sessions.set(node, { id, next: 0 })
  }

  propose(command: Command, node: string = nodes[0]): Decision {
    const session = this.sessions.get(node)
    if (session === undefined) throw new Error('no session')
    const lsn = this.lsn++
    const header = { session: session.id, sequence: session.next++, stamp: this.time }
    let decision: Decision | undefined
    this.put(machine => {
      const entry = { header, bytes: 0, commands: [{ command, batchStarts: [0] }] }
      decision = machine.apply(lsn, entry).applied[0]?.decisions[0]
    })
    return decision as Decision
  }

  get group(): Group | undefined {
    return this.machine.groups.registry.byName.get(groupName)
  }

  /** Both ways to the same state. */
  async checkRebuilt(): Promise<void> {
    const changes = this.machine.takeChanges()
    await this.store.commit(changes.ops)
    changes.done()
    const restored = new StateMachine(this.store)
    expect(restored.digest()).toBe(this.machine.digest())
    expect(shown(restored)).toEqual(shown(this.machine))
    const replayed = new StateMachine(new MemoryStore())
    for (const apply of this.entries) apply(replayed)
    expect(replayed.digest()).toBe(this.machine.digest())
    this.machine = restored
  }

  private put(apply: (machine: StateMachine) => void): void {
    this.entries.push(apply)
    apply(this.machine)
  }
}

/** What members and operators can see of the group. */
function shown(machine: StateMachine): unknown {
  const group = machine.groups.registry.byName.get(groupName)
  const members = [...(group?.members.values() ?? [])].sort((a, b) => (a.id < b.id ? -1 : 1))
  const offsets = [...(group?.offsets ?? [])].map(([topic, of]) => [topic, [...of]] as const)
  return {
    members,
    views: members.map(({ id }) => viewOf(group, id, machine.topics)),
    offsets: new Map(offsets.map(([topic, of]) => [topic, new Map(of)])),
  }
}

const memberIds = ['a', 'b', 'c', 'd', 'e']
const topicNames = ['t1', 't2', 't3']
const member = constantFrom(...memberIds)
const node = constantFrom(...nodes)

const step = oneof(
  {
    weight: 5,
    arbitrary: record({
      kind: constant('join' as const),
      member,
      node,
      instance: constantFrom(undefined, undefined, 'i1'),
      topics: constantFrom(['t1'], ['t1', 't2'], ['t1', 't2', 't3'], []),
      assignor: constantFrom(
        'sticky' as const,
        'sticky' as const,
        'range' as const,
        'roundrobin' as const,
      ),
    }),
  },
  { weight: 1, arbitrary: record({ kind: constant('leave' as const), member }) },
  { weight: 2, arbitrary: record({ kind: constant('detach' as const), member }) },
  { weight: 6, arbitrary: record({ kind: constant('release' as const), member }) },
  {
    weight: 6,
    arbitrary: record({
      kind: constant('commit' as const),
      member,
      pick: integer({ min: 0, max: 20 }),
      offset: integer({ min: 0, max: 12 }),
      stale: constantFrom(false, false, false, true),
      late: constantFrom(false, false, false, true),
    }),
  },
  {
    weight: 1,
    arbitrary: record({ kind: constant('reset' as const), offset: integer({ min: 0, max: 12 }) }),
  },
  {
    weight: 2,
    arbitrary: record({
      kind: constant('create' as const),
      topic: constantFrom(...topicNames),
      partitions: integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 2,
    arbitrary: record({
      kind: constant('add' as const),
      topic: constantFrom(...topicNames),
      partitions: integer({ min: 2, max: 9 }),
    }),
  },
  {
    weight: 4,
    arbitrary: record({
      kind: constant('produce' as const),
      topic: constantFrom(...topicNames),
      pick: integer({ min: 0, max: 20 }),
      count: integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: record({ kind: constant('delete' as const), topic: constantFrom(...topicNames) }),
  },
  {
    weight: 2,
    arbitrary: record({ kind: constant('pass' as const), ms: constantFrom(100, 600, 1500, 6000) }),
  },
  { weight: 2, arbitrary: record({ kind: constant('sweep' as const) }) },
  { weight: 1, arbitrary: record({ kind: constant('restart' as const), node }) },
)
type Step = typeof step extends { generate: (...args: never) => { value: infer T } } ? T : never

class Model {
  readonly world = new World()
  /** What the last accepted commit or reset of each partition said. */
  private readonly offsets = new Map<string, number>()
  /** Who was seen to hold a partition with a generation. */
  private readonly holders = new Map<string, string>()
  private readonly heirs = new Map<string, string>()
  /** Processes whose place was taken, by whom: as long as that one or its heir is there. */
  private readonly fenced = new Map<string, string>()
  private sequence = 0

  run(step: Step): void {
    const { world } = this
    const before = this.held()
    switch (step.kind) {
      case 'join': {
        const { member: memberId, instance, topics, assignor } = step
        const old = [...(world.group?.members.values() ?? [])].find(
          m => instance !== undefined && m.instanceId === instance && m.id !== memberId,
        )
        const known = world.group?.members.get(memberId)
        const decision = world.propose(
          {
            type: 'joinGroup',
            group: groupName,
            memberId,
            ...(instance === undefined ? {} : { instanceId: instance }),
            topics,
            ...(topics.length === 0 ? { pattern: 't[12]' } : {}),
            assignor,
            sessionTimeoutMs,
            rebalanceTimeoutMs,
          },
          step.node,
        )
        if (this.fenced.has(memberId)) {
          expect(decision).toMatchObject({ code: 'MEMBER_FENCED' })
          break
        }
        expect(decision.ok).toBe(true)
        const same =
          known !== undefined &&
          old === undefined &&
          known.topics.join() === topics.join() &&
          world.group?.assignor === assignor
        if (same && before.assignor === assignor) expect(this.held().text).toBe(before.text)
        if (old !== undefined) {
          this.heirs.set(memberId, old.id)
          this.fenced.set(old.id, memberId)
        }
        break
      }
      case 'leave':
        world.propose({ type: 'leaveGroup', group: groupName, memberId: step.member })
        break
      case 'detach': {
        const attachment = world.group?.members.get(step.member)?.attachment ?? 0
        world.propose({ type: 'detachMember', group: groupName, memberId: step.member, attachment })
        // Nothing moves because a socket is gone.
        expect(this.held().text).toBe(before.text)
        break
      }
      case 'release': {
        const partitions = (
          viewOf(world.group, step.member, world.machine.topics)?.revoking ?? []
        ).map(({ topicId, partition, generation }) => [topicId, partition, generation] as const)
        world.propose({
          type: 'releasePartitions',
          group: groupName,
          memberId: step.member,
          partitions,
        })
        break
      }
      case 'commit':
        this.commit(step)
        break
      case 'reset':
        this.reset(step.offset)
        break
      case 'create':
        world.propose({
          type: 'createTopic',
          topic: step.topic,
          partitions: step.partitions,
          config: {},
          ifNotExists: true,
        })
        break
      case 'add': {
        const topic = world.machine.topics.byName.get(step.topic)
        if (topic === undefined) break
        const { id, partitions } = topic
        const { length } = partitions
        const keys = new Set([...this.offsets.keys(), ...(world.group?.claims.keys() ?? [])])
        const isAbout = [...keys].some(key => key.startsWith(`${id}/`))
        const decision = world.propose({
          type: 'addPartitions',
          topicId: id,
          partitions: step.partitions,
          config: {},
        })
        expect(decision).toMatchObject(
          step.partitions > length ? { ok: true } : { code: 'INVALID_PARTITIONS' },
        )
        // Whoever read the topic before begins with their first record.
        if (isAbout)
          for (let p = length; p < step.partitions; p++) this.offsets.set(claimKey(id, p), 0)
        break
      }
      case 'produce': {
        const topic = world.machine.topics.byName.get(step.topic)
        if (topic === undefined) break
        const batch = encodeBatch(
          Array.from({ length: step.count }, () => ({ value: 'v' })),
          {
            now: 1,
          },
        )
        const decision = world.propose({
          type: 'produce',
          topicId: topic.id,
          partition: step.pick % topic.partitions.length,
          batch,
          header: readBatchHeader(batch),
        })
        expect(decision.ok).toBe(true)
        break
      }
      case 'delete': {
        const topic = world.machine.topics.byName.get(step.topic)
        if (topic === undefined) break
        world.propose({ type: 'deleteTopic', topicId: topic.id })
        for (const key of this.offsets.keys())
          if (key.startsWith(`${topic.id}/`)) this.offsets.delete(key)
        break
      }
      case 'pass':
        world.time += step.ms
        break
      case 'sweep':
        world.propose({ type: 'sweepGroups', groups: [groupName], retentionMs })
        for (const { detachedAt } of world.group?.members.values() ?? [])
          if (detachedAt !== undefined)
            expect(world.machine.logTime - detachedAt).toBeLessThan(sessionTimeoutMs)
        break
      case 'restart':
        world.open(step.node)
        expect(this.held().text).toBe(before.text)
        break
    }
    if (world.group === undefined) this.offsets.clear()
    const isThere = (id: string | undefined): boolean =>
      id !== undefined && (world.group?.members.has(id) === true || isThere(this.fenced.get(id)))
    for (const [id, heir] of this.fenced) if (!isThere(heir)) this.fenced.delete(id)
    this.check()
    this.checkGiven(before.keys)
  }

  /** Partitions that were added are given to nobody before all there were at the time are committed up to where they were. */
  private checkGiven(before: ReadonlySet<string>): void {
    const { group, machine } = this.world
    for (const [key, { topicId, partition }] of group?.claims ?? []) {
      const topic = machine.topics.byId.get(topicId)
      if (before.has(key) || topic === undefined) continue
      for (const { ends } of topic.epochs)
        if (partition >= ends.length)
          for (const [p, end] of ends.entries())
            expect(this.offsets.get(claimKey(topicId, p)) ?? 0).toBeGreaterThanOrEqual(end)
    }
  }

  /** Every member reads and commits what it may, which at last is everything. */
  private readAll(): void {
    const { world } = this
    const { topics } = world.machine
    for (const id of world.group?.members.keys() ?? [])
      for (const place of viewOf(world.group, id, topics)?.assigned ?? []) {
        const { topicId, partition, generation, until, offset = 0 } = place
        const end = topics.partition(topicId, partition)?.next ?? 0
        const to = Math.max(offset, Math.min(until ?? end, end))
        const sequence = ++this.sequence
        const offsets = [[topicId, partition, to, generation, ''] as const]
        const commit = { group: groupName, memberId: id, sequence, offsets }
        expect(world.propose({ type: 'commitOffsets', ...commit }).ok).toBe(true)
        this.offsets.set(claimKey(topicId, partition), to)
        this.check()
      }
  }

  /** Every member gives back what it is asked for, until nothing is: then all that is subscribed to is served. */
  settle(): void {
    const { world } = this
    const epochs = [...world.machine.topics.byId.values()].map(topic => topic.epochs.length)
    for (let round = Math.max(1, ...epochs); round > 0; round--) {
      for (let again = 0; again < 3; again++)
        for (const id of world.group?.members.keys() ?? [])
          this.run({ kind: 'release', member: id })
      this.readAll()
    }
    const { group } = world
    if (group === undefined) return
    const wanted = new Set(
      [...group.members.values()].flatMap(m => [
        ...topicsOf(m, world.machine.topics, world.machine.groups.registry.patterns),
      ]),
    )
    for (const topicId of wanted)
      for (const { partition } of world.machine.topics.byId.get(topicId)?.partitions ?? []) {
        const claim = group.claims.get(claimKey(topicId, partition))
        expect(claim?.owner).toBeDefined()
        expect(claim?.owner).toBe(claim?.target)
      }
  }

  private commit(step: Step & { kind: 'commit' }): void {
    const { world } = this
    const view = viewOf(world.group, step.member, world.machine.topics)
    const held = [...(view?.assigned ?? []), ...(view?.revoking ?? [])]
    const every = [...(world.group?.claims.values() ?? [])]
    const claim = step.stale ? every[step.pick % every.length] : held[step.pick % held.length]
    if (claim === undefined) return
    const { topicId, partition } = claim
    const owned = held.find(h => h.topicId === topicId && h.partition === partition)
    const generation = step.stale ? claim.generation - (step.pick % 2) : claim.generation
    const sequence = step.late ? this.sequence : ++this.sequence
    const newest = world.group?.members.get(step.member)?.commitSequence ?? 0
    const decision = world.propose({
      type: 'commitOffsets',
      group: groupName,
      memberId: step.member,
      sequence,
      offsets: [[topicId, partition, step.offset, generation, '']],
    })
    const end = world.machine.topics.partition(topicId, partition)?.next ?? 0
    if (view === undefined)
      expect(decision).toMatchObject({
        code: this.fenced.has(step.member) ? 'MEMBER_FENCED' : 'UNKNOWN_MEMBER',
      })
    else if (owned?.generation !== generation)
      expect(decision).toMatchObject({ code: 'STALE_GENERATION' })
    else if (step.offset > end) expect(decision).toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
    else {
      expect(decision.ok).toBe(true)
      if (sequence > newest) this.offsets.set(claimKey(topicId, partition), step.offset)
    }
  }

  private reset(offset: number): void {
    const { world } = this
    const [topic] = world.machine.topics.byId.values()
    if (topic === undefined) return
    const members = world.group?.members.size ?? 0
    const decision = world.propose({
      type: 'resetOffsets',
      group: groupName,
      offsets: [[topic.id, 0, offset]],
    })
    if (members > 0) expect(decision).toMatchObject({ code: 'GROUP_NOT_EMPTY' })
    else if (offset > (topic.partitions[0]?.next ?? 0))
      expect(decision).toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
    else this.offsets.set(claimKey(topic.id, 0), offset)
  }

  private held(): {
    readonly text: string
    readonly assignor: string | undefined
    readonly keys: ReadonlySet<string>
  } {
    const { group } = this.world
    const rows = [...(group?.claims.values() ?? [])]
      .map(({ topicId, partition, owner, generation }) =>
        [topicId, partition, owner, generation].join(),
      )
      .sort()
    return { text: rows.join(';'), assignor: group?.assignor, keys: new Set(group?.claims.keys()) }
  }

  private check(): void {
    const { group } = this.world
    if (group === undefined) return
    const keys = new Set<string>()
    for (const { topicId, partition, owner, generation } of group.claims.values()) {
      const key = claimKey(topicId, partition)
      expect(keys.has(key)).toBe(false)
      keys.add(key)
      if (owner === undefined) continue
      expect(group.members.has(owner)).toBe(true)
      // One owner per partition and generation, unless a restart of the same instance took its place.
      const at = `${group.id}/${key}@${generation}`
      const former = this.holders.get(at)
      if (former !== undefined && former !== owner) expect(this.heirs.get(owner)).toBe(former)
      this.holders.set(at, owner)
    }
    // What is known of patterns is what a look at all topics would say.
    const { topics, groups } = this.world.machine
    for (const member of group.members.values()) {
      const named = [...topics.byId.values()].filter(
        ({ name }) => member.topics.includes(name) || (member.pattern && /^t[12]$/.test(name)),
      )
      const ids = new Set(named.map(({ id }) => id))
      expect(new Set(topicsOf(member, topics, groups.registry.patterns))).toEqual(ids)
    }
    const committed = new Map(
      [...group.offsets].flatMap(([topicId, of]) =>
        [...of].map(([partition, { offset }]) => [claimKey(topicId, partition), offset]),
      ),
    )
    expect(committed).toEqual(this.offsets)
  }
}

describe('consumer groups', () => {
  it('keep one owner per partition and generation, take commits from owners only, and agree after every rebuild', async () => {
    await assert(
      asyncProperty(array(step, { minLength: 5, maxLength: 60 }), async steps => {
        const model = new Model()
        for (const topic of ['t1', 't2']) model.run({ kind: 'create', topic, partitions: 4 })
        for (const each of steps) model.run(each)
        model.settle()
        await model.world.checkRebuilt()
      }),
      { numRuns: 400 },
    )
  })
})
