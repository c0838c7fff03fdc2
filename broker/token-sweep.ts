// Finds API keys that expired a while ago, so that short-lived keys do not fill the state. Proposes only: apply looks again, by log time.

import type { Clock } from '../loglets/ports.ts'
import type { Command, Decision } from './state/commands.ts'
import { isForgotten } from './state/security/security-machine.ts'
import type { StateMachine } from './state/state-machine.ts'

export interface TokenSweepOptions {
  readonly machine: StateMachine
  readonly clock: Clock
  /** As in group-sweep.ts, ms. */
  readonly now: () => number
  readonly isActing: () => boolean
  readonly propose: (command: Command) => Promise<Decision>
}

const sweepMs = 10 * 60_000
/** Keys in one command. */
const tokensPerSweepMax = 1000

/** Sweeps until the signal says stop. Never rejects. */
export async function sweepTokens(options: TokenSweepOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await options.clock.sleep(sweepMs, signal)
      await sweepTokensOnce(options)
    } catch {
      // Stopping, or the broker takes nothing now.
    }
  }
}

/** One sweep. @returns how many keys were proposed to be forgotten */
export async function sweepTokensOnce({
  machine,
  now,
  isActing,
  propose,
}: TokenSweepOptions): Promise<number> {
  if (!isActing()) return 0
  const time = now()
  const ids: string[] = []
  for (const key of machine.security.registry.apiKeys()) {
    if (isForgotten(key, time)) ids.push(key.id)
    if (ids.length >= tokensPerSweepMax) break
  }
  if (ids.length > 0) await propose({ type: 'sweepTokens', ids })
  return ids.length
}
