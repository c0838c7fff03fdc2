// One seeded run of a log on several nodes: native loglets on log servers beside every client, with a network that loses, repeats and reorders,
// cut links, killed and paused processes, crashes of one, of most and of all nodes that lose un-synced data, failing, full and slow disks, and
// reconfigurations by operators and by whoever meets a failure. Then everything heals, and progress is demanded.

import { Healer, isUnavailable } from '../../broker/engine/healer.ts'
import { LogletSealedError, type Lsn } from '../../loglets/contract.ts'
import {
  AppendError,
  VirtualLog,
  type VirtualLogEvent,
} from '../../loglets/virtual-log/virtual-log.ts'
import { InvariantError, LogModel } from './log-model.ts'
import type { RunResult } from './log-scenario.ts'
import { SimCluster, type SimNode, type Started } from './sim-cluster.ts'
import { Process, StalledError, World } from './world.ts'

export const healMs = 30_000
const runMs = 120_000
const text = new TextEncoder()

/** Runs the scenario of one seed. @throws InvariantError, StalledError */
export async function clusterScenario(seed: number): Promise<RunResult> {
  const world = new World(seed)
  const run = new ClusterRun(world)
  await world.run(() => run.main(), runMs + healMs)
  for (const [state, count] of run.model.states) world.trace(`${state} ${count}`)
  return { digest: world.digest(), events: world.events, states: run.model.states }
}

/** What an event of a VirtualLog counts as. */
export function stateOfEvent(event: VirtualLogEvent): string {
  if (event.type === 'cas') return `cas ${event.outcome}`
  if (event.type !== 'reconfigured') return event.type
  return `reconfigured ${event.outcome} ${event.reason.split(':')[0]}`
}

export class ClusterRun {
  readonly model = new LogModel()
  private readonly world: World
  private readonly driver: Process
  private readonly cluster: SimCluster
  private readonly healers = new Map<SimNode, Healer>()
  private chaotic = true
  private payloads = 0

  constructor(world: World) {
    const { model } = this
    this.world = world
    this.driver = new Process(world)
    this.cluster = new SimCluster({
      world,
      driver: this.driver,
      reached: state => model.reached(state),
      onEvent: event => model.reached(stateOfEvent(event)),
      onStarted: started => this.use(started),
      onCrash: node => this.healers.delete(node),
    })
  }

  async main(): Promise<void> {
    const { rng } = this.world
    await this.cluster.startAll()
    const rounds = 1 + rng.int(5)
    for (let round = 0; round < rounds; round++) {
      await this.driver.sleep(20 + rng.next() * 250)
      await this.cluster.mischief()
    }
    await this.heal()
  }

  /** Lets the clients of a node loose on its log. */
  private async use({ node, process, log, fail }: Started): Promise<void> {
    const { world, model } = this
    model.chain(log.chain)
    log.onChain(chain => {
      if (!process.alive) return
      try {
        model.chain(chain)
      } catch (error) {
        world.fail(error)
      }
    })
    const healer = new Healer({
      log,
      clock: process,
      random: world.rng,
      onTrouble: () => model.reached('heal failed'),
    })
    this.healers.set(node, healer)
    const go = (task: Promise<void>): void => void task.catch(fail)
    go(this.appender(node, process, log))
    go(this.appender(node, process, log))
    go(this.reader(process, log))
    go(this.tailChecker(node, process, log))
    go(this.operator(process, log))
    if (world.rng.chance(0.3)) go(this.trimmer(process, log))
  }

  private async appender(node: SimNode, process: Process, log: VirtualLog): Promise<void> {
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
    node: SimNode,
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
      else if (isUnavailable(error))
        await this.healers.get(node)?.heal(error.segmentIndex, 'append failed')
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

  private async tailChecker(node: SimNode, process: Process, log: VirtualLog): Promise<void> {
    for (;;) {
      const began = this.model.beginTail()
      const index = log.chain.segments.at(-1)?.index ?? 0
      const tail = await this.tolerant(process, () => log.checkTail())
      if (tail !== undefined) this.model.tail(tail, began)
      else await this.healers.get(node)?.heal(index, 'tail unknown')
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
        await log.reconfigure(last.index, rng.pick(this.cluster.specs), 'operator')
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
    const { driver, cluster } = this
    this.chaotic = false
    cluster.heal()
    const late = driver.sleep(healMs).then(() => 'late' as const)
    if ((await Promise.race([this.progress(), late])) !== 'late') return
    if (!cluster.isBeyondAssumption()) throw new StalledError('no progress after everything healed')
    this.model.reached('stuck: more was lost than the loglet bears')
  }

  private async progress(): Promise<void> {
    const { driver } = this
    for (const node of this.cluster.nodes) {
      for (let done = 0; done < 3; ) {
        if (node.log !== undefined && (await this.append(node, node.log, `p${this.payloads++}`, 4)))
          done++
        else await driver.sleep(10)
      }
      while (!(await this.readAll(node))) await driver.sleep(10)
    }
  }

  /** False when the tail cannot be told yet: a message that was lost before the end of the faults is sent again after its time only. */
  private async readAll(node: SimNode): Promise<boolean> {
    const { log } = node
    if (log === undefined) return false
    const index = log.chain.segments.at(-1)?.index ?? 0
    let tail: Lsn
    try {
      tail = await log.checkTail()
    } catch (error) {
      if (!isUnavailable(error)) throw error
      this.model.reached('tail unknown after the faults')
      await this.healers.get(node)?.heal(index, 'tail unknown')
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

/** Payloads are text followed by zeros. */
function payloadOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}
