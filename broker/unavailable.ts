// What the layers below say when too few nodes answer, in the words of the protocol.

import { MetaStoreUnavailableError } from '../loglets/metastore/paxos/paxos-metastore.ts'
import { LogloomError } from '../wire/errors.ts'
import { isUnavailable } from './engine/healer.ts'

/** That part of the log or the register cannot be reached now, and nothing is broken for good. */
export function mayAnswerLater(error: unknown): boolean {
  return isUnavailable(error) || error instanceof MetaStoreUnavailableError
}

/** LOG_UNAVAILABLE for an error that says that part of the log or the register cannot be reached now; undefined for any other. */
export function asUnavailable(error: unknown): LogloomError | undefined {
  if (!mayAnswerLater(error)) return undefined
  return new LogloomError('LOG_UNAVAILABLE', (error as Error).message, {}, { cause: error })
}
