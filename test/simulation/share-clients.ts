// A share group on one partition: members that take records from whichever broker, finish them, give them back, keep them too long and vanish with them.
// Checked: no record is accepted twice, or comes out twice where the output and the acknowledgement are one append; none is forgotten; none is delivered
// more often than allowed.

import type { Broker } from '../../broker/broker.ts'
import { type AckRun, type AckType, ackTypes } from '../../broker/state/share/commands.ts'
import { encodeBatch, readBatchHeader } from '../../wire/index.ts'
import { type GroupClientsOptions, readAll } from './group-clients.ts'
import { InvariantError } from './log-model.ts'
import { Patient } from './patient.ts'

const group = 'pool'
const members = 3
const deliveryCountLimit = 4
const lockMs = 150

/** What a member was given. */
type Taken = readonly [offset: number, deliveryCount: number]

export class ShareClients {
  private readonly options: GroupClientsOptions
  /** What was delivered too often is delivered on, as dead; else it is archived. */
  private readonly keepsDead: boolean
  /** Every record goes through an append that makes its output. */
  private readonly transactional: boolean
  private topicId = -1
  private outputId = -1
  private readonly acked = new Set<number>()
  /** Where in the log: answers may come in another order. */
  private readonly accepted = new Map<number, number>()
  private readonly delivered = new Map<number, number>()
  /** Somebody said so, and nobody knows whether in time. */
  private readonly rejected = new Set<number>()
  /** Deliveries whose answers got lost. */
  private unheard = 0
  private producing = true
  private complete = false
  private consuming = true

  constructor(options: GroupClientsOptions) {
    this.options = options
    const { rng } = options.world
    this.keepsDead = rng.chance(0.5)
    this.transactional = rng.chance(0.6)
  }

  async run(): Promise<void> {
    const { firstClient } = this.options
    const first = this.as(firstClient)
    this.topicId = await first.createTopic('tasks', 1)
    this.outputId = await first.createTopic('answers', 1)
    const open = { group, topics: [this.topicId], deliveryCountLimit, keepsDead: this.keepsDead }
    await first.insist({ type: 'openShareGroup', reset: 'earliest', ...open })
    const input = this.produce().then(() => {
      this.complete = true
    })
    await Promise.all([input, ...Array.from({ length: members }, (_, n) => this.member(n))])
  }

  stopProducing(): void {
    this.producing = false
  }

  stop(): void {
    this.consuming = false
  }

  /** Whether every record is finished, as far as the broker knows. */
  isDone(broker: Broker): boolean {
    const found = broker.shareGroup(group)
    return this.complete && found !== undefined && broker.shareLag(found, this.topicId, 0) === 0
  }

  async readBack(broker: Broker): Promise<void> {
    const start = broker.topicById(this.topicId)?.partitions[0]?.start ?? 0
    const output = broker.topicById(this.outputId)?.partitions[0]
    if (output === undefined) return
    const answers = (await readAll(broker, this.outputId, 0)).map(({ value }) => Number(value))
    if (new Set(answers).size !== answers.length)
      throw new InvariantError(
        `answered twice: ${answers.filter((v, i) => answers.indexOf(v) !== i).join()}`,
      )
    const found = new Set(answers)
    if (this.transactional && output.start === 0)
      for (const offset of this.accepted.keys())
        if (!found.has(offset)) throw new InvariantError(`tasks ${offset} has lost its answer`)
    const isArchived = (offset: number): boolean =>
      !this.keepsDead && (this.delivered.get(offset) ?? 0) + this.unheard >= deliveryCountLimit
    if (output.start > 0) return
    const finished = this.transactional ? found : this.accepted
    for (const offset of this.acked)
      if (offset >= start && !finished.has(offset) && !this.rejected.has(offset))
        if (isArchived(offset)) this.options.reached('record archived')
        else throw new InvariantError(`tasks ${offset} was neither answered nor given up`)
    this.options.reached(`share group done${this.transactional ? ': transaction' : ''}`)
  }

  private async produce(): Promise<void> {
    const { driver, firstClient, world } = this.options
    const { rng } = world
    const first = this.as(firstClient)
    const producerId = await first.newProducer()
    for (let baseSequence = 0; this.producing; ) {
      const count = 1 + rng.int(3)
      const records = Array.from({ length: count }, () => ({ value: 'task' }))
      const producer = { producerId, producerEpoch: 0, baseSequence }
      const batch = encodeBatch(records, { now: 0, producer })
      const header = readBatchHeader(batch)
      const produce = { type: 'produce', topicId: this.topicId, partition: 0, batch } as const
      const decision = await first.insist({ ...produce, header })
      const base = decision.offsets?.[0]?.offset as number
      for (let i = 0; i < count; i++) this.acked.add(base + i)
      baseSequence += count
      await driver.sleep(rng.next() * 40)
    }
  }

  private async member(n: number): Promise<void> {
    const { driver, firstClient, reached, world } = this.options
    const { rng } = world
    const client = firstClient + 1 + n
    for (let life = 0; this.consuming; life++) {
      const memberId = `q${n}.${life}`
      const producerId = await this.as(client).newProducer()
      for (let sequence = 0; this.consuming; ) {
        const taken = await this.acquire(client, memberId)
        // With what it holds.
        if (this.producing && rng.chance(0.03)) break
        if (rng.chance(0.2)) await driver.sleep(rng.next() * 2.5 * lockMs)
        for (const each of taken) {
          const type = this.choose(each)
          if (type === undefined) continue
          if (type === 'accept' && this.transactional) {
            const producer = { id: producerId, epoch: 0, sequence: sequence++ }
            await this.answer(client, memberId, producer, each[0])
          } else await this.acknowledge(client, memberId, each[0], type)
        }
        if (taken.length === 0) await driver.sleep(rng.next() * 30)
      }
      if (!this.consuming || !rng.chance(0.5)) continue
      reached('share member gave back all')
      await this.options.ask(client, { type: 'releaseRecords', group, memberId, except: [] })
    }
  }

  private async acquire(client: number, memberId: string): Promise<readonly Taken[]> {
    const { ask, reached, world } = this.options
    const decision = await ask(client, {
      type: 'acquireRecords',
      group,
      memberId,
      partitions: [[this.topicId, 0]],
      maxRecords: 1 + world.rng.int(6),
      maxBytes: 1 << 16,
      lockMs,
    })
    // Whatever was given stays locked until its time is over.
    if (decision === undefined) {
      this.unheard++
      return []
    }
    if (!decision.ok) throw new InvariantError(`${memberId} is given nothing: ${decision.message}`)
    const runs = decision.result?.taken as [number, number, number, number, number][]
    const taken = runs.flatMap(([, , first, count, deliveryCount]) =>
      Array.from({ length: count }, (_, i) => [first + i, deliveryCount] as const),
    )
    for (const [offset, count] of taken) {
      if (count > deliveryCountLimit + (this.keepsDead ? 1 : 0))
        throw new InvariantError(`tasks ${offset} is delivered ${count} times`)
      if (decision.lsn > (this.accepted.get(offset) ?? decision.lsn))
        throw new InvariantError(`tasks ${offset} is delivered after it was accepted`)
      if (count > deliveryCountLimit) reached('record delivered as dead')
      else if (count > 1) reached('record delivered again')
      this.delivered.set(offset, Math.max(count, this.delivered.get(offset) ?? 0))
    }
    return taken
  }

  /** Undefined: nothing, until the lock is over. */
  private choose([, count]: Taken): AckType | undefined {
    const { rng } = this.options.world
    if (!this.producing || count > deliveryCountLimit) return 'accept'
    return rng.pick([
      'accept',
      'accept',
      'accept',
      'release',
      'release',
      'renew',
      'reject',
      undefined,
    ])
  }

  private async acknowledge(
    client: number,
    memberId: string,
    offset: number,
    type: AckType,
  ): Promise<void> {
    const { reached, world } = this.options
    const ms = type === 'release' ? world.rng.int(100) : type === 'renew' ? lockMs : 0
    if (type === 'reject') this.rejected.add(offset)
    const acks = [this.ackOf(offset, type, ms)]
    // Without an identity, so that nobody may say it twice: what is not known ends with the lock.
    const decision = await this.options.ask(client, {
      type: 'acknowledgeRecords',
      group,
      memberId,
      acks,
    })
    if (decision === undefined) {
      // It may have been taken.
      if (type === 'accept') this.rejected.add(offset)
      return
    }
    if (!decision.ok) throw new InvariantError(`${memberId} may not say: ${decision.message}`)
    const isRefused = decision.result?.refused !== undefined
    reached(`${type} ${isRefused ? 'refused' : 'taken'}`)
    if (type === 'accept' && !isRefused) this.accept(memberId, offset, decision.lsn)
  }

  /** The output and the acknowledgement in one append, said until it is known what became of it. */
  private async answer(
    client: number,
    memberId: string,
    producer: { readonly id: number; readonly epoch: number; readonly sequence: number },
    offset: number,
  ): Promise<void> {
    const batch = encodeBatch([{ value: String(offset) }], { now: 0 })
    const header = readBatchHeader(batch)
    const decision = await this.as(client).decided({
      type: 'publish',
      producer,
      batches: [{ topicId: this.outputId, partition: 0, batch, header }],
      expect: [],
      ack: { group, memberId, acks: [this.ackOf(offset, 'accept', 0)] },
    })
    this.options.reached(`answer ${decision.ok ? 'taken' : decision.code}`)
    if (decision.ok) this.accept(memberId, offset, decision.lsn)
    else if (decision.code !== 'INVALID_RECORD_STATE')
      throw new InvariantError(`${memberId} may not answer: ${decision.code} ${decision.message}`)
  }

  private ackOf(offset: number, type: AckType, ms: number): AckRun {
    return [this.topicId, 0, offset, 1, ackTypes[type], ms]
  }

  private accept(memberId: string, offset: number, lsn: number): void {
    if (this.accepted.has(offset))
      throw new InvariantError(`tasks ${offset} is accepted by ${memberId}, and was before`)
    this.accepted.set(offset, lsn)
  }

  private as(client: number): Patient {
    const { ask, driver } = this.options
    return new Patient(command => ask(client, command), driver)
  }
}
