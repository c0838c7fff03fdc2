// Batching and the writing half of SessionOrder (DESIGN 5.1): proposals become entries, entries are appended with a sequence, and every
// sequence is brought to an end.
//
//   queue ──(window open)──► entry (session, sequence) ──append──► committed | unknown: again | refused: reclaimed or void
//
// Up to `appendsInFlightMax` appends are under way; what is proposed meanwhile joins the next entry. The answer to a proposal comes from
// apply, through `onApplied`. An unknown append is proposed again with identical bytes; a sequence is never skipped: a refused one is
// given to a later entry if nothing later exists, else a `void` entry takes its place before the refusal is answered.

import { LogletFailedError, LogletRefusedError, LogletSealedError } from '../../loglets/contract.ts'
import type { Clock } from '../../loglets/ports.ts'
import { AppendError, type VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { Command, Decision } from '../state/commands.ts'
import { featureLevel } from '../state/feature-level.ts'
import type { AppliedEntry } from '../state/state-machine.ts'
import { isUnavailable } from './healer.ts'
import { commandBytes, type EncodedEntry, encodeEntry, entryHeaderBytes } from './entry.ts'

export interface ProposerOptions {
  readonly log: VirtualLog
  readonly clock: Clock
  /** Runs a function after the events of this turn of the event loop. */
  readonly defer: (fn: () => void) => void
  readonly node: string
  readonly incarnation: string
  readonly appendsInFlightMax: number
  readonly entryBytesMax: number
  readonly backlogBytesMax: number
  /** Proposer's wall clock, already protected against jumps; ms. */
  readonly stamp: () => number
  /** An own append was acked. */
  readonly onCommitted: (
    lsn: number,
    entry: EncodedEntry,
    appendMs: number,
    segmentIndex: number,
  ) => void
  /** How long a produce or publish was in a stage, ms; called on the hot path. */
  readonly onStage?: ((stage: 'queue' | 'append' | 'apply', ms: number) => void) | undefined
  readonly onFatal: (error: Error) => void
  /** A segment did not answer an append; resolves when it is worth trying again. */
  readonly onUnavailable: (segmentIndex: number, cause: Error) => Promise<void>
}

/** A reconfiguration that held a proposal up. */
export interface SealMet {
  /** Of the segment that was sealed. */
  readonly index: number
  /** From the seal, or from the proposal if that came later, until its successor took appends. */
  readonly pauseMs: number
}

export type Answer = Decision & { readonly sealedAndRetried?: SealMet }

interface Proposal {
  readonly command: Command
  readonly bytes: number
  /** When it came, by the monotonic clock, ms. */
  readonly at: number
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: Error) => void
}

interface Flight {
  readonly sequence: number
  readonly proposals: readonly Proposal[]
  encoded: EncodedEntry
  /** Set when the loglet refused it: the answer once its sequence is settled. */
  refusal?: Error
  applied: boolean
  /** Of its proposals those that are measured. */
  readonly produces: number
  readonly sentAt: number
  /** When its append was acked; undefined before. */
  committedAt: number | undefined
  /** A try ended without an answer: it may still come in. */
  uncertain: boolean
  /** The last seal that it met, or that its proposals waited for. */
  seal: Seal | undefined
}

/** A sealed segment that appends met. */
interface Seal {
  readonly index: number
  readonly metAt: number
  /** When its successor took appends; Infinity before. */
  endedAt: number
}

const retryMs = 100

export class Proposer {
  private readonly options: ProposerOptions
  private queue: Proposal[] = []
  private queueBytes = 0
  private flightBytes = 0
  /** Entries of the current session whose effect is still awaited, by sequence. */
  private flights = new Map<number, Flight>()
  private appending = 0
  private session: number | undefined
  private nextSequence = 0
  private flushDue = false
  /** While a refused sequence is being settled nothing new is sent. */
  private settling = false
  private ended: Error | undefined
  /** The log takes nothing, and an earlier try of something in flight has no answer: what comes now is refused at once, what is in flight waits. */
  private refusing: LogloomError | undefined
  private lastFull: { readonly bytes: number; readonly at: number } | undefined
  private opening: Promise<void> | undefined
  private opened: { readonly resolve: () => void; readonly reject: (e: Error) => void } | undefined
  private idleWaiters: (() => void)[] = []
  private lastSeal: Seal | undefined

  constructor(options: ProposerOptions) {
    this.options = options
  }

  /** Bytes proposed and not yet answered. */
  get backlogBytes(): number {
    return this.queueBytes + this.flightBytes
  }

  /** The storage refused the last append for lack of space: its bytes, and when. */
  get full(): { readonly bytes: number; readonly at: number } | undefined {
    return this.lastFull
  }

  get inFlight(): number {
    return this.appending
  }

  get sessionId(): number | undefined {
    return this.session
  }

  propose(command: Command): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) {
        reject(this.ended)
        return
      }
      if (this.refusing !== undefined) {
        reject(this.refusing)
        return
      }
      const bytes = commandBytes(command)
      const limit = this.options.backlogBytesMax
      if (this.backlogBytes + bytes > limit) {
        reject(
          new LogloomError(
            'THROTTLED',
            `the broker has ${this.backlogBytes} bytes to append, its limit is ${limit} (backlogBytesMax)`,
            {
              limit,
              actual: this.backlogBytes + bytes,
            },
          ),
        )
        return
      }
      this.queue.push({ command, bytes, at: this.options.clock.now(), resolve, reject })
      this.queueBytes += bytes
      this.scheduleFlush()
    })
  }

  /** Opens a session of this incarnation; resolves when its entry was applied. */
  open(): Promise<void> {
    this.opening ??= this.openSession().finally(() => {
      this.opening = undefined
    })
    return this.opening
  }

  /** From apply: the session is ours from now on. */
  onOpened(session: { id: number; node: string; incarnation: string }): void {
    if (session.node !== this.options.node || session.incarnation !== this.options.incarnation)
      return
    this.session = session.id
    this.nextSequence = 0
    this.proposeAgain()
    this.opened?.resolve()
  }

  /** From apply: an entry took effect; answers its proposals. */
  onApplied(applied: AppliedEntry): void {
    if (applied.session !== this.session) return
    const flight = this.flights.get(applied.sequence)
    if (flight === undefined) return
    flight.applied = true
    if (flight.committedAt !== undefined)
      this.measure(flight, 'apply', this.options.clock.now() - flight.committedAt)
    this.refusing = undefined
    this.flights.delete(applied.sequence)
    this.release(flight)
    if (flight.refusal !== undefined) for (const p of flight.proposals) p.reject(flight.refusal)
    else if (flight.seal !== undefined) this.answerDelayed(flight, flight.seal, applied)
    else flight.proposals.forEach((p, i) => p.resolve(applied.decisions[i] as Decision))
    if (this.flights.size === 0) this.wakeIdle()
  }

  /** From apply: our session was closed by somebody else's command. What had no effect is proposed again in a new one. */
  onSessionLost(): void {
    if (this.ended !== undefined || this.session === undefined) return
    this.session = undefined
    void this.open().catch(error => this.options.onFatal(error as Error))
  }

  /** Resolves when everything proposed so far was answered. */
  async drain(): Promise<void> {
    while (this.queue.length > 0 || this.flights.size > 0)
      await new Promise<void>(resolve => this.idleWaiters.push(resolve))
  }

  /** Refuses what is still queued, leaves what is in flight as unknown, takes nothing more. */
  end(error: LogloomError): void {
    if (this.ended !== undefined) return
    this.ended = error
    const unknown = new LogloomError(
      'OUTCOME_UNKNOWN',
      `the broker stopped before the append was known: ${error.message}`,
    )
    for (const p of this.queue) p.reject(error)
    for (const flight of this.flights.values()) for (const p of flight.proposals) p.reject(unknown)
    this.queue = []
    this.queueBytes = 0
    this.flights.clear()
    this.flightBytes = 0
    this.opened?.reject(error)
    this.wakeIdle()
  }

  private scheduleFlush(): void {
    if (this.flushDue) return
    this.flushDue = true
    this.options.defer(() => {
      this.flushDue = false
      this.flush()
    })
  }

  private flush(): void {
    while (
      this.queue.length > 0 &&
      this.appending < this.options.appendsInFlightMax &&
      this.session !== undefined &&
      !this.settling &&
      this.ended === undefined
    )
      this.sendEntry(this.takeProposals())
  }

  /** As many queued proposals as fit one entry; at least one. */
  private takeProposals(): Proposal[] {
    let bytes = entryHeaderBytes
    let count = 0
    for (const proposal of this.queue) {
      if (count > 0 && bytes + proposal.bytes > this.options.entryBytesMax) break
      bytes += proposal.bytes
      count++
    }
    const taken = count === this.queue.length ? this.queue : this.queue.slice(0, count)
    this.queue = count === this.queue.length ? [] : this.queue.slice(count)
    for (const p of taken) this.queueBytes -= p.bytes
    return taken
  }

  private sendEntry(proposals: readonly Proposal[]): void {
    const sequence = this.nextSequence++
    const encoded = this.encode(
      sequence,
      proposals.map(p => p.command),
    )
    const sentAt = this.options.clock.now()
    const flight: Flight = {
      sequence,
      proposals,
      encoded,
      produces: this.measureQueue(proposals, sentAt),
      sentAt,
      committedAt: undefined,
      applied: false,
      uncertain: false,
      seal: this.sealSince((proposals[0] as Proposal).at),
    }
    this.flights.set(sequence, flight)
    for (const p of proposals) this.flightBytes += p.bytes
    void this.append(flight)
  }

  /** @returns how many of them are produces */
  private measureQueue(proposals: readonly Proposal[], now: number): number {
    const { onStage } = this.options
    if (onStage === undefined) return 0
    let produces = 0
    for (const { command, at } of proposals) {
      if (command.type !== 'produce' && command.type !== 'publish') continue
      produces++
      onStage('queue', now - at)
    }
    return produces
  }

  private measure(flight: Flight, stage: 'append' | 'apply', ms: number): void {
    for (let i = 0; i < flight.produces; i++) this.options.onStage?.(stage, ms)
  }

  private encode(sequence: number, commands: readonly Command[]): EncodedEntry {
    return encodeEntry(
      { session: this.session as number, sequence, stamp: this.options.stamp() },
      commands,
    )
  }

  /** Brings one entry into the log, over as many segments as it takes. Never rejects. */
  private async append(flight: Flight): Promise<void> {
    const { log, clock } = this.options
    const { session } = this
    this.appending++
    try {
      while (!flight.applied && this.session === session && this.ended === undefined) {
        const start = clock.now()
        try {
          const { lsn, segmentIndex } = await log.append(flight.encoded.buffers)
          flight.committedAt = clock.now()
          this.measure(flight, 'append', flight.committedAt - flight.sentAt)
          this.lastFull = undefined
          this.options.onCommitted(lsn, flight.encoded, clock.now() - start, segmentIndex)
          return
        } catch (error) {
          if (await this.handleFailure(flight, error)) return
        }
      }
    } catch (error) {
      this.options.onFatal(error as Error)
    } finally {
      this.appending--
      // Set again by whoever else is still refused.
      this.refusing = undefined
      if (this.settling) this.settleRefused()
      this.flush()
    }
  }

  /** True when this append is over. */
  private async handleFailure(flight: Flight, error: unknown): Promise<boolean> {
    const cause = error instanceof AppendError ? error.cause : error
    if (!(error instanceof AppendError) || cause instanceof LogletFailedError) {
      this.options.onFatal(error as Error)
      return true
    }
    if (error.outcome !== 'refused') flight.uncertain = true
    if (cause instanceof LogletSealedError) {
      const seal = this.sealOf(error.segmentIndex)
      flight.seal = seal
      // Its outcome may be unknown; the same bytes again are harmless, since SessionOrder gives them effect once.
      await this.options.log.waitWritable(error.segmentIndex)
      seal.endedAt = Math.min(seal.endedAt, this.options.clock.now())
      return false
    }
    if (isUnavailable(cause)) {
      await this.options.onUnavailable(error.segmentIndex, cause as Error)
      return false
    }
    if (cause instanceof LogletRefusedError && cause.reason === 'no-space')
      this.lastFull = { bytes: flight.encoded.bytes, at: this.options.clock.now() }
    // A refusal speaks for this try only: an earlier one may still come in, so its sequence must not be given to anything else.
    if (error.outcome === 'refused' && !flight.uncertain) {
      flight.refusal = refusalOf(cause)
      this.settling = true
      if (this.refusing !== undefined) answerRefused(flight)
      return true
    }
    if (error.outcome === 'refused') this.refuse(refusalOf(cause))
    await this.options.clock.sleep(retryMs)
    return false
  }

  /** Several appends meet the same seal. */
  private sealOf(index: number): Seal {
    if (this.lastSeal?.index !== index)
      this.lastSeal = { index, metAt: this.options.clock.now(), endedAt: Number.POSITIVE_INFINITY }
    return this.lastSeal
  }

  /** The last seal, if what was proposed then had to wait for it. */
  private sealSince(at: number): Seal | undefined {
    return this.lastSeal !== undefined && at < this.lastSeal.endedAt ? this.lastSeal : undefined
  }

  private answerDelayed({ proposals }: Flight, seal: Seal, { decisions }: AppliedEntry): void {
    const { index, metAt } = seal
    const endedAt = Math.min(seal.endedAt, this.options.clock.now())
    proposals.forEach((p, i) => {
      const decision = decisions[i] as Decision
      const pauseMs = endedAt - Math.max(metAt, p.at)
      p.resolve(pauseMs < 0 ? decision : { ...decision, sealedAndRetried: { index, pauseMs } })
    })
  }

  /** Answers what certainly has no trace, although the sequences cannot be settled yet. */
  private refuse(error: LogloomError): void {
    this.refusing = error
    for (const p of this.queue) p.reject(error)
    this.queue = []
    this.queueBytes = 0
    for (const flight of this.flights.values()) answerRefused(flight)
  }

  /** Once nothing is in flight: gives refused sequences back, or fills the holes that they would leave. */
  private settleRefused(): void {
    if (this.appending > 0 || this.ended !== undefined) return
    const refused = [...this.flights.values()].filter(
      f => f.refusal !== undefined && f.committedAt === undefined,
    )
    refused.sort((a, b) => b.sequence - a.sequence)
    const holes: Flight[] = []
    for (const flight of refused) {
      if (flight.sequence !== this.nextSequence - 1) {
        holes.push(flight)
        continue
      }
      this.nextSequence--
      this.flights.delete(flight.sequence)
      this.release(flight)
      for (const p of flight.proposals) p.reject(flight.refusal as Error)
    }
    if (this.flights.size === 0) this.wakeIdle()
    if (holes.length === 0) {
      this.settling = false
      return
    }
    void this.fillHoles(holes)
  }

  private async fillHoles(holes: readonly Flight[]): Promise<void> {
    const { session } = this
    await this.options.clock.sleep(retryMs)
    // In another session these sequences are somebody else's.
    if (session === undefined || this.session !== session || this.ended !== undefined) return
    for (const flight of holes) {
      flight.encoded = this.encode(flight.sequence, [{ type: 'void' }])
      void this.append(flight)
    }
  }

  private async openSession(): Promise<void> {
    const { log, node, incarnation, stamp, clock, onCommitted } = this.options
    const encoded = encodeEntry({ session: -1, sequence: 0, stamp: stamp() }, [
      { type: 'open', node, incarnation, level: featureLevel },
    ])
    const applied = new Promise<void>((resolve, reject) => {
      this.opened = { resolve, reject }
    })
    // It may be rejected while the append is still under way.
    applied.catch(() => {})
    while (this.ended === undefined) {
      try {
        const { lsn, segmentIndex } = await log.append(encoded.buffers)
        onCommitted(lsn, encoded, 0, segmentIndex)
        break
      } catch (error) {
        if (!(error instanceof AppendError) || error.cause instanceof LogletFailedError) throw error
        if (error.cause instanceof LogletSealedError) await log.waitWritable(error.segmentIndex)
        else if (isUnavailable(error))
          await this.options.onUnavailable(error.segmentIndex, error.cause)
        else if (
          error.outcome === 'refused' &&
          this.session === undefined &&
          this.nextSequence === 0
        )
          throw refusalOf(error.cause)
        else await clock.sleep(retryMs)
      }
    }
    await applied
  }

  /** Puts everything that had no effect in the old session back, in order. */
  private proposeAgain(): void {
    const again = [...this.flights.values()]
      .sort((a, b) => a.sequence - b.sequence)
      .flatMap(flight => flight.proposals)
    this.flights = new Map()
    this.flightBytes = 0
    this.settling = false
    this.queue = [...again, ...this.queue]
    this.queueBytes = this.queue.reduce((sum, p) => sum + p.bytes, 0)
    this.scheduleFlush()
  }

  private release(flight: Flight): void {
    for (const p of flight.proposals) this.flightBytes -= p.bytes
  }

  private wakeIdle(): void {
    const waiters = this.idleWaiters
    this.idleWaiters = []
    for (const wake of waiters) wake()
  }
}

/** Its sequence is settled later. */
function answerRefused({ proposals, refusal }: Flight): void {
  if (refusal !== undefined) for (const p of proposals) p.reject(refusal)
}

function refusalOf(cause: unknown): LogloomError {
  if (cause instanceof LogletRefusedError) {
    if (cause.reason === 'too-large')
      return new LogloomError('MESSAGE_TOO_LARGE', cause.message, {}, { cause })
    if (cause.reason === 'backlog')
      return new LogloomError('THROTTLED', cause.message, {}, { cause })
    return new LogloomError('STORAGE_FULL', cause.message, {}, { cause })
  }
  return new LogloomError('INTERNAL', `append failed: ${(cause as Error).message}`, {}, { cause })
}
