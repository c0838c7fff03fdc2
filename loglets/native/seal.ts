// seal: every log server is told, a majority has to have made it durable. Any client may do it, at any time, again.
//
// A server that was away when the loglet was made has nothing of it and never stored anything for it, so its vote is as good as that of an
// empty copy: it makes one, for which it is told the placement. A server that has lost its copy, or dropped it, has no vote.

import { stateOf, type ReplicaState, verbs } from './messages.ts'
import { encodePlacement } from './placement.ts'
import { type Answer, ask, type LogletContext } from './quorum.ts'

const sealTimeoutMs = 2000

/** Resolves once no append that starts later can gather a majority. @throws {LogletUnavailableError} */
export function seal(
  context: LogletContext,
  signal?: AbortSignal,
): Promise<readonly Answer<ReplicaState>[]> {
  const fields = { placement: encodePlacement(context.placement) }
  return ask(context, verbs.seal, fields, stateOf, { timeoutMs: sealTimeoutMs, signal })
}
