// The VirtualLog: one log made of a chain of loglets (DESIGN 4.2; "Virtual Consensus in Delos", OSDI 2020).
//
//   lsn   0            s1               s2                 tail
//         |--segment 0--|---segment 1----|---segment 2------|
//            sealed          sealed          open: appends and tail checks go here
//
// Guarantees: one value per LSN for ever; checkTail is linearizable across reconfigurations; where a segment ends only the chain says;
// waits end when the chain moves. Knows nothing of what entries mean. `append` never retries.

import { type Chain, lastSegment, type Segment, startOf } from '../chain.ts'
import {
  type Entry,
  LogletClosedError,
  LogletLostError,
  LogletSealedError,
  type Lsn,
  lsn,
  type Scope,
  type SliceResult,
} from '../contract.ts'
import type { MetaStore } from '../metastore/metastore.ts'
import type { Clock, Random } from '../ports.ts'
import type { LogletRegistry } from '../registry.ts'
import { abortable } from '../abortable.ts'
import { AppendError } from './append-error.ts'
import { ChainView } from './chain-view.ts'
import type { VirtualLogEvent } from './events.ts'
import { Follower } from './follow.ts'
import { modifySegment } from './modify.ts'
import { LogletMaker } from './new-loglet.ts'
import { openChain } from './open-log.ts'
import { reconfigure, type ReconfigureResult } from './reconfigure.ts'
import type { LsnItem, LsnSlice, LsnTail, SegmentReader } from './segment.ts'
import { trimPointOf, trimSegments, truncateChain } from './trim.ts'

export type { Chain, Segment } from '../chain.ts'
export { AppendError } from './append-error.ts'
export type { VirtualLogEvent } from './events.ts'
export type { ReconfigureResult } from './reconfigure.ts'
export type { LsnItem, LsnSlice } from './segment.ts'

export interface VirtualLogOptions {
  readonly metaStore: MetaStore
  readonly registry: LogletRegistry
  readonly clock: Clock
  readonly random: Random
  /** Of segment 0, on the first start. */
  readonly initialSpec: string
  readonly onEvent?: (event: VirtualLogEvent) => void
  /** How long a sealed last segment is left to whoever sealed it, ms; half as much again is added at random. Default 1000. */
  readonly sealTakeoverMs?: number
  /** What every loglet has to reach: where the members of this log run. Default `process`. */
  readonly scope?: Scope
}

const sealTakeoverMsDefault = 1000

export class VirtualLog {
  private readonly view: ChainView
  private readonly maker: LogletMaker
  private readonly follower: Follower
  private readonly scope: Scope
  private readonly volatileSpec: (spec: string) => boolean
  private readonly tasks = new Set<Promise<unknown>>()
  private trimmed: Lsn = lsn(0)
  private reconfiguring = 0
  private closed: Promise<void> | undefined

  private constructor(options: VirtualLogOptions) {
    const { metaStore, registry, clock, random } = options
    const onEvent = options.onEvent ?? (() => {})
    this.scope = options.scope ?? 'process'
    this.volatileSpec = spec => registry.volatile(spec)
    this.view = new ChainView({ metaStore, registry, clock, random, onEvent })
    this.maker = new LogletMaker(this.view)
    this.follower = new Follower({
      view: this.view,
      takeoverMs: options.sealTakeoverMs ?? sealTakeoverMsDefault,
      busy: () => this.reconfiguring > 0,
      takeOver: index => this.reconfigure(index, lastSegment(this.view.chain).spec, 'takeover'),
    })
  }

  /**
   * Opens the log; makes its first segment when there is none. A forgotten volatile open segment is closed at `start + 2^32`.
   * @throws {LogletLostError} when the store of a durable open segment is missing
   */
  static async open(options: VirtualLogOptions): Promise<VirtualLog> {
    options.registry.validate(options.initialSpec)
    const log = new VirtualLog(options)
    try {
      await openChain(log.view, log.maker, options.initialSpec)
      log.trimmed = await trimPointOf(log.view)
    } catch (error) {
      await log.view.close()
      throw error
    }
    return log
  }

  get chain(): Chain {
    return this.view.chain
  }

  /** First position that is not trimmed. */
  get trimPoint(): Lsn {
    return lsn(Math.max(this.trimmed, startOf(this.chain)))
  }

  /**
   * Appends one entry to the last segment. Never retries. @throws {AppendError} with its outcome and the segment tried
   */
  async append(entry: Entry): Promise<{ lsn: Lsn; segmentIndex: number }> {
    const reader = this.view.last
    const { index } = reader.segment
    try {
      if (reader.loglet === undefined)
        throw new LogletLostError(`segment ${index} has no store`, 'refused')
      const at = await reader.append(reader.loglet, entry)
      const { end } = reader.segment
      // Invariant 4: nothing at or past the chain's end is ever acked, whatever a loglet says.
      if (end !== undefined && at >= end)
        throw new LogletSealedError(`segment ${index} ends at ${end}, before ${at}`, 'unknown')
      return { lsn: at, segmentIndex: index }
    } catch (error) {
      throw new AppendError(index, error)
    }
  }

  /** First unwritten position; linearizable with appends, across reconfigurations. */
  async checkTail(signal?: AbortSignal): Promise<Lsn> {
    for (;;) {
      const reader = this.view.last
      const state = await this.ask(reader, r => r.checkTail(this.logletOf(r), signal), signal)
      // An open answer proves that no successor existed: the chain used was the current one.
      if (state !== undefined && !state.sealed) return state.tail
      await this.waitWritable(reader.segment.index, signal)
    }
  }

  /**
   * Reads in order from `from`, below `to`, which must not exceed a tail that the caller learned. At least one item when `from < to`;
   * contiguous; ends with the segment. Positions that cannot be read come as gaps.
   */
  async readNext(
    from: Lsn,
    to: Lsn,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<readonly LsnItem[]> {
    if (to <= from) return []
    for (;;) {
      const { trimPoint } = this
      if (from < trimPoint)
        return [{ kind: 'gap', gap: 'trimmed', from, to: lsn(Math.min(to, trimPoint)) }]
      const reader = this.view.readerAt(from) as SegmentReader
      const items = await this.read(reader, from, () => reader.readNext(from, to, maxBytes, signal))
      if (items === undefined) continue
      // Gaps are final only after re-reading the chain: the segment may have been copied or dropped.
      const suspect = items.some(item => item.kind === 'gap' && item.gap !== 'filler')
      if (!suspect || !(await this.moved(reader, from))) return items
    }
  }

  /** Scattered reads, results in the order of `slices`. @throws {RangeError} for a slice outside its entry */
  async readSlices(
    slices: readonly LsnSlice[],
    signal?: AbortSignal,
  ): Promise<readonly SliceResult[]> {
    const results: SliceResult[] = []
    const groups = new Map<SegmentReader, number[]>()
    slices.forEach((slice, i) => {
      const reader = slice.lsn < this.trimPoint ? undefined : this.view.readerAt(slice.lsn)
      if (reader === undefined) results[i] = { gap: 'trimmed' }
      else {
        const group = groups.get(reader)
        if (group === undefined) groups.set(reader, [i])
        else group.push(i)
      }
    })
    const pick = (group: readonly number[]): LsnSlice[] => group.map(i => slices[i] as LsnSlice)
    await Promise.all(
      [...groups].map(async ([reader, group]) => {
        const asked = pick(group)
        const first = (asked[0] as LsnSlice).lsn
        let found = await this.read(reader, first, () => reader.readSlices(asked, signal))
        const suspect = found?.some(r => !(r instanceof Uint8Array) && r.gap !== 'filler')
        if (suspect && (await this.moved(reader, first))) found = undefined
        found ??= await this.readSlices(asked, signal)
        group.forEach((i, j) => {
          results[i] = found[j] as SliceResult
        })
      }),
    )
    return results
  }

  /** Resolves with a readable tail greater than `beyond`; woken by the chain too. */
  async waitTail(beyond: Lsn, signal?: AbortSignal): Promise<Lsn> {
    for (;;) {
      const reader = this.view.last
      const { start, index } = reader.segment
      if (start > beyond) return start
      const state = await this.waitSegment(reader, beyond, signal)
      if (state?.sealed === false && state.tail > beyond) return state.tail
      // "Sealed at X" is provisional: the chain says where the segment ends, and where the log goes on.
      if (state === undefined || state.sealed) await this.waitWritable(index, signal)
    }
  }

  /** Reads the MetaStore and adopts what is newer: somebody said that the chain has moved. */
  refresh(): Promise<Chain> {
    return this.own(this.view.refresh())
  }

  /** Resolves with the first chain, now or later, whose version is greater. */
  waitChain(beyondVersion: number, signal?: AbortSignal): Promise<Chain> {
    return this.view.waitFor(chain => chain.version > beyondVersion, signal)
  }

  /** Called after each change of the chain. Returns the way to stop. */
  onChain(listener: (chain: Chain) => void): () => void {
    return this.view.onChange(listener)
  }

  /**
   * Resolves once the last segment is open and its index is greater than `beyondIndex`. To be called by who met a seal of that segment:
   * when nobody continues the chain in time, this finishes the reconfiguration with the same spec.
   */
  waitWritable(beyondIndex: number, signal?: AbortSignal): Promise<Chain> {
    if (lastSegment(this.chain).index > beyondIndex) return Promise.resolve(this.chain)
    return abortable(this.follower.follow(beyondIndex), signal, this.view.closing.signal)
  }

  /**
   * Seals segment `expectedIndex`, no other, and continues the log with a new loglet. `installed: false` when another reconfiguration of
   * that segment won. @throws {LogletSpecError} before anything happened; other errors of making the loglet, with nothing sealed
   */
  reconfigure(expectedIndex: number, newSpec: string, reason: string): Promise<ReconfigureResult> {
    this.view.closing.signal.throwIfAborted()
    this.reconfiguring++
    const wish = { expectedIndex, spec: newSpec, reason, scope: this.scope }
    return this.own(
      reconfigure(this.view, this.maker, wish).finally(() => {
        this.reconfiguring--
      }),
    )
  }

  /** Drops what lies below `before`, clamped to the tail. Returns the trim point that holds now. */
  async prefixTrim(before: Lsn): Promise<Lsn> {
    const reached = await this.own(trimSegments(this.view, before, this.trimPoint))
    this.trimmed = lsn(Math.max(this.trimmed, reached))
    return this.trimPoint
  }

  /** Drops wholly trimmed segments from the chain, and deletes their stores. */
  truncate(): Promise<Chain> {
    return this.own(truncateChain(this.view, this.maker, this.trimPoint))
  }

  /** Copies the sealed segment `index` into a fresh loglet and lets that serve its range. */
  async modify(index: number, newSpec: string): Promise<{ installed: boolean }> {
    const installed = await this.own(
      modifySegment(this.view, this.maker, index, newSpec, () => this.trimPoint),
    )
    return { installed }
  }

  /** Segments whose content a restart of the process loses. */
  volatileSegments(): readonly Segment[] {
    return this.chain.segments.filter(s => this.volatileSpec(s.spec))
  }

  /** Segments whose store is gone: they read as `lost`. */
  lostSegments(): readonly Segment[] {
    return this.chain.segments.filter(s => this.view.readerOf(s).loglet === undefined)
  }

  /** The kind of the loglet that serves segment `index`, for labels; undefined when it is lost or not in the chain. */
  kindOf(index: number): string | undefined {
    const segment = this.chain.segments.find(s => s.index === index)
    return segment === undefined ? undefined : this.view.readerOf(segment).loglet?.kind
  }

  /** Deletes loglets that earlier attempts left behind and that cannot come into the chain any more. */
  collectOrphans(): Promise<void> {
    return this.own(this.maker.collectOrphans())
  }

  /** Ends all waits with LOGLET_CLOSED and closes every loglet. Idempotent. */
  close(): Promise<void> {
    this.closed ??= this.closeAll()
    return this.closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  private async closeAll(): Promise<void> {
    this.view.closing.abort(new LogletClosedError('the log is closed', 'unknown'))
    await this.follower.idle()
    await this.view.close()
    await Promise.allSettled(this.tasks)
  }

  /** Work that close has to wait for. */
  private own<T>(task: Promise<T>): Promise<T> {
    this.tasks.add(task)
    const done = (): void => void this.tasks.delete(task)
    task.then(done, done)
    return task
  }

  private logletOf({ loglet, segment }: SegmentReader): NonNullable<SegmentReader['loglet']> {
    if (loglet !== undefined) return loglet
    throw new LogletLostError(`segment ${segment.index} has no store`, 'unknown')
  }

  /** Asks the last segment; undefined when the chain moved meanwhile, so that the answer does not count. */
  private async ask<T>(
    reader: SegmentReader,
    question: (reader: SegmentReader) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T | undefined> {
    try {
      return await question(reader)
    } catch (error) {
      signal?.throwIfAborted()
      if (this.view.last !== reader) return undefined
      throw error
    }
  }

  /** The loglet's tail, or undefined when the chain moved first. */
  private async waitSegment(
    reader: SegmentReader,
    beyond: Lsn,
    signal?: AbortSignal,
  ): Promise<LsnTail | undefined> {
    const over = new AbortController()
    const loglet = this.logletOf(reader)
    const tail = this.ask(reader, r => r.waitTail(loglet, beyond, over.signal))
    const { index } = reader.segment
    const moved = this.view.waitFor(c => lastSegment(c).index > index, over.signal)
    try {
      return await abortable(
        Promise.race([tail, moved.then(() => undefined)]),
        signal,
        this.view.closing.signal,
      )
    } finally {
      over.abort()
      tail.catch(() => {})
      moved.catch(() => {})
    }
  }

  /** Runs a read; undefined when its loglet was closed or removed because the chain moved on: try again. */
  private async read<T>(
    reader: SegmentReader,
    at: Lsn,
    run: () => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await run()
    } catch (error) {
      const gone = error instanceof LogletClosedError || error instanceof LogletLostError
      if (gone && !this.view.closing.signal.aborted && (await this.moved(reader, at)))
        return undefined
      throw error
    }
  }

  /** Re-reads the chain. True when `at` is served by another loglet now. */
  private async moved(reader: SegmentReader, at: Lsn): Promise<boolean> {
    await this.view.refresh()
    return at < this.trimPoint || this.view.readerAt(at) !== reader
  }
}
