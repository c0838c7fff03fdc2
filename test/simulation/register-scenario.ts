// One seeded run of the register that a cluster keeps itself: nodes whose proposers compete for it and change its members, while nodes crash
// and lose what they had not synced, stop for a while, and the network loses, repeats, delays and splits. Checked: one value per version for
// whoever looks, no refused write ever there, no read older than what was known when it began. Then everything heals, and writes are demanded.

import { Acceptor } from '../../loglets/metastore/paxos/acceptor.ts'
import {
  MetaStoreUnavailableError,
  PaxosMetaStore,
} from '../../loglets/metastore/paxos/paxos-metastore.ts'
import { crashDisk } from './crash.ts'
import { InvariantError } from './log-model.ts'
import type { RunResult } from './log-scenario.ts'
import { SimDisk } from './sim-disk.ts'
import { type NetFaults, SimNet } from './sim-net.ts'
import { Process, StalledError, World } from './world.ts'

const runMs = 60_000
const healMs = 20_000

/** Runs the scenario of one seed. @throws InvariantError, StalledError */
export async function registerScenario(seed: number): Promise<RunResult> {
  const world = new World(seed)
  const run = new RegisterRun(world)
  await world.run(() => run.main(), runMs + healMs)
  for (const [state, count] of run.states) world.trace(`${state} ${count}`)
  return { digest: world.digest(), events: world.events, states: run.states }
}

interface Node {
  readonly id: string
  readonly disk: SimDisk
  process: Process
  incarnation: number
  store: PaxosMetaStore | undefined
}

class RegisterRun {
  readonly states = new Map<string, number>()
  private readonly world: World
  private readonly driver: Process
  private readonly faults: NetFaults
  private readonly net: SimNet
  private readonly nodes: readonly Node[]
  private readonly initialMembers: readonly string[]
  private readonly values = new Map<number, string>()
  private readonly refused = new Set<string>()
  private readonly attempted = new Set<string>()
  private highest = 0
  private written = 0
  private chaotic = true

  constructor(world: World) {
    const { rng } = world
    this.world = world
    this.driver = new Process(world)
    this.faults = {
      drop: rng.pick([0, 0.02, 0.1, 0.3]),
      duplicate: rng.pick([0, 0.05, 0.4]),
      delayMs: rng.pick([0.2, 1, 5]),
    }
    this.net = new SimNet(world, this.faults)
    const count = rng.pick([3, 3, 4, 5])
    this.nodes = Array.from({ length: count }, (_, i) => ({
      id: `n${i + 1}`,
      disk: new SimDisk(),
      process: new Process(world),
      incarnation: 0,
      store: undefined,
    }))
    const members = this.nodes.slice(0, rng.pick([3, count]))
    this.initialMembers = members.map(({ id }) => `${id}@${id}-disk`)
  }

  async main(): Promise<void> {
    const { rng } = this.world
    for (const node of this.nodes) this.start(node)
    for (let round = 2 + rng.int(8); round > 0; round--) {
      await this.driver.sleep(20 + rng.next() * 200)
      await this.mischief()
    }
    this.chaotic = false
    this.net.heal()
    const late = this.driver.sleep(healMs).then(() => 'late' as const)
    if ((await Promise.race([this.progress(), late])) === 'late')
      throw new StalledError('no write succeeds after everything healed')
  }

  private async progress(): Promise<void> {
    for (const node of this.nodes)
      for (let done = false; !done; ) {
        done = await this.write(node)
        if (!done) await this.driver.sleep(20)
      }
    const seen = await Promise.all(this.nodes.map(async ({ store }) => store?.read()))
    if (new Set(seen.map(found => found?.version)).size > 1)
      throw new InvariantError('calm nodes read different versions')
  }

  private async mischief(): Promise<void> {
    const { rng } = this.world
    const node = rng.pick(this.nodes)
    const kind = rng.pick(['crash', 'crash', 'all', 'pause', 'cut', 'cut one way'])
    this.reached(`fault: ${kind}`)
    const forMs = rng.pick([5, 100, 1000]) * rng.next()
    if (kind === 'pause') {
      node.process.pause()
      await this.driver.sleep(forMs)
      node.process.resume()
    } else if (kind === 'crash' || kind === 'all') {
      const victims = kind === 'all' ? this.nodes : [node]
      for (const victim of victims) {
        victim.process.kill()
        victim.store = undefined
        this.reached(`crash: ${crashDisk(victim.disk, rng)}`)
      }
      await this.driver.sleep(forMs)
      for (const victim of victims) this.start(victim)
    } else {
      const others = this.nodes.filter(other => other !== node)
      for (const other of others) {
        this.net.cut(node.id, other.id)
        if (kind === 'cut') this.net.cut(other.id, node.id)
      }
      await this.driver.sleep(forMs)
      for (const other of others) {
        this.net.mend(node.id, other.id)
        this.net.mend(other.id, node.id)
      }
    }
  }

  private start(node: Node): void {
    const { world } = this
    const process = new Process(world)
    node.process = process
    node.incarnation++
    const net = this.net.endpoint(node.id, process)
    const acceptor = new Acceptor({
      net,
      disk: process.disk(node.disk, () => 2),
      dir: 'register',
      store: `${node.id}-disk`,
      initialMembers: this.initialMembers,
    })
    node.store = new PaxosMetaStore({
      net,
      clock: process,
      random: world.rng,
      acceptor,
      incarnation: `${node.incarnation}`,
    })
    this.proposer(node, process).catch(error => {
      if (process.alive) world.fail(error)
    })
  }

  private async proposer(node: Node, process: Process): Promise<void> {
    const { rng } = this.world
    while (this.chaotic) {
      await process.sleep(rng.next() * 60)
      const what = rng.next()
      if (what < 0.3) await this.tolerant(() => this.read(node))
      else if (what < 0.35) await this.tolerant(() => this.changeMembers(node))
      else await this.write(node)
    }
  }

  private async read({ store }: Node): Promise<void> {
    if (store === undefined) return
    const floor = this.highest
    const { value, version } = await store.read()
    this.saw(version, value, floor)
    this.reached('read')
  }

  /** True when the write came in. */
  private async write(node: Node): Promise<boolean> {
    const { store } = node
    if (store === undefined) return false
    const value = `${node.id}-${this.written++}`
    const expected = this.world.rng.chance(0.1) ? Math.max(0, this.highest - 1) : this.highest
    this.attempted.add(value)
    const result = await this.tolerant(async () => {
      const floor = this.highest
      const done = await store.write(new TextEncoder().encode(value), expected)
      if (done.ok) {
        if (done.version !== expected + 1)
          throw new InvariantError(`a write on version ${expected} became ${done.version}`)
        if (done.version <= floor)
          throw new InvariantError(`version ${done.version} was written after ${floor} was seen`)
        this.saw(done.version, new TextEncoder().encode(value), floor)
        this.reached('write ok')
      } else {
        this.refused.add(value)
        if ([...this.values.values()].includes(value))
          throw new InvariantError(`${value} was refused, and is there`)
        this.saw(done.version, done.value, floor)
        this.reached('write lost')
      }
      return done.ok
    })
    return result === true
  }

  private async changeMembers({ store }: Node): Promise<void> {
    if (store === undefined) return
    const { rng } = this.world
    const before = await store.members()
    const wanted = this.nodes.filter(() => rng.chance(0.7)).map(({ id }) => `${id}@${id}-disk`)
    if (wanted.length === 0) return
    const after = await store.changeMembers(before, wanted)
    this.reached(after.join() === wanted.join() ? 'members changed' : 'members not changed')
  }

  /** Undefined when a majority did not answer, which may happen while things fail. */
  private async tolerant<T>(call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof MetaStoreUnavailableError)) throw error
      this.reached('unavailable')
      return undefined
    }
  }

  private saw(version: number, bytes: Uint8Array | undefined, floor: number): void {
    if (version < floor)
      throw new InvariantError(`version ${version} was seen after ${floor} had been`)
    const value = bytes === undefined ? '' : new TextDecoder().decode(bytes)
    const known = this.values.get(version)
    if (known !== undefined && known !== value)
      throw new InvariantError(`version ${version} is ${value}, and was ${known}`)
    if (value !== '' && !this.attempted.has(value))
      throw new InvariantError(`version ${version} is ${value}, which nobody wrote`)
    if (this.refused.has(value)) throw new InvariantError(`${value} was refused, and is there`)
    this.values.set(version, value)
    this.highest = Math.max(this.highest, version)
    this.world.trace(`${version} ${value}`)
  }

  private reached(state: string): void {
    this.states.set(state, (this.states.get(state) ?? 0) + 1)
  }
}
