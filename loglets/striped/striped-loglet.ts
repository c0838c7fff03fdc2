// The `striped` loglet: S inner loglets as one (DESIGN 4.4; OSDI 2020, section 6.1, where it is about 300 lines of shim).
//
//   acked only when every earlier position on every stripe is filled:
//
//   stripe 0   | 0 | 2 | 4 |           tails 3, 1  →  open tail min(3*2+0, 1*2+1) = 3
//   stripe 1   | 1 |                   position 4 is durable and waits for 3
//
// Guarantees the Loglet contract if its stripes do. Available while every stripe is. Appends go to the stripe whose next position comes
// first, so that with one writer no hole is left; holes of failed appends and other writers are filled by whoever waits on them.

import { setMaxListeners } from 'node:events'
import {
  type Entry,
  type Loglet,
  LogletClosedError,
  LogletError,
  LogletFailedError,
  LogletSealedError,
  LogletUnavailableError,
  type LogItem,
  type Position,
  position,
  type Slice,
  type SliceResult,
  type TailState,
} from '../contract.ts'
import { abortable } from '../abortable.ts'
import { bytesOf, refusalOfSize } from '../entry-size.ts'
import type { Clock, Random } from '../ports.ts'
import { TailWatch } from '../tail-watch.ts'
import { dataFrame, fillerFrame, prefixBytes } from './frame.ts'
import { endOf, interleave } from './interleave.ts'
import { PendingAcks } from './pending-acks.ts'
import { firstOpenStripe, globalOf, localBelow, localOf, openTail, stripeOf } from './stripe-map.ts'

export interface StripedPorts {
  readonly clock: Pick<Clock, 'sleep'>
  readonly random: Pick<Random, 'next'>
}

/** A hole on one stripe could not be filled: appends behind it are durable, but were not acked. Outcome `unknown`. */
export class LogletStalledError extends LogletError {
  readonly code = 'LOGLET_STALLED'
}

/** Before a hole is filled; half to once and a half of it. */
const fillDelayMs = 2
/** Rounds of filling one hole, with growing delays up to `fillDelayMsMax`, before its waiters settle as unknown: about 2 s. */
const fillRoundsMax = 24
const fillDelayMsMax = 128
const fillersPerRoundMax = 1024
const windowMin = 256
const windowMax = 1 << 20

const impatient: StripedPorts = {
  clock: { sleep: () => Promise.resolve() },
  random: { next: () => 0 },
}

export class StripedLoglet implements Loglet {
  readonly kind = 'striped'
  private readonly stripes: readonly Loglet[]
  private readonly ports: StripedPorts
  /** Committed tail of each stripe, from whoever wrote there. */
  private readonly heard: number[]
  /** The same, but behind what is in flight from here: acks follow these, so that they come in the order of positions. */
  private readonly tails: number[]
  /** Where the next append to each stripe will land, as far as this handle knows. */
  private readonly next: number[]
  private readonly inFlight: number[]
  private inFlightTotal = 0
  private readonly pending = new PendingAcks()
  private readonly watch: TailWatch
  private readonly watching: boolean[]
  private readonly closing = new AbortController()
  private drained: (() => void)[] = []
  private filling: Promise<void> | undefined
  private finishing: Promise<TailState> | undefined
  /** A stripe is sealed, so the whole is about to be. */
  private sealSeen = false
  private closed: Promise<void> | undefined
  /** Positions that the next read covers: grows while reads use all of it. */
  private window = windowMin

  private constructor(
    stripes: readonly Loglet[],
    states: readonly TailState[],
    ports: StripedPorts,
  ) {
    this.stripes = stripes
    this.ports = ports
    // One listener per stripe.
    setMaxListeners(0, this.closing.signal)
    this.tails = states.map(committedTail)
    this.heard = [...this.tails]
    this.next = [...this.tails]
    this.inFlight = this.tails.map(() => 0)
    this.watching = this.tails.map(() => false)
    this.watch = new TailWatch(openTail(this.tails))
    this.sealSeen = states.some(s => s.sealed)
  }

  /** Opens the whole over open stripes; closing it closes them. */
  static async over(
    stripes: readonly Loglet[],
    ports: StripedPorts = impatient,
  ): Promise<StripedLoglet> {
    const states = await Promise.all(stripes.map(loglet => loglet.checkTail().catch(unknownTail)))
    return new StripedLoglet(stripes, states, ports)
  }

  append(entry: Entry): Promise<Position> {
    const refusal = this.refuse(entry)
    if (refusal !== undefined) return Promise.reject(refusal)
    return new Promise((resolve, reject) => {
      this.send(firstOpenStripe(this.next), dataFrame(entry), resolve, reject)
    })
  }

  async checkTail(signal?: AbortSignal): Promise<TailState> {
    if (this.watch.sealed) {
      this.throwIfClosed()
      return this.watch.state
    }
    if (await this.look(signal)) return abortable(this.finish(), signal)
    return this.watch.state
  }

  async readNext(
    from: Position,
    to: Position,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<readonly LogItem[]> {
    const { stripes } = this
    const count = stripes.length
    const limit = Math.min(to, from + this.window)
    const bytes = Math.max(1, Math.ceil(maxBytes / count))
    const read = await Promise.all(
      stripes.map(async (loglet, i) => {
        const first = localBelow(i, from, count)
        const end = localBelow(i, limit, count)
        return first < end ? loglet.readNext(position(first), position(end), bytes, signal) : []
      }),
    )
    const items = interleave(read, from, limit)
    const used = endOf(items, from) - from
    this.window = Math.min(windowMax, Math.max(windowMin, used * 2))
    return items
  }

  async readSlices(
    slices: readonly Slice[],
    signal?: AbortSignal,
  ): Promise<readonly SliceResult[]> {
    for (const { start, length } of slices)
      if (start < 0 || length < 0) throw new RangeError(`bytes from ${start}, ${length} long`)
    const groups = new Map<number, number[]>()
    slices.forEach((slice, i) => {
      const stripe = stripeOf(slice.position, this.stripes.length)
      const group = groups.get(stripe)
      if (group === undefined) groups.set(stripe, [i])
      else group.push(i)
    })
    const results: SliceResult[] = []
    await Promise.all(
      [...groups].map(async ([stripe, group]) => {
        const found = await this.readStripe(
          stripe,
          group.map(i => this.localSlice(slices[i] as Slice)),
          signal,
        )
        group.forEach((i, j) => {
          results[i] = found[j] as SliceResult
        })
      }),
    )
    return results
  }

  waitTail(beyond: Position, signal?: AbortSignal): Promise<TailState> {
    const waiting = this.watch.wait(beyond, signal)
    if (this.watch.watched) this.watchStripes()
    return waiting
  }

  async prefixTrim(before: Position): Promise<Position> {
    // Who only asks where the log begins needs no stripe's tail, which may be unknown while one of them does not answer.
    if (before > this.watch.tail && (await this.look())) await this.finish()
    const count = this.stripes.length
    const limit = Math.min(before, this.watch.tail)
    const trims = await Promise.all(
      this.stripes.map((loglet, i) => loglet.prefixTrim(position(localBelow(i, limit, count)))),
    )
    return position(openTail(trims))
  }

  async seal(): Promise<void> {
    if (this.watch.sealed) this.throwIfClosed()
    else await this.finish()
  }

  close(): Promise<void> {
    this.closed ??= this.closeAll()
    return this.closed
  }

  private async closeAll(): Promise<void> {
    const error = closedError('unknown')
    this.closing.abort(error)
    const results = await Promise.allSettled(this.stripes.map(loglet => loglet.close()))
    this.pending.rejectAll(error)
    this.watch.end(error)
    await Promise.allSettled([this.filling, this.finishing])
    const failure = results.find(r => r.status === 'rejected')
    if (failure !== undefined) throw failure.reason
  }

  private refuse(entry: Entry): LogletError | undefined {
    if (this.closed !== undefined) return closedError('refused')
    if (this.sealSeen) {
      this.finishSoon()
      return new LogletSealedError('this striped loglet is sealed', 'refused')
    }
    // The frame would make an empty entry acceptable to the stripe.
    return refusalOfSize(bytesOf(entry))
  }

  /** Appends a frame to one stripe. Without `resolve` it is a filler, and nobody waits for it. */
  private send(
    stripe: number,
    frame: Entry,
    resolve?: (at: Position) => void,
    reject?: (error: Error) => void,
  ): void {
    ;(this.next[stripe] as number)++
    ;(this.inFlight[stripe] as number)++
    this.inFlightTotal++
    ;(this.stripes[stripe] as Loglet).append(frame).then(
      local => this.landed(stripe, local, resolve, reject),
      error => this.failed(stripe, error, reject),
    )
  }

  private landed(
    stripe: number,
    local: number,
    resolve?: (at: Position) => void,
    reject?: (error: Error) => void,
  ): void {
    const at = globalOf(stripe, local, this.stripes.length)
    if (resolve !== undefined && reject !== undefined) this.pending.add(at, resolve, reject)
    // Appends to one stripe land in the order of their calls, so those still in flight land right behind.
    this.next[stripe] = local + (this.inFlight[stripe] as number)
    this.tails[stripe] = Math.max(this.tails[stripe] as number, local + 1)
    this.hear(stripe, local + 1)
    this.settled(stripe)
  }

  private failed(stripe: number, error: unknown, reject?: (error: Error) => void): void {
    if ((this.inFlight[stripe] as number) === 1) this.next[stripe] = this.heard[stripe] as number
    else if (error instanceof LogletError && error.outcome === 'refused')
      (this.next[stripe] as number)--
    reject?.(asError(error))
    if (error instanceof LogletSealedError) this.finishSoon()
    else if (error instanceof LogletFailedError || error instanceof LogletClosedError)
      this.pending.rejectAll(behindError(error))
    this.settled(stripe)
  }

  /** After each append to a stripe: acks what is complete, and sees to what will not be. */
  private settled(stripe: number): void {
    const left = --(this.inFlight[stripe] as number)
    this.inFlightTotal--
    if (left === 0) this.tails[stripe] = this.heard[stripe] as number
    this.pending.ackBelow(openTail(this.tails))
    if (this.inFlightTotal === 0 && this.drained.length > 0)
      for (const wake of this.drained.splice(0)) wake()
    if (this.pending.size > 0 && !this.sealSeen && this.filling === undefined && this.lags())
      this.filling = this.fill().finally(() => {
        this.filling = undefined
      })
  }

  /** Merges a stripe's committed tail. */
  private hear(stripe: number, tail: number): void {
    if (tail <= (this.heard[stripe] as number)) return
    this.heard[stripe] = tail
    if (tail > (this.next[stripe] as number)) this.next[stripe] = tail
    if (this.inFlight[stripe] === 0) {
      this.tails[stripe] = tail
      this.pending.ackBelow(openTail(this.tails))
    }
    // Past the sealed tail there are only zombies.
    if (!this.watch.sealed) this.watch.merge(openTail(this.heard), false)
  }

  /** Asks every stripe for its tail. True when one of them is sealed. */
  private async look(signal?: AbortSignal): Promise<boolean> {
    const states = await Promise.all(this.stripes.map(loglet => loglet.checkTail(signal)))
    states.forEach((state, i) => this.hear(i, committedTail(state)))
    return states.some(state => state.sealed)
  }

  /** True when an append waits for a position that nothing in flight will fill. */
  private lags(): boolean {
    const { highest } = this.pending
    return this.tails.some((_, i) => this.missing(i, highest) > 0)
  }

  private missing(stripe: number, below: number): number {
    const landing = (this.tails[stripe] as number) + (this.inFlight[stripe] as number)
    const coming = Math.max(landing, this.heard[stripe] as number)
    return localBelow(stripe, below, this.stripes.length) - coming
  }

  /** Fills what appends here wait for: after a short while, and a fresh look, since its writer may only be slow. */
  private async fill(): Promise<void> {
    const { clock, random } = this.ports
    const { signal } = this.closing
    try {
      for (let round = 0; this.pending.size > 0 && this.lags() && !this.sealSeen; round++) {
        const delayMs = Math.min(fillDelayMs * 2 ** Math.floor(round / 2), fillDelayMsMax)
        await clock.sleep(delayMs * (0.5 + random.next()), signal)
        if (round >= fillRoundsMax) {
          this.pending.rejectAll(stalledError())
          return
        }
        if (await this.look(signal)) {
          this.finishSoon()
          return
        }
        const { highest } = this.pending
        for (let i = 0; i < this.tails.length; i++) {
          const count = Math.min(this.missing(i, highest), fillersPerRoundMax)
          for (let n = 0; n < count; n++) this.send(i, fillerFrame())
        }
        await this.idle(signal)
      }
    } catch (error) {
      this.pending.rejectAll(behindError(error))
    }
  }

  /** Seals in the background: an append or a reader met a sealed stripe. Whoever needs the outcome calls `finish`. */
  private finishSoon(): void {
    this.finish().catch(() => {})
  }

  private finish(): Promise<TailState> {
    this.finishing ??= this.finishSeal().catch(error => {
      this.finishing = undefined
      this.pending.rejectAll(behindError(error))
      throw error
    })
    return this.finishing
  }

  /**
   * Seals every stripe, waits until each says so, re-reads all tails, and only then publishes "sealed at T". Appends in flight settle
   * first; those at or past T as unknown.
   */
  private async finishSeal(): Promise<TailState> {
    await Promise.all(
      this.stripes.map(async loglet => {
        await loglet.seal()
        this.sealSeen = true
      }),
    )
    let states: readonly TailState[]
    do states = await Promise.all(this.stripes.map(loglet => loglet.checkTail()))
    while (!states.every(state => state.sealed))
    while (this.inFlightTotal > 0) await this.idle()
    // Provisional, as every stripe's own "sealed at": another client may find less, and the chain decides. So nothing is acked by it.
    this.watch.merge(openTail(states.map(state => state.tail)), true)
    this.pending.rejectAll(sealedError('unknown'))
    return this.watch.state
  }

  /** Resolves once nothing is in flight. */
  private idle(signal?: AbortSignal): Promise<void> {
    if (this.inFlightTotal === 0) return Promise.resolve()
    return abortable(new Promise<void>(resolve => this.drained.push(resolve)), signal)
  }

  /** Follows each stripe while somebody waits for the tail: other handles may append, and seal. */
  private watchStripes(): void {
    this.stripes.forEach((loglet, i) => {
      if (this.watching[i] === true) return
      this.watching[i] = true
      void this.watchStripe(loglet, i)
    })
  }

  /** Never rejects. */
  private async watchStripe(loglet: Loglet, i: number): Promise<void> {
    try {
      while (this.watch.watched) {
        const state = await loglet.waitTail(position(this.heard[i] as number), this.closing.signal)
        this.hear(i, committedTail(state))
        if (!state.sealed) continue
        await this.finish()
        break
      }
    } catch (error) {
      if (this.closed === undefined) this.watch.fail(asError(error))
    } finally {
      this.watching[i] = false
    }
  }

  private localSlice({ position: at, start, length }: Slice): Slice {
    const local = position(localOf(at, this.stripes.length))
    return { position: local, start: start + prefixBytes, length }
  }

  private async readStripe(
    stripe: number,
    slices: readonly Slice[],
    signal?: AbortSignal,
  ): Promise<readonly SliceResult[]> {
    const loglet = this.stripes[stripe] as Loglet
    try {
      return await loglet.readSlices(slices, signal)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      const found: SliceResult[] = []
      for (const slice of slices) found.push(await readOne(loglet, slice, signal))
      return found
    }
  }

  private throwIfClosed(): void {
    if (this.closed !== undefined) throw closedError('unknown')
  }
}

/** A filler has no bytes: what looked out of range is a gap. @throws {RangeError} */
async function readOne(loglet: Loglet, slice: Slice, signal?: AbortSignal): Promise<SliceResult> {
  const head = { position: slice.position, start: 0, length: prefixBytes }
  const [prefix] = await loglet.readSlices([head], signal)
  if (prefix instanceof Uint8Array && prefix[0] === 0) return { gap: 'filler' }
  const [result] = await loglet.readSlices([slice], signal)
  return result as SliceResult
}

/** A stripe that does not answer now can be sealed and read later; nothing is claimed of its tail. @throws anything else */
function unknownTail(error: unknown): TailState {
  if (error instanceof LogletUnavailableError) return { tail: position(0), sealed: false }
  throw error
}

/** What a sealed stripe says of its tail may not come into the chain: it counts for nothing that is acked or shown. */
function committedTail({ tail, sealed }: TailState): number {
  return sealed ? 0 : tail
}

function closedError(outcome: 'refused' | 'unknown'): LogletClosedError {
  return new LogletClosedError('this striped loglet is closed', outcome)
}

function sealedError(outcome: 'refused' | 'unknown'): LogletSealedError {
  return new LogletSealedError(
    'this striped loglet was sealed before the append was acked',
    outcome,
  )
}

function stalledError(): LogletStalledError {
  return new LogletStalledError(
    'an earlier position on another stripe cannot be filled: see whether that stripe has space',
    'unknown',
  )
}

/** For appends that are durable, but behind a position that will not be filled. */
function behindError(cause: unknown): LogletError {
  if (cause instanceof LogletClosedError) return closedError('unknown')
  const message = 'a stripe failed before earlier positions were filled'
  // Only a stripe whose storage is broken breaks the whole; a seal that found the disk full, say, can be tried again.
  return cause instanceof LogletFailedError
    ? new LogletFailedError(message, 'unknown', cause)
    : new LogletStalledError(message, 'unknown', cause)
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new LogletFailedError(String(error), 'unknown')
}
