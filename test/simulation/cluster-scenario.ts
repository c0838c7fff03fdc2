// One seeded run of a log on several nodes: native loglets on log servers beside every client, with a network that loses, repeats and reorders,
// cut links, killed and paused processes, crashes of one, of most and of all nodes that lose un-synced data, full and slow disks, and
// reconfigurations by operators and by whoever meets a failure. Then everything heals, and progress is demanded.

import { Healer, isUnavailable } from '../../broker/engine/healer.ts'
import { LogletError, LogletSealedError, type Lsn } from '../../loglets/contract.ts'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { majority } from '../../loglets/majority.ts'
import { MemoryMetaStore } from '../../loglets/metastore/memory.ts'
import { Acceptor } from '../../loglets/metastore/paxos/acceptor.ts'
import {
  MetaStoreUnavailableError,
  PaxosMetaStore,
} from '../../loglets/metastore/paxos/paxos-metastore.ts'
import type { MetaStore } from '../../loglets/metastore/metastore.ts'
import { LogServer } from '../../loglets/native/log-server.ts'
import { decodePlacement } from '../../loglets/native/placement.ts'
import { NativeLogletProvider } from '../../loglets/native/native-provider.ts'
import { Sequencers } from '../../loglets/native/sequencers.ts'
import type { Net, NodeId } from '../../loglets/net.ts'
import type { Disk } from '../../loglets/ports.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import { AppendError, VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { crashDisk } from './crash.ts'
import { InvariantError, LogModel } from './log-model.ts'
import type { RunResult } from './log-scenario.ts'
import { SimDisk } from './sim-disk.ts'
import { type NetFaults, SimNet } from './sim-net.ts'
import { Process, StalledError, World } from './world.ts'

const healMs = 30_000
const runMs = 120_000
const faultKinds = [
  'crash',
  'crash',
  'pause',
  'cut',
  'cut one way',
  'majority',
  'all',
  'new disk',
] as const
const text = new TextEncoder()

/** Runs the scenario of one seed. @throws InvariantError, StalledError */
export async function clusterScenario(seed: number): Promise<RunResult> {
  const world = new World(seed)
  const run = new ClusterRun(world)
  await world.run(() => run.main(), runMs + healMs)
  for (const [state, count] of run.model.states) world.trace(`${state} ${count}`)
  return { digest: world.digest(), events: world.events, states: run.model.states }
}

/** One node: a disk that outlives its processes, and the process of now. */
interface Node {
  readonly id: NodeId
  disk: SimDisk
  process: Process
  incarnation: number
  /** Of the disk: a node whose disk was replaced has another. */
  store: number
  log: VirtualLog | undefined
  healer: Healer | undefined
}

class RegisterError extends Error {
  readonly code = 'REGISTER'
}

function isTransient(error: unknown): error is Error & { readonly code: string } {
  return (
    error instanceof LogletError ||
    error instanceof RegisterError ||
    error instanceof MetaStoreUnavailableError
  )
}

export class ClusterRun {
  readonly model = new LogModel()
  private readonly world: World
  private readonly driver: Process
  private readonly faults: NetFaults
  private readonly net: SimNet
  private readonly nodes: readonly Node[]
  /** Undefined: the nodes keep the register themselves. */
  private readonly metaStore: MetaStore | undefined
  private readonly specs: readonly string[]
  private readonly diskMs: number
  private chaotic = true
  /** One replica of each loglet may be lost for good, no more; in half of the runs none. */
  private wiped: boolean
  private payloads = 0

  constructor(world: World) {
    const { rng } = world
    this.world = world
    this.driver = new Process(world)
    this.faults = {
      drop: rng.pick([0, 0, 0.02, 0.1, 0.3]),
      duplicate: rng.pick([0, 0, 0.05, 0.3]),
      delayMs: rng.pick([0.2, 1, 5]),
    }
    this.net = new SimNet(world, this.faults)
    this.diskMs = rng.pick([0.5, 2, 10])
    this.wiped = rng.chance(0.5)
    const count = rng.pick([3, 3, 3, 5])
    this.nodes = Array.from({ length: count }, (_, i) => ({
      id: `n${i + 1}`,
      disk: new SimDisk(),
      process: new Process(world),
      incarnation: 0,
      store: 0,
      log: undefined,
      healer: undefined,
    }))
    this.metaStore = rng.chance(0.3) ? new MemoryMetaStore() : undefined
    this.specs =
      count === 3
        ? ['native', 'native,segment.bytes=4096', 'striped:2,servers=shared:native']
        : [
            'native',
            'native,replicas=5,segment.bytes=4096',
            'striped:3,servers=shared:native',
            // One copy of each entry: not in a run that loses a disk.
            ...(this.wiped ? ['striped:2,servers=disjoint:native,replicas=1'] : []),
          ]
  }

  async main(): Promise<void> {
    const { rng } = this.world
    for (const { disk } of this.nodes) await disk.mkdir('loglets')
    await Promise.all(this.nodes.map(node => this.start(node)))
    const rounds = 1 + rng.int(5)
    for (let round = 0; round < rounds; round++) {
      await this.driver.sleep(20 + rng.next() * 250)
      await this.mischief()
    }
    await this.heal()
  }

  /** One fault, and its end some time later. */
  private async mischief(): Promise<void> {
    const { rng } = this.world
    const { driver } = this
    const node = rng.pick(this.nodes)
    const kind = rng.pick(faultKinds)
    this.model.reached(`fault: ${kind}`)
    const forMs = rng.pick([5, 50, 500, 3000]) * rng.next()
    if (kind === 'pause') {
      node.process.pause()
      await driver.sleep(forMs)
      node.process.resume()
    } else if (kind === 'cut' || kind === 'cut one way') {
      const others = this.nodes.filter(other => other !== node)
      const cut = rng.chance(0.5) ? others : [rng.pick(others)]
      for (const other of cut) {
        this.net.cut(node.id, other.id)
        if (kind === 'cut') this.net.cut(other.id, node.id)
      }
      await driver.sleep(forMs)
      for (const other of cut) {
        this.net.mend(node.id, other.id)
        this.net.mend(other.id, node.id)
      }
    } else if (kind === 'new disk') {
      if (this.wiped || !(await this.isReplicated())) return
      this.wiped = true
      this.crash(node)
      node.disk = new SimDisk()
      node.store++
      await node.disk.mkdir('loglets')
      await driver.sleep(forMs)
      await this.start(node)
    } else {
      const count =
        kind === 'crash' ? 1 : kind === 'all' ? this.nodes.length : majority(this.nodes.length)
      const victims = [...this.nodes].sort(() => rng.next() - 0.5).slice(0, count)
      for (const victim of victims) this.crash(victim)
      await driver.sleep(forMs)
      await Promise.all(victims.map(victim => this.start(victim)))
    }
  }

  /** Every leaf of every segment is on three disks: then one may be lost. */
  private async isReplicated(): Promise<boolean> {
    const log = this.newestLog()
    for (const { id, placement = [] } of log?.chain.segments ?? [])
      for (const [leaf, text] of placement.entries()) {
        const { servers } = decodePlacement(text)
        const path = `loglets/${placement.length > 1 ? `${id}.${leaf}` : id}/replica.json`
        const copies = servers.map(async server => {
          const node = this.nodes.find(other => storeOf(other) === server.store)
          return node !== undefined && (await node.disk.exists(path))
        })
        if (servers.length < 3 || (await Promise.all(copies)).includes(false)) return false
      }
    return log !== undefined
  }

  private crash(node: Node): void {
    node.process.kill()
    node.log = undefined
    node.healer = undefined
    this.model.reached(`crash: ${crashDisk(node.disk, this.world.rng)}`)
  }

  /** Starts a process on the node and lets its clients loose. */
  private async start(node: Node): Promise<void> {
    const { world, model } = this
    const process = new Process(world)
    node.process = process
    node.incarnation++
    const net = this.net.endpoint(node.id, process)
    const disk = process.disk(node.disk, this.diskMs)
    const fail = (error: unknown): void => {
      if (process.alive) world.fail(error)
    }
    const files = new FileLogletProvider({ disk, root: 'loglets', clock: process, onFatal: fail })
    const server = { net, disk, clock: process, store: storeOf(node), root: 'loglets', files }
    void new LogServer(server)
    const sequencers = new Sequencers(net, process, `${node.id}-${node.incarnation}`)
    const provider = new NativeLogletProvider({
      net,
      clock: process,
      random: world.rng,
      sequencers,
      // What a failure detector would say after a while; it may be wrong about cut links and pauses.
      members: () =>
        this.nodes
          .filter(
            other => other.process.alive && (other === node || !this.net.isCut(node.id, other.id)),
          )
          .map(other => ({
            node: other.id,
            incarnation: `${other.id}-${other.incarnation}`,
            store: storeOf(other),
          })),
      serversTotal: () => this.nodes.length,
    })
    const registry = new LogletRegistry([provider])
    const metaStore = this.register(node, process, net, disk)
    const go = (task: () => Promise<void>): void => {
      task().catch(fail)
    }
    go(async () => {
      const log = await this.open(process, registry, metaStore)
      node.log = log
      node.healer = new Healer({
        log,
        clock: process,
        random: world.rng,
        onTrouble: () => model.reached('heal failed'),
      })
      go(() => this.appender(node, process, log))
      go(() => this.appender(node, process, log))
      go(() => this.reader(process, log))
      go(() => this.tailChecker(node, process, log))
      go(() => this.operator(process, log))
      if (world.rng.chance(0.3)) go(() => this.trimmer(process, log))
    })
  }

  /** Opening needs enough of the cluster: it is tried until it works. */
  private async open(
    process: Process,
    registry: LogletRegistry,
    metaStore: MetaStore,
  ): Promise<VirtualLog> {
    const { world, model } = this
    for (;;) {
      try {
        const log = await VirtualLog.open({
          metaStore,
          registry,
          clock: process,
          random: world.rng,
          initialSpec: 'native',
          sealTakeoverMs: 100,
          scope: 'cluster',
          onEvent: event => {
            if (!process.alive) return
            model.reached(
              event.type === 'cas'
                ? `cas ${event.outcome}`
                : event.type === 'reconfigured'
                  ? `reconfigured ${event.outcome} ${event.reason.split(':')[0]}`
                  : event.type,
            )
          },
        })
        model.chain(log.chain)
        log.onChain(chain => {
          if (!process.alive) return
          try {
            model.chain(chain)
          } catch (error) {
            world.fail(error)
          }
        })
        return log
      } catch (error) {
        if (!isTransient(error)) throw error
        model.reached(`open failed ${error.code}`)
        await process.sleep(20)
      }
    }
  }

  private register(node: Node, process: Process, net: Net, disk: Disk): MetaStore {
    if (this.metaStore !== undefined) return this.slow(process, node, this.metaStore)
    const { rng } = this.world
    const initialMembers = this.nodes.map(other => `${other.id}@${other.id}-disk0`)
    const acceptor = new Acceptor({
      net,
      disk,
      dir: 'metastore',
      store: storeOf(node),
      initialMembers,
    })
    const incarnation = `${node.incarnation}`
    return new PaxosMetaStore({ net, clock: process, random: rng, acceptor, incarnation })
  }

  /** One register outside, over the same network; its answers may get lost. */
  private slow(process: Process, { id }: Node, metaStore: MetaStore): MetaStore {
    const { world, faults } = this
    const through = async <T>(work: () => Promise<T>): Promise<T> => {
      await process.sleep(world.rng.next() * 4 * faults.delayMs)
      if (world.rng.chance(faults.drop / 2))
        throw new RegisterError(`the register did not answer ${id}`)
      const result = await work()
      await process.sleep(world.rng.next() * 4 * faults.delayMs)
      if (world.rng.chance(faults.drop / 2))
        throw new RegisterError(`the register did not answer ${id}`)
      return result
    }
    return {
      read: () => through(() => metaStore.read()),
      write: (value, version) => through(() => metaStore.write(value, version)),
    }
  }

  private async appender(node: Node, process: Process, log: VirtualLog): Promise<void> {
    const { rng } = this.world
    for (;;) {
      const payload = `p${this.payloads++}`
      const size = rng.int(rng.pick([10, 1500]))
      await this.append(node, log, payload, size)
      await process.sleep(rng.next() * 25)
    }
  }

  /** One append, sent once; its outcome goes to the model. True when it was acked. */
  private async append(
    node: Node,
    log: VirtualLog,
    payload: string,
    size: number,
  ): Promise<boolean> {
    const { model } = this
    const before = model.attempt(payload)
    try {
      const { lsn, segmentIndex } = await log.append([text.encode(payload), new Uint8Array(size)])
      model.ack(payload, lsn, segmentIndex, before)
      this.world.trace(`ack ${payload} ${lsn}`)
      return true
    } catch (error) {
      if (!(error instanceof AppendError)) throw error
      model.reached(`append ${error.outcome} ${error.cause.code}`)
      if (error.outcome === 'refused') model.refuse(payload)
      if (error.cause instanceof LogletSealedError) await log.waitWritable(error.segmentIndex)
      else if (isUnavailable(error)) await node.healer?.heal(error.segmentIndex, 'append failed')
      else await node.process.sleep(10)
      return false
    }
  }

  private async reader(process: Process, log: VirtualLog): Promise<void> {
    const { rng } = this.world
    let next: number = log.trimPoint
    for (;;) {
      const items = await this.tolerant(process, async () => {
        const tail = await log.waitTail(next as Lsn)
        return log.readNext(next as Lsn, tail, rng.pick([1, 500, 100_000]))
      })
      for (const item of items ?? []) {
        const at = item.kind === 'entry' ? item.lsn : item.from
        if (at !== next) throw new InvariantError(`reader was given ${at}, expected ${next}`)
        if (item.kind === 'entry') {
          this.model.read(item.lsn, payloadOf(item.bytes))
          next = item.lsn + 1
        } else {
          this.model.gap(item.gap, item.from, item.to)
          next = item.to
        }
      }
      await process.sleep(rng.next() * 20)
    }
  }

  private async tailChecker(node: Node, process: Process, log: VirtualLog): Promise<void> {
    for (;;) {
      const began = this.model.beginTail()
      const index = log.chain.segments.at(-1)?.index ?? 0
      const tail = await this.tolerant(process, () => log.checkTail())
      if (tail !== undefined) this.model.tail(tail, began)
      else await node.healer?.heal(index, 'tail unknown')
      await process.sleep(this.world.rng.next() * 80)
    }
  }

  private async operator(process: Process, log: VirtualLog): Promise<void> {
    const { rng } = this.world
    for (;;) {
      await process.sleep(rng.next() * 400)
      if (!this.chaotic) return
      const last = log.chain.segments.at(-1)
      if (last === undefined) continue
      try {
        await log.reconfigure(last.index, rng.pick(this.specs), 'operator')
      } catch (error) {
        if (error instanceof InvariantError) throw error
        this.model.reached('reconfigure failed half-way')
      }
    }
  }

  private async trimmer(process: Process, log: VirtualLog): Promise<void> {
    const { rng } = this.world
    for (;;) {
      await process.sleep(300 + rng.next() * 300)
      if (!this.chaotic) return
      const tail = await this.tolerant(process, () => log.checkTail())
      if (tail === undefined) continue
      const { trimPoint } = log
      const before = Math.max(
        trimPoint,
        Math.floor(trimPoint + (tail - trimPoint) * rng.next() * 0.5),
      )
      this.model.trim(before)
      try {
        await log.prefixTrim(before as Lsn)
        await log.truncate()
        this.model.reached('trimmed')
      } catch (error) {
        if (error instanceof InvariantError) throw error
        this.model.reached('trim failed')
      }
    }
  }

  /** Undefined when the cluster could not answer, which it may be while things fail; anything else is a finding. */
  private async tolerant<T>(process: Process, call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call()
    } catch (error) {
      if (error instanceof RangeError || error instanceof InvariantError) throw error
      this.model.reached(`call failed ${(error as { code?: string }).code ?? 'no code'}`)
      await process.sleep(5)
      return undefined
    }
  }

  /** Invariant 10: with nothing failing any more, every node appends, and reads everything, in bounded time. */
  private async heal(): Promise<void> {
    const { driver, net } = this
    this.chaotic = false
    net.heal()
    const late = driver.sleep(healMs).then(() => 'late' as const)
    if ((await Promise.race([this.progress(), late])) !== 'late') return
    if (!this.isBeyondAssumption()) throw new StalledError('no progress after everything healed')
    this.model.reached('stuck: more was lost than the loglet bears')
  }

  /** Of the node that knows the newest chain. */
  private newestLog(): VirtualLog | undefined {
    const logs = this.nodes.flatMap(({ log }) => (log === undefined ? [] : [log]))
    return logs.sort((a, b) => b.chain.version - a.chain.version)[0]
  }

  /** The last segment had two copies, and the disk of one is gone: only an operator can end it. */
  private isBeyondAssumption(): boolean {
    const log = this.newestLog()
    const stores = new Set(this.nodes.map(storeOf))
    return (log?.chain.segments.at(-1)?.placement ?? []).some(text => {
      const { servers } = decodePlacement(text)
      const left = servers.filter(server => stores.has(server.store)).length
      return left < majority(servers.length)
    })
  }

  private async progress(): Promise<void> {
    const { driver } = this
    for (const node of this.nodes) {
      for (let done = 0; done < 3; ) {
        if (node.log !== undefined && (await this.append(node, node.log, `p${this.payloads++}`, 4)))
          done++
        else await driver.sleep(10)
      }
      while (!(await this.readAll(node))) await driver.sleep(10)
    }
  }

  /** False when the tail cannot be told yet: a message that was lost before the end of the faults is sent again after its time only. */
  private async readAll({ log, healer }: Node): Promise<boolean> {
    if (log === undefined) return false
    const index = log.chain.segments.at(-1)?.index ?? 0
    let tail: Lsn
    try {
      tail = await log.checkTail()
    } catch (error) {
      if (!isUnavailable(error)) throw error
      this.model.reached('tail unknown after the faults')
      await healer?.heal(index, 'tail unknown')
      return false
    }
    const readable = new Map<number, string>()
    for (let at: number = log.trimPoint; at < tail; )
      for (const item of await log.readNext(at as Lsn, tail, 1 << 20))
        if (item.kind === 'entry') {
          this.model.read(item.lsn, payloadOf(item.bytes))
          readable.set(item.lsn, payloadOf(item.bytes))
          at = item.lsn + 1
        } else {
          this.model.gap(item.gap, item.from, item.to)
          at = item.to
        }
    this.model.finish(readable, tail)
    return true
  }
}

function storeOf({ id, store }: Node): string {
  return `${id}-disk${store}`
}

/** Payloads are text followed by zeros. */
function payloadOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}
