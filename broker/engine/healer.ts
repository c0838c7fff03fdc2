// What a broker does when the log's last segment does not answer: reconfigure onto loglets that are alive (DESIGN 4.2 "one function for
// every cause"; SOSP 2021 and OSDI 2020: whoever notices, does it).
//
// Guarantees: one try at a time per broker; nodes that notice together are spread by a random delay, and all but the first find the chain
// moved; a broker whose tries do not help waits longer each time, so that two nodes that see the network differently do not take the log
// from each other for ever.

import { LogletLostError, LogletUnavailableError } from '../../loglets/contract.ts'
import type { Clock, Random } from '../../loglets/ports.ts'
import { LogletStalledError } from '../../loglets/striped/striped-loglet.ts'
import { AppendError, type VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'

export interface HealerOptions {
  readonly log: VirtualLog
  readonly clock: Clock
  readonly random: Random
  readonly onTrouble: (error: Error, index: number) => void
}

/** Before the first try, at random: the fastest of several nodes goes on alone. */
const spreadMs = 20
const pauseMsMin = 50
const pauseMsMax = 5000
/** The log went on for this long: the next trouble is a new one, and no quarrel between nodes that see the network differently. */
const calmMs = 2000

/** True when the log may answer again, here or after a reconfiguration, and nothing is broken for good. */
export function isUnavailable(error: unknown): boolean {
  const cause = error instanceof AppendError ? error.cause : error
  return (
    cause instanceof LogletUnavailableError ||
    cause instanceof LogletStalledError ||
    // A chain that is out of date may name a loglet that was dropped.
    cause instanceof LogletLostError
  )
}

export class Healer {
  private readonly options: HealerOptions
  private readonly stopping = new AbortController()
  private healing: Promise<void> | undefined
  private pauseMs = 0
  private triedAt = Number.NEGATIVE_INFINITY
  private trouble: string | undefined

  constructor(options: HealerOptions) {
    this.options = options
  }

  /** Why the log does not go on; undefined when it does. */
  get problem(): string | undefined {
    return this.trouble
  }

  /** From whoever met segment `index` not answering. Resolves when the log goes on elsewhere, or when it is worth trying again. Never rejects. */
  heal(index: number, reason: string): Promise<void> {
    this.healing ??= this.run(index, reason).finally(() => {
      this.healing = undefined
    })
    return this.healing
  }

  stop(): void {
    this.stopping.abort()
  }

  private async run(index: number, reason: string): Promise<void> {
    const { log, clock, random, onTrouble } = this.options
    if (clock.now() - this.triedAt > calmMs) this.pauseMs = 0
    try {
      if (this.hasMoved(index)) return
      await clock.sleep((this.pauseMs + spreadMs) * random.next(), this.stopping.signal)
      await log.refresh()
      if (this.hasMoved(index)) return
      this.triedAt = clock.now()
      this.pauseMs = Math.min(Math.max(pauseMsMin, this.pauseMs * 2), pauseMsMax)
      const spec = log.chain.segments.at(-1)?.spec as string
      await log.reconfigure(index, spec, `failure: ${reason}`)
      this.trouble = undefined
    } catch (error) {
      if (this.stopping.signal.aborted) return
      this.trouble = `segment ${index} does not answer (${reason}), and no other could be opened: ${(error as Error).message}`
      onTrouble(error as Error, index)
      await clock.sleep(pauseMsMin, this.stopping.signal).catch(() => {})
    }
  }

  private hasMoved(index: number): boolean {
    const moved = (this.options.log.chain.segments.at(-1)?.index ?? 0) > index
    if (moved) this.trouble = undefined
    return moved
  }
}
