// Forgets producers that have been idle for long, so that every short-lived client does not leave a row for ever (Kafka's
// producer.id.expiration.ms). Proposes only: apply looks again, by log time, so all brokers forget the same ones.

import type { Clock } from '../loglets/ports.ts'
import type { Command, Decision } from './state/commands.ts'
import type { StateMachine } from './state/state-machine.ts'

export interface ProducerExpiryOptions {
  readonly machine: StateMachine
  readonly clock: Clock
  readonly idleMs: number
  readonly propose: (command: Command) => Promise<Decision>
}

const sweepMs = 10 * 60_000
/** Ids in one command. */
const idsPerCommandMax = 1000

/** Sweeps until the signal says stop. Never rejects: what cannot be proposed now is found again by the next sweep. */
export async function expireIdleProducers(
  options: ProducerExpiryOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await options.clock.sleep(sweepMs, signal)
      await sweepOnce(options)
    } catch {
      // Aborted, or the broker takes nothing now.
    }
  }
}

/** One sweep. @returns how many producers were proposed to be forgotten */
export async function sweepOnce({
  machine,
  idleMs,
  propose,
}: ProducerExpiryOptions): Promise<number> {
  const idle: number[] = []
  for (const producer of machine.producers.all())
    if (machine.producers.isIdle(producer, machine.logTime, idleMs)) idle.push(producer.id)
  for (let at = 0; at < idle.length; at += idsPerCommandMax)
    await propose({ type: 'expireProducers', ids: idle.slice(at, at + idsPerCommandMax), idleMs })
  return idle.length
}
