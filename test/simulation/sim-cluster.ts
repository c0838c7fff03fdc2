// The nodes of a simulated cluster without what runs on top: disks, processes, a network between them, log servers, sequencers, the register
// and one VirtualLog each; and what befalls them. A scenario says what each node does with its log.

import { LogletError } from '../../loglets/contract.ts'
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
import { VirtualLog, type VirtualLogEvent } from '../../loglets/virtual-log/virtual-log.ts'
import { crashDisk } from './crash.ts'
import { DiskError, SimDisk } from './sim-disk.ts'
import { type NetFaults, SimNet } from './sim-net.ts'
import { Process, type World } from './world.ts'

const faultKinds = [
  'crash',
  'crash',
  'pause',
  'cut',
  'cut one way',
  'flap',
  'majority',
  'all',
  'new disk',
  'fsync',
  'full disk',
  'slow disk',
  'clock jump',
] as const

/** One node: a disk that outlives its processes, and the process of now. */
export interface SimNode {
  readonly id: NodeId
  disk: SimDisk
  /** Longest answer of the disk, ms. */
  diskMs: number
  process: Process
  incarnation: number
  /** Of the disk: a node whose disk was replaced has another. */
  store: number
  /** Added to the wall clock, ms. */
  wallMs: number
  log: VirtualLog | undefined
}

/** One incarnation of a node that has begun to run. */
export interface Started {
  readonly node: SimNode
  readonly process: Process
  readonly log: VirtualLog
  readonly net: Net
  readonly disk: Disk
  /** An error that ends the node: planned when its disk has failed, else a finding. */
  readonly fail: (error: unknown) => void
}

export interface SimClusterOptions {
  readonly world: World
  readonly driver: Process
  readonly reached: (state: string) => void
  readonly onEvent?: (event: VirtualLogEvent) => void
  /** A log is open on a node; what rejects is a finding. */
  readonly onStarted: (started: Started) => Promise<void>
  readonly onCrash?: (node: SimNode) => void
  /** The node has a new, empty disk. */
  readonly onWiped?: (node: SimNode) => void
}

function isTransient(error: unknown): error is Error & { readonly code: string } {
  return (
    error instanceof LogletError ||
    error instanceof DiskError ||
    error instanceof MetaStoreUnavailableError
  )
}

/** Simulated disks fail a sync only when they are told to; the node may hear of it after the fault has passed. */
function isFailedSync(error: unknown): boolean {
  const { cause } = error as { readonly cause?: unknown }
  return [error, cause].some(each => each instanceof DiskError && each.code === 'EIO')
}

export class SimCluster {
  readonly nodes: readonly SimNode[]
  readonly specs: readonly string[]
  readonly net: SimNet
  private readonly options: SimClusterOptions
  private readonly faults: NetFaults
  /** Undefined: the nodes keep the register themselves. */
  private readonly metaStore: MetaStore | undefined
  /** One replica of each loglet may be lost for good, no more; in half of the runs none. */
  private wiped: boolean

  constructor(options: SimClusterOptions) {
    this.options = options
    const { world } = options
    const { rng } = world
    this.faults = {
      drop: rng.pick([0, 0, 0.02, 0.1, 0.3]),
      duplicate: rng.pick([0, 0, 0.05, 0.3]),
      delayMs: rng.pick([0.2, 1, 5]),
    }
    this.net = new SimNet(world, this.faults)
    const diskMs = rng.pick([0.5, 2, 10])
    this.wiped = rng.chance(0.5)
    const count = rng.pick([3, 3, 3, 5])
    this.nodes = Array.from({ length: count }, (_, i) => ({
      id: `n${i + 1}`,
      disk: new SimDisk(),
      diskMs,
      process: new Process(world),
      incarnation: 0,
      store: 0,
      wallMs: 0,
      log: undefined,
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

  async startAll(): Promise<void> {
    for (const { disk } of this.nodes) await disk.mkdir('loglets')
    for (const node of this.nodes) this.start(node)
  }

  /** One fault, and its end some time later. */
  async mischief(): Promise<void> {
    const { world, driver, reached } = this.options
    const { rng } = world
    const node = rng.pick(this.nodes)
    const kind = rng.pick(faultKinds)
    reached(`fault: ${kind}`)
    const forMs = rng.pick([5, 50, 500, 3000]) * rng.next()
    switch (kind) {
      case 'pause':
        node.process.pause()
        await driver.sleep(forMs)
        node.process.resume()
        return
      case 'cut':
      case 'cut one way':
      case 'flap':
        return this.cutOff(node, kind, forMs)
      case 'new disk':
        return this.replaceDisk(node, forMs)
      case 'fsync':
        return this.failSync(node, forMs)
      case 'full disk':
        node.disk.faults.spaceLeft = rng.int(3000)
        await driver.sleep(forMs)
        delete node.disk.faults.spaceLeft
        return
      case 'slow disk': {
        const { diskMs } = node
        node.diskMs = diskMs * rng.pick([5, 50])
        await driver.sleep(forMs)
        node.diskMs = diskMs
        return
      }
      case 'clock jump':
        node.wallMs += rng.pick([-1, 1]) * rng.pick([50, 5000, 3_600_000]) * rng.next()
        return
      case 'crash':
      case 'majority':
      case 'all': {
        const count =
          kind === 'crash' ? 1 : kind === 'all' ? this.nodes.length : majority(this.nodes.length)
        const victims = [...this.nodes].sort(() => rng.next() - 0.5).slice(0, count)
        for (const victim of victims) this.crash(victim)
        await driver.sleep(forMs)
        for (const victim of victims) this.start(victim)
      }
    }
  }

  /** Nothing fails any more. */
  heal(): void {
    this.net.heal()
  }

  private async cutOff(node: SimNode, kind: string, forMs: number): Promise<void> {
    const { world, driver } = this.options
    const { rng } = world
    const others = this.nodes.filter(other => other !== node)
    const cut = rng.chance(0.5) ? others : [rng.pick(others)]
    const times = kind === 'flap' ? 2 + rng.int(8) : 1
    for (let i = 0; i < times; i++) {
      for (const other of cut) {
        this.net.cut(node.id, other.id)
        if (kind !== 'cut one way') this.net.cut(other.id, node.id)
      }
      await driver.sleep(forMs / times)
      for (const other of cut) {
        this.net.mend(node.id, other.id)
        this.net.mend(other.id, node.id)
      }
      if (times > 1) await driver.sleep((forMs / times) * rng.next())
    }
  }

  private async replaceDisk(node: SimNode, forMs: number): Promise<void> {
    if (this.wiped || !(await this.isReplicated())) return
    this.wiped = true
    this.crash(node)
    node.disk = new SimDisk()
    node.store++
    await node.disk.mkdir('loglets')
    this.options.onWiped?.(node)
    await this.options.driver.sleep(forMs)
    this.start(node)
  }

  /** Syncs fail for a while, as a dying disk's do; a node that ends itself for it is started again. */
  private async failSync(node: SimNode, forMs: number): Promise<void> {
    const { world, driver } = this.options
    const share = world.rng.pick([0.1, 1])
    node.disk.faults.failSync = () => world.rng.chance(share)
    await driver.sleep(forMs)
    delete node.disk.faults.failSync
    if (!node.process.alive) this.start(node)
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

  private crash(node: SimNode): void {
    const { world, reached, onCrash } = this.options
    node.process.kill()
    node.log = undefined
    onCrash?.(node)
    reached(`crash: ${crashDisk(node.disk, world.rng)}`)
  }

  /** Starts a process on the node, which opens the log as soon as enough of the cluster answers. */
  private start(node: SimNode): void {
    const { world, reached, onStarted, onCrash } = this.options
    const process = new Process(world, () => node.wallMs)
    node.process = process
    node.incarnation++
    const net = this.net.endpoint(node.id, process)
    const disk = process.disk(node.disk, () => node.diskMs)
    const fail = (error: unknown): void => {
      if (!process.alive) return
      const behind = (error as { code?: string }).code === 'STATE_BEHIND'
      if (node.disk.faults.failSync === undefined && !isFailedSync(error) && !behind) {
        world.fail(error)
        return
      }
      reached(behind ? 'node ended: state behind' : 'node ended by its disk')
      process.kill()
      node.log = undefined
      onCrash?.(node)
      // As a supervisor does; with a dying disk, whoever let it die starts the node again.
      if (node.disk.faults.failSync === undefined) this.start(node)
    }
    const log = this.logOf(node, process, net, disk, fail)
    log.then(opened => onStarted({ node, process, log: opened, net, disk, fail })).catch(fail)
  }

  private async logOf(
    node: SimNode,
    process: Process,
    net: Net,
    disk: Disk,
    fail: (error: unknown) => void,
  ): Promise<VirtualLog> {
    const { world, reached, onEvent } = this.options
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
            if (process.alive) onEvent?.(event)
          },
        })
        node.log = log
        return log
      } catch (error) {
        if (!isTransient(error)) throw error
        reached(`open failed ${error.code}`)
        await process.sleep(20)
      }
    }
  }

  private register(node: SimNode, process: Process, net: Net, disk: Disk): MetaStore {
    if (this.metaStore !== undefined) return this.slow(process, node, this.metaStore)
    const { rng } = this.options.world
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
  private slow(process: Process, { id }: SimNode, metaStore: MetaStore): MetaStore {
    const { faults } = this
    const { world } = this.options
    const through = async <T>(work: () => Promise<T>): Promise<T> => {
      await process.sleep(world.rng.next() * 4 * faults.delayMs)
      if (world.rng.chance(faults.drop / 2))
        throw new MetaStoreUnavailableError(`the register did not answer ${id}`)
      const result = await work()
      await process.sleep(world.rng.next() * 4 * faults.delayMs)
      if (world.rng.chance(faults.drop / 2))
        throw new MetaStoreUnavailableError(`the register did not answer ${id}`)
      return result
    }
    return {
      read: () => through(() => metaStore.read()),
      write: (value, version) => through(() => metaStore.write(value, version)),
    }
  }

  /** Of the node that knows the newest chain. */
  newestLog(): VirtualLog | undefined {
    const logs = this.nodes.flatMap(({ log }) => (log === undefined ? [] : [log]))
    return logs.sort((a, b) => b.chain.version - a.chain.version)[0]
  }

  /** The last segment had two copies, and the disk of one is gone: only an operator can end it. */
  isBeyondAssumption(): boolean {
    const log = this.newestLog()
    const stores = new Set(this.nodes.map(storeOf))
    return (log?.chain.segments.at(-1)?.placement ?? []).some(text => {
      const { servers } = decodePlacement(text)
      const left = servers.filter(server => stores.has(server.store)).length
      return left < majority(servers.length)
    })
  }
}

export function storeOf({ id, store }: Pick<SimNode, 'id' | 'store'>): string {
  return `${id}-disk${store}`
}
