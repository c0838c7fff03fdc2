// How an append on the VirtualLog fails: with an outcome and the segment that was tried (DESIGN 4.2).

import { type AppendOutcome, LogletError, LogletFailedError } from '../contract.ts'

/**
 * `refused` left no trace; an `unknown` append may be readable later, and is known absent only once the `end` of the segment tried was
 * applied without it. `cause instanceof LogletSealedError` means: wait for a segment behind `segmentIndex`, then try again.
 */
export class AppendError extends Error {
  override readonly name = 'AppendError'
  readonly code = 'APPEND_FAILED'
  readonly outcome: AppendOutcome
  readonly segmentIndex: number
  override readonly cause: LogletError

  constructor(segmentIndex: number, cause: unknown) {
    const error =
      cause instanceof LogletError
        ? cause
        : new LogletFailedError(`append failed: ${String(cause)}`, 'unknown', cause)
    super(`append to segment ${segmentIndex} ${error.outcome}: ${error.message}`, { cause: error })
    this.cause = error
    this.outcome = error.outcome
    this.segmentIndex = segmentIndex
  }
}
