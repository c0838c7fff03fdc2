// One seeded run of a broker on a simulated log: idempotent producers that pipeline and retry, atomic and conditional publishes, switches
// of the log, crashes that lose un-synced data. Checked: invariants 1, 2, 6, 7, 8 and 10 of docs/architecture.md section 9.

import { Broker } from '../../broker/broker.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import type { StateStore, StoreOp, StoreRange } from '../../broker/state/store.ts'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import { FileMetaStore } from '../../loglets/metastore/file.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { decodeBatchSync, encodeBatch, readBatchHeader } from '../../wire/index.ts'
import { type Chaos, SharedFlakyProvider } from './flaky.ts'
import { InvariantError } from './log-model.ts'
import type { RunResult } from './log-scenario.ts'
import { crashDisk } from './crash.ts'
import { SimDisk } from './sim-disk.ts'
import { Process, StalledError, World } from './world.ts'

const durableSpecs = [
  'file',
  'striped:2:file',
  'striped:3:file',
  'striped:2:striped:2:file',
] as const
const partitions = 2
const windowMax = 5
const runMs = 120_000

/** Runs the scenario of one seed. @throws InvariantError, StalledError */
export async function brokerScenario(seed: number): Promise<RunResult> {
  const world = new World(seed)
  const run = new BrokerRun(world)
  await world.run(() => run.main(), runMs)
  for (const [state, count] of run.states) world.trace(`${state} ${count}`)
  return { digest: world.digest(), events: world.events, states: run.states }
}

/** A store that survives its process: a commit happens whole or, when the process dies first, not at all. */
class SimStore implements StateStore {
  private readonly inner: StateStore
  private readonly process: Process

  constructor(inner: StateStore, process: Process) {
    this.inner = inner
    this.process = process
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.inner.get(key)
  }

  range(range: StoreRange): ReturnType<StateStore['range']> {
    return this.inner.range(range)
  }

  async commit(ops: readonly StoreOp[]): Promise<void> {
    await this.process.latency(10)
    await this.inner.commit(ops)
    await this.process.latency(2)
  }

  clear(): Promise<void> {
    return this.inner.clear()
  }

  async close(): Promise<void> {}
}

interface Pending {
  readonly payload: string
  readonly command: Command
}

/** What the producers were told, and what readers must find. */
class BrokerModel {
  readonly acked = new Map<string, string>()
  readonly at = new Map<string, string>()

  /** `place` is topic/partition/offset. */
  ack(payload: string, place: string): void {
    const known = this.acked.get(payload)
    if (known !== undefined && known !== place)
      throw new InvariantError(`${payload} acked at ${known} and at ${place}`)
    this.acked.set(payload, place)
    this.holds(place, payload)
  }

  holds(place: string, payload: string): void {
    const known = this.at.get(place)
    if (known !== undefined && known !== payload)
      throw new InvariantError(`${place} holds ${known} and ${payload}`)
    this.at.set(place, payload)
  }
}

export class BrokerRun {
  readonly states = new Map<string, number>()
  private readonly world: World
  private readonly disk = new SimDisk()
  private readonly store = new MemoryStore()
  private readonly driver: Process
  private readonly model = new BrokerModel()
  private readonly specs: readonly string[]
  private readonly chaos: Chaos
  private readonly hashes = new Map<number, string>()
  private process: Process
  private broker: Broker | undefined
  private died: Promise<'died'> = Promise.resolve('died')
  private die: () => void = () => {}
  private stopping = false

  constructor(world: World) {
    this.world = world
    this.driver = new Process(world)
    this.process = new Process(world)
    this.specs = world.rng.chance(0.3) ? [...durableSpecs, 'memory'] : durableSpecs
    this.chaos = {
      enabled: true,
      createFails: world.rng.pick([0, 0.1]),
      sealFails: world.rng.pick([0, 0.1]),
      ackLost: world.rng.pick([0, 0.02]),
    }
  }

  async main(): Promise<void> {
    const { rng } = this.world
    await this.disk.mkdir('loglets')
    await this.disk.mkdir('metastore')
    await this.start()
    const topics = await Promise.all(['one', 'two'].map(topic => this.createTopic(topic)))
    const producers = Promise.all(
      [0, 1, 2].map(n => (n < 2 ? this.producer(n, topics) : this.publisher(n, topics))),
    )
    producers.catch(error => this.world.fail(error))
    const anonymous = this.anonymous(3, topics)
    anonymous.catch(error => this.world.fail(error))
    const crashes = rng.int(4)
    for (let crash = 0; crash <= crashes; crash++) {
      await this.driver.sleep(30 + rng.next() * 300)
      if (crash === crashes) break
      this.crash()
      await this.driver.sleep(rng.next() * 20)
      await this.start()
    }
    this.chaos.enabled = false
    this.stopping = true
    await producers
    await anonymous
    await this.finish(topics)
  }

  private reached(state: string): void {
    this.states.set(state, (this.states.get(state) ?? 0) + 1)
  }

  private get usesMemory(): boolean {
    return this.specs.includes('memory')
  }

  private async start(): Promise<void> {
    const { process } = this
    this.died = new Promise(resolve => {
      this.die = () => resolve('died')
    })
    for (;;)
      try {
        this.broker = await this.open(process, this.store)
        break
      } catch (error) {
        if (error instanceof InvariantError || !this.chaos.enabled) throw error
        this.reached('open failed')
        await this.driver.sleep(5)
      }
    const { replayed } = this.broker
    this.seeHash(replayed.applied, replayed.hash)
    this.switcher(process, this.broker).catch(error => {
      if (process.alive) this.world.fail(error)
    })
  }

  private seeHash(applied: number, hash: string): void {
    const known = this.hashes.get(applied)
    if (known !== undefined && known !== hash)
      throw new InvariantError(`state at ${applied} has the hashes ${known} and ${hash}`)
    this.hashes.set(applied, hash)
  }

  private async open(process: Process, store: StateStore): Promise<Broker> {
    const { rng } = this.world
    const disk = process.disk(this.disk, () => 1)
    const fatal = (error: Error): void => {
      if (process.alive) this.world.fail(error)
    }
    const log = await VirtualLog.open({
      metaStore: new FileMetaStore({ disk, dir: 'metastore' }),
      registry: new LogletRegistry([
        new SharedFlakyProvider(
          new FileLogletProvider({ disk, root: 'loglets', clock: process, onFatal: fatal }),
          this.chaos,
          rng,
        ),
        new SharedFlakyProvider(new MemoryLogletProvider({ bytesMax: 1 << 22 }), this.chaos, rng),
      ]),
      clock: process,
      random: rng,
      initialSpec: 'striped:2:file',
      sealTakeoverMs: 30,
    })
    const opening = Broker.open({
      disk,
      clock: process,
      random: rng,
      defer: process.defer,
      log,
      store: new SimStore(store, process),
      checkpointsDir: 'state/checkpoints',
      nodeId: 'n1',
      settings: {
        stateCommitIntervalMs: 40,
        durableSpec: 'file',
        appendsInFlightMax: 4,
        entryBytesMax: 2000,
      },
      onFatal: fatal,
    })
    // Whoever opened the log closes it when the broker does not take it over.
    opening.catch(() => log.close())
    return opening
  }

  private crash(): void {
    const { rng } = this.world
    this.process.kill()
    this.broker = undefined
    this.reached(`crash: ${crashDisk(this.disk, rng)}`)
    this.process = new Process(this.world)
    this.die()
  }

  private async switcher(process: Process, broker: Broker): Promise<void> {
    const { rng } = this.world
    while (process.alive) {
      await process.sleep(10 + rng.next() * 80)
      try {
        await broker.switchLog(rng.pick(this.specs))
        this.reached('switch')
      } catch (error) {
        if (error instanceof InvariantError) throw error
        this.reached('switch failed')
      }
    }
  }

  /** The decision, or undefined when nobody can say: the broker died or does not know. */
  private async ask(command: Command): Promise<Decision | undefined> {
    const { broker } = this
    if (broker === undefined) return undefined
    const answer = await Promise.race([
      broker.propose(command).catch((error: { code?: string }) => {
        this.reached(`propose ${error.code}`)
        return undefined
      }),
      this.died,
    ])
    return answer === 'died' ? undefined : answer
  }

  private async insist(command: Command): Promise<Decision & { ok: true }> {
    for (;;) {
      const decision = await this.ask(command)
      if (decision?.ok === true) return decision
      await this.driver.sleep(5)
    }
  }

  private async createTopic(topic: string): Promise<number> {
    const decision = await this.insist({
      type: 'createTopic',
      topic,
      partitions,
      config: {},
      ifNotExists: true,
    })
    return decision.result?.topicId as number
  }

  /** Pipelines up to five batches on one lane and sends all unresolved ones again, in order, when something goes wrong. */
  private async producer(n: number, topics: readonly number[]): Promise<void> {
    const { rng } = this.world
    const topicId = topics[n % topics.length] as number
    const partition = n % partitions
    let producerId = await this.newProducer()
    let sequence = 0
    let serial = 0
    let refusals = 0
    const window: Pending[] = []
    for (;;) {
      while (!this.stopping && window.length < 1 + rng.int(windowMax)) {
        const payload = `${n}:${serial++}`
        window.push({
          payload,
          command: produceCommand(topicId, partition, payload, producerId, sequence++),
        })
      }
      if (window.length === 0) return
      const answers = window.map(({ command }) => this.ask(command))
      // Now and then a second copy is under way at the same time, as after a reconnect.
      if (rng.chance(0.1)) void this.ask((window[0] as Pending).command)
      for (const answer of answers) {
        const decision = await answer
        if (decision?.ok !== true) {
          if (
            decision !== undefined &&
            this.usesMemory &&
            (decision.code === 'UNKNOWN_PRODUCER' || ++refusals > 20)
          ) {
            // What a lost volatile range said about this producer is gone with it: a new identity.
            this.reached('producer forgotten')
            producerId = await this.newProducer()
            sequence = 0
            refusals = 0
            window.length = 0
            break
          }
          if (decision !== undefined && decision.code !== 'OUT_OF_ORDER_SEQUENCE')
            throw new InvariantError(
              `producer ${n} was refused: ${decision.code} ${decision.message}`,
            )
          this.reached(decision === undefined ? 'produce unknown' : 'produce out of order')
          await this.driver.sleep(rng.next() * 10)
          break
        }
        refusals = 0
        if (decision.duplicate === true) this.reached('produce duplicate')
        const { payload } = window.shift() as Pending
        this.model.ack(payload, `${topicId}/${partition}/${decision.offsets?.[0]?.offset}`)
        this.world.trace(payload)
      }
      if (rng.chance(0.3)) await this.driver.sleep(rng.next() * 10)
    }
  }

  /** Sends each payload once, without an identity: nothing but the broker's own session keeps it from taking effect twice. */
  private async anonymous(n: number, topics: readonly number[]): Promise<void> {
    const { rng } = this.world
    for (let serial = 0; !this.stopping; serial++) {
      const topicId = rng.pick(topics)
      const partition = rng.int(partitions)
      const payload = `${n}:${serial}`
      const decision = await this.ask(produceCommand(topicId, partition, payload, 0, 0))
      if (decision?.ok === false)
        throw new InvariantError(`${payload} was refused: ${decision.code} ${decision.message}`)
      if (decision?.ok === true)
        this.model.ack(payload, `${topicId}/${partition}/${decision.offsets?.[0]?.offset}`)
      this.reached(decision === undefined ? 'anonymous unknown' : 'anonymous')
      await this.driver.sleep(rng.next() * 5)
    }
  }

  /** Atomic publishes to both topics; every third expects an offset. */
  private async publisher(n: number, topics: readonly number[]): Promise<void> {
    const { rng } = this.world
    let id = await this.newProducer()
    let sequence = -1
    for (let serial = 0; !this.stopping; serial++) {
      sequence++
      const payload = `${n}:${serial}`
      const conditional = rng.chance(0.3)
      const guess = this.broker?.topicById(topics[0] as number)?.partitions[0]?.next ?? 0
      const command: Command = {
        type: 'publish',
        producer: { id, epoch: 0, sequence },
        batches: topics.map(topicId => partitionBatch(topicId, 0, payload)),
        expect: conditional ? [{ topicId: topics[0] as number, partition: 0, offset: guess }] : [],
      }
      let first: Decision | undefined
      while (first === undefined) {
        const decision = await this.ask(command)
        if (decision !== undefined) first = decision
        else await this.driver.sleep(rng.next() * 10)
      }
      if (
        !first.ok &&
        this.usesMemory &&
        (first.code === 'UNKNOWN_PRODUCER' || first.code === 'OUT_OF_ORDER_SEQUENCE')
      ) {
        this.reached('producer forgotten')
        id = await this.newProducer()
        sequence = -1
        continue
      }
      if (!first.ok) {
        if (first.code !== 'OFFSET_CONFLICT')
          throw new InvariantError(`publisher was refused: ${first.code} ${first.message}`)
        this.reached('publish conflict')
        // The first decision is final, also a refusal.
        const again = await this.ask(command)
        if (again?.ok === true && !this.usesMemory)
          throw new InvariantError(`${payload} was refused and then accepted`)
        continue
      }
      if (conditional && first.offsets?.[0]?.offset !== guess)
        throw new InvariantError(
          `${payload} expected ${guess} and took effect at ${first.offsets?.[0]?.offset}`,
        )
      for (const o of first.offsets ?? [])
        this.model.ack(`${payload}@${o.topicId}`, `${o.topicId}/${o.partition}/${o.offset}`)
      this.reached('publish')
      await this.driver.sleep(rng.next() * 10)
    }
  }

  private async newProducer(): Promise<number> {
    const decision = await this.insist({ type: 'initProducer' })
    return decision.result?.producerId as number
  }

  /** Reads everything, then rebuilds the state from nothing and compares. */
  private async finish(topics: readonly number[]): Promise<void> {
    const broker = this.broker as Broker
    await Promise.race([
      broker.sync(),
      this.driver.sleep(20_000).then(() => {
        throw new StalledError('no sync after everything healed')
      }),
    ])
    const found = new Map<string, string>()
    const last = new Map<string, number>()
    for (const topicId of topics)
      for (let partition = 0; partition < partitions; partition++) {
        let at = 0
        for (;;) {
          const { items, next, end } = await broker.read(topicId, partition, at, 10_000)
          for (const item of items) {
            if (item.kind === 'gap') {
              if (!this.usesMemory)
                throw new InvariantError(
                  `gap ${item.gap} at ${item.offset} of ${topicId}/${partition}`,
                )
              this.reached(`gap ${item.gap}`)
              continue
            }
            const payload = new TextDecoder().decode(
              decodeBatchSync(item.batch)[0]?.value ?? undefined,
            )
            const [n = '', sequence = ''] = payload.split(':')
            const name = n === '2' ? `${payload}@${topicId}` : payload
            const place = `${topicId}/${partition}/${item.offset}`
            if (found.has(name))
              throw new InvariantError(`${name} is at ${found.get(name)} and at ${place}`)
            found.set(name, place)
            this.model.holds(place, name)
            const lane = `${n}/${topicId}/${partition}`
            if (Number(sequence) <= (last.get(lane) ?? -1))
              throw new InvariantError(`${name} comes after ${last.get(lane)}`)
            last.set(lane, Number(sequence))
          }
          at = next
          if (at >= end) break
        }
      }
    this.compare(found, topics)
    await broker.close()
    const applied = broker.applied
    this.process.kill()
    this.process = new Process(this.world)
    this.disk.crash(() => 'all')
    if (this.usesMemory) return
    const rebuilt = await this.open(this.process, new MemoryStore())
    if (rebuilt.replayed.applied < applied)
      throw new InvariantError(`rebuilt up to ${rebuilt.replayed.applied}, had ${applied}`)
    const { hash } = broker.stateHash()
    this.seeHash(applied, hash)
    this.seeHash(rebuilt.replayed.applied, rebuilt.replayed.hash)
    this.reached('rebuilt')
  }

  /** Invariants 1, 6, 7. */
  private compare(found: ReadonlyMap<string, string>, topics: readonly number[]): void {
    if (!this.usesMemory)
      for (const [payload, place] of this.model.acked)
        if (found.get(payload) !== place)
          throw new InvariantError(`acked ${payload} at ${place} reads at ${found.get(payload)}`)
    for (const name of found.keys()) {
      const [payload = '', topic] = name.split('@')
      if (topic === undefined || this.usesMemory) continue
      for (const other of topics)
        if (!found.has(`${payload}@${other}`))
          throw new InvariantError(`${payload} is in topic ${topic} but not in ${other}`)
    }
  }
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
