// One seeded run of a virtual log: appenders, readers parked at tails, two reconfigurers that race (one through a second client of the same
// loglets), copies of volatile segments, trims, loglets that fail half-way, and crashes that lose un-synced data. Then everything heals,
// and progress is demanded.

import { LogletError, LogletSealedError, type Lsn } from '../../loglets/contract.ts'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import { FileMetaStore } from '../../loglets/metastore/file.ts'
import type { MetaStore } from '../../loglets/metastore/metastore.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import { AppendError, VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { type Chaos, SharedFlakyProvider } from './flaky.ts'
import { InvariantError, LogModel } from './log-model.ts'
import { crashDisk } from './crash.ts'
import { SimDisk } from './sim-disk.ts'
import { Process, StalledError, World } from './world.ts'

export interface RunResult {
  readonly digest: string
  readonly events: number
  readonly states: ReadonlyMap<string, number>
}

const specs = [
  'file',
  'file,segment.bytes=4096',
  'striped:2:file,segment.bytes=4096',
  'striped:3:file',
  'striped:2:striped:2:file,segment.bytes=4096',
  'memory',
] as const
const healMs = 20_000
const runMs = 60_000
const text = new TextEncoder()

/** Runs the scenario of one seed. @throws InvariantError, StalledError */
export async function logScenario(seed: number): Promise<RunResult> {
  const world = new World(seed)
  const run = new LogRun(world)
  await world.run(() => run.main(), runMs + healMs)
  for (const [state, count] of run.model.states) world.trace(`${state} ${count}`)
  return { digest: world.digest(), events: world.events, states: run.model.states }
}

export class LogRun {
  readonly model = new LogModel()
  private readonly world: World
  private readonly disk = new SimDisk()
  /** Drives the run; never dies. */
  private readonly driver: Process
  private readonly chaos: Chaos
  private process: Process
  private log: VirtualLog | undefined
  private clients: readonly VirtualLog[] = []
  private payloads = 0

  constructor(world: World) {
    this.world = world
    this.driver = new Process(world)
    this.process = new Process(world)
    const { rng } = world
    this.chaos = {
      enabled: true,
      createFails: rng.pick([0, 0.05, 0.3]),
      sealFails: rng.pick([0, 0.1, 0.4]),
      ackLost: rng.pick([0, 0, 0.02]),
    }
  }

  async main(): Promise<void> {
    const { rng } = this.world
    await this.disk.mkdir('loglets')
    await this.disk.mkdir('metastore')
    await this.start()
    const crashes = rng.int(6)
    for (let crash = 0; crash <= crashes; crash++) {
      // Now and then right after the start, when what recovery decided is all that there is.
      await this.driver.sleep(
        crash > 0 && rng.chance(0.4) ? rng.next() * 15 : 50 + rng.next() * 400,
      )
      if (crash < crashes) {
        this.crash()
        await this.driver.sleep(rng.next() * 20)
        await this.start()
      }
    }
    this.chaos.enabled = false
    await this.heal()
  }

  /** Opens the log and lets everybody loose on it. Opening may fail by chaos; then it is tried again. */
  private async start(): Promise<void> {
    const { rng } = this.world
    const process = this.process
    const registry = this.registry(process)
    const metaStore = this.metaStore(process)
    const isChaotic = this.chaos.enabled
    const open = async (): Promise<VirtualLog> => {
      for (let tries = 1; ; tries++)
        try {
          // Opening has to seal whatever was half sealed; with enough stripes and failures it would never get through.
          if (tries > 10) this.chaos.enabled = false
          const opened = await this.openLog(process, registry, metaStore)
          this.chaos.enabled = isChaotic
          return opened
        } catch (error) {
          if (error instanceof InvariantError) throw error
          this.world.trace(`open: ${(error as Error).message}`)
          if (tries > 50) throw error
          await this.driver.sleep(5)
        }
    }
    const log = await open()
    const other = await open()
    this.log = log
    this.clients = [log, other]
    const go = (task: () => Promise<void>): void => {
      task().catch(error => {
        if (process.alive) this.world.fail(error)
      })
    }
    for (const appending of [log, log, other]) go(() => this.appender(process, appending))
    for (const reading of [log, log, other]) go(() => this.reader(process, reading))
    for (const checking of [log, other]) go(() => this.tailChecker(process, checking))
    go(() => this.reconfigurer(process, log))
    go(() => this.reconfigurer(process, other))
    go(() => this.copier(process, log))
    if (rng.chance(0.5)) go(() => this.trimmer(process, log))
  }

  private registry(process: Process): LogletRegistry {
    const { rng } = this.world
    const disk = process.disk(this.disk, () => 2)
    return new LogletRegistry([
      new SharedFlakyProvider(
        new FileLogletProvider({
          disk,
          root: 'loglets',
          clock: process,
          onFatal: error => {
            if (process.alive) this.world.fail(error)
          },
        }),
        this.chaos,
        rng,
      ),
      new SharedFlakyProvider(new MemoryLogletProvider({ bytesMax: 1 << 20 }), this.chaos, rng),
    ])
  }

  /** One register for all clients of a process, as its contract wants. */
  private metaStore(process: Process): FileMetaStore {
    return new FileMetaStore({ disk: process.disk(this.disk, () => 2), dir: 'metastore' })
  }

  private async openLog(
    process: Process,
    registry: LogletRegistry,
    metaStore: MetaStore,
  ): Promise<VirtualLog> {
    const log = await VirtualLog.open({
      metaStore,
      registry,
      clock: process,
      random: this.world.rng,
      initialSpec: 'striped:2:file',
      sealTakeoverMs: 30,
      onEvent: event => {
        if (!process.alive) return
        this.model.reached(
          event.type === 'cas'
            ? `cas ${event.outcome}`
            : event.type === 'reconfigured'
              ? `reconfigured ${event.outcome} ${event.reason}`
              : event.type,
        )
      },
    })
    this.model.chain(log.chain)
    log.onChain(chain => {
      if (!process.alive) return
      try {
        this.model.chain(chain ?? log.chain)
      } catch (error) {
        this.world.fail(error)
      }
    })
    return log
  }

  private crash(): void {
    const { rng } = this.world
    this.process.kill()
    this.forgetVolatile()
    this.model.reached(`crash: ${crashDisk(this.disk, rng)}`)
    this.process = new Process(this.world)
  }

  /** What any client of the process knew to be in memory only; one may be ahead of the other. */
  private forgetVolatile(): void {
    for (const log of this.clients)
      for (const segment of log.volatileSegments())
        this.model.forget(segment.start, segment.end ?? segment.start + 2 ** 32)
  }

  private async appender(process: Process, log: VirtualLog): Promise<void> {
    const { rng } = this.world
    while (process.alive) {
      const payload = `p${this.payloads++}`
      const entry = [text.encode(payload), new Uint8Array(rng.int(rng.pick([10, 1500])))]
      for (let sent = false; !sent; ) {
        const before = this.model.attempt(payload)
        try {
          const { lsn, segmentIndex } = await log.append(entry)
          this.model.ack(payload, lsn, segmentIndex, before)
          this.world.trace(`ack ${payload} ${lsn}`)
          sent = true
        } catch (error) {
          if (!(error instanceof AppendError)) throw error
          this.model.reached(`append ${error.outcome} ${error.cause.code}`)
          if (error.cause instanceof LogletSealedError) await log.waitWritable(error.segmentIndex)
          else if (error.outcome === 'refused') {
            this.model.refuse(payload)
            sent = true
          } else await process.sleep(2)
          // An unknown append is not sent again under the same name: both copies would be legal and hide a lost one.
          if (error.outcome === 'unknown') sent = true
          else if (!sent) this.model.refuse(payload)
          if (!sent) break
        }
      }
      await process.sleep(rng.next() * 4)
    }
  }

  private async reader(process: Process, log: VirtualLog): Promise<void> {
    const { rng } = this.world
    let next: number = log.trimPoint
    while (process.alive) {
      const items = await this.tolerant(process, async () => {
        const tail = await log.waitTail(next as Lsn)
        return log.readNext(next as Lsn, tail, rng.pick([1, 500, 100_000]))
      })
      for (const item of items ?? []) {
        if (item.kind === 'entry') {
          this.model.read(item.lsn, payloadOf(item.bytes))
          this.expectNext(item.lsn, next)
          next = item.lsn + 1
        } else {
          this.expectNext(item.from, next)
          this.model.gap(item.gap, item.from, item.to)
          next = item.to
        }
      }
      if (rng.chance(0.2)) await process.sleep(rng.next() * 20)
    }
  }

  /** Undefined when chaos made the call fail, which it may; anything else it throws is a finding. */
  private async tolerant<T>(process: Process, call: () => Promise<T>): Promise<T | undefined> {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof LogletError) || !this.chaos.enabled) throw error
      this.model.reached(`call failed ${error.code}`)
      await process.sleep(3)
      return undefined
    }
  }

  private expectNext(at: number, next: number): void {
    if (at !== next) throw new InvariantError(`reader was given ${at}, expected ${next}`)
  }

  private async tailChecker(process: Process, log: VirtualLog): Promise<void> {
    while (process.alive) {
      const began = this.model.beginTail()
      const tail = await this.tolerant(process, () => log.checkTail())
      if (tail !== undefined) this.model.tail(tail, began)
      await process.sleep(this.world.rng.next() * 15)
    }
  }

  private async reconfigurer(process: Process, log: VirtualLog): Promise<void> {
    const { rng } = this.world
    while (process.alive) {
      await process.sleep(rng.next() * 60)
      const last = log.chain.segments.at(-1)
      if (last === undefined) continue
      try {
        await log.reconfigure(last.index, rng.pick(specs), 'operator')
      } catch (error) {
        if (error instanceof InvariantError) throw error
        this.model.reached('reconfigure failed half-way')
      }
    }
  }

  private async copier(process: Process, log: VirtualLog): Promise<void> {
    while (process.alive) {
      await process.sleep(this.world.rng.next() * 50)
      const lost = new Set(log.lostSegments().map(s => s.index))
      const segment = log.volatileSegments().find(s => s.end !== undefined && !lost.has(s.index))
      if (segment === undefined) continue
      try {
        await log.modify(segment.index, 'file')
      } catch (error) {
        if (error instanceof InvariantError) throw error
        this.model.reached('modify failed')
      }
    }
  }

  private async trimmer(process: Process, log: VirtualLog): Promise<void> {
    const { rng } = this.world
    while (process.alive) {
      await process.sleep(100 + rng.next() * 200)
      const tail = await this.tolerant(process, () => log.checkTail())
      if (tail === undefined) continue
      const before = Math.max(
        log.trimPoint,
        Math.floor(log.trimPoint + (tail - log.trimPoint) * rng.next() * 0.5),
      )
      this.model.trim(before)
      try {
        await log.prefixTrim(before as Lsn)
        await log.truncate()
      } catch (error) {
        if (error instanceof InvariantError) throw error
        this.model.reached('trim failed')
      }
    }
  }

  /** Invariant 10: with nothing failing any more, appends and a whole read finish in bounded time. */
  private async heal(): Promise<void> {
    const deadline = this.world.now + healMs
    const { driver } = this
    // One more crash in half of the runs, so that what is read at the end is what the disk holds.
    if (this.world.rng.chance(0.5)) {
      this.crash()
      await this.start()
    }
    const log = this.log as VirtualLog
    for (let done = 0; done < 5; ) {
      if (this.world.now > deadline)
        throw new StalledError('no append succeeds after everything healed')
      const payload = `p${this.payloads++}`
      const before = this.model.attempt(payload)
      try {
        const { lsn, segmentIndex } = await log.append([text.encode(payload)])
        this.model.ack(payload, lsn, segmentIndex, before)
        done++
      } catch (error) {
        if (!(error instanceof AppendError)) throw error
        if (error.outcome === 'refused') this.model.refuse(payload)
        if (error.cause instanceof LogletSealedError) await log.waitWritable(error.segmentIndex)
        else await driver.sleep(10)
      }
    }
    this.process.kill()
    const registry = this.registry((this.process = new Process(this.world)))
    this.disk.crash(() => 'all')
    this.forgetVolatile()
    const last = await this.openLog(this.process, registry, this.metaStore(this.process))
    const tail = await last.checkTail()
    const readable = new Map<number, string>()
    for (let at: number = last.trimPoint; at < tail; )
      for (const item of await last.readNext(at as Lsn, tail, 1 << 20))
        if (item.kind === 'entry') {
          this.model.read(item.lsn, payloadOf(item.bytes))
          readable.set(item.lsn, payloadOf(item.bytes))
          at = item.lsn + 1
        } else {
          this.model.gap(item.gap, item.from, item.to)
          at = item.to
        }
    this.model.finish(readable)
  }
}

/** Payloads are text followed by zeros. */
function payloadOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}
