// The `native` loglet as one client sees it: the paper's NativeLoglet (OSDI 2020, section 4.1), put together from its verbs.
//
//   append     to the sequencer           seal.ts, find-tail.ts (with repair.ts), read.ts     to the log servers
//
// Guarantees the Loglet contract while a majority of the log servers answers; appends need the sequencer too. It holds no replica itself:
// converged or not, its servers are reached through the Net.

import { setMaxListeners } from 'node:events'
import {
  type Entry,
  type Loglet,
  LogletClosedError,
  LogletSealedError,
  LogletUnavailableError,
  type LogItem,
  type Position,
  position,
  type Slice,
  type SliceResult,
  type TailState,
} from '../contract.ts'
import { majority } from '../majority.ts'
import { bytesOf, refusalOfSize } from '../entry-size.ts'
import { NetError, RemoteError } from '../net.ts'
import { TailWatch } from '../tail-watch.ts'
import { findTail } from './find-tail.ts'
import { count, stateOf, verbs } from './messages.ts'
import { type LogServerId } from './placement.ts'
import { ask, callServer, type LogletContext } from './quorum.ts'
import { readNext, readSlices } from './read.ts'
import { seal } from './seal.ts'
import type { Sequencer } from './sequencer.ts'
import { appendErrorOf } from './sequencers.ts'

export interface NativeLogletOptions extends Omit<LogletContext, 'knownTail' | 'closing'> {
  /** The sequencer, when it runs in this process. */
  readonly sequencer: Sequencer | undefined
  /** Names this client among all that append; unique per process and loglet. */
  readonly client: string
}

interface InFlight {
  readonly reject: (error: Error) => void
}

/** An append whose sequencer does not answer, or is alive but gathers no majority. */
const appendTimeoutMs = 2000
const stallLookMs = 250
const waitTimeoutMs = 2000
const trimTimeoutMs = 2000
const trimGraceMs = 50
const watchRetryMs = 100

export class NativeLoglet implements Loglet {
  readonly kind = 'native'
  private readonly options: NativeLogletOptions
  private readonly context: LogletContext
  private readonly closer = new AbortController()
  private readonly watch = new TailWatch()
  private readonly inFlight = new Map<number, InFlight>()
  /** Lower bound on the global tail. */
  private committed = 0
  private nextRequest = 0
  private following: Promise<void> | undefined
  private watching: Promise<void> | undefined
  private trimmed = 0
  /** A majority has said what is trimmed. */
  private trimKnown = false
  private closed: Promise<void> | undefined

  constructor(options: NativeLogletOptions) {
    this.options = options
    const { id, placement, net, clock, random } = options
    const knownTail = (): number => this.committed
    const closing = this.closer.signal
    this.context = { id, placement, net, clock, random, knownTail, closing }
    // One listener per request.
    setMaxListeners(0, closing)
  }

  append(entry: Entry): Promise<Position> {
    if (this.closed !== undefined) return Promise.reject(this.closedError('refused'))
    const refusal = refusalOfSize(bytesOf(entry))
    if (refusal !== undefined) return Promise.reject(refusal)
    if (this.watch.sealed)
      return Promise.reject(new LogletSealedError(`loglet ${this.context.id} is sealed`, 'refused'))
    return new Promise((resolve, reject) => {
      const request = this.nextRequest++
      this.inFlight.set(request, { reject })
      this.send(request, entry).then(
        at => {
          this.inFlight.delete(request)
          this.commit(at + 1)
          resolve(at)
        },
        error => {
          this.inFlight.delete(request)
          reject(error as Error)
        },
      )
    })
  }

  async checkTail(signal?: AbortSignal): Promise<TailState> {
    signal?.throwIfAborted()
    if (this.closed !== undefined) throw this.closedError('unknown')
    const state = await this.rethrowClosed(findTail(this.context, signal))
    if (state.sealed) {
      // What has not been answered by now is unknown: nobody may hear "sealed at T" while an ack is still to come.
      const error = new LogletSealedError(`loglet ${this.context.id} was sealed`, 'unknown')
      for (const { reject } of this.inFlight.values()) reject(error)
      this.inFlight.clear()
    }
    // A sealed tail is provisional: the chain may end the segment before it, so it is no news for others.
    if (state.sealed) this.learnSeal(state.tail)
    else this.commit(state.tail)
    // This client may have learned more meanwhile.
    return { tail: position(Math.max(state.tail, this.committed)), sealed: state.sealed }
  }

  async readNext(
    from: Position,
    to: Position,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<readonly LogItem[]> {
    signal?.throwIfAborted()
    if (this.closed !== undefined) throw this.closedError('unknown')
    if (from >= to) return []
    return this.rethrowClosed(readNext(this.context, from, to, maxBytes, signal))
  }

  async readSlices(
    slices: readonly Slice[],
    signal?: AbortSignal,
  ): Promise<readonly SliceResult[]> {
    signal?.throwIfAborted()
    if (this.closed !== undefined) throw this.closedError('unknown')
    return this.rethrowClosed(readSlices(this.context, slices, signal))
  }

  waitTail(beyond: Position, signal?: AbortSignal): Promise<TailState> {
    const waiting = this.watch.wait(beyond, signal)
    if (this.watch.watched) this.following ??= this.follow()
    return waiting
  }

  async prefixTrim(before: Position): Promise<Position> {
    if (this.closed !== undefined) throw this.closedError('unknown')
    // What this client has not heard of may still be there: an unheard tail is no proof of emptiness.
    if (before > this.watch.tail) await this.checkTail()
    const goal = Math.min(before, this.watch.tail)
    if (goal > this.trimmed || !this.trimKnown) {
      // Who only asks gets what is known to those that answer: a copy that is gone must not keep the log from opening.
      const asked = goal === 0 ? { answers: 1 } : {}
      const options = { timeoutMs: trimTimeoutMs, graceMs: trimGraceMs, ...asked }
      const fields = { before: goal }
      const answers = await this.rethrowClosed(
        ask(this.context, verbs.trim, fields, stateOf, options),
      )
      // What any of a majority has trimmed may be gone on all of them.
      this.trimmed = Math.max(this.trimmed, goal, ...answers.map(({ value }) => value.trimmed))
      this.trimKnown ||= answers.length >= majority(this.context.placement.servers.length)
    }
    return position(this.trimmed)
  }

  async seal(): Promise<void> {
    if (this.closed !== undefined) throw this.closedError('unknown')
    await this.rethrowClosed(seal(this.context))
    this.options.sequencer?.onSealed()
  }

  close(): Promise<void> {
    this.closed ??= this.shutDown()
    return this.closed
  }

  private async shutDown(): Promise<void> {
    const error = this.closedError('unknown')
    for (const { reject } of this.inFlight.values()) reject(error)
    this.inFlight.clear()
    this.closer.abort(error)
    this.watch.end(error)
    await Promise.all([this.following, this.watching])
  }

  /** The sequencer hears of it too: it may have nothing to send that would tell it, and keeps entries until then. */
  private learnSeal(tail: number): void {
    this.watch.merge(tail, true)
    this.options.sequencer?.onSealed()
  }

  private commit(tail: number): void {
    this.committed = Math.max(this.committed, tail)
    this.watch.merge(this.committed, false)
  }

  private async send(request: number, entry: Entry): Promise<Position> {
    const { sequencer, client } = this.options
    if (sequencer !== undefined) {
      this.watching ??= this.watchSequencer(sequencer)
      return sequencer.append(entry)
    }
    const { id, net, placement } = this.context
    const [settled = request] = this.inFlight.keys()
    const { incarnation, node } = placement.sequencer
    const fields = { id, incarnation, client, request, settled, entry }
    try {
      const options = { timeoutMs: appendTimeoutMs, signal: this.closer.signal }
      return position(count(await net.call(node, verbs.append, fields, options), 'position'))
    } catch (error) {
      if (error instanceof RemoteError) throw appendErrorOf(error.code, error.message)
      if (error instanceof NetError)
        throw new LogletUnavailableError(`the sequencer of loglet ${id}: ${error.message}`, error)
      throw error
    }
  }

  /**
   * The own sequencer never gives an append up, also when too few of its servers will ever answer. What waits then is unknown to whoever
   * appended, as it is when the sequencer is elsewhere. An append that is merely slow, behind others, is left alone.
   */
  private async watchSequencer(sequencer: Sequencer): Promise<void> {
    const { clock, id } = this.context
    let tail = sequencer.knownTail
    let movedAt = clock.now()
    while (this.inFlight.size > 0 && this.closed === undefined) {
      await clock.sleep(stallLookMs, this.closer.signal).catch(() => {})
      if (sequencer.knownTail !== tail || this.inFlight.size === 0) {
        tail = sequencer.knownTail
        movedAt = clock.now()
      } else if (clock.now() - movedAt >= appendTimeoutMs) {
        const error = new LogletUnavailableError(
          `the sequencer of loglet ${id} has had no majority for ${appendTimeoutMs} ms`,
        )
        for (const { reject } of this.inFlight.values()) reject(error)
        this.inFlight.clear()
      }
    }
    this.watching = undefined
  }

  /** Learns of the tail from the log servers for as long as somebody waits. */
  private async follow(): Promise<void> {
    const { placement, net, clock } = this.context
    const own = placement.servers.findIndex(server => server.node === net.self)
    let turn = Math.max(0, own)
    while (this.watch.watched && !this.closer.signal.aborted) {
      const server = placement.servers[turn % placement.servers.length] as LogServerId
      try {
        const fields = { known: this.watch.tail, timeoutMs: waitTimeoutMs }
        const options = { timeoutMs: waitTimeoutMs * 2 }
        const reply = await callServer(this.context, server, verbs.wait, fields, options)
        const { knownTail, sealed } = stateOf(reply)
        this.commit(knownTail)
        if (sealed) this.learnSeal(knownTail)
      } catch {
        turn++
        if (this.closer.signal.aborted) break
        await clock.sleep(watchRetryMs, this.closer.signal).catch(() => {})
      }
    }
    this.following = undefined
  }

  /** What an aborted step reports is the end of the loglet; a server that fails in the middle of one may be well the next time. */
  private async rethrowClosed<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      if (this.closed !== undefined) throw this.closedError('unknown')
      if (error instanceof NetError || error instanceof RemoteError)
        throw new LogletUnavailableError(`loglet ${this.context.id}: ${error.message}`, error)
      throw error
    }
  }

  private closedError(outcome: 'refused' | 'unknown'): LogletClosedError {
    return new LogletClosedError(`loglet ${this.options.id} is closed`, outcome)
  }
}
