// Enforces the topics' retention: one broker looks now and then and proposes; apply looks again, by log time, so all brokers drop the same. What is dead
// then the cleaner gives back to the disk (cleaning/).

import { sleepUnless } from '../loglets/abortable.ts'
import type { Clock } from '../loglets/ports.ts'
import type { Command, Decision } from './state/commands.ts'
import { retainedFrom, type RetentionDefaults } from './state/retention.ts'
import type { StateMachine } from './state/state-machine.ts'

export interface RetentionOptions {
  readonly machine: StateMachine
  readonly clock: Clock
  /** Log time, or the wall clock where that is believed and ahead, ms: log time stands still while nobody writes. */
  readonly now: () => number
  readonly defaults: RetentionDefaults
  readonly intervalMs: number
  /** So much that was written makes a look due before the interval is over. */
  readonly growthBytes: number
  /** Whether this broker is the one that does it: that with the oldest session. */
  readonly isActing: () => boolean
  readonly propose: (command: Command) => Promise<Decision>
  readonly onTrouble: (error: Error) => void
}

/** Partitions in one command. */
const partitionsPerCommandMax = 1000
/** How often is looked whether much was written. */
const growthCheckMs = 500
/** Looked at before others get their turn. */
const partitionsPerTurn = 200

export class Retention {
  private readonly options: RetentionOptions
  private wake = new AbortController()

  constructor(options: RetentionOptions) {
    this.options = options
  }

  /** A look soon, not at the next interval: a topic has new limits. */
  lookSoon(): void {
    this.wake.abort()
  }

  /** Looks until the signal says stop. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { isActing, onTrouble } = this.options
    while (!signal.aborted) {
      this.wake = new AbortController()
      await this.untilDue(signal, this.wake.signal)
      if (signal.aborted || !isActing()) continue
      try {
        while (await this.retainOnce());
      } catch (error) {
        if (!signal.aborted) onTrouble(error as Error)
      }
    }
  }

  /** Resolves once the interval is over, much was written, or somebody said so. */
  private async untilDue(...signals: readonly AbortSignal[]): Promise<void> {
    const { clock, growthBytes, intervalMs, machine } = this.options
    const due = clock.now() + intervalMs
    const { total } = machine.meter
    const isWoken = (): boolean => signals.some(({ aborted }) => aborted)
    while (!isWoken() && clock.now() < due && machine.meter.total - total < growthBytes)
      await sleepUnless(clock, Math.min(intervalMs, growthCheckMs), ...signals)
  }

  /** @returns whether something was dropped: there may be more */
  private async retainOnce(): Promise<boolean> {
    const { machine, clock, defaults, propose, now } = this.options
    const { topics } = machine
    // The command itself brings log time here.
    const time = now()
    const due: (readonly [topicId: number, partition: number])[] = []
    const { dropped } = topics
    let seen = 0
    if (machine.restores.holds.lasts(time)) return false
    for (const topic of topics.byName.values())
      for (const partition of topic.partitions) {
        if (partition.bytes === 0 || due.length >= partitionsPerCommandMax) continue
        if (++seen % partitionsPerTurn === 0) await clock.sleep(0)
        if (retainedFrom(topics, topic, partition, defaults, time) > partition.start)
          due.push([topic.id, partition.partition])
      }
    if (due.length === 0) return false
    await propose({ type: 'retain', partitions: due, ...defaults })
    return topics.dropped > dropped
  }
}
