// One seeded run of a whole cluster: log servers, sequencers, the register and a broker on every node, producers that move from broker to
// broker and die with requests under way, switches and trims of the log by whichever node, and everything that befalls a SimCluster.
// Checked: invariants 1, 2, 6, 7, 8 and 10 of docs/architecture.md section 9; every broker ends in the same state.

import { Broker } from '../../broker/broker.ts'
import { CheckpointExchange } from '../../broker/cluster/checkpoint-exchange.ts'
import { isUnavailable } from '../../broker/engine/healer.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { allKeys, metaKey } from '../../broker/state/keys.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { majority } from '../../loglets/majority.ts'
import { LogloomError } from '../../wire/errors.ts'
import { BrokerClients } from './broker-clients.ts'
import { healMs, stateOfEvent } from './cluster-scenario.ts'
import { GroupClients, type GroupClientsOptions } from './group-clients.ts'
import { KeyedClient } from './keyed-client.ts'
import { InvariantError } from './log-model.ts'
import type { RunResult } from './log-scenario.ts'
import { ShareClients } from './share-clients.ts'
import { SimCluster, type SimNode, type Started } from './sim-cluster.ts'
import { SimStore } from './sim-store.ts'
import { Process, StalledError, World } from './world.ts'

const runMs = 180_000
const checkpointsDir = 'state/checkpoints'
/** A client leaves a broker that has not answered for this long. */
const answerMs = 400
/** Beside those of BrokerClients. */
const keyedClient = 4
const groupClient = 5
const shareClient = 20
const cleaningSettings = {
  retentionCheckIntervalMs: 60,
  logCleanerBackoffMs: 60,
  logCleanerTailBytes: 0,
  reclaimBytesMin: 2000,
  logSizeTargetPercent: 120,
}

/** Runs the scenario of one seed. @throws InvariantError, StalledError */
export async function brokersScenario(seed: number): Promise<RunResult> {
  const world = new World(seed)
  const run = new BrokersRun(world)
  await world.run(() => run.main(), runMs + healMs)
  for (const [state, count] of run.states) world.trace(`${state} ${count}`)
  return { digest: world.digest(), events: world.events, states: run.states }
}

interface Home {
  /** Of the broker's state; gone with the disk. */
  store: MemoryStore
  broker: Broker | undefined
  /** Settles when the process of now ends. */
  readonly died: Promise<undefined>
  readonly die: () => void
  /** Of all homes there were. */
  readonly serial: number
}

export class BrokersRun {
  readonly states = new Map<string, number>()
  private readonly world: World
  private readonly driver: Process
  private readonly cluster: SimCluster
  private readonly clients: BrokerClients
  private readonly homes = new Map<SimNode, Home>()
  /** Which node each client talks to. */
  private readonly chosen = new Map<number, SimNode>()
  private readonly hashes = new Map<number, string>()
  private readonly keyed: KeyedClient | undefined
  /** Of either kind. */
  private readonly groups: readonly (GroupClients | ShareClients)[]
  private chaotic = true
  private homesMade = 0

  constructor(world: World) {
    this.world = world
    this.driver = new Process(world)
    this.cluster = new SimCluster({
      world,
      driver: this.driver,
      reached: state => this.reached(state),
      onEvent: event => this.reached(stateOfEvent(event)),
      onStarted: started => this.serve(started),
      onCrash: node => this.leave(node, this.home(node).store),
      onWiped: node => this.leave(node, new MemoryStore()),
    })
    this.clients = new BrokerClients({
      world,
      driver: this.driver,
      reached: state => this.reached(state),
      ask: (client, command) => this.ask(client, command),
      end: topicId => this.anyBroker()?.topicById(topicId)?.partitions[0]?.next ?? 0,
      volatile: false,
      failover: true,
      clientCrash: world.rng.pick([0, 0.02]),
    })
    if (world.rng.chance(0.5))
      this.keyed = new KeyedClient({
        world,
        driver: this.driver,
        reached: state => this.reached(state),
        ask: command => this.ask(keyedClient, command),
      })
    const { rng } = world
    this.groups = [
      ...(rng.chance(0.4) ? [new GroupClients(this.clientsFrom(groupClient))] : []),
      ...(rng.chance(0.4) ? [new ShareClients(this.clientsFrom(shareClient))] : []),
    ]
  }

  private clientsFrom(firstClient: number): GroupClientsOptions {
    return {
      world: this.world,
      driver: this.driver,
      reached: state => this.reached(state),
      firstClient,
      ask: (client, command) => this.ask(client, command),
      use: (client, work) => this.use(client, work),
      home: client => this.home(this.nodeOf(client)).serial,
    }
  }

  async main(): Promise<void> {
    const { rng } = this.world
    await this.cluster.startAll()
    // With a network that loses a third of all messages even this may take until everything has healed.
    const creating = Promise.all(['one', 'two'].map(topic => this.clients.createTopic(topic)))
    const clients = creating.then(topics => this.clients.run(topics))
    clients.catch(error => this.world.fail(error))
    const keyed = this.keyed?.run()
    keyed?.catch(error => this.world.fail(error))
    const groups = Promise.all(this.groups.map(group => group.run()))
    groups.catch(error => this.world.fail(error))
    const rounds = 1 + rng.int(4)
    for (let round = 0; round < rounds; round++) {
      await this.driver.sleep(50 + rng.next() * 300)
      await this.cluster.mischief()
    }
    this.chaotic = false
    this.cluster.heal()
    const late = this.driver.sleep(healMs).then(() => 'late' as const)
    const finish = async (): Promise<void> => {
      this.clients.stop()
      this.keyed?.stop()
      for (const group of this.groups) group.stopProducing()
      await clients
      await keyed
      for (const group of this.groups) {
        while (!this.everywhere(broker => group.isDone(broker))) await this.driver.sleep(20)
        group.stop()
      }
      await groups
      await this.finish(await creating)
    }
    if ((await Promise.race([finish(), late])) !== 'late') return
    if (!this.cluster.isBeyondAssumption())
      throw new StalledError('no progress after everything healed')
    this.reached('stuck: more was lost than the loglet bears')
  }

  private reached(state: string): void {
    this.states.set(state, (this.states.get(state) ?? 0) + 1)
  }

  private home(node: SimNode): Home {
    return this.homes.get(node) ?? this.move(node, new MemoryStore())
  }

  private move(node: SimNode, store: MemoryStore): Home {
    let die = (): void => {}
    const died = new Promise<undefined>(resolve => {
      die = () => resolve(undefined)
    })
    const home: Home = { store, broker: undefined, died, die, serial: this.homesMade++ }
    this.homes.set(node, home)
    return home
  }

  private leave(node: SimNode, store: MemoryStore): void {
    this.homes.get(node)?.die()
    this.move(node, store)
  }

  private anyBroker(): Broker | undefined {
    for (const { broker } of this.homes.values()) if (broker !== undefined) return broker
    return undefined
  }

  /** A broker on the node's log, and somebody who operates it. */
  private async serve({ node, process, log, net, disk, fail }: Started): Promise<void> {
    const { rng } = this.world
    const home = this.home(node)
    const { store } = home
    if (store.get(metaKey) === undefined && store.range({ ...allKeys, limit: 1 }).length > 0)
      this.reached('restore broken off')
    const checkpoints = new CheckpointExchange({
      net,
      disk,
      dir: checkpointsDir,
      others: () =>
        this.cluster.nodes.flatMap(other =>
          other === node || !other.process.alive ? [] : [other.id],
        ),
      copiesNeeded: () => majority(this.cluster.nodes.length),
    })
    for (;;) {
      try {
        home.broker = await Broker.open({
          disk,
          clock: process,
          random: rng,
          defer: process.defer,
          log,
          store: new SimStore(home.store, process),
          checkpointsDir,
          checkpoints,
          nodeId: node.id,
          settings: {
            stateCommitIntervalMs: 40,
            appendsInFlightMax: 4,
            entryBytesMax: 2000,
            shared: true,
            stampEveryMs: 100,
            sessionTimeoutMs: 700,
            groupSweepIntervalMs: 50,
            ...(this.keyed === undefined ? {} : cleaningSettings),
          },
          onFatal: fail,
        })
        break
      } catch (error) {
        if (!isUnavailable(error) && !(error instanceof LogloomError)) throw error
        this.reached(`broker not opened ${(error as { code?: string }).code}`)
        await process.sleep(20)
      }
    }
    this.seeHash(home.broker.replayed.applied, home.broker.replayed.hash)
    const go = (task: Promise<void>): void => void task.catch(fail)
    go(this.operator(process, home.broker))
    go(this.observer(process, home.broker))
    if (rng.chance(0.3)) go(this.trimmer(process, home.broker))
    if (this.keyed !== undefined) go(this.mover(this.keyed, process, home.broker))
  }

  /** Invariant 8, whenever two brokers are seen at the same position. */
  private seeHash(applied: number, hash: string): void {
    const known = this.hashes.get(applied)
    if (known !== undefined && known !== hash)
      throw new InvariantError(`state at ${applied} has the hashes ${known} and ${hash}`)
    if (known !== undefined) this.reached('states compared')
    this.hashes.set(applied, hash)
  }

  private async observer(process: Process, broker: Broker): Promise<void> {
    for (;;) {
      await process.sleep(this.world.rng.next() * 100)
      const { applied, hash } = broker.stateHash()
      this.seeHash(applied, hash)
      for (const group of this.groups) if (group instanceof GroupClients) group.observe(broker)
    }
  }

  private async operator(process: Process, broker: Broker): Promise<void> {
    const { rng } = this.world
    for (;;) {
      await process.sleep(100 + rng.next() * 500)
      if (!this.chaotic) return
      try {
        await broker.switchLog(rng.pick(this.cluster.specs))
        this.reached('switch')
      } catch (error) {
        if (error instanceof InvariantError) throw error
        this.reached('switch failed')
      }
    }
  }

  private async mover(keyed: KeyedClient, process: Process, broker: Broker): Promise<void> {
    for (;;) {
      await process.sleep(this.world.rng.next() * 200)
      if (!this.chaotic) return
      try {
        await keyed.moveOne(broker, process)
      } catch (error) {
        if (error instanceof InvariantError) throw error
        this.reached('move failed')
      }
    }
  }

  private async trimmer(process: Process, broker: Broker): Promise<void> {
    const { rng } = this.world
    for (;;) {
      await process.sleep(200 + rng.next() * 300)
      if (!this.chaotic) return
      try {
        const topic = broker.topicByName('one')
        if (topic !== undefined && rng.chance(0.5)) {
          const partitions = topic.partitions.map(p => [topic.id, p.partition] as const)
          await broker.propose({ type: 'retain', partitions, ms: -1, bytes: rng.int(5000) })
          this.reached('retained')
        }
        // Forced: what readers have not read goes as well; a node with a new disk has to take its state from another.
        await broker.trimLog(Math.floor(broker.applied * rng.next() * 0.5), true)
        this.reached('trimmed')
      } catch (error) {
        if (error instanceof InvariantError) throw error
        this.reached('trim failed')
      }
    }
  }

  private nodeOf(client: number): SimNode {
    const node = this.chosen.get(client) ?? this.world.rng.pick(this.cluster.nodes)
    this.chosen.set(client, node)
    return node
  }

  private ask(client: number, command: Command): Promise<Decision | undefined> {
    return this.use(client, broker =>
      broker.propose(command).catch((error: { code?: string }) => {
        this.reached(`propose ${error.code}`)
        return undefined
      }),
    )
  }

  /** A client turns to the broker that it has chosen, and chooses another when that does not answer. */
  private async use<T>(
    client: number,
    work: (broker: Broker) => T | Promise<T>,
  ): Promise<T | undefined> {
    const { driver } = this
    const node = this.nodeOf(client)
    const { broker, died } = this.home(node)
    let answer: T | undefined
    if (broker === undefined) await driver.sleep(5)
    else
      answer = await Promise.race([
        this.tried(() => work(broker)),
        died,
        driver.sleep(answerMs).then(() => undefined),
      ])
    if (answer !== undefined) return answer
    if (this.chosen.get(client) === node) {
      this.chosen.set(client, this.world.rng.pick(this.cluster.nodes))
      this.reached('failover')
    }
    return undefined
  }

  /** Undefined instead of a refusal: the broker is behind, or cannot reach what was asked for. */
  private async tried<T>(work: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      if (!isUnavailable(error) && !(error instanceof LogloomError)) throw error
      this.reached(`use ${(error as { code?: string }).code}`)
      return undefined
    }
  }

  private everywhere(holds: (broker: Broker) => boolean | undefined): boolean {
    return this.cluster.nodes.every(node => {
      const { broker } = this.home(node)
      return broker !== undefined && holds(broker) === true
    })
  }

  /** Every broker has everything that was acked, and all have the same state. */
  private async finish(topics: readonly number[]): Promise<void> {
    const { nodes } = this.cluster
    for (const node of nodes)
      await this.through(node, async broker => {
        await broker.sync()
        await this.clients.readBack(broker, topics)
        await this.keyed?.readBack(broker)
        for (const group of this.groups) await group.readBack(broker)
        if (broker.cleaning.relocatedBatches > 0) this.reached('relocated')
      })
    // Signs of life move the log on: the states are compared where all have been.
    for (;;) {
      const states = await Promise.all(
        nodes.map(node =>
          this.through(node, async broker => {
            await broker.sync()
            return broker.stateHash()
          }),
        ),
      )
      for (const { applied, hash } of states) this.seeHash(applied, hash)
      if (states.every(({ applied }) => applied === states[0]?.applied)) break
      await this.driver.sleep(this.world.rng.next() * 50)
    }
    this.reached('same state everywhere')
  }

  /** Uses the broker of a node, the next one if it ends meanwhile. */
  private async through<T>(node: SimNode, use: (broker: Broker) => Promise<T>): Promise<T> {
    for (;;) {
      const { broker, died } = this.home(node)
      if (broker !== undefined)
        try {
          const result = await Promise.race([use(broker).then(value => ({ value })), died])
          if (result !== undefined) return result.value
        } catch (error) {
          if (this.home(node).broker === broker) throw error
        }
      await this.driver.sleep(10)
    }
  }
}
