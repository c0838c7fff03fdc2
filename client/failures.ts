// What an error means for the one who has to decide about a retry (protocol.md 1 and 5).
//
// The only place in client/ that looks at error codes to choose between "try again", "nobody knows" and "refused". It does not
// know lanes, readers or connections.

import { LogloomError } from '../wire/index.ts'

/**
 * `decided`: the broker took a final decision that consumed the sequence. `refused`: refused before a decision, left no trace.
 * `retry`: left no trace and may succeed later. `outdated`: left no trace, and may succeed only if it is made anew. `doubt`: may or may not take
 * effect. `unknownProducer`: the id expired.
 */
export type Verdict = 'decided' | 'refused' | 'retry' | 'outdated' | 'doubt' | 'unknownProducer'

const doubtful: ReadonlySet<string> = new Set(['CONNECTION_CLOSED', 'TIMEOUT', 'OUTCOME_UNKNOWN'])

/** Sorts an error of a request that may have changed something. */
export function verdictOf(error: LogloomError): Verdict {
  if (error.details['decided'] === true) return 'decided'
  if (doubtful.has(error.code)) return 'doubt'
  if (error.code === 'UNKNOWN_PRODUCER') return 'unknownProducer'
  if (error.code === 'STALE_PARTITIONS') return 'outdated'
  // A lost race is for the caller to look at, although repeating it would be harmless.
  if (error.code === 'RECONFIGURE_CONFLICT') return 'refused'
  return error.retriable ? 'retry' : 'refused'
}

/** True when repeating a request that changes nothing can help. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof LogloomError)) return false
  const verdict = verdictOf(error)
  return verdict === 'doubt' || verdict === 'retry'
}

/** Anything thrown, as a {@link LogloomError}; foreign errors become INTERNAL with their cause. */
export function asLogloomError(error: unknown): LogloomError {
  if (error instanceof LogloomError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new LogloomError('INTERNAL', message, {}, { cause: error })
}

/** The error of every call on a closed client, producer or reader. */
export function closedError(what: string, cause?: unknown): LogloomError {
  return new LogloomError(
    'CONNECTION_CLOSED',
    `the ${what} is closed`,
    {},
    { hint: `open a new ${what}`, ...(cause === undefined ? {} : { cause }) },
  )
}

/** A deadline that passed before anything was sent: nothing happened, and the error says so. */
export function notSentError(message: string, cause?: unknown, connected = false): LogloomError {
  return new LogloomError(
    'TIMEOUT',
    message,
    { outcome: 'not-written' },
    {
      hint: connected
        ? 'nothing of it was written; the broker is connected, but takes nothing or too little: see `logloom health`'
        : 'nothing of it was written; is a broker running at this address?',
      ...(cause === undefined ? {} : { cause }),
    },
  )
}
