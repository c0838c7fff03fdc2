// Signs of life between brokers that share a log (DESIGN 5.1): an idle broker appends a stamp now and then, and a session from which nothing
// came for long is expired through the log. Proposes only: apply looks again, so an expiry that comes too late has no effect.

import type { Clock } from '../../loglets/ports.ts'
import type { Command, Decision } from '../state/commands.ts'
import { featureLevel } from '../state/feature-level.ts'
import type { StateMachine } from '../state/state-machine.ts'
import type { HashNote } from './hash-checks.ts'

export interface PeersWatchOptions {
  readonly machine: StateMachine
  readonly clock: Clock
  /** Of this broker, once it is open. */
  readonly ownSession: () => number | undefined
  readonly propose: (command: Command) => Promise<Decision>
  /** The newest hash to tell the others. */
  readonly lastNote: () => HashNote | undefined
  readonly stampEveryMs: number
  /** A session that shows no sign of life for this long is expired. */
  readonly sessionTimeoutMs: number
}

interface Sign {
  readonly next: number
  readonly stamp: number
  readonly seenAt: number
}

/** Watches until the signal says stop. Never rejects: what cannot be proposed now is tried again. */
export async function watchPeers(options: PeersWatchOptions, signal: AbortSignal): Promise<void> {
  const { clock, stampEveryMs } = options
  const signs = new Map<number, Sign>()
  let stampedAt = -1
  while (!signal.aborted) {
    try {
      await clock.sleep(stampEveryMs, signal)
      const own = options.ownSession()
      const next = own === undefined ? -1 : (options.machine.sessions.live.get(own)?.next ?? -1)
      // Whoever appends anyway has shown that it lives; a new hash is worth telling all the same.
      const note = options.lastNote()
      if (next === stampedAt || note !== undefined)
        await options.propose({
          type: 'stamp',
          level: featureLevel,
          ...(note === undefined ? {} : { note }),
        })
      stampedAt = next
      await expireSilent(options, signs)
    } catch {
      // Stopping, or the broker takes nothing now.
    }
  }
}

/** One look at all sessions but the own one; expires those that have been silent for too long. */
async function expireSilent(
  { machine, clock, ownSession, propose, sessionTimeoutMs }: PeersWatchOptions,
  signs: Map<number, Sign>,
): Promise<void> {
  const now = clock.now()
  for (const id of signs.keys()) if (!machine.sessions.live.has(id)) signs.delete(id)
  for (const { id, next, stamp } of machine.sessions.live.values()) {
    if (id === ownSession()) continue
    const seen = signs.get(id)
    if (seen === undefined || seen.next !== next || seen.stamp !== stamp)
      signs.set(id, { next, stamp, seenAt: now })
    else if (now - seen.seenAt >= sessionTimeoutMs)
      await propose({ type: 'expire', session: id, next })
  }
}
