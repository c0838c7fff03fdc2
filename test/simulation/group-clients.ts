// A consumer group on a topic that gets more partitions meanwhile: members that go from broker to broker, vanish, come back under the same instance id,
// sleep past their grace period and then go on as if nothing had been. Checked: one owner per partition and generation; offsets only move forward;
// every record is handled, through `transaction` exactly once; each key's records in order; the topic as of a position is what it was then.

import type { Broker } from '../../broker/broker.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { assignors } from '../../broker/state/groups/group.ts'
import type { MemberView } from '../../broker/state/groups/group-machine.ts'
import { decodeBatchSync, encodeBatch, readBatchHeader } from '../../wire/index.ts'
import { InvariantError } from './log-model.ts'
import { Patient } from './patient.ts'
import type { Process, World } from './world.ts'

export interface GroupClientsOptions {
  readonly world: World
  readonly driver: Process
  readonly reached: (state: string) => void
  /** The number of the first client; each has a number of its own. */
  readonly firstClient: number
  /** The decision, or undefined when nobody can say. */
  readonly ask: (client: number, command: Command) => Promise<Decision | undefined>
  /** What comes out of it, or undefined when the broker that the client has chosen is gone, or does not answer. */
  readonly use: <T>(
    client: number,
    work: (broker: Broker) => T | Promise<T>,
  ) => Promise<T | undefined>
  /** Increases whenever the client chooses another broker or its broker starts anew. */
  readonly home: (client: number) => number
}

const group = 'workers'
const keys = 5
const members = 3
const partitionsAtFirst = 2
const sessionTimeoutMs = 200
const rebalanceTimeoutMs = 400
const readBytes = 500

/** How records are handled: commits after the fact, or outputs and offsets in one append. */
type Mode = 'commit' | 'transaction'

interface Read {
  readonly offset: number
  readonly value: string
}

/** One process of a member. */
interface Life {
  readonly client: number
  readonly memberId: string
  readonly instanceId: string | undefined
  readonly producerId: number
  /** Of its publishes. */
  sequence: number
  /** Of its commits. */
  commits: number
  attachment: number
  /** Where it joined. */
  home: number
  /** Where it goes on, by partition and generation. */
  readonly positions: Map<string, number>
}

export class GroupClients {
  private readonly options: GroupClientsOptions
  private readonly mode: Mode
  private topicId = -1
  private outputId = -1
  /** Values by `partition/offset`. */
  private readonly acked = new Map<string, string>()
  /** Values in the order in which they were handled first. */
  private readonly handled = new Set<string>()
  /** Who was seen to hold a partition with a generation, by any broker. */
  private readonly owners = new Map<string, string>()
  private readonly committed = new WeakMap<Broker, Map<string, number>>()
  /** The ends of all partitions of the topic, by the position at which a broker had them. */
  private readonly past = new Map<number, readonly number[]>()
  private producing = true
  /** Everything has been produced that will be. */
  private complete = false
  private consuming = true

  constructor(options: GroupClientsOptions) {
    this.options = options
    this.mode = options.world.rng.pick(['commit', 'transaction', 'transaction'])
  }

  /** Resolves when all have ended: see `stopProducing` and `stop`. */
  async run(): Promise<void> {
    const first = this.as(this.options.firstClient)
    this.topicId = await first.createTopic('jobs', partitionsAtFirst)
    this.outputId = await first.createTopic('done', 1)
    const instances = this.options.world.rng.chance(0.5)
    const input = Promise.all([this.produce(), this.grow()]).then(() => {
      this.complete = true
    })
    const each = Array.from({ length: members }, (_, n) => this.member(n, instances))
    await Promise.all([input, ...each])
  }

  stopProducing(): void {
    this.producing = false
  }

  stop(): void {
    this.consuming = false
  }

  /** Whether nothing is left to be handled, as far as the broker knows. */
  isDone(broker: Broker): boolean {
    const topic = broker.topicById(this.topicId)
    const offsets = broker.group(group)?.offsets.get(this.topicId)
    if (topic === undefined || !this.complete) return false
    return topic.partitions.every(
      ({ partition, start, next }) =>
        next === start || (offsets?.get(partition)?.offset ?? 0) === next,
    )
  }

  /** What must be true of what a broker knows, at any time. */
  observe(broker: Broker): void {
    const topic = broker.topicById(this.topicId)
    if (topic === undefined) return
    this.observeGroup(broker)
    const ends = topic.partitions.map(({ next }) => next)
    const { applied } = broker
    const known = this.past.get(applied)
    if (known !== undefined && known.join() !== ends.join())
      throw new InvariantError(
        `jobs ended at ${ends.join()} and at ${known.join()} at position ${applied}`,
      )
    this.past.set(applied, ends)
    this.lookBack(broker)
  }

  private observeGroup(broker: Broker): void {
    const found = broker.group(group)
    if (found === undefined) return
    for (const { partition, generation, owner } of found.claims.values()) {
      if (owner === undefined) continue
      const at = `${found.id}/${partition}@${generation}`
      const former = this.owners.get(at)
      // A restart under the same instance id takes the place of the process before.
      const isHeir = found.members.get(owner)?.instanceId !== undefined && sameMember(former, owner)
      if (former !== undefined && former !== owner && !isHeir)
        throw new InvariantError(
          `jobs[${partition}] is held by ${former} and ${owner} in generation ${generation}`,
        )
      this.owners.set(at, owner)
    }
    const seen = this.committed.get(broker) ?? new Map<string, number>()
    this.committed.set(broker, seen)
    for (const [partition, { offset }] of found.offsets.get(this.topicId) ?? []) {
      const before = seen.get(`${found.id}/${partition}`) ?? 0
      if (offset < before)
        throw new InvariantError(`jobs[${partition}] was committed at ${before}, then at ${offset}`)
      seen.set(`${found.id}/${partition}`, offset)
    }
  }

  /** The topic as of some position that a broker has been at, this one or another. */
  private lookBack(broker: Broker): void {
    const { reached, world } = this.options
    const positions = [...this.past.keys()].filter(position => position <= broker.applied)
    const position = world.rng.pick(positions)
    const ends = this.past.get(position) ?? []
    for (const { partition, start } of broker.topicById(this.topicId)?.partitions ?? []) {
      let end: number | string | undefined
      try {
        end = broker.past(this.topicId, partition, position).end
      } catch (error) {
        end = (error as { code?: string }).code
      }
      const expected = ends[partition] ?? 'UNKNOWN_PARTITION'
      // What was trimmed since is gone; that it ended somewhere below is all that is known.
      if (typeof expected === 'number' && expected <= start) continue
      if (end !== expected)
        throw new InvariantError(
          `jobs[${partition}] ended at ${expected} at position ${position}, now it ended at ${end} then`,
        )
      reached('looked back')
    }
  }

  /** Everything was handled, and what came out is right. */
  async readBack(broker: Broker): Promise<void> {
    const { reached } = this.options
    this.observe(broker)
    const written = new Map<string, string>()
    const topic = broker.topicById(this.topicId)
    for (const { partition } of topic?.partitions ?? [])
      for (const { offset, value } of await readAll(broker, this.topicId, partition))
        written.set(`${partition}/${offset}`, value)
    for (const [place, value] of this.acked) {
      const [partition = 0, offset = 0] = place.split('/').map(Number)
      if (offset < (topic?.partitions[partition]?.start ?? 0)) continue
      if (written.get(place) !== value)
        throw new InvariantError(
          `${value} was acked at jobs ${place}, which has ${written.get(place)}`,
        )
    }
    const output = broker.topicById(this.outputId)?.partitions[0]
    if (output === undefined) return
    const out = (await readAll(broker, this.outputId, 0)).map(({ value }) => value)
    const came = this.mode === 'transaction' ? out : [...this.handled]
    if (new Set(came).size !== came.length)
      throw new InvariantError(
        `handled twice: ${came.filter((v, i) => came.indexOf(v) !== i).join()}`,
      )
    // What is trimmed nobody has to be done with (reading-epoch.ts): who has read it may handle it when others are at what was written later, in a partition
    // that was added; and without transactions also who was expelled.
    const isTrimmed = topic?.partitions.some(({ start }) => start > 0) === true
    const isGrown = (topic?.epochs.length ?? 0) > 1
    if (!isTrimmed || (this.mode === 'transaction' && !isGrown)) checkOrder(came)
    else reached('order not judged')
    const set = new Set(came)
    if (output.start === 0)
      for (const [place, value] of written)
        if (!set.has(value)) throw new InvariantError(`${value}, jobs ${place}, was never handled`)
    reached(`group done: ${this.mode}`)
    if (isGrown) reached('group done: partitions were added')
  }

  /** One record after the other, each key's in order; the partition is that of the key among those that there are. */
  private async produce(): Promise<void> {
    const { driver, firstClient, reached, use, world } = this.options
    const { rng } = world
    let partitions = partitionsAtFirst
    let producerId = await this.as(firstClient).newProducer()
    let sequences: number[] = []
    for (let serial = 0; this.producing; serial++) {
      const key = rng.int(keys)
      const value = `k${key}:${serial}`
      for (;;) {
        const partition = key % partitions
        const baseSequence = sequences[partition] ?? 0
        const batch = encodeBatch([{ key: `k${key}`, value }], {
          now: 0,
          producer: { producerId, producerEpoch: 0, baseSequence },
        })
        const header = readBatchHeader(batch)
        const { topicId } = this
        const command = { type: 'produce', topicId, partition, batch, header, partitions } as const
        const decision = await this.as(firstClient).decided(command)
        if (decision.ok) {
          sequences[partition] = baseSequence + 1
          this.acked.set(`${partition}/${decision.offsets?.[0]?.offset}`, value)
          break
        }
        if (decision.code !== 'STALE_PARTITIONS')
          throw new InvariantError(`the group's producer was refused: ${decision.message}`)
        reached('stale partitions')
        const count = await use(firstClient, b => b.topicById(this.topicId)?.partitions.length)
        partitions = Math.max(partitions, count ?? 0)
        producerId = await this.as(firstClient).newProducer()
        sequences = []
      }
      await driver.sleep(rng.next() * 15)
    }
  }

  /** Adds partitions now and then, at most up to five. */
  private async grow(): Promise<void> {
    const { driver, firstClient, reached, world } = this.options
    const { rng } = world
    for (let partitions = partitionsAtFirst + 1 + rng.int(2); partitions <= 5; partitions += 2) {
      await driver.sleep(rng.next() * 600)
      if (!this.producing) return
      const { topicId } = this
      const command = { type: 'addPartitions', topicId, partitions, config: {} } as const
      const decision = await this.as(firstClient + 1).decided(command)
      // An attempt of which nobody could say anything may have been made.
      if (!decision.ok && decision.code !== 'INVALID_PARTITIONS')
        throw new InvariantError(`partitions were not added: ${decision.code} ${decision.message}`)
      reached('partitions added')
    }
  }

  private async member(n: number, instances: boolean): Promise<void> {
    const { driver, firstClient, reached, world } = this.options
    const { rng } = world
    const client = firstClient + 2 + n
    const lives: Promise<void>[] = []
    for (let life = 0; this.consuming; life++) {
      const producerId = this.mode === 'transaction' ? await this.as(client).newProducer() : 0
      const living = this.process({
        client,
        memberId: `m${n}.${life}`,
        instanceId: instances ? `i${n}` : undefined,
        producerId,
        sequence: 0,
        commits: 0,
        attachment: 0,
        home: -1,
        positions: new Map(),
      })
      lives.push(living)
      // Somebody starts a second process of the same instance while the first one runs.
      if (instances && rng.chance(0.2)) {
        reached('second process')
        await driver.sleep(rng.next() * 200)
      } else await living
      await driver.sleep(rng.next() * rng.pick([20, 200, 600]))
    }
    await Promise.all(lives)
  }

  private async process(life: Life): Promise<void> {
    const { client, memberId, instanceId } = life
    const end = await this.live(life)
    this.options.reached(`member ${end}`)
    if (end === 'left' && instanceId === undefined)
      await this.as(client).decided({ type: 'leaveGroup', group, memberId })
    // Its broker notices that the socket is gone.
    else if (end === 'vanished') void this.detach(life)
  }

  private async detach({ client, memberId, attachment }: Life): Promise<void> {
    await this.as(client).decided({ type: 'detachMember', group, memberId, attachment })
  }

  private async live(life: Life): Promise<'vanished' | 'left' | 'fenced' | 'expelled'> {
    const { driver, home, use, world } = this.options
    const { rng } = world
    const { client, memberId } = life
    for (;;) {
      if (life.home !== home(client)) {
        const end = await this.join(life)
        if (end !== undefined) return end
      }
      if (!this.consuming) return 'left'
      if (rng.chance(0.03)) return rng.pick(['vanished', 'vanished', 'left'])
      const seen = await use(client, broker => ({
        broker,
        view: broker.memberView(group, memberId),
        session: broker.group(group)?.members.get(memberId)?.session,
      }))
      // Whether it joined at all, a broker that is behind does not know.
      if (seen === undefined || life.home !== home(client)) continue
      if (seen.view === undefined) return 'expelled'
      if (seen.session === undefined) await this.attach(life)
      const end = await this.work(life, seen.view)
      if (end !== undefined) return end
      await driver.sleep(rng.next() * 20)
    }
  }

  /** @returns why it cannot be */
  private async join(life: Life): Promise<'fenced' | undefined> {
    const { driver, home, use, world } = this.options
    const { client, memberId, instanceId } = life
    for (;;) {
      const joinedAt = home(client)
      let isGone = false
      const command = {
        type: 'joinGroup',
        group,
        memberId,
        ...(instanceId === undefined ? {} : { instanceId }),
        topics: ['jobs'],
        assignor: world.rng.pick([...assignors, 'sticky', 'sticky', 'sticky'] as const),
        sessionTimeoutMs,
        rebalanceTimeoutMs,
      } as const
      const decision = await use(client, broker =>
        this.joinAt(broker, command, () => isGone || joinedAt !== home(client)),
      )
      if (decision?.ok === false) {
        if (decision.code === 'MEMBER_FENCED') return 'fenced'
        throw new InvariantError(`${memberId} may not join: ${decision.code} ${decision.message}`)
      }
      if (decision === undefined || joinedAt !== home(client)) {
        isGone = true
        await driver.sleep(5)
        continue
      }
      life.attachment = decision.result?.attachment as number
      life.home = joinedAt
      return undefined
    }
  }

  /** As a gateway does: a join that takes effect once its connection is gone is followed by the end of that connection. */
  private async joinAt(
    broker: Broker,
    command: Command & { readonly type: 'joinGroup' },
    isGone: () => boolean,
  ): Promise<Decision | undefined> {
    const { reached } = this.options
    const decision = await broker.propose(command).catch((error: { code?: string }) => {
      reached(`propose ${error.code}`)
      return undefined
    })
    if (decision?.ok !== true || !isGone()) return decision
    reached('joined when gone')
    void this.detachAt(broker, command.memberId, decision.result?.attachment as number)
    return decision
  }

  private async detachAt(broker: Broker, memberId: string, attachment: number): Promise<void> {
    for (let isSaid = false; !isSaid; )
      try {
        await broker.propose({ type: 'detachMember', group, memberId, attachment })
        isSaid = true
      } catch (error) {
        // Its session ends with it, and with that what hangs on it.
        if ((error as { code?: string }).code === 'SHUTTING_DOWN') return
        await this.options.driver.sleep(5)
      }
  }

  private async attach({ client, memberId, attachment }: Life): Promise<void> {
    this.options.reached('member attached anew')
    await this.options.ask(client, { type: 'attachMember', group, memberId, attachment })
  }

  /** Handles some records of one partition, and gives back what it is asked for. @returns why it is a member no more */
  private async work(life: Life, view: MemberView): Promise<'expelled' | 'fenced' | undefined> {
    const { driver, reached, world } = this.options
    const { rng } = world
    if (view.revoking.length > 0 && rng.chance(0.8)) {
      const partitions = view.revoking.map(
        ({ topicId, partition, generation }) => [topicId, partition, generation] as const,
      )
      const { client, memberId } = life
      await this.options.ask(client, { type: 'releasePartitions', group, memberId, partitions })
      reached('partitions given back')
    }
    if (view.assigned.length === 0) return undefined
    const place = rng.pick(view.assigned)
    const { partition, generation } = place
    const at = `${partition}@${generation}`
    const from = life.positions.get(at) ?? place.offset ?? 0
    const read = await this.read(life, place, from)
    if (read === undefined) return undefined
    // Longer than the grace period now and then: another may have the partition by then.
    await driver.sleep(rng.chance(0.1) ? 1500 * rng.next() : rng.next() * 10)
    const decision = await this.finish(life, partition, generation, read)
    if (decision.ok) {
      life.positions.set(at, read.next)
      return undefined
    }
    reached(`group ${this.mode} refused: ${decision.code}`)
    if (decision.code === 'MEMBER_FENCED') return 'fenced'
    if (decision.code === 'UNKNOWN_MEMBER') return 'expelled'
    if (decision.code === 'STALE_GENERATION') return undefined
    throw new InvariantError(`${life.memberId} was refused: ${decision.code} ${decision.message}`)
  }

  private async read({ client }: Life, place: MemberView['assigned'][number], from: number) {
    const { topicId } = this
    const { partition, until } = place
    const found = await this.options.use(client, async broker => {
      const start = broker.topicById(topicId)?.partitions[partition]?.start ?? 0
      const at = Math.max(from, start)
      const { items, next } = await broker.read(topicId, partition, at, readBytes, until)
      const partitions = broker.topicById(topicId)?.partitions.length ?? 0
      return { at, next, partitions, records: items.flatMap(item => recordsOf(item, at)) }
    })
    // It may be another broker than the one that said how far to read: with more partitions, that has to be asked for again (protocol.md 2.1).
    if (found !== undefined && found.partitions > place.partitions) {
      this.options.reached('more partitions than were told')
      return undefined
    }
    if (found === undefined || found.next <= found.at) return undefined
    // The broker may be behind the one that the group was given more of.
    const { next, records } = found
    return { next, records: records.filter(({ offset }) => offset < next) }
  }

  private finish(
    life: Life,
    partition: number,
    generation: number,
    { next, records }: { readonly next: number; readonly records: readonly Read[] },
  ): Promise<Decision> {
    const { client, memberId } = life
    const offsets = [[this.topicId, partition, next, generation, ''] as const]
    const commit = { group, memberId, sequence: ++life.commits, offsets }
    // Handled is handled, whether the commit comes through or not.
    if (this.mode === 'commit') for (const { value } of records) this.handled.add(value)
    if (this.mode === 'commit' || records.length === 0)
      return this.as(client).decided({ type: 'commitOffsets', ...commit })
    const batch = encodeBatch(records, { now: 0 })
    const header = readBatchHeader(batch)
    return this.as(client).decided({
      type: 'publish',
      producer: { id: life.producerId, epoch: 0, sequence: life.sequence++ },
      batches: [{ topicId: this.outputId, partition: 0, batch, header }],
      expect: [],
      commit,
    })
  }

  private as(client: number): Patient {
    const { ask, driver } = this.options
    return new Patient(command => ask(client, command), driver)
  }
}

/** `m2.7` and `m2.8` are processes of one member. */
function sameMember(one: string | undefined, other: string): boolean {
  return one?.split('.')[0] === other.split('.')[0]
}

function checkOrder(values: readonly string[]): void {
  const last = new Map<string, number>()
  for (const value of values) {
    const [key = '', serial = 0] = value.split(':')
    if (Number(serial) <= (last.get(key) ?? -1))
      throw new InvariantError(`${value} was handled after ${key}:${last.get(key)}`)
    last.set(key, Number(serial))
  }
}

type Items = Awaited<ReturnType<Broker['read']>>['items']

function recordsOf(item: Items[number], from: number): readonly Read[] {
  if (item.kind !== 'batch') {
    if (item.gap === 'trimmed') return []
    throw new InvariantError(`gap ${item.gap} at ${item.offset} of jobs or done`)
  }
  return decodeBatchSync(item.batch)
    .map(({ offsetDelta, value }) => ({
      offset: item.offset + offsetDelta,
      value: new TextDecoder().decode(value ?? undefined),
    }))
    .filter(({ offset }) => offset >= from)
}

/** Of what is there when the call begins. */
export async function readAll(
  broker: Broker,
  topicId: number,
  partition: number,
): Promise<readonly Read[]> {
  const found: Read[] = []
  const state = broker.topicById(topicId)?.partitions[partition]
  for (let at = state?.start ?? 0; ; ) {
    at = Math.max(at, state?.start ?? 0)
    const { items, next, end } = await broker.read(topicId, partition, at, 10_000)
    for (const item of items) found.push(...recordsOf(item, at))
    at = next
    if (at >= end) return found
  }
}
