// The chain as this process knows it, and an open loglet for each of its segments (DESIGN 4.2, step 5 "everyone adopts the chain").
//
// Guarantees: chains are adopted in the order of their versions, one at a time; a loglet that was prepared here is never opened a second
// time; waiters learn of every change. A cached chain may be stale: appends to it meet a seal, reads of it meet a removed loglet.

import { setMaxListeners } from 'node:events'
import {
  type Chain,
  ChainConflictError,
  ChainInvalidError,
  decodeChain,
  encodeChain,
  lastSegment,
  type Segment,
  segmentAt,
} from '../chain.ts'
import { type Loglet, LogletClosedError, LogletLostError, type Lsn } from '../contract.ts'
import { MetaStoreCorruptError, type MetaStore } from '../metastore/metastore.ts'
import type { Clock, Random } from '../ports.ts'
import type { LogletRegistry } from '../registry.ts'
import { abortable } from '../abortable.ts'
import type { VirtualLogEvent } from './events.ts'
import { SegmentReader } from './segment.ts'

export interface ChainViewOptions {
  readonly metaStore: MetaStore
  readonly registry: LogletRegistry
  readonly clock: Clock
  readonly random: Random
  readonly onEvent: (event: VirtualLogEvent) => void
}

export interface ChangeResult {
  readonly installed: boolean
  readonly chain: Chain
}

const changeTriesMax = 6
const changeRetryMs = 20

export class ChainView {
  readonly options: ChainViewOptions
  /** Aborted when the log is closed; every wait of the log ends with it. */
  readonly closing = new AbortController()
  private current: Chain | undefined
  private tailReader: SegmentReader | undefined
  private readers = new Map<string, SegmentReader>()
  /** Loglets made here that may be in the chain soon. */
  private readonly prepared = new Map<string, Loglet>()
  /** Loglets that left the chain and are being closed. */
  private readonly leaving = new Map<string, Promise<void>>()
  private readonly listeners = new Set<(chain: Chain) => void>()
  private adoption: Promise<void> = Promise.resolve()

  constructor(options: ChainViewOptions) {
    this.options = options
    // One listener per wait; waits are bounded by their callers.
    setMaxListeners(0, this.closing.signal)
  }

  get chain(): Chain {
    if (this.current === undefined) throw new ChainInvalidError('no chain was adopted yet')
    return this.current
  }

  /** Of the last segment. */
  get last(): SegmentReader {
    if (this.tailReader === undefined) throw new ChainInvalidError('no chain was adopted yet')
    return this.tailReader
  }

  readerOf(segment: Segment): SegmentReader {
    const reader = this.readers.get(segment.id)
    if (reader === undefined) throw new ChainInvalidError(`segment ${segment.index} is not open`)
    return reader
  }

  /** Of the segment that owns `at`; undefined below the chain's start. */
  readerAt(at: Lsn): SegmentReader | undefined {
    const segment = segmentAt(this.chain, at)
    return segment === undefined ? undefined : this.readerOf(segment)
  }

  /** What the MetaStore holds; undefined before the first start. Adopts nothing. */
  async load(): Promise<Chain | undefined> {
    const { value, version } = await this.options.metaStore.read()
    return value === undefined ? undefined : decodeVersion(value, version)
  }

  /** Reads the MetaStore and adopts what is newer. */
  async refresh(): Promise<Chain> {
    const chain = await this.load()
    if (chain !== undefined) await this.adopt(chain)
    return this.chain
  }

  /** Adopts a chain unless it is older: opens what is new, closes what is gone, wakes all waiters. */
  adopt(chain: Chain): Promise<void> {
    const adopted = this.adoption.then(() => this.adoptNow(chain))
    this.adoption = adopted.catch(() => {})
    return adopted
  }

  /** Hands over a loglet made here, before the write that may bring it into the chain. */
  prepare(id: string, loglet: Loglet): void {
    this.prepared.set(id, loglet)
  }

  /** Takes back and closes a loglet that did not come into the chain. */
  async abandon(id: string): Promise<void> {
    await this.adoption
    const loglet = this.prepared.get(id)
    this.prepared.delete(id)
    await loglet?.close()
  }

  /** Resolves once the loglet `id`, which left the chain, is closed. */
  async left(id: string): Promise<void> {
    await this.adoption
    await this.leaving.get(id)
    this.leaving.delete(id)
  }

  /**
   * Applies `step` to the newest chain by compare-and-set until it is in or impossible. `step` throws {@link ChainConflictError} when the
   * chain is past it; `mine` tells from a chain that an earlier try, whose outcome was unknown, came in.
   */
  async change(
    step: (chain: Chain) => Chain,
    mine: (chain: Chain) => boolean,
    base: Chain = this.chain,
  ): Promise<ChangeResult> {
    let chain = base
    for (let failures = 0; ; ) {
      if (mine(chain)) return { installed: true, chain: await this.adopted(chain) }
      let next: Chain
      try {
        next = step(chain)
      } catch (error) {
        if (!(error instanceof ChainConflictError)) throw error
        return { installed: false, chain: await this.adopted(chain) }
      }
      if (next === chain) return { installed: false, chain }
      try {
        const before = await this.write(next)
        if (before === undefined) return { installed: true, chain: await this.adopted(next) }
        chain = before
      } catch (error) {
        if (isFinal(error) || ++failures >= changeTriesMax) throw error
        await this.options.clock.sleep(changeRetryMs * 2 ** failures, this.closing.signal)
        chain = (await this.load().catch(() => undefined)) ?? chain
      }
    }
  }

  /** Installs the first chain of a log; false when somebody else did, whose chain is adopted then. */
  async begin(first: Chain): Promise<boolean> {
    const winner = (await this.write(first)) ?? first
    await this.adopt(winner)
    return winner === first
  }

  onChange(listener: (chain: Chain) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** Resolves with the first chain, now or later, that `accept` takes. */
  waitFor(accept: (chain: Chain) => boolean, signal?: AbortSignal): Promise<Chain> {
    if (accept(this.chain)) return Promise.resolve(this.chain)
    let stop = (): void => {}
    const met = new Promise<Chain>(resolve => {
      stop = this.onChange(chain => {
        if (accept(chain)) resolve(chain)
      })
    })
    return abortable(met, signal, this.closing.signal).finally(stop)
  }

  async close(): Promise<void> {
    this.closing.abort(new LogletClosedError('the log is closed', 'unknown'))
    await this.adoption
    const open = [...this.readers.values()].flatMap(r => (r.loglet === undefined ? [] : [r.loglet]))
    const all = [...open, ...this.prepared.values()].map(loglet => loglet.close())
    await Promise.allSettled([...all, ...this.leaving.values()])
  }

  private async adopted(chain: Chain): Promise<Chain> {
    await this.adopt(chain)
    return this.chain
  }

  /** @returns what was there instead, or undefined when `next` is in. */
  private async write(next: Chain): Promise<Chain | undefined> {
    const { metaStore, onEvent } = this.options
    try {
      const result = await metaStore.write(encodeChain(next), next.version - 1)
      onEvent({ type: 'cas', outcome: result.ok ? 'installed' : 'mismatch' })
      if (result.ok) return undefined
      if (result.value === undefined)
        throw new MetaStoreCorruptError(
          `the metastore is empty, version ${next.version - 1} was there`,
        )
      return decodeVersion(result.value, result.version)
    } catch (error) {
      if (!isFinal(error)) onEvent({ type: 'cas', outcome: 'failed' })
      throw error
    }
  }

  private async adoptNow(chain: Chain): Promise<void> {
    if (this.current !== undefined && chain.version <= this.current.version) return
    if (this.closing.signal.aborted) throw this.closing.signal.reason
    const readers = new Map<string, SegmentReader>()
    const opened: SegmentReader[] = []
    try {
      for (const segment of chain.segments) {
        let reader = this.readers.get(segment.id)
        if (reader === undefined) {
          reader = await this.openSegment(segment)
          opened.push(reader)
        }
        readers.set(segment.id, reader)
      }
    } catch (error) {
      await Promise.allSettled(opened.map(async reader => reader.loglet?.close()))
      throw error
    }
    for (const segment of chain.segments)
      (readers.get(segment.id) as SegmentReader).segment = segment
    const gone = [...this.readers.values()].filter(reader => !readers.has(reader.id))
    this.readers = readers
    this.tailReader = readers.get(lastSegment(chain).id) as SegmentReader
    this.current = chain
    for (const { id, loglet } of gone)
      if (loglet !== undefined)
        this.leaving.set(
          id,
          loglet.close().catch(() => {}),
        )
    for (const listener of this.listeners) listener(chain)
  }

  private async openSegment(segment: Segment): Promise<SegmentReader> {
    const { registry, clock, random, onEvent } = this.options
    const ready = this.prepared.get(segment.id)
    if (ready !== undefined) {
      this.prepared.delete(segment.id)
      return new SegmentReader(segment, ready)
    }
    try {
      const { id, spec, placement } = segment
      const loglet = await registry.open(id, spec, { clock, random }, placement)
      return new SegmentReader(segment, loglet)
    } catch (error) {
      if (!(error instanceof LogletLostError)) throw error
      if (segment.end !== undefined)
        onEvent({ type: 'lost', segment, from: segment.start, to: segment.end })
      return new SegmentReader(segment, undefined)
    }
  }
}

/** True when trying again cannot help. */
export function isFinal(error: unknown): boolean {
  return error instanceof ChainInvalidError || error instanceof MetaStoreCorruptError
}

function decodeVersion(value: Uint8Array, version: number): Chain {
  const chain = decodeChain(value)
  if (chain.version !== version)
    throw new ChainInvalidError(
      `the metastore is at version ${version}, the chain in it at ${chain.version}`,
    )
  return chain
}
