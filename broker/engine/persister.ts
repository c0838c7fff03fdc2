// Brings the state machine's changes to the store, off the apply path: one atomic commit at a time, on a timer, on demand, or when
// much has piled up. The log covers whatever is not committed yet, so a crash only lengthens the next replay.
//
// A commit encodes all its changes in one turn of the event loop, and whoever waits for a reply waits for that turn. So commits are small
// and come often under load, as long as the store keeps up.

import { sleepUnless } from '../../loglets/abortable.ts'
import type { Clock } from '../../loglets/ports.ts'
import type { MachineChanges, StateMachine } from '../state/state-machine.ts'
import type { StateStore } from '../state/store.ts'

/** A commit of so many takes one or two milliseconds of the event loop. Smaller ones cost more: each syncs, and the log waits for the same disk. */
const batchesPerCommit = 256
/** What a commit costs besides its changes is paid at most so often. */
const pauseMs = 10

export interface PersisterOptions {
  readonly machine: StateMachine
  readonly store: StateStore
  readonly clock: Clock
  /** Between commits while little changes. */
  readonly intervalMs: number
  /** A commit failed; it is tried again at the next interval. */
  readonly onTrouble: (error: Error) => void
}

export class Persister {
  private readonly options: PersisterOptions
  private readonly stopping = new AbortController()
  private wake = new AbortController()
  private running: Promise<void> | undefined
  private loop: Promise<void> = Promise.resolve()
  private paused = false
  /** The last that made the store stand still. */
  private still: Promise<void> = Promise.resolve()
  private owed: MachineChanges | undefined
  private failed = false
  private persistedLsn: number

  constructor(options: PersisterOptions) {
    this.options = options
    this.persistedLsn = options.machine.applied
  }

  /** True while the store takes nothing, as on a full disk: what is not stored yet must not grow without bound. */
  get stalled(): boolean {
    return this.failed
  }

  /** Everything below is in the store. */
  get persisted(): number {
    return this.persistedLsn
  }

  start(): void {
    this.loop = this.tick()
  }

  /** Something was applied: commits soon when that makes it many. */
  nudge(): void {
    if (this.isMuch() && !this.wake.signal.aborted) this.wake.abort()
  }

  /** Resolves when everything applied before the call is durable in the store. */
  async flush(): Promise<void> {
    const goal = this.options.machine.applied
    while (this.persistedLsn < goal) {
      // The one who made the store stand still is done by then.
      if (this.paused) await this.still
      else await this.commit()
    }
  }

  /** As {@link flush}, over failures of the store: what waits for it goes on once the disk takes data again. */
  async flushPatiently(): Promise<void> {
    const { clock, intervalMs, onTrouble } = this.options
    for (;;) {
      try {
        await this.flush()
        return
      } catch (error) {
        onTrouble(error as Error)
        await clock.sleep(intervalMs, this.stopping.signal)
      }
    }
  }

  /** Runs `work` while the store stands still at an applied position; the machine goes on in memory. One after the other. */
  whileStill<T>(work: (applied: number) => Promise<T>): Promise<T> {
    const done = this.still.then(async () => {
      await this.flush()
      while (this.running !== undefined) await this.running
      this.paused = true
      try {
        return await work(this.persistedLsn)
      } finally {
        this.paused = false
      }
    })
    this.still = done.then(
      () => {},
      () => {},
    )
    return done
  }

  /** Stores what it can: the log covers the rest. */
  async close(): Promise<void> {
    this.stopping.abort()
    await this.loop
    try {
      await this.flush()
    } catch (error) {
      this.options.onTrouble(error as Error)
    }
  }

  private async tick(): Promise<void> {
    const { machine, onTrouble } = this.options
    const { signal } = this.stopping
    for (;;) {
      await this.untilDue()
      if (signal.aborted) return
      if (this.paused || machine.applied === this.persistedLsn) continue
      try {
        await this.commit()
      } catch (error) {
        onTrouble(error as Error)
      }
    }
  }

  private async untilDue(): Promise<void> {
    const { clock, intervalMs } = this.options
    const { signal } = this.stopping
    // A store that failed is given time.
    const leastMs = this.failed || this.paused ? intervalMs : Math.min(pauseMs, intervalMs)
    await sleepUnless(clock, leastMs, signal)
    if (leastMs === intervalMs) return
    this.wake = new AbortController()
    if (!this.isMuch()) await sleepUnless(clock, intervalMs - leastMs, signal, this.wake.signal)
  }

  private isMuch(): boolean {
    return this.options.machine.topics.places.pendingCount >= batchesPerCommit
  }

  private commit(): Promise<void> {
    this.running ??= this.commitOnce().finally(() => {
      this.running = undefined
    })
    return this.running
  }

  private async commitOnce(): Promise<void> {
    // Changes that a full disk refused are still owed, and come before any later ones.
    this.owed ??= this.options.machine.takeChanges()
    const changes = this.owed
    try {
      await this.options.store.commit(changes.ops)
    } catch (error) {
      this.failed = true
      throw error
    }
    this.owed = undefined
    this.failed = false
    changes.done()
    this.persistedLsn = changes.applied
  }
}
