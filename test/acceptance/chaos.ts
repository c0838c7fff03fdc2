// Chaos on three node processes: kill -9, pauses, cut links (also one way), failing syncs (strace), a full disk (tmpfs), switches of the log,
// while producers write and readers follow
// through whichever broker answers. Then everything heals, all is read, and the rules of kafka-checker.ts are applied.
// Usage: node chaos.js [SECONDS=600] [--seed N] [--history FILE], or --upgrade-from LOGLOOM.CJS of another build

import { spawnSync } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { connect } from '../../client/index.ts'
import { Rng } from '../simulation/world.ts'
import { cliPath, withDirectory } from './broker-process.ts'
import { ClusterOfProcesses } from './cluster.ts'
import { type Findings, KafkaChecker, type Operation } from './kafka-checker.ts'

export interface ChaosReport extends Findings {
  readonly seconds: number
  readonly faults: Readonly<Record<string, number>>
  readonly switches: number
  /** Of the log's segments at the end. */
  readonly segments: number
  /** Longest time in which no producer got an ack, ms. */
  readonly longestGapMs: number
  readonly healedMs: number
}

const producers = 3
const partitions = 4
const topic = 'chaos'
const window = 50
/** The checker has one Map of all records, and a Map holds 2^24. */
const recordsMost = 15_000_000
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export function chaos(
  seconds: number,
  seed: number,
  record: (operation: Operation) => void = () => {},
): Promise<ChaosReport> {
  return withDirectory(async directory => {
    const cluster = await ClusterOfProcesses.start(join(directory, 'cluster'), 3, {
      smallDisk: canMount(),
    })
    const run = new ChaosRun(cluster, new Rng(seed), record)
    try {
      return await run.main(() => run.trouble(seconds))
    } finally {
      await cluster.close()
    }
  })
}

/** The same load and checks while the nodes go from another build (the path of its `logloom.cjs`) to this one, one after the other, and one of them back. */
export function rollingUpgrade(oldCli: string): Promise<ChaosReport> {
  return withDirectory(async directory => {
    const options = { cli: oldCli }
    const cluster = await ClusterOfProcesses.start(join(directory, 'cluster'), 3, options)
    const run = new ChaosRun(cluster, new Rng(1), () => {})
    try {
      return await run.main(() => run.upgrade(oldCli))
    } finally {
      await cluster.close()
    }
  })
}

class ChaosRun {
  private readonly cluster: ClusterOfProcesses
  private readonly rng: Rng
  private readonly record: (operation: Operation) => void
  private readonly checker = new KafkaChecker()
  private readonly started = performance.now()
  private readonly faults: Record<string, number> = {}
  private readonly stop = new AbortController()
  private lastAck = performance.now()
  private longestGapMs = 0
  private switches = 0
  private seconds = 0
  private readonly hasStrace = runs('strace', '-V')

  constructor(cluster: ClusterOfProcesses, rng: Rng, record: (operation: Operation) => void) {
    this.cluster = cluster
    this.rng = rng
    this.record = record
  }

  async main(trouble: () => Promise<void>): Promise<ChaosReport> {
    const { cluster } = this
    const client = await connect(cluster.urls)
    await client.admin().createTopic({ topic, partitions })
    await client.close()
    const writers = Array.from({ length: producers }, (_, i) => this.produce(i))
    const readers = [0, 1].map(i => this.follow(i))
    const operator = this.switchNowAndThen()
    await trouble()
    cluster.mend()
    const healing = performance.now()
    this.stop.abort()
    await Promise.all(writers)
    const healedMs = performance.now() - healing
    await Promise.all([operator, ...readers])
    await this.readAll()
    const last = await connect(cluster.urls)
    const log = await last.admin().describeLog()
    await last.close()
    return {
      seconds: Math.round((performance.now() - this.started) / 1000),
      faults: this.faults,
      switches: this.switches,
      segments: log.segments.length,
      longestGapMs: Math.round(this.longestGapMs),
      healedMs: Math.round(healedMs),
      ...this.checker.verdict(),
    }
  }

  async trouble(seconds: number): Promise<void> {
    const { cluster } = this
    this.seconds = seconds
    const deadline = this.started + seconds * 1000
    while (performance.now() < deadline) {
      await sleep(500 + this.rng.next() * 2500)
      await this.mischief()
      for (const i of cluster.names.keys())
        if (await cluster.hasEnded(i)) throw new Error(`${cluster.names[i]} ended by itself`)
    }
  }

  async upgrade(oldCli: string): Promise<void> {
    const { cluster } = this
    const steps = [...cluster.names.keys()].map(node => ({ node, cli: cliPath }))
    for (const { node, cli } of [...steps, { node: 0, cli: oldCli }, { node: 0, cli: cliPath }]) {
      // Time enough for a switch and for the log to be placed on all nodes again.
      await sleep(6000)
      await cluster.kill(node, 'SIGTERM')
      await cluster.startNode(node, cli)
      const name = cli === oldCli ? 'to the other build' : 'to this build'
      this.faults[name] = (this.faults[name] ?? 0) + 1
    }
    await sleep(6000)
  }

  private async mischief(): Promise<void> {
    const { cluster, rng } = this
    const node = rng.int(cluster.names.length)
    const kind = rng.pick([
      'kill',
      'kill',
      'pause',
      'cut',
      'cut one way',
      ...(this.hasStrace ? (['sync fails'] as const) : []),
      ...(cluster.smallDisk === undefined ? [] : (['disk full'] as const)),
    ] as const)
    this.faults[kind] = (this.faults[kind] ?? 0) + 1
    if (kind === 'kill') {
      await cluster.kill(node)
      await sleep(rng.next() * 2000)
      await cluster.startNode(node)
      return
    }
    if (kind === 'pause') {
      const pid = cluster.pid(node)
      process.kill(pid, 'SIGSTOP')
      // Up to 30 s where there is time for it.
      await sleep(rng.pick([1000, 3000, this.seconds < 300 ? 6000 : 30_000]) * rng.next())
      process.kill(pid, 'SIGCONT')
      return
    }
    if (kind === 'sync fails') {
      const code = await cluster.failSync(node)
      if (code === undefined) await cluster.kill(node)
      else
        this.faults[`ended by EIO with ${code}`] =
          (this.faults[`ended by EIO with ${code}`] ?? 0) + 1
      await cluster.startNode(node)
      return
    }
    if (kind === 'disk full') {
      cluster.fillDisk()
      await sleep(rng.pick([500, 5000]) * rng.next())
      cluster.emptyDisk()
      return
    }
    for (let other = 0; other < cluster.names.length; other++) {
      if (other === node) continue
      cluster.cut(node, other)
      if (kind === 'cut') cluster.cut(other, node)
    }
    await sleep(rng.pick([500, 4000]) * rng.next())
    cluster.mend()
  }

  private async switchNowAndThen(): Promise<void> {
    const { rng, cluster } = this
    while (!this.stop.signal.aborted) {
      await sleep(5000 * (0.5 + rng.next()))
      if (this.stop.signal.aborted) return
      const client = await connect(cluster.urls, { lazy: true })
      try {
        await client.admin().switchLog(rng.pick(['native', 'striped:3,servers=shared:native']), {
          timeoutMs: 5000,
        })
        this.switches++
      } catch {
        // The cluster had something else to do.
      }
      await client.close()
    }
  }

  private async produce(id: number): Promise<void> {
    const { cluster, checker, stop } = this
    const urls = cluster.urls.map((_, i) => cluster.urls[(i + id) % cluster.urls.length] as string)
    const client = await connect(urls)
    const producer = client.producer({ lingerMs: 1, deliveryTimeoutMs: 120_000 })
    const pending = new Set<Promise<void>>()
    for (let n = 0; !stop.signal.aborted; n++) {
      const value = `${id}:${n}`
      const partition = n % partitions
      checker.invoke(value, id, partition)
      this.note('invoke', id, partition, value)
      const sent = producer
        .send(topic, { key: null, value }, { partition })
        .then(
          ({ offset }) => {
            this.acked()
            checker.ok(value, offset)
            this.note('ok', id, partition, value, offset)
          },
          error => {
            // Only what is known to have left no trace is a failure.
            const failed = (error as { retriable?: boolean }).retriable === true
            if (failed) checker.fail(value)
            this.note(failed ? 'fail' : 'info', id, partition, value)
          },
        )
        .finally(() => pending.delete(sent))
      pending.add(sent)
      if (pending.size >= window) await Promise.race(pending)
      if (n % 20 === 0) await sleep(1)
      while (this.isAhead(n) && !stop.signal.aborted) await sleep(1)
    }
    await Promise.all(pending)
    await client.close()
  }

  /** A producer whose `n`th record would, at this pace, make them too many in the end. */
  private isAhead(n: number): boolean {
    const share = (performance.now() - this.started) / 1000 / this.seconds
    return n > (recordsMost / producers) * share
  }

  private acked(): void {
    const now = performance.now()
    this.longestGapMs = Math.max(this.longestGapMs, now - this.lastAck)
    this.lastAck = now
  }

  /** Reads on and on, through whichever broker the client is at. */
  private async follow(id: number): Promise<void> {
    const { cluster, checker, stop } = this
    const client = await connect([...cluster.urls].reverse())
    try {
      for await (const record of client.read(topic, {
        from: 'beginning',
        as: 'text',
        signal: stop.signal,
      }))
        checker.poll(`follower${id}`, record.partition, record.offset, String(record.value))
    } catch (error) {
      if (!stop.signal.aborted) throw error
    } finally {
      await client.close()
    }
  }

  private async readAll(): Promise<void> {
    const { cluster, checker } = this
    for (const [i, url] of cluster.urls.entries()) {
      const client = await connect(url)
      for await (const record of client.read(topic, {
        from: 'beginning',
        until: 'end',
        as: 'text',
      })) {
        checker.poll(`final${i}`, record.partition, record.offset, String(record.value))
        if (i === 0)
          this.note('ok', 100, record.partition, String(record.value), record.offset, 'poll')
      }
      await client.close()
    }
  }

  private note(
    type: Operation['type'],
    process: number,
    partition: number,
    value: string,
    offset?: number,
    f: Operation['f'] = 'send',
  ): void {
    const time = Math.round(performance.now() - this.started)
    this.record({
      type,
      f,
      process,
      partition,
      value,
      time,
      ...(offset === undefined ? {} : { offset }),
    })
  }
}

function runs(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}

/** A disk of its own for one node needs the right to mount one. */
function canMount(): boolean {
  return process.getuid?.() === 0 && runs('mount', '-V') && runs('fallocate', '-V')
}

/** Numbers that must be zero. */
export function violations(report: ChaosReport): number {
  const { lost, unseen, duplicate, inconsistentOffsets, phantom, reordered } = report
  const { pollNonmonotonic, pollSkip } = report
  return (
    lost +
    unseen +
    duplicate +
    inconsistentOffsets +
    phantom +
    reordered +
    pollNonmonotonic +
    pollSkip
  )
}

function option(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const file = option('history')
  const history = file === undefined ? undefined : createWriteStream(file)
  const seed = Number(option('seed') ?? 1)
  const oldCli = option('upgrade-from')
  const report =
    oldCli === undefined
      ? await chaos(Number(process.argv[2] ?? 600), seed, operation =>
          history?.write(`${JSON.stringify(operation)}\n`),
        )
      : await rollingUpgrade(oldCli)
  console.log(JSON.stringify(report, undefined, 1))
  process.exitCode = violations(report) === 0 ? 0 : 1
}
