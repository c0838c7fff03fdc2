// The cleaning of a broker (DESIGN 5.2 "Cleaning"): looks now and then, and when it is this broker's turn gives the disk what no topic needs, moves what
// lives out of the way, and compacts. One broker of a log does it, the one with the oldest session; if two should at once, apply re-checks
// every move.

import { sleepUnless } from '../../loglets/abortable.ts'
import type { Clock } from '../../loglets/ports.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { Command, Decision } from '../state/commands.ts'
import type { StateMachine } from '../state/state-machine.ts'
import { Compaction } from './compaction.ts'
import type { LivePlaces } from './live-places.ts'
import { Pace } from './pace.ts'
import { Relocation } from './relocation.ts'

export interface CleanerOptions {
  readonly machine: StateMachine
  readonly log: VirtualLog
  readonly clock: Clock
  readonly places: LivePlaces
  /** Log time, or the wall clock where that is believed and ahead, ms: log time stands still while nobody writes. */
  readonly now: () => number
  /** Longest time between two looks at what can be trimmed or moved. */
  readonly intervalMs: number
  readonly compactionIntervalMs: number
  /** Bytes of the log that have to be dead before it is trimmed for them, and that it may have beyond its target. */
  readonly reclaimBytesMin: number
  readonly targetPercent: number
  readonly bytesPerSecond: number
  readonly keyBytesMax: number
  readonly tailBytes: number
  readonly backlogBytes: () => number
  /** Whether this broker is the one that does it: that with the oldest session. */
  readonly isActing: () => boolean
  readonly propose: (command: Command) => Promise<Decision>
  readonly whileDurable: <T>(work: () => Promise<T>) => Promise<T>
  /** Trims the log below what lives. @returns bytes of the checkpoint that it took */
  readonly cut: () => Promise<number>
  readonly onTrouble: (error: Error) => void
}

/** Since the process began. */
export interface CleaningStats {
  relocatedBatches: number
  relocatedBytes: number
  compactionRuns: number
  compactionRemovedRecords: number
}

const lookMsMax = 1000
/** More often in a row nothing passes unsaid. */
const passingMax = 30
/** A trim takes a checkpoint of the whole state: it has to give back so many times its bytes. */
const checkpointsPerCut = 4
/** No trim waits for more than this share of the log. */
const cutShareMax = 1 / 4

export class Cleaner {
  readonly stats: CleaningStats = {
    relocatedBatches: 0,
    relocatedBytes: 0,
    compactionRuns: 0,
    compactionRemovedRecords: 0,
  }
  private readonly options: CleanerOptions
  private readonly relocation: Relocation
  private readonly compaction: Compaction
  private wake = new AbortController()
  private checkpointBytes = 0
  private compactedAt: number
  private isFirst = true
  /** Looks in a row that ended with something that will pass. */
  private passing = 0

  constructor(options: CleanerOptions) {
    const { backlogBytes, bytesPerSecond, clock } = options
    this.options = options
    const pace = new Pace({ clock, bytesPerSecond, backlogBytes })
    const shared = { ...options, pace }
    this.relocation = new Relocation({
      ...shared,
      slackBytes: options.reclaimBytesMin,
      cut: () => this.cut(),
      moved: (batches, bytes) => {
        this.stats.relocatedBatches += batches
        this.stats.relocatedBytes += bytes
      },
    })
    this.compaction = new Compaction({
      ...shared,
      ran: removed => {
        this.stats.compactionRuns++
        this.stats.compactionRemovedRecords += removed
      },
    })
    this.compactedAt = clock.now()
  }

  /** Bytes of the log's entries that are not trimmed. */
  get logBytes(): number {
    return this.relocation.logBytes
  }

  /** A look at everything soon: a topic has another configuration. */
  lookSoon(): void {
    this.compactedAt = Number.NEGATIVE_INFINITY
    this.wake.abort()
  }

  /** Looks until the signal says stop. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, intervalMs, isActing, onTrouble } = this.options
    while (!signal.aborted) {
      this.wake = new AbortController()
      const pauseMs = this.isFirst ? intervalMs : Math.min(intervalMs, lookMsMax)
      await sleepUnless(clock, pauseMs, signal, this.wake.signal)
      if (signal.aborted || !isActing()) continue
      try {
        await this.look(signal)
        this.passing = 0
      } catch (error) {
        const isPassing = error instanceof LogloomError && error.retriable
        if (signal.aborted) continue
        if (isPassing && ++this.passing % passingMax !== 0) continue
        onTrouble(error as Error)
        // What cannot be done now will hardly be possible in a second.
        await clock.sleep(intervalMs, signal).catch(() => {})
      }
    }
  }

  private async look(signal: AbortSignal): Promise<void> {
    const { clock, compactionIntervalMs, isActing } = this.options
    await this.reclaim(signal)
    if (this.relocation.isDue) await this.relocation.run(signal)
    if (clock.now() - this.compactedAt < compactionIntervalMs) return
    this.compactedAt = clock.now()
    for (const [topic, partition] of this.compaction.due()) {
      if (!isActing()) return
      await this.compaction.run(topic, partition, signal)
    }
  }

  /** Trims the beginning of the log that holds nothing alive, if it is worth that; the first time also when a sealed segment goes with it. */
  private async reclaim(signal: AbortSignal): Promise<void> {
    const { log, machine, places, reclaimBytesMin } = this.options
    const lowest = await places.lowest(signal)
    const dead = machine.meter.below(lowest) - machine.meter.below(log.trimPoint)
    const [first] = log.chain.segments
    const isWhole = this.isFirst && first?.end !== undefined && first.end <= lowest
    this.isFirst = false
    const worth = Math.max(
      reclaimBytesMin,
      Math.min(this.checkpointBytes * checkpointsPerCut, this.logBytes * cutShareMax),
    )
    if (isWhole || (dead >= worth && dead > 0)) await this.cut()
  }

  private async cut(): Promise<void> {
    this.checkpointBytes = await this.options.cut()
  }
}
