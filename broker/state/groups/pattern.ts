// Subscriptions by pattern. They are matched while the log is applied, on every broker: so the syntax is RE2's, whose time is linear in the name
// (JavaScript's own expressions can be made to run for hours by a few characters), and a pattern is refused before it is proposed, not after.

import { RE2JS } from 're2js'
import { LogloomError } from '../../../wire/errors.ts'

/** Characters of a pattern. */
export const patternLengthMax = 256
/** Steps that a pattern becomes, repetitions written out: each may cost something for each character of a name. */
const patternStepsMax = 400
const compiledMax = 1000
const compiled = new Map<string, RE2JS>()

/** @throws INVALID_REQUEST */
export function checkPattern(pattern: string): void {
  if (pattern.length === 0 || pattern.length > patternLengthMax)
    throw new LogloomError(
      'INVALID_REQUEST',
      `a pattern has 1 to ${patternLengthMax} characters (patternLengthMax), this one ${pattern.length}`,
      { field: 'pattern', limit: patternLengthMax, actual: pattern.length },
    )
  let steps: number
  try {
    steps = compile(pattern).programSize()
  } catch (cause) {
    throw new LogloomError(
      'INVALID_REQUEST',
      `pattern ${JSON.stringify(pattern)}: ${(cause as Error).message}`,
      { field: 'pattern' },
      { cause, hint: 'use RE2 syntax: no back references and no look-around' },
    )
  }
  if (steps > patternStepsMax)
    throw new LogloomError(
      'INVALID_REQUEST',
      `pattern ${JSON.stringify(pattern)} becomes ${steps} steps, the limit is ${patternStepsMax} (patternStepsMax): use smaller repetitions`,
      { field: 'pattern', limit: patternStepsMax, actual: steps },
    )
}

/** Whether the whole name matches; a pattern that this version cannot read matches nothing. */
export function matchesPattern(pattern: string, topic: string): boolean {
  try {
    return compile(pattern).matches(topic)
  } catch {
    return false
  }
}

function compile(pattern: string): RE2JS {
  const known = compiled.get(pattern)
  if (known !== undefined) return known
  const made = RE2JS.compile(pattern)
  if (compiled.size >= compiledMax) compiled.clear()
  compiled.set(pattern, made)
  return made
}
