// Brings the state machine's changes to the store, off the apply path: one atomic commit at a time, on a timer, on demand, or when
// much has piled up. The log covers whatever is not committed yet, so a crash only lengthens the next replay.

import type { Clock } from '../../loglets/ports.ts'
import type { StateMachine } from '../state/state-machine.ts'
import type { StateStore } from '../state/store.ts'

export interface PersisterOptions {
  readonly machine: StateMachine
  readonly store: StateStore
  readonly clock: Clock
  readonly intervalMs: number
  /** A store that fails is fatal: the state in memory can no longer be bounded. */
  readonly onFatal: (error: Error) => void
}

export class Persister {
  private readonly options: PersisterOptions
  private readonly stopping = new AbortController()
  private running: Promise<void> | undefined
  private loop: Promise<void> = Promise.resolve()
  private paused = 0
  private persistedLsn: number

  constructor(options: PersisterOptions) {
    this.options = options
    this.persistedLsn = options.machine.applied
  }

  /** Everything below is in the store. */
  get persisted(): number {
    return this.persistedLsn
  }

  start(): void {
    this.loop = this.tick()
  }

  /** Resolves when everything applied before the call is durable in the store. */
  async flush(): Promise<void> {
    const goal = this.options.machine.applied
    while (this.persistedLsn < goal) await this.commit()
  }

  /** Runs `work` while the store stands still at an applied position; the machine goes on in memory. */
  async whileStill<T>(work: (applied: number) => Promise<T>): Promise<T> {
    await this.flush()
    await this.running
    this.paused++
    try {
      return await work(this.persistedLsn)
    } finally {
      this.paused--
    }
  }

  async close(): Promise<void> {
    this.stopping.abort()
    await this.loop
    await this.flush()
  }

  private async tick(): Promise<void> {
    const { clock, intervalMs, machine, onFatal } = this.options
    while (!this.stopping.signal.aborted) {
      try {
        await clock.sleep(intervalMs, this.stopping.signal)
      } catch {
        return
      }
      if (this.paused > 0 || machine.applied === this.persistedLsn) continue
      try {
        await this.commit()
      } catch (error) {
        onFatal(error as Error)
        return
      }
    }
  }

  private commit(): Promise<void> {
    this.running ??= this.commitOnce().finally(() => {
      this.running = undefined
    })
    return this.running
  }

  private async commitOnce(): Promise<void> {
    const changes = this.options.machine.takeChanges()
    await this.options.store.commit(changes.ops)
    changes.done()
    this.persistedLsn = changes.applied
  }
}
