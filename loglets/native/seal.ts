// seal: every log server is told, a majority has to have made it durable. Any client may do it, at any time, again.

import { stateOf, type ReplicaState, verbs } from './messages.ts'
import { type Answer, ask, type LogletContext } from './quorum.ts'

const sealTimeoutMs = 2000

/** Resolves once no append that starts later can gather a majority. @throws {LogletUnavailableError} */
export function seal(
  context: LogletContext,
  signal?: AbortSignal,
): Promise<readonly Answer<ReplicaState>[]> {
  return ask(context, verbs.seal, {}, stateOf, { timeoutMs: sealTimeoutMs, signal })
}
