// The seeded world: time, randomness and scheduling of a simulation. One event runs per macrotask, so all promise work that an event
// causes is done before the next one; ties and latencies are drawn from the seed. The same seed gives the same trace hash.
//
// A Process is a failure domain: once killed, nothing that it was waiting for ever resolves, and its later calls never return, as with
// kill -9. Idea: FoundationDB's simulator and TigerBeetle's VOPR (reference: docs/architecture.md 9).

import type { Clock, Disk, DiskFile, Random } from '../../loglets/ports.ts'

interface Event {
  readonly time: number
  readonly key: number
  readonly run: () => void
}

/** xorshift128+ seeded by splitmix; numbers in [0, 1). */
export class Rng implements Random {
  private a: number
  private b: number
  private c: number
  private d: number

  constructor(seed: number) {
    let s = seed | 0
    const mix = (): number => {
      s = (s + 0x9e3779b9) | 0
      let z = s
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b)
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
      return (z ^ (z >>> 16)) >>> 0
    }
    this.a = mix()
    this.b = mix()
    this.c = mix()
    this.d = mix()
  }

  u32(): number {
    const t = this.b << 9
    let r = Math.imul(this.a, 5)
    r = Math.imul((r << 7) | (r >>> 25), 9)
    this.c ^= this.a
    this.d ^= this.b
    this.b ^= this.c
    this.a ^= this.d
    this.c ^= t
    this.d = (this.d << 11) | (this.d >>> 21)
    return r >>> 0
  }

  next(): number {
    return this.u32() / 2 ** 32
  }

  /** Integer in [0, n). */
  int(n: number): number {
    return Math.floor(this.next() * n)
  }

  chance(p: number): boolean {
    return this.next() < p
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(items.length)] as T
  }

  hex(bytes: number): string {
    let text = ''
    for (let i = 0; i < bytes; i++) text += this.int(256).toString(16).padStart(2, '0')
    return text
  }
}

/** Raised when the main task does not end within the simulated time: something hangs. */
export class StalledError extends Error {
  override readonly name = 'StalledError'
}

export class World {
  readonly rng: Rng
  /** Simulated milliseconds. */
  now = 0
  events = 0
  private hash = 0x811c9dc5
  private readonly queue: Event[] = []
  private failure: unknown

  constructor(seed: number) {
    this.rng = new Rng(seed)
  }

  /** Runs `run` after `delayMs`; events at one time run in seeded order. */
  at(delayMs: number, run: () => void): void {
    const event = { time: this.now + delayMs, key: this.rng.u32(), run }
    const { queue } = this
    queue.push(event)
    let i = queue.length - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(event, queue[parent] as Event)) break
      queue[i] = queue[parent] as Event
      i = parent
    }
    queue[i] = event
  }

  /** Mixes a line into the trace hash; compared between two runs of one seed. */
  trace(line: string): void {
    for (let i = 0; i < line.length; i++)
      this.hash = Math.imul(this.hash ^ line.charCodeAt(i), 0x01000193)
  }

  digest(): string {
    return (this.hash >>> 0).toString(16).padStart(8, '0')
  }

  /** Makes the whole run fail. */
  fail(error: unknown): void {
    this.failure ??= error
  }

  /** Runs events until `main` settles. @throws StalledError past `untilMs` of simulated time. */
  async run(main: () => Promise<void>, untilMs: number): Promise<void> {
    const task = { settled: false }
    main().then(
      () => {
        task.settled = true
      },
      error => {
        this.fail(error)
      },
    )
    while (!task.settled && this.failure === undefined) {
      await new Promise(resolve => setImmediate(resolve))
      if (task.settled || this.failure !== undefined) break
      const event = this.pop()
      if (event === undefined) throw new StalledError(`nothing left to happen at ${this.now} ms`)
      if (event.time > untilMs) throw new StalledError(`not finished after ${untilMs} simulated ms`)
      this.now = event.time
      this.events++
      event.run()
    }
    if (this.failure !== undefined) throw this.failure
  }

  private pop(): Event | undefined {
    const { queue } = this
    const first = queue[0]
    const last = queue.pop()
    if (first === undefined || last === undefined || queue.length === 0) return first
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= queue.length) break
      if (child + 1 < queue.length && before(queue[child + 1] as Event, queue[child] as Event))
        child++
      if (!before(queue[child] as Event, last)) break
      queue[i] = queue[child] as Event
      i = child
    }
    queue[i] = last
    return first
  }
}

function before(a: Event, b: Event): boolean {
  return a.time < b.time || (a.time === b.time && a.key < b.key)
}

const wallStart = 1_700_000_000_000

/** One incarnation of a simulated process. */
export class Process implements Clock {
  alive = true
  private readonly world: World
  private readonly wallMs: () => number
  private parked: (() => void)[] | undefined

  /** `wallMs`: how wrong the wall clock is now. */
  constructor(world: World, wallMs: () => number = () => 0) {
    this.world = world
    this.wallMs = wallMs
  }

  now(): number {
    return this.world.now
  }

  wall(): number {
    return wallStart + this.world.now + this.wallMs()
  }

  kill(): void {
    this.alive = false
    this.parked = undefined
  }

  /** As SIGSTOP: nothing of it runs until `resume`; then everything that was due does, late. */
  pause(): void {
    this.parked ??= []
  }

  resume(): void {
    const { parked } = this
    this.parked = undefined
    for (const run of parked ?? []) this.world.at(0, () => this.enter(run))
  }

  /** Runs one event of this process: now, after the pause, or never when it is dead. */
  enter(run: () => void): void {
    if (!this.alive) return
    if (this.parked !== undefined) this.parked.push(run)
    else run()
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error)
        return
      }
      const abort = (): void => reject(signal?.reason as Error)
      signal?.addEventListener('abort', abort, { once: true })
      this.world.at(ms, () =>
        this.enter(() => {
          signal?.removeEventListener('abort', abort)
          resolve()
        }),
      )
    })
  }

  /** Runs a function after this turn, at a seeded place among other events. */
  readonly defer = (fn: () => void): void => {
    this.world.at(0, () => this.enter(fn))
  }

  /** A seeded latency; never returns to a dead process. */
  async latency(maxMs: number): Promise<void> {
    await this.sleep(this.world.rng.next() * maxMs)
  }

  /** The disk as this process sees it: every call takes a while, and a dead process gets no answer. */
  disk(disk: Disk, latencyMs: () => number): Disk {
    const through = async <T>(work: () => Promise<T>): Promise<T> => {
      await this.latency(latencyMs())
      const result = await work()
      await this.latency(latencyMs() / 4)
      return result
    }
    const wrap = (file: DiskFile): DiskFile => ({
      write: (buffers, at) => through(() => file.write(buffers, at)),
      read: (at, length) => through(() => file.read(at, length)),
      datasync: () => through(() => file.datasync()),
      truncate: length => through(() => file.truncate(length)),
      size: () => through(() => file.size()),
      close: () => through(() => file.close()),
    })
    return {
      open: async (path, options) => wrap(await through(() => disk.open(path, options))),
      list: path => through(() => disk.list(path)),
      mkdir: path => through(() => disk.mkdir(path)),
      exists: path => through(() => disk.exists(path)),
      rename: (from, to) => through(() => disk.rename(from, to)),
      remove: path => through(() => disk.remove(path)),
      syncDir: path => through(() => disk.syncDir(path)),
    }
  }
}
