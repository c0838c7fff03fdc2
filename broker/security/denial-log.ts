// Requests that were denied: counted, and told once. The same one of the same principal is one line a minute, with how often it came again; of somebody
// who tries everything only the first few are told apart. So nobody can fill the log with what it may not do.

import type { BrokerLogger } from '../broker-options.ts'
import type { Identity } from './principal.ts'

export interface Denial extends Identity {
  readonly address: string
  readonly client: string
  /** The operation of the request. */
  readonly op: string
  /** What it lacked; absent where it was something else than a right on a resource. */
  readonly operation?: string
  readonly resource?: string
  readonly name?: string
  /** It was an attempt to administer. */
  readonly audit: boolean
}

const windowMs = 60_000
/** Lines in that time; what comes beyond is counted only. */
const denialLinesMax = 500
/** Of one principal; as many again of its attempts to administer, which nothing else may crowd out. */
const denialLinesPerPrincipalMax = 20

export class DenialLog {
  private readonly logger: BrokerLogger
  private readonly after: (ms: number, fn: () => void) => void
  private window: Map<string, { readonly denial: Denial; again: number }> | undefined
  private readonly lines = new Map<string, number>()
  private omitted = 0

  /** `after` runs something once, later. */
  constructor(logger: BrokerLogger, after: (ms: number, fn: () => void) => void) {
    this.logger = logger
    this.after = after
  }

  add(denial: Denial): void {
    if (this.window === undefined) {
      this.window = new Map()
      this.after(windowMs, () => this.flush())
    }
    const { principal, mechanism, tokenId, op, operation, resource, name } = denial
    const key = JSON.stringify([principal, mechanism, tokenId, op, operation, resource, name])
    const known = this.window.get(key)
    if (known !== undefined) {
      known.again++
      return
    }
    const whose = `${denial.audit ? 'audit' : 'other'} ${principal}`
    const lines = this.lines.get(whose) ?? 0
    if (lines >= denialLinesPerPrincipalMax || this.window.size >= denialLinesMax) {
      this.omitted++
      return
    }
    this.lines.set(whose, lines + 1)
    this.window.set(key, { denial, again: 0 })
    this.write(denial, 'denied')
  }

  /** Says what came again, and begins anew. */
  flush(): void {
    const { window = new Map<string, never>(), omitted } = this
    this.window = undefined
    this.lines.clear()
    this.omitted = 0
    for (const { denial, again } of window.values())
      if (again > 0) this.write({ ...denial, again }, 'denied again')
    if (omitted > 0) this.logger.warn({ omitted }, 'more requests were denied')
  }

  private write({ audit, ...fields }: Denial & { readonly again?: number }, text: string): void {
    const outcome = 'AUTHORIZATION_FAILED'
    this.logger.warn({ ...(audit ? { audit, outcome } : {}), ...fields }, text)
  }
}
