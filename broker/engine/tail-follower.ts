// Follows the tail of a log that other brokers append to as well, so that what they wrote is applied here without being asked for.

import type { Lsn } from '../../loglets/contract.ts'
import type { Clock } from '../../loglets/ports.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import type { Applier } from './applier.ts'

const retryMs = 50

/** Runs until the signal says stop. Never rejects. */
export async function followTail(
  log: VirtualLog,
  applier: Applier,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      // `tail` counts positions, so the first unknown one is `tail` itself.
      applier.advance(await log.waitTail(applier.tail as Lsn, signal))
    } catch {
      // The last segment does not answer now; whoever appends finds out and reconfigures.
      await clock.sleep(retryMs, signal).catch(() => {})
    }
  }
}
