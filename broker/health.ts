// How a broker says that it is well (docs/operations.md, "Health"): what was found, and the level that follows from it.
//
//   ok            serves, and nothing needs a person
//   degraded      serves, but something needs a person, or will if one more thing goes wrong
//   unavailable   takes no appends, or cannot tell where the log ends

export type HealthStatus = 'ok' | 'degraded' | 'unavailable'

/** One thing worth telling. A `note` is told and changes nothing. */
export interface Finding {
  readonly level: 'note' | 'degraded' | 'unavailable'
  /** What it is, and what to do about it. */
  readonly text: string
  /** Whatever else does not work follows from it, so it is told alone. */
  readonly alone?: true
}

export interface BrokerHealth {
  readonly status: HealthStatus
  readonly tail: number
  readonly applied: number
  readonly loglet: string
  readonly problems: readonly string[]
}

export const noted = (text: string): Finding => ({ level: 'note', text })
export const degraded = (text: string): Finding => ({ level: 'degraded', text })
export const unavailable = (text: string): Finding => ({ level: 'unavailable', text })

const levels = ['unavailable', 'degraded', 'note'] as const

/** The worst level of all, and the texts, worst first; only what is to be told alone, if there is such a thing. */
export function judge(findings: readonly Finding[]): {
  readonly status: HealthStatus
  readonly problems: readonly string[]
} {
  const alone = findings.filter(finding => finding.alone)
  const told = alone.length > 0 ? alone : findings
  const sorted = levels.map(level => told.filter(finding => finding.level === level))
  const worst = levels.find((_, i) => (sorted[i]?.length ?? 0) > 0)
  return {
    status: worst === undefined || worst === 'note' ? 'ok' : worst,
    problems: sorted.flat().map(({ text }) => text),
  }
}
