// Where to start: `from` and `at` of requests (protocol.md 6.1), and as of when: `asOf` (6.5).

import { LogloomError } from '../../wire/errors.ts'
import { map, optUint, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import type { OffsetSpec } from '../reader.ts'
import type { GatewayContext } from './context.ts'

/** @throws INVALID_REQUEST, NUMBER_OUT_OF_RANGE */
export function offsetSpec(frame: Frame, key: string): OffsetSpec {
  const value = frame[key]
  if (value === 'beginning' || value === 'end') return value
  if (typeof value === 'number') {
    if (value < 0)
      throw new LogloomError(
        'INVALID_REQUEST',
        `field ${key}: offset ${value} is negative; use { last: N } to count from the end`,
        {
          field: key,
          actual: value,
        },
      )
    return uint(frame, key)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const spec = map(frame, key)
    if ('timestamp' in spec) return { timestamp: uint(spec, 'timestamp') }
    if ('last' in spec) return { last: uint(spec, 'last') }
  }
  throw new LogloomError(
    'INVALID_REQUEST',
    `field ${key} must be an offset, "beginning", "end", { timestamp } or { last }`,
    { field: key },
  )
}

/** The position that a read is about, if it is about one. @throws OFFSET_OUT_OF_RANGE when the log does not reach it */
export async function asOfPosition(
  { broker }: GatewayContext,
  frame: Frame,
): Promise<number | undefined> {
  const position = optUint(frame, 'asOf')
  if (position === undefined || position <= broker.applied) return position
  await broker.fresh()
  const { applied: end } = broker
  if (position <= end) return position
  throw new LogloomError(
    'OFFSET_OUT_OF_RANGE',
    `position ${position} lies beyond the end of the log, ${end}`,
    { start: 0, end, actual: position },
    { hint: 'ask for a position up to `end`; `snapshot` gives the present one' },
  )
}

/** Whether the answer depends on the end of the log. */
export function dependsOnEnd(spec: OffsetSpec): boolean {
  return spec !== 'beginning'
}
