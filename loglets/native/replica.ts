// One log server's copy of one native loglet, on the segment files of the `file` loglet (DESIGN 4.4).
//
//   0        knownTail      local tail      staged
//   |--committed--|--durable here--|--being written--|
//
// Guarantees: what it answered `stored` survives a power cut; behind the seal nothing but repairs is written; a position is taken only when
// everything before it is here or committed elsewhere. Below `knownTail` it may have holes, which it says when asked (`lost`: not here).

import {
  type Entry,
  LogletRefusedError,
  LogletSealedError,
  type LogItem,
  position,
  type Slice,
  type SliceResult,
} from '../contract.ts'
import type { FileLoglet } from '../file/file-loglet.ts'
import { TailWatch } from '../tail-watch.ts'
import type { ReplicaState, StoreStatus } from './messages.ts'

export interface StoreRequest {
  readonly incarnation: string
  /** Position of the first entry. */
  readonly at: number
  readonly entries: readonly Entry[]
  /** Bypasses the seal, which must be durable: the entries are what a checkTail found on another server. */
  readonly repair: boolean
}

export class Replica {
  private readonly loglet: FileLoglet
  private readonly incarnation: string
  /** Volatile: after a restart only what was trimmed is known to be committed. */
  private readonly known: TailWatch
  private readonly local: TailWatch
  private staged: number
  private writing = 0
  /** The disk was full: what is staged has holes until nothing is being written. */
  private full = false
  private sealing = false
  private waiters: (() => void)[] = []

  constructor(loglet: FileLoglet, incarnation: string, tail: number, sealed: boolean) {
    this.loglet = loglet
    this.incarnation = incarnation
    this.known = new TailWatch(loglet.trimPoint)
    this.local = new TailWatch(tail, sealed)
    this.staged = tail
    this.sealing = sealed
  }

  static async over(loglet: FileLoglet, incarnation: string): Promise<Replica> {
    const { tail, sealed } = await loglet.checkTail()
    return new Replica(loglet, incarnation, tail, sealed)
  }

  get state(): ReplicaState {
    return {
      tail: this.local.tail,
      sealed: this.local.sealed,
      knownTail: this.known.tail,
      trimmed: this.loglet.trimPoint,
    }
  }

  /** News of the global tail, from any message. */
  hear(knownTail: number): void {
    this.known.merge(knownTail, false)
  }

  /** Resolves once the entries are durable here, or says why they are not. */
  async store(request: StoreRequest): Promise<StoreStatus> {
    const { at, entries, repair } = request
    // The order of the checks is what makes it safe. A duplicate must not be answered before the seal is looked at: the entry may have come
    // here by repair after the chain's end was decided, and a zombie sequencer would count it as an ack.
    if (repair) {
      if (!this.local.sealed) return 'sealing'
    } else {
      if (this.sealing) return 'sealed'
      if (request.incarnation !== this.incarnation) return 'foreign'
    }
    if (this.full && !this.settled()) return 'full'
    if (at > Math.max(this.staged, this.known.tail)) return 'gap'
    const end = at + entries.length
    const writes = this.stage(at, entries, repair)
    try {
      await Promise.all(writes)
      // A duplicate of something that is still being written.
      while (this.local.tail < end && this.writing > 0) await this.progress()
    } catch (error) {
      if (error instanceof LogletSealedError) return 'sealed'
      if (error instanceof LogletRefusedError) return 'full'
      throw error
    }
    return this.local.tail >= end ? 'stored' : 'full'
  }

  /** Durable once resolved. What is being written before it goes first. */
  async seal(): Promise<ReplicaState> {
    this.sealing = true
    try {
      await this.loglet.seal()
    } catch (error) {
      if (error instanceof LogletRefusedError) this.sealing = this.local.sealed
      throw error
    }
    const { tail } = await this.loglet.checkTail()
    this.local.merge(tail, true)
    return this.state
  }

  /**
   * Resolves when the tail is past `beyond`, with a seal, or when the signal is aborted, which the caller does in any case.
   * `known`: the global tail as heard; `local`: what is durable here.
   */
  async wait(which: 'known' | 'local', beyond: number, signal: AbortSignal): Promise<ReplicaState> {
    try {
      // A seal ends both kinds of waiting: whoever waits has to look again.
      await Promise.race([
        this[which].wait(position(beyond), signal),
        this.local.wait(position(Number.MAX_SAFE_INTEGER), signal),
      ])
    } catch (error) {
      if (!signal.aborted) throw error
    }
    return this.state
  }

  /** Items of `[from, min(to, local tail))`, cut at the first hole that is not at `from`; `lost` means: not here. */
  async read(from: number, to: number, maxBytes: number): Promise<readonly LogItem[]> {
    const limit = Math.min(to, this.local.tail)
    if (from >= limit) return [{ kind: 'gap', gap: 'lost', from: position(from), to: position(to) }]
    return this.loglet.readNext(position(from), position(limit), maxBytes)
  }

  async readSlices(slices: readonly Slice[]): Promise<readonly SliceResult[]> {
    // Looked at once: what is stored while the disk is read must not shift the answers.
    const { tail } = this.local
    const found = await this.loglet.readSlices(slices.filter(s => s.position < tail))
    let next = 0
    return slices.map(s => (s.position < tail ? (found[next++] as SliceResult) : { gap: 'lost' }))
  }

  /** Everything below `before` is committed: what this copy lacks of it, it need not get any more. */
  async trim(before: number): Promise<ReplicaState> {
    this.hear(before)
    await Promise.all(this.stage(before, [], false))
    while (this.local.tail < before && this.writing > 0) await this.progress()
    await this.loglet.prefixTrim(position(Math.min(before, this.local.tail)))
    return this.state
  }

  async close(): Promise<void> {
    await this.loglet.close()
    const closed = new LogletSealedError('the log server is closing', 'unknown')
    this.known.end(closed)
    this.local.end(closed)
  }

  /** Begins to write what is not staged yet. */
  private stage(at: number, entries: readonly Entry[], repair: boolean): Promise<void>[] {
    const writes: Promise<void>[] = []
    if (at > this.staged) {
      // Allowed by `knownTail`: the entries in between are committed on others.
      this.staged = at
      writes.push(this.written(this.loglet.skipTo(position(at)), at))
    }
    entries.forEach((entry, i) => {
      const own = at + i
      if (own < this.staged) return
      this.staged = own + 1
      writes.push(this.written(this.loglet.appendAt(entry, { at: own, repair }), own + 1))
    })
    return writes
  }

  private async written(write: Promise<unknown>, tail: number): Promise<void> {
    this.writing++
    try {
      await write
      this.local.merge(tail, false)
    } catch (error) {
      this.full = true
      throw error
    } finally {
      this.writing--
      this.wake()
    }
  }

  /** True once nothing is being written any more: then what is durable is all that is staged. */
  private settled(): boolean {
    if (this.writing > 0) return false
    this.staged = this.local.tail
    this.full = false
    return true
  }

  private progress(): Promise<void> {
    return new Promise(resolve => this.waiters.push(resolve))
  }

  private wake(): void {
    const { waiters } = this
    this.waiters = []
    for (const wake of waiters) wake()
  }
}
