// One line for each failed authentication, as long as there are few; beyond that how many were left out. Never a token.

import type { BrokerLogger } from '../broker-options.ts'
import type { Mechanism } from './principal.ts'

export interface Failure {
  readonly mechanism: Mechanism
  readonly address: string
  readonly cause: string
}

const windowMs = 10_000
/** Lines in that time. */
const failureLinesMax = 20

export class FailureLog {
  private readonly logger: BrokerLogger
  private readonly now: () => number
  private windowAt = Number.NEGATIVE_INFINITY
  private lines = 0
  private omitted = 0

  constructor(logger: BrokerLogger, now: () => number) {
    this.logger = logger
    this.now = now
  }

  add(failure: Failure): void {
    const now = this.now()
    if (now - this.windowAt >= windowMs) {
      if (this.omitted > 0)
        this.logger.warn({ omitted: this.omitted }, 'more authentications failed')
      this.windowAt = now
      this.lines = 0
      this.omitted = 0
    }
    if (this.lines >= failureLinesMax) {
      this.omitted++
      return
    }
    this.lines++
    this.logger.warn({ ...failure }, 'authentication failed')
  }
}
