// Producers of every kind against one broker or several, and what must be true of what they were told: invariants 1, 2, 6 and 7 of
// docs/architecture.md section 9.

import type { Broker } from '../../broker/broker.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { decodeBatchSync, encodeBatch, readBatchHeader } from '../../wire/index.ts'
import { InvariantError } from './log-model.ts'
import { Patient } from './patient.ts'
import type { Process, World } from './world.ts'

export const partitions = 2
const windowMax = 5

export interface BrokerClientsOptions {
  readonly world: World
  readonly driver: Process
  readonly reached: (state: string) => void
  /** The decision, or undefined when nobody can say: the broker died, does not know, or does not answer. */
  readonly ask: (client: number, command: Command) => Promise<Decision | undefined>
  /** Where the first partition of a topic ends, as far as is known. */
  readonly end: (topicId: number) => number
  /** Content of the log may be lost: the state may forget, and readers may meet gaps. */
  readonly volatile: boolean
  /** Clients go to another broker when theirs does not answer. */
  readonly failover: boolean
  /** Chance, per round, that a producer dies and another takes its place, with requests still under way. */
  readonly clientCrash?: number
}

interface Pending {
  readonly payload: string
  readonly command: Command
}

export class BrokerClients {
  private readonly options: BrokerClientsOptions
  private readonly acked = new Map<string, string>()
  private readonly at = new Map<string, string>()
  private stopping = false

  constructor(options: BrokerClientsOptions) {
    this.options = options
  }

  /** Two producers, one publisher of atomic batches and one that sends without an identity; resolves when all have ended. */
  async run(topics: readonly number[]): Promise<void> {
    await Promise.all([
      this.producer(0, topics),
      this.producer(1, topics),
      this.publisher(2, topics),
      this.anonymous(3, topics),
    ])
  }

  /** They end when what they have sent is answered. */
  stop(): void {
    this.stopping = true
  }

  /** `place` is topic/partition/offset. */
  private ack(payload: string, place: string): void {
    const known = this.acked.get(payload)
    if (known !== undefined && known !== place)
      throw new InvariantError(`${payload} acked at ${known} and at ${place}`)
    this.acked.set(payload, place)
    this.holds(place, payload)
  }

  private holds(place: string, payload: string): void {
    const known = this.at.get(place)
    if (known !== undefined && known !== payload)
      throw new InvariantError(`${place} holds ${known} and ${payload}`)
    this.at.set(place, payload)
  }

  createTopic(topic: string): Promise<number> {
    return this.as(0).createTopic(topic, partitions)
  }

  private as(client: number): Patient {
    const { ask, driver } = this.options
    return new Patient(command => ask(client, command), driver)
  }

  /** Pipelines up to five batches on one lane and sends all unresolved ones again, in order, when something goes wrong. */
  private async producer(n: number, topics: readonly number[]): Promise<void> {
    const { ask, clientCrash = 0, driver, reached, volatile, world } = this.options
    const { rng } = world
    const topicId = topics[n % topics.length] as number
    const partition = n % partitions
    let producerId = await this.as(n).newProducer()
    let sequence = 0
    let serial = 0
    let refusals = 0
    let life = 0
    const window: Pending[] = []
    for (;;) {
      while (!this.stopping && window.length < 1 + rng.int(windowMax)) {
        const payload = `${n}.${life}:${serial++}`
        window.push({
          payload,
          command: produceCommand(topicId, partition, payload, producerId, sequence++),
        })
      }
      if (window.length === 0) return
      const answers = window.map(({ command }) => ask(n, command))
      if (rng.chance(clientCrash)) {
        reached('client crash')
        life++
        producerId = await this.as(n).newProducer()
        sequence = 0
        window.length = 0
        continue
      }
      // Now and then a second copy is under way at the same time, as after a reconnect.
      if (rng.chance(0.1)) void ask(n, (window[0] as Pending).command)
      for (const answer of answers) {
        const decision = await answer
        if (decision?.ok !== true) {
          if (
            decision !== undefined &&
            volatile &&
            (decision.code === 'UNKNOWN_PRODUCER' || ++refusals > 20)
          ) {
            // What a lost volatile range said about this producer is gone with it: a new identity.
            reached('producer forgotten')
            producerId = await this.as(n).newProducer()
            sequence = 0
            refusals = 0
            window.length = 0
            break
          }
          if (decision !== undefined && decision.code !== 'OUT_OF_ORDER_SEQUENCE')
            throw new InvariantError(
              `producer ${n} was refused: ${decision.code} ${decision.message}`,
            )
          reached(decision === undefined ? 'produce unknown' : 'produce out of order')
          await driver.sleep(rng.next() * 10)
          break
        }
        refusals = 0
        if (decision.duplicate === true) reached('produce duplicate')
        const { payload } = window.shift() as Pending
        this.ack(payload, `${topicId}/${partition}/${decision.offsets?.[0]?.offset}`)
        world.trace(payload)
      }
      if (rng.chance(0.3)) await driver.sleep(rng.next() * 10)
    }
  }

  /** Sends each payload once, without an identity: nothing but the broker's own session keeps it from taking effect twice. */
  private async anonymous(n: number, topics: readonly number[]): Promise<void> {
    const { ask, driver, reached, world } = this.options
    const { rng } = world
    for (let serial = 0; !this.stopping; serial++) {
      const topicId = rng.pick(topics)
      const partition = rng.int(partitions)
      const payload = `${n}.0:${serial}`
      const decision = await ask(n, produceCommand(topicId, partition, payload, 0, 0))
      if (decision?.ok === false)
        throw new InvariantError(`${payload} was refused: ${decision.code} ${decision.message}`)
      if (decision?.ok === true)
        this.ack(payload, `${topicId}/${partition}/${decision.offsets?.[0]?.offset}`)
      reached(decision === undefined ? 'anonymous unknown' : 'anonymous')
      await driver.sleep(rng.next() * 5)
    }
  }

  /** Atomic publishes to both topics; every third expects an offset. */
  private async publisher(n: number, topics: readonly number[]): Promise<void> {
    const { ask, driver, end, reached, volatile, world } = this.options
    const { rng } = world
    let id = await this.as(n).newProducer()
    let sequence = -1
    for (let serial = 0; !this.stopping; serial++) {
      sequence++
      const payload = `${n}.0:${serial}`
      const conditional = rng.chance(0.3)
      const guess = end(topics[0] as number)
      const command: Command = {
        type: 'publish',
        producer: { id, epoch: 0, sequence },
        batches: topics.map(topicId => partitionBatch(topicId, 0, payload)),
        expect: conditional ? [{ topicId: topics[0] as number, partition: 0, offset: guess }] : [],
      }
      let first: Decision | undefined
      while (first === undefined) {
        const decision = await ask(n, command)
        if (decision !== undefined) first = decision
        else await driver.sleep(rng.next() * 10)
      }
      if (
        !first.ok &&
        volatile &&
        (first.code === 'UNKNOWN_PRODUCER' || first.code === 'OUT_OF_ORDER_SEQUENCE')
      ) {
        reached('producer forgotten')
        id = await this.as(n).newProducer()
        sequence = -1
        continue
      }
      if (!first.ok) {
        if (first.code !== 'OFFSET_CONFLICT')
          throw new InvariantError(`publisher was refused: ${first.code} ${first.message}`)
        reached('publish conflict')
        // The first decision is final, also a refusal.
        const again = await ask(n, command)
        if (again?.ok === true && !volatile)
          throw new InvariantError(`${payload} was refused and then accepted`)
        continue
      }
      if (conditional && first.offsets?.[0]?.offset !== guess)
        throw new InvariantError(
          `${payload} expected ${guess} and took effect at ${first.offsets?.[0]?.offset}`,
        )
      for (const o of first.offsets ?? [])
        this.ack(`${payload}@${o.topicId}`, `${o.topicId}/${o.partition}/${o.offset}`)
      reached('publish')
      await driver.sleep(rng.next() * 10)
    }
  }

  /** Reads everything that a broker has and compares it with what was acked. */
  async readBack(broker: Broker, topics: readonly number[]): Promise<void> {
    const { failover, reached, volatile } = this.options
    const found = new Map<string, string>()
    const last = new Map<string, number>()
    for (const topicId of topics)
      for (let partition = 0; partition < partitions; partition++) {
        let at = 0
        for (;;) {
          at = Math.max(at, startOf(broker, topicId, partition))
          const { items, next, end } = await broker.read(topicId, partition, at, 10_000)
          for (const item of items) {
            if (item.kind === 'gap') {
              if (!volatile && item.gap !== 'trimmed')
                throw new InvariantError(
                  `gap ${item.gap} at ${item.offset} of ${topicId}/${partition}`,
                )
              reached(`gap ${item.gap}`)
              continue
            }
            const payload = new TextDecoder().decode(
              decodeBatchSync(item.batch)[0]?.value ?? undefined,
            )
            const [n = '', sequence = ''] = payload.split(':')
            const name = n.startsWith('2.') ? `${payload}@${topicId}` : payload
            const place = `${topicId}/${partition}/${item.offset}`
            if (found.has(name))
              throw new InvariantError(`${name} is at ${found.get(name)} and at ${place}`)
            found.set(name, place)
            this.holds(place, name)
            const lane = `${n}/${topicId}/${partition}`
            // Without an identity there is no order between what went to two brokers.
            if (failover && n.startsWith('3.')) continue
            if (Number(sequence) <= (last.get(lane) ?? -1))
              throw new InvariantError(`${name} comes after ${last.get(lane)}`)
            last.set(lane, Number(sequence))
          }
          at = next
          if (at >= end) break
        }
      }
    this.compare(broker, found, topics)
  }

  /** Invariants 1, 6, 7. */
  private compare(
    broker: Broker,
    found: ReadonlyMap<string, string>,
    topics: readonly number[],
  ): void {
    const { volatile } = this.options
    if (!volatile)
      for (const [payload, place] of this.acked)
        if (found.get(payload) !== place && !isTrimmed(broker, place))
          throw new InvariantError(`acked ${payload} at ${place} reads at ${found.get(payload)}`)
    for (const name of found.keys()) {
      const [payload = '', topic] = name.split('@')
      if (topic === undefined || volatile) continue
      for (const other of topics)
        if (!found.has(`${payload}@${other}`) && startOf(broker, other, 0) === 0)
          throw new InvariantError(`${payload} is in topic ${topic} but not in ${other}`)
    }
  }
}

function startOf(broker: Broker, topicId: number, partition: number): number {
  return broker.topicById(topicId)?.partitions[partition]?.start ?? 0
}

/** `place` is topic/partition/offset. */
function isTrimmed(broker: Broker, place: string): boolean {
  const [topicId = 0, partition = 0, offset = 0] = place.split('/').map(Number)
  return offset < startOf(broker, topicId, partition)
}

function batchOf(
  payload: string,
  producer?: { producerId: number; baseSequence: number },
): Uint8Array {
  return encodeBatch([{ value: payload }], {
    now: 0,
    ...(producer === undefined ? {} : { producer: { ...producer, producerEpoch: 0 } }),
  })
}

function partitionBatch(topicId: number, partition: number, payload: string) {
  const batch = batchOf(payload)
  return { topicId, partition, batch, header: readBatchHeader(batch) }
}

function produceCommand(
  topicId: number,
  partition: number,
  payload: string,
  producerId: number,
  sequence: number,
): Command {
  const batch = batchOf(payload, { producerId, baseSequence: sequence })
  return { type: 'produce', topicId, partition, batch, header: readBatchHeader(batch) }
}
