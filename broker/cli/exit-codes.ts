// The exit codes of the command line, a contract for scripts (architecture section 7).

import { LogloomError } from '../../wire/errors.ts'

export const exitCodes = {
  ok: 0,
  error: 1,
  usage: 2,
  /** `health`: a broker answers but is not well, or does not answer. */
  unhealthy: 10,
  /** A deadline passed, as timeout(1) reports it. */
  timeout: 124,
  /** `health --wait`: a signal ended it, as a shell reports it. */
  stoppedBy: { SIGINT: 130, SIGTERM: 143 } as Readonly<Partial<Record<NodeJS.Signals, number>>>,
} as const

/** What the user typed cannot be understood: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly hint: string

  constructor(message: string, hint = 'see --help') {
    super(message)
    this.hint = hint
  }
}

/** The exit code that reports this error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return exitCodes.usage
  if (error instanceof LogloomError && error.code === 'TIMEOUT') return exitCodes.timeout
  return exitCodes.error
}
