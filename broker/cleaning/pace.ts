// How fast cleaning may go: so many bytes per second, and slower while requests of clients wait.

import type { Clock } from '../../loglets/ports.ts'

export interface PaceOptions {
  readonly clock: Clock
  readonly bytesPerSecond: number
  /** Bytes of clients' requests that wait. */
  readonly backlogBytes: () => number
}

/** So many bytes of requests that wait are usual under load. */
const backlogBytesBusy = 2 << 20
const yieldMs = 5
/** Cleaning never stands still: the disk would fill. */
const yieldsMax = 20

export class Pace {
  private readonly options: PaceOptions
  /** When the next bytes may go, by the monotonic clock. */
  private next = 0

  constructor(options: PaceOptions) {
    this.options = options
  }

  /** Resolves when `bytes` may be moved. */
  async spend(bytes: number, signal: AbortSignal): Promise<void> {
    const { clock, bytesPerSecond, backlogBytes } = this.options
    const start = Math.max(this.next, clock.now())
    this.next = start + (bytes / bytesPerSecond) * 1000
    const waitMs = start - clock.now()
    await clock.sleep(Math.max(0, waitMs), signal)
    for (let n = 0; n < yieldsMax && backlogBytes() > backlogBytesBusy; n++)
      await clock.sleep(yieldMs, signal)
  }
}
