// One seeded run of a broker on a simulated log: idempotent producers that pipeline and retry, atomic and conditional publishes, switches
// of the log, crashes that lose un-synced data. Checked: invariants 1, 2, 6, 7, 8 and 10 of docs/architecture.md section 9.

import { Broker } from '../../broker/broker.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import type { StateStore } from '../../broker/state/store.ts'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import { FileMetaStore } from '../../loglets/metastore/file.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { BrokerClients } from './broker-clients.ts'
import { type Chaos, SharedFlakyProvider } from './flaky.ts'
import { InvariantError } from './log-model.ts'
import type { RunResult } from './log-scenario.ts'
import { crashDisk } from './crash.ts'
import { SimDisk } from './sim-disk.ts'
import { SimStore } from './sim-store.ts'
import { Process, StalledError, World } from './world.ts'

const durableSpecs = [
  'file',
  'striped:2:file',
  'striped:3:file',
  'striped:2:striped:2:file',
] as const
const runMs = 120_000

/** Runs the scenario of one seed. @throws InvariantError, StalledError */
export async function brokerScenario(seed: number): Promise<RunResult> {
  const world = new World(seed)
  const run = new BrokerRun(world)
  await world.run(() => run.main(), runMs)
  for (const [state, count] of run.states) world.trace(`${state} ${count}`)
  return { digest: world.digest(), events: world.events, states: run.states }
}

export class BrokerRun {
  readonly states = new Map<string, number>()
  private readonly world: World
  private readonly disk = new SimDisk()
  private readonly store = new MemoryStore()
  private readonly driver: Process
  private readonly clients: BrokerClients
  private readonly specs: readonly string[]
  private readonly chaos: Chaos
  private readonly hashes = new Map<number, string>()
  private process: Process
  private broker: Broker | undefined
  private died: Promise<'died'> = Promise.resolve('died')
  private die: () => void = () => {}

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
    this.clients = new BrokerClients({
      world,
      driver: this.driver,
      reached: state => this.reached(state),
      ask: (_, command) => this.ask(command),
      end: topicId => this.broker?.topicById(topicId)?.partitions[0]?.next ?? 0,
      volatile: this.usesMemory,
      failover: false,
    })
  }

  async main(): Promise<void> {
    const { rng } = this.world
    await this.disk.mkdir('loglets')
    await this.disk.mkdir('metastore')
    await this.start()
    const topics = await Promise.all(['one', 'two'].map(topic => this.clients.createTopic(topic)))
    const producers = this.clients.run(topics)
    producers.catch(error => this.world.fail(error))
    const crashes = rng.int(4)
    for (let crash = 0; crash <= crashes; crash++) {
      await this.driver.sleep(30 + rng.next() * 300)
      if (crash === crashes) break
      this.crash()
      await this.driver.sleep(rng.next() * 20)
      await this.start()
    }
    this.chaos.enabled = false
    this.clients.stop()
    await producers
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

  /** Reads everything, then rebuilds the state from nothing and compares. */
  private async finish(topics: readonly number[]): Promise<void> {
    const broker = this.broker as Broker
    await Promise.race([
      broker.sync(),
      this.driver.sleep(20_000).then(() => {
        throw new StalledError('no sync after everything healed')
      }),
    ])
    await this.clients.readBack(broker, topics)
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
}
