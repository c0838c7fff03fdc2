// Settings that are numbers, checked in one place.

import { LogloomError } from '../wire/index.ts'

/** A setting that is a number not below `least`. @throws INVALID_REQUEST */
export function amount(
  name: string,
  value: number | undefined,
  fallback: number,
  least: number,
): number {
  if (value === undefined) return fallback
  if (typeof value === 'number' && value >= least) return value
  throw new LogloomError('INVALID_REQUEST', `${name} is a number ≥ ${least}, not ${String(value)}`)
}
