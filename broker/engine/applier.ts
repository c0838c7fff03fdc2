// Plays the log, in order, into the state machine (DESIGN 5.1: "replies come from apply, not from append").
//
//   0            applied                known tail
//   |--applied--|---- readable, to apply ----|---- appends in flight --->
//
// Entries that this broker appended are applied from memory as soon as their append is acked; everything else (recovery, fillers, what
// another broker wrote) is read from the log. Applying itself never waits inside an entry.

import type { Lsn } from '../../loglets/contract.ts'
import type { LsnItem, VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { ParsedEntry } from '../state/commands.ts'
import type { ApplyResult, StateMachine } from '../state/state-machine.ts'
import { mayAnswerLater } from '../unavailable.ts'
import { parseEntry } from './entry.ts'

export interface ApplierOptions {
  readonly log: VirtualLog
  readonly machine: StateMachine
  /** After every entry that took effect or opened a session. */
  readonly onApplied: (result: ApplyResult) => void
  /** After a run of entries: time to wake readers. */
  readonly onProgress: () => void
  /** Called before the first entry behind the end of a segment is applied, and awaited. */
  readonly beforeSegment: (end: number) => Promise<void> | undefined
  /** Called before positions up to `to` are passed over because their content is gone, and awaited. @throws STATE_BEHIND */
  readonly beforeLost: (to: number) => Promise<void>
  readonly onLost: (from: number, to: number) => void
  readonly onFatal: (error: Error) => void
  /** The log could not be read now; resolves when it is worth trying again. */
  readonly onUnavailable: (error: Error) => Promise<void>
  readonly readBytesMax: number
}

interface Waiter {
  readonly goal: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class Applier {
  private readonly options: ApplierOptions
  private readonly own = new Map<number, ParsedEntry>()
  private knownTail: number
  private running = false
  private failure: Error | undefined
  private waiters: Waiter[] = []
  /** The next segment start at or past the applied position that was not entered yet; -1 when there is none. */
  private boundary = -1
  private entered = -1

  constructor(options: ApplierOptions) {
    this.options = options
    this.knownTail = options.machine.applied
    this.followChain()
  }

  get tail(): number {
    return this.knownTail
  }

  /** An own append was acked at `lsn`: it and everything before it may be applied. */
  committed(lsn: number, entry: ParsedEntry): void {
    if (lsn >= this.options.machine.applied) this.own.set(lsn, entry)
    this.advance(lsn + 1)
  }

  /** The log is readable below `tail`. */
  advance(tail: number): void {
    if (tail > this.knownTail) this.knownTail = tail
    if (!this.running && this.failure === undefined) this.run()
  }

  /** Resolves once everything below `goal` is applied. */
  appliedUpTo(goal: number): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    if (this.options.machine.applied >= goal) return Promise.resolve()
    return new Promise((resolve, reject) => this.waiters.push({ goal, resolve, reject }))
  }

  /** Ends all waiting; nothing is applied afterwards. */
  stop(error: Error): void {
    if (this.failure !== undefined) return
    this.failure = error
    for (const waiter of this.waiters) waiter.reject(error)
    this.waiters = []
  }

  private run(): void {
    try {
      if (this.applyOwn()) return
    } catch (error) {
      this.fail(error as Error)
      return
    }
    this.running = true
    void this.applyRest()
  }

  /** Applies own entries as far as they reach. True when nothing is left to do. */
  private applyOwn(): boolean {
    const { machine, onApplied } = this.options
    for (;;) {
      const lsn = machine.applied
      if (lsn >= this.knownTail) break
      if (lsn === this.boundary) return false
      const entry = this.own.get(lsn)
      if (entry === undefined) return false
      this.own.delete(lsn)
      onApplied(machine.apply(lsn, entry))
    }
    this.progress()
    return true
  }

  /** The slow road: segment boundaries and reads. */
  private async applyRest(): Promise<void> {
    const { machine } = this.options
    try {
      while (!this.applyOwn()) {
        const lsn = machine.applied
        await this.enterSegment(lsn)
        if (this.failure !== undefined) return
        if (!this.own.has(lsn)) await this.readPatiently(lsn)
        this.progress()
        if (this.failure !== undefined) return
      }
      this.running = false
    } catch (error) {
      this.fail(error as Error)
    }
  }

  /** Passes a segment boundary once its owner is ready for what follows. */
  private async enterSegment(lsn: number): Promise<void> {
    if (lsn === this.boundary) {
      await this.options.beforeSegment(lsn)
      this.entered = lsn
    }
    this.followChain()
  }

  /** Looks up the next boundary; to be called again when the chain changes. */
  followChain(): void {
    const lsn = this.options.machine.applied
    const segments = this.options.log.chain.segments
    const starts = segments.some(s => s.start === lsn) && lsn !== this.entered
    this.boundary = starts ? lsn : (segments.find(s => s.start > lsn)?.start ?? -1)
  }

  private async readPatiently(from: number): Promise<void> {
    try {
      await this.readSome(from)
    } catch (error) {
      // The register, too: it has to say whether a gap is final.
      if (!mayAnswerLater(error)) throw error
      await this.options.onUnavailable(error as Error)
    }
  }

  private async readSome(from: number): Promise<void> {
    const { log, readBytesMax } = this.options
    const items = await log.readNext(from as Lsn, this.knownTail as Lsn, readBytesMax)
    for (const item of items) {
      if (item.kind === 'gap' && item.gap === 'lost') await this.options.beforeLost(item.to)
      if (this.failure !== undefined) return
      this.applyItem(item)
      if (this.options.machine.applied === this.boundary) return
    }
  }

  private applyItem(item: LsnItem): void {
    const { machine, onApplied, onLost } = this.options
    if (item.kind === 'entry') {
      this.own.delete(item.lsn)
      onApplied(machine.apply(item.lsn, parseEntry(item.bytes)))
    } else if (item.gap === 'filler') machine.skip(item.from, item.to)
    else if (item.gap === 'lost') {
      machine.lose(item.from, item.to)
      onLost(item.from, item.to)
    } else
      throw new LogloomError(
        'STATE_BEHIND',
        `the log begins at position ${item.to}, the state of this broker ends at ${machine.applied}`,
        { applied: machine.applied, start: item.to },
      )
  }

  private progress(): void {
    const { machine, onProgress } = this.options
    const { touched, groups, shares, security } = machine
    const isTouched = touched.size > 0 || groups.touched.size > 0 || shares.touched.size > 0
    if (isTouched || security.registry.hasNews) onProgress()
    if (this.waiters.length === 0) return
    const ready = this.waiters.filter(w => w.goal <= machine.applied)
    if (ready.length === 0) return
    this.waiters = this.waiters.filter(w => w.goal > machine.applied)
    for (const waiter of ready) waiter.resolve()
  }

  private fail(error: Error): void {
    this.stop(error)
    this.options.onFatal(error)
  }
}
