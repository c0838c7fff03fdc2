// The loop: takes an input from the corpus or from the target's grammar, mutates it, gives it to the target, and looks at what no input may do:
// throw the wrong error, take long for its size, keep memory, change a prototype. An input that shows something new is kept to go on from.

import { changedPrototypes, isPolluted } from './prototypes.ts'
import { FuzzRandom } from './random.ts'
import { Mutator } from './mutator.ts'
import { processorMs, stopwatch } from './stopwatch.ts'
import { Finding, type Target } from './target.ts'

export interface FuzzOptions {
  readonly seed: number
  readonly executions?: number
  readonly seconds?: number
  /** Ends the run after so many minutes of processor time, whatever else the machine does. */
  readonly coreMinutes?: number
  /** Kept inputs, besides the target's seeds. */
  readonly corpus?: readonly Uint8Array[]
  /** Ends the run at so many findings. Default 10. */
  readonly findingsMax?: number
  readonly onProgress?: (report: FuzzReport) => void
}

export interface FuzzFinding {
  readonly input: Uint8Array
  readonly error: Error
}

export interface FuzzReport {
  readonly target: string
  readonly seed: number
  readonly executions: number
  readonly accepted: number
  readonly refused: number
  readonly seconds: number
  /** Processor time, all threads. */
  readonly coreMinutes: number
  readonly perSecond: number
  /** Of inputs that were timed alone, ms per MiB. */
  readonly slowestMsPerMiB: number
  /** Bytes of heap and buffers after a collection, at the end minus the beginning; 0 without `--expose-gc`. */
  readonly keptBytes: number
  readonly corpus: number
  readonly findings: readonly FuzzFinding[]
}

const blockSize = 256
/** An input that takes longer is timed again alone. */
const suspiciousMs = 20
const msPerMiBMax = 50
/** Below this much time nothing is said about an input's speed. */
const slowFloorMs = 50
const corpusMax = 2000
const progressMs = 60_000

export async function fuzz(target: Target, options: FuzzOptions): Promise<FuzzReport> {
  const run = new Run(target, options)
  try {
    return await run.main()
  } finally {
    await target.close?.()
  }
}

/** Gives one input to the target. Undefined: in order. */
export async function tryInput(target: Target, input: Uint8Array): Promise<Error | undefined> {
  try {
    await target.run(input)
    if (isPolluted()) return new Error('Object.prototype has an enumerable property')
  } catch (error) {
    return error instanceof Error ? error : new Error(`threw ${String(error)}`)
  }
  return undefined
}

class Run {
  private readonly target: Target
  private readonly options: FuzzOptions
  private readonly random: FuzzRandom
  private readonly mutator: Mutator
  private corpus: Uint8Array[] = []
  private executions = 0
  private accepted = 0
  private slowest = 0
  private readonly found = new Map<string, FuzzFinding>()
  private readonly started = performance.now()
  private readonly processorBefore = processorMs()
  private readonly memoryBefore = keptBytes()

  constructor(target: Target, options: FuzzOptions) {
    this.target = target
    this.options = options
    this.random = new FuzzRandom(options.seed)
    this.mutator = new Mutator(this.random, target.bytesMax ?? 4096)
  }

  async main(): Promise<FuzzReport> {
    const { executions = Infinity, seconds = Infinity, findingsMax = 10 } = this.options
    const { coreMinutes = Infinity } = this.options
    this.corpus = [...(await this.target.seeds()), ...(this.options.corpus ?? [])]
    if (this.corpus.length === 0) this.corpus.push(new Uint8Array(0))
    let saidAt = performance.now()
    while (
      this.executions < executions &&
      this.elapsed() < seconds &&
      this.coreMinutes() < coreMinutes &&
      this.found.size < findingsMax
    ) {
      const before = performance.now()
      const size = Math.min(blockSize, executions - this.executions)
      for (let i = 0; i < size; i++) {
        const pending = this.once()
        if (pending !== undefined) await pending
      }
      if (performance.now() - saidAt > progressMs) {
        saidAt = performance.now()
        this.options.onProgress?.(this.report())
      }
      // Everything else gets its turn; a target without promises would starve timers.
      if (performance.now() - before > 5) await new Promise(resolve => setImmediate(resolve))
      await this.look()
    }
    return this.report()
  }

  private elapsed(): number {
    return (performance.now() - this.started) / 1000
  }

  private coreMinutes(): number {
    return (processorMs() - this.processorBefore) / 60_000
  }

  private once(): Promise<void> | undefined {
    const input = this.next()
    const before = performance.now()
    try {
      const result = this.target.run(input)
      if (typeof result === 'boolean') {
        this.after(input, result, performance.now() - before)
        return undefined
      }
      return result.then(
        // Not timed here: a second run beside the next input would disturb both. See in-time.ts.
        took => this.after(input, took, 0),
        error => this.find(input, error),
      )
    } catch (error) {
      this.find(input, error)
      return undefined
    }
  }

  private next(): Uint8Array {
    const { random, target, corpus } = this
    let input: Uint8Array
    if (target.generate !== undefined && random.oneIn(2)) {
      input = target.generate(random)
      if (!random.oneIn(3)) return input
      input = this.mutator.mutate(input, random.pick(corpus))
    } else input = this.mutator.mutate(random.pick(corpus), random.pick(corpus))
    if (target.reseal !== undefined && !random.oneIn(16)) target.reseal(input, random)
    return input
  }

  private after(input: Uint8Array, took: boolean, ms: number): void {
    this.executions++
    if (took) {
      this.accepted++
      // What was taken is a better beginning than what was not: mutants of mutants reach further.
      if (this.random.oneIn(64) && input.length > 0) this.keep(input)
    }
    if (isPolluted()) this.find(input, new Error('Object.prototype has an enumerable property'))
    if (ms > suspiciousMs) this.time(input, ms)
  }

  private keep(input: Uint8Array): void {
    if (this.corpus.length < corpusMax) this.corpus.push(input.slice())
    else this.corpus[this.random.below(corpusMax)] = input.slice()
  }

  /** The machine has other work: only the fastest of several runs says how long an input takes. */
  private time(input: Uint8Array, firstMs: number): void {
    const perMiB = (ms: number): number => ms / Math.max(input.length / 2 ** 20, 1e-6)
    let ms = firstMs
    for (let i = 0; i < 4; i++) {
      const elapsed = stopwatch()
      try {
        if (typeof this.target.run(input) !== 'boolean') return
      } catch {
        // Counted where it was seen first.
      }
      ms = Math.min(ms, elapsed())
    }
    if (ms > slowFloorMs && perMiB(ms) > msPerMiBMax)
      this.find(input, new Error(`${ms.toFixed(1)} ms for ${input.length} bytes`))
    if (input.length >= 2 ** 16) this.slowest = Math.max(this.slowest, perMiB(ms))
  }

  private find(last: Uint8Array, thrown: unknown): void {
    this.executions++
    const input = (thrown instanceof Finding ? thrown.input : undefined) ?? last
    const error = thrown instanceof Error ? thrown : new Error(`threw ${String(thrown)}`)
    // One of a kind is enough: numbers in messages differ.
    const kind = `${error.name} ${error.message.replaceAll(/[0-9]+/g, '#').slice(0, 80)}`
    const known = this.found.get(kind)
    if (known === undefined || known.input.length > input.length)
      this.found.set(kind, { input: input.slice(), error })
  }

  private async look(): Promise<void> {
    const changed = changedPrototypes()
    if (changed.length > 0)
      this.find(new Uint8Array(0), new Error(`prototypes changed: ${changed.join()}`))
    try {
      await this.target.check?.()
    } catch (error) {
      this.find(new Uint8Array(0), error)
    }
  }

  private report(): FuzzReport {
    const { executions, accepted } = this
    const seconds = this.elapsed()
    return {
      target: this.target.name,
      seed: this.options.seed,
      executions,
      accepted,
      refused: executions - accepted,
      seconds: Math.round(seconds * 10) / 10,
      coreMinutes: Math.round(this.coreMinutes() * 100) / 100,
      perSecond: Math.round(executions / seconds),
      slowestMsPerMiB: Math.round(this.slowest * 10) / 10,
      keptBytes: keptBytes() - this.memoryBefore,
      corpus: this.corpus.length,
      findings: [...this.found.values()],
    }
  }
}

function keptBytes(): number {
  if (globalThis.gc === undefined) return 0
  globalThis.gc()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
