// What an operator does to the log: describe, switch, seal, trim, verify; and the housekeeping that follows a switch (copying volatile
// segments to a durable loglet in the background, DESIGN 4.4 "memory").

import type { Lsn } from '../loglets/contract.ts'
import { ChainConflictError } from '../loglets/chain.ts'
import { LogletSpecError } from '../loglets/contract.ts'
import type { Clock, Disk } from '../loglets/ports.ts'
import type { VirtualLog } from '../loglets/virtual-log/virtual-log.ts'
import { LogloomError } from '../wire/errors.ts'
import type { BrokerLogger } from './broker-options.ts'
import { degraded, type Finding, noted } from './health.ts'
import type { Persister } from './engine/persister.ts'
import { isUnavailable } from './engine/healer.ts'
import { readMoved } from './engine/moved-log.ts'
import type { LivePlaces } from './cleaning/live-places.ts'
import { writeCheckpoint } from './state/checkpoint.ts'
import type { Command, Decision } from './state/commands.ts'
import type { StateMachine } from './state/state-machine.ts'
import type { StateStore } from './state/store.ts'

export interface SegmentDescription {
  readonly index: number
  readonly id: string
  readonly start: number
  readonly end: number | null
  readonly spec: string
  readonly state: 'open' | 'sealed' | 'lost'
  readonly volatile: boolean
  /** Where its leaves live, for kinds that have a choice. */
  readonly placement?: readonly string[]
}

export interface LogDescription {
  readonly version: number
  readonly tail: number
  readonly applied: number
  readonly trim: number
  readonly segments: readonly SegmentDescription[]
}

export interface SwitchResult {
  readonly sealed: { readonly index: number; readonly start: number; readonly end: number }
  /** The broker's longest time with requests waiting and none answered, ms; the seal's own time when none waited. */
  readonly pauseMs: number
  readonly opened: { readonly index: number; readonly start: number; readonly spec: string }
}

export interface VerifyResult {
  readonly ok: boolean
  readonly entries: number
  readonly bytes: number
  readonly damaged: readonly {
    readonly from: number
    readonly to: number
    readonly kind: string
    readonly detail: string
  }[]
}

export interface LogOperationsOptions {
  readonly log: VirtualLog
  readonly machine: StateMachine
  readonly clock: Clock
  readonly disk: Disk
  readonly store: StateStore
  readonly places: LivePlaces
  readonly checkpointsDir: string
  readonly persister: Persister
  readonly durableSpec: string | undefined
  /** Resolves once enough other nodes have a checkpoint at or past the position. */
  readonly spreadCheckpoint: (past: number) => Promise<void>
  readonly backlogBytes: () => number
  readonly propose: (command: Command) => Promise<Decision>
  readonly sync: () => Promise<void>
  /** As `sync`. @throws LOG_UNAVAILABLE instead of waiting for long */
  readonly fresh: () => Promise<void>
  readonly appliedUpTo: (lsn: number) => Promise<void>
  readonly logger: BrokerLogger | undefined
}

const switchTriesMax = 5
const firstReplyWaitMs = 5000
const verifyReadBytes = 4 << 20
/** Moves that are under way end long before; if the disk is so full that they do not, the switch must not wait for ever. */
const movesWaitMs = 5000

export class LogOperations {
  private readonly options: LogOperationsOptions
  private readonly stopping = new AbortController()
  private background: Promise<void> = Promise.resolve()
  private copying = false
  /** Moves of batches that are under way. */
  private readonly moving = new Set<Promise<unknown>>()
  private switching = 0
  /** Watches for the longest wait without an answer while a switch is under way. */
  private pause: { longestMs: number; waitingSince: number | undefined } | undefined

  constructor(options: LogOperationsOptions) {
    this.options = options
  }

  describe(tail: number): LogDescription {
    const { log, machine } = this.options
    const volatile = new Set(log.volatileSegments().map(s => s.index))
    const lost = new Set(log.lostSegments().map(s => s.index))
    const { version, segments } = log.chain
    return {
      version,
      tail,
      applied: machine.applied,
      trim: log.trimPoint,
      segments: segments.map(s => ({
        index: s.index,
        id: s.id,
        start: s.start,
        end: s.end ?? null,
        spec: s.spec,
        state: lost.has(s.index) ? 'lost' : s.end === undefined ? 'open' : 'sealed',
        volatile: volatile.has(s.index),
        ...(s.placement === undefined ? {} : { placement: s.placement }),
      })),
    }
  }

  /** Switches to `spec`, or seals and reopens with the same one. Without `expectedIndex` a lost race is tried again. */
  async switchTo(spec: string | undefined, expectedIndex?: number): Promise<SwitchResult> {
    this.switching++
    try {
      // What is durable must not be moved into a loglet that forgets.
      const { clock } = this.options
      const over = new AbortController()
      const late = clock.sleep(movesWaitMs, over.signal).catch(() => {})
      if (this.moving.size > 0) await Promise.race([Promise.allSettled(this.moving), late])
      over.abort()
      return await this.switchNow(spec, expectedIndex)
    } finally {
      this.switching--
    }
  }

  /** Runs work that moves batches: not while any part of the log, its end above all, is in a loglet that forgets. @throws THROTTLED */
  async whileDurable<T>(work: () => Promise<T>): Promise<T> {
    const { durableSpec, log } = this.options
    const lost = new Set(log.lostSegments().map(s => s.index))
    const volatile = log.volatileSegments().some(s => !lost.has(s.index))
    if (this.switching > 0 || (durableSpec !== undefined && volatile))
      throw new LogloomError('THROTTLED', 'nothing is moved while the log changes or is volatile')
    const done = work()
    this.moving.add(done)
    try {
      return await done
    } finally {
      this.moving.delete(done)
    }
  }

  private async switchNow(spec: string | undefined, expectedIndex?: number): Promise<SwitchResult> {
    const { log, clock } = this.options
    for (let tries = 1; ; tries++) {
      const last = log.chain.segments.at(-1)
      if (last === undefined) throw new LogloomError('INTERNAL', 'the chain is empty')
      const index = expectedIndex ?? last.index
      const watch = {
        longestMs: 0,
        waitingSince: this.options.backlogBytes() > 0 ? clock.now() : undefined,
      }
      this.pause = watch
      try {
        const result = await log.reconfigure(
          index,
          spec ?? last.spec,
          spec === undefined ? 'seal' : 'operator',
        )
        if (!result.installed) {
          if (expectedIndex === undefined && tries < switchTriesMax) continue
          throw new LogloomError(
            'RECONFIGURE_CONFLICT',
            `segment ${index} was sealed by another reconfiguration`,
            {
              expected: index,
              actual: result.chain.segments.at(-1)?.index,
            },
          )
        }
        await this.firstReply(result.opened.start)
        const pauseMs = watch.longestMs > 0 ? watch.longestMs : result.sealMs
        return {
          sealed: {
            index: result.sealed.index,
            start: result.sealed.start,
            end: result.sealed.end ?? result.opened.start,
          },
          pauseMs: Math.round(pauseMs * 100) / 100,
          opened: {
            index: result.opened.index,
            start: result.opened.start,
            spec: result.opened.spec,
          },
        }
      } catch (error) {
        if (error instanceof ChainConflictError)
          throw new LogloomError(
            'RECONFIGURE_CONFLICT',
            error.message,
            { expected: index },
            { cause: error },
          )
        if (error instanceof LogletSpecError)
          throw new LogloomError('INVALID_SPEC', error.message, {}, { cause: error })
        throw error
      } finally {
        if (this.pause === watch) this.pause = undefined
      }
    }
  }

  /** Drops the log below `before`. @returns the trim point that holds now */
  async trim(before: number, force: boolean): Promise<number> {
    const { log, machine, propose, sync } = this.options
    await sync()
    if (before > machine.applied)
      throw new LogloomError(
        'OFFSET_OUT_OF_RANGE',
        `position ${before} lies beyond the applied tail ${machine.applied}`,
        {
          start: log.trimPoint,
          end: machine.applied,
        },
      )
    if (!force) {
      const topics = await this.topicsBelow(before)
      if (topics.length > 0)
        throw new LogloomError(
          'TRIM_BLOCKED',
          `positions below ${before} hold live records of ${topics.length} topics: ${topics.slice(0, 10).join(', ')}`,
          {
            topics: topics.slice(0, 100),
          },
        )
    }
    const decision = await propose({ type: 'trim', before })
    if (!decision.ok) throw new LogloomError(decision.code, decision.message, decision.details)
    await this.cut(before)
    return log.trimPoint
  }

  /** Forgets the log below `before`, as far as nothing lives there. @returns bytes of the checkpoint that it took, 0 when there was nothing to do */
  async cut(before = Number.MAX_SAFE_INTEGER): Promise<number> {
    const { log, persister, places, propose, spreadCheckpoint } = this.options
    await persister.flush()
    const safe = Math.min(before, await places.lowest(this.stopping.signal))
    if (
      safe <= log.trimPoint &&
      !log.chain.segments.some(s => s.end !== undefined && s.end <= safe)
    )
      return 0
    const { bytes } = await this.checkpoint()
    await spreadCheckpoint(safe)
    await log.prefixTrim(safe as Lsn)
    await log.truncate()
    await propose({ type: 'trim', before: log.trimPoint, clean: true })
    return bytes
  }

  /** Writes a verified checkpoint of everything applied so far. */
  checkpoint(): Promise<{ readonly applied: number; readonly bytes: number }> {
    const { persister, disk, checkpointsDir, store } = this.options
    return persister.whileStill(async applied => ({
      applied,
      bytes: await writeCheckpoint(disk, checkpointsDir, store, applied),
    }))
  }

  /** Reads everything that is in the log and reports what cannot be read. */
  async verify(): Promise<VerifyResult> {
    const { log, machine, fresh } = this.options
    const damaged: { from: number; to: number; kind: string; detail: string }[] = []
    const end = await fresh().then(
      () => machine.applied,
      (error: Error) => {
        const { applied } = machine
        damaged.push({ from: applied, to: applied, kind: 'unreachable', detail: error.message })
        return applied
      },
    )
    let entries = 0
    let bytes = 0
    for (let at: number = log.trimPoint; at < end; ) {
      const from = at as Lsn
      const items = await readMoved(log, () =>
        log.readNext(from, end as Lsn, verifyReadBytes),
      ).catch((error: Error) => {
        if (isUnavailable(error)) return error
        throw error
      })
      if (items instanceof Error) {
        const to = Math.min(end, log.chain.segments.find(s => s.start > from)?.start ?? end)
        damaged.push({ from, to, kind: 'unreachable', detail: items.message })
        at = to
        continue
      }
      for (const item of items) {
        if (item.kind === 'entry') {
          entries++
          bytes += item.bytes.length
          at = item.lsn + 1
          continue
        }
        if (item.gap === 'lost')
          damaged.push({
            from: item.from,
            to: item.to,
            kind: 'lost',
            detail: 'the loglet cannot read these positions',
          })
        at = item.to
      }
    }
    return { ok: damaged.length === 0, entries, bytes, damaged }
  }

  findings(): Finding[] {
    const { durableSpec, log } = this.options
    // Where there is no other place, memory is what was asked for.
    const isVolatile = durableSpec === undefined ? noted : degraded
    return [
      ...log
        .volatileSegments()
        .map(s =>
          isVolatile(
            `log positions ${s.start} to ${s.end ?? 'the tail'} are volatile: ${s.spec} does not survive a restart${
              durableSpec === undefined
                ? ''
                : s.end === undefined
                  ? `: \`logloom log switch ${durableSpec}\` when that matters`
                  : `; it is being copied to ${durableSpec}`
            }`,
          ),
        ),
      ...log
        .lostSegments()
        .filter(s => !log.volatileSegments().some(v => v.index === s.index))
        .map(s =>
          degraded(
            `segment ${s.index} (${s.spec}, ${s.start} to ${s.end ?? 'the tail'}) is lost: restore the data directory from a backup, or accept the gap`,
          ),
        ),
    ]
  }

  /** A request began to wait. */
  onProposal(): void {
    if (this.pause !== undefined) this.pause.waitingSince ??= this.options.clock.now()
  }

  /** Requests were answered. */
  onReply(): void {
    const { pause } = this
    if (pause?.waitingSince === undefined) return
    const now = this.options.clock.now()
    pause.longestMs = Math.max(pause.longestMs, now - pause.waitingSince)
    pause.waitingSince = this.options.backlogBytes() > 0 ? now : undefined
  }

  /** The chain changed: sealed segments that a restart would lose are copied. */
  onChain(): void {
    if (this.copying || this.options.durableSpec === undefined) return
    this.copying = true
    this.background = this.copyVolatile().finally(() => {
      this.copying = false
    })
  }

  async close(): Promise<void> {
    this.stopping.abort()
    await this.background
  }

  private async copyVolatile(): Promise<void> {
    const { log, durableSpec, logger } = this.options
    for (;;) {
      const lost = new Set(log.lostSegments().map(s => s.index))
      const segment = log.volatileSegments().find(s => s.end !== undefined && !lost.has(s.index))
      if (segment === undefined || durableSpec === undefined || this.stopping.signal.aborted) return
      try {
        await log.modify(segment.index, durableSpec)
        logger?.info(
          { index: segment.index, spec: durableSpec },
          'volatile segment copied to a durable loglet',
        )
      } catch (error) {
        logger?.warn(
          { index: segment.index, error: (error as Error).message },
          'volatile segment not copied yet',
        )
        try {
          await this.options.clock.sleep(1000, this.stopping.signal)
        } catch {
          return
        }
      }
    }
  }

  /** Waits until a request that waits was answered from the new segment, so that the pause is known. */
  private async firstReply(start: number): Promise<void> {
    const { appliedUpTo, backlogBytes, clock } = this.options
    if (backlogBytes() === 0) return
    const deadline = new AbortController()
    const timeout = clock.sleep(firstReplyWaitMs, deadline.signal).catch(() => {})
    await Promise.race([appliedUpTo(start + 1), timeout])
    deadline.abort()
  }

  /** Names of the topics whose batches lie below `before`. */
  private async topicsBelow(before: number): Promise<readonly string[]> {
    const { machine, persister, places } = this.options
    await persister.flush()
    const names = new Set<string>()
    for await (const { topicId } of places.below(before, this.stopping.signal))
      names.add(machine.topics.byId.get(topicId)?.name ?? '')
    return [...names].sort()
  }
}
