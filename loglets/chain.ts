// The chain of segments: the one value that the MetaStore holds (DESIGN 3, 4.2, invariant 5). Pure and immutable.
//
//   lsn   0           s1           s2
//         |--segment--|--segment---|--last segment, open ...
//
// Segments are contiguous, indexes grow by one, ids are unique, at most one segment is open and it is the last. The three transitions are
// the paper's: extend, truncate, modify (OSDI 2020, section 3.1). Each makes the version grow by one; the version is the register's.

import { type Lsn, lsn } from './contract.ts'
import { upperBound } from './upper-bound.ts'

export interface Segment {
  /** Grows by one per reconfiguration; never reused. */
  readonly index: number
  /** Of the loglet; unique per attempt; never reused. */
  readonly id: string
  readonly start: Lsn
  /** Absent while the segment is open. */
  readonly end?: Lsn
  readonly spec: string
  /** Where the loglet's leaves live, leaf by leaf; opaque here. Absent for kinds without a choice. */
  readonly placement?: readonly string[]
  /** Wall clock, ms since 1970; for people only. */
  readonly createdAt?: number
  /** Why this segment was opened; for people only. */
  readonly reason?: string
  /** Positions of a copied segment that hold nothing, though its loglet has an entry there (see virtual-log/modify.ts). */
  readonly holes?: readonly Hole[]
}

/** `[from, to)`: read as a gap. */
export interface Hole {
  readonly gap: 'filler' | 'lost'
  readonly from: Lsn
  readonly to: Lsn
}

export interface Chain {
  /** Version of the register that held this value. */
  readonly version: number
  /** Never empty. */
  readonly segments: readonly Segment[]
}

/** What a new segment is made of. */
export interface SegmentPlan {
  readonly id: string
  readonly spec: string
  readonly placement?: readonly string[]
  readonly createdAt?: number
  readonly reason?: string
}

/** The stored chain cannot be used: damaged, of a newer format, or in conflict with the invariants. */
export class ChainInvalidError extends Error {
  override readonly name = 'ChainInvalidError'
  readonly code = 'CHAIN_INVALID'
}

/** The chain is no longer what the transition expected: look again and decide again. */
export class ChainConflictError extends Error {
  override readonly name = 'ChainConflictError'
  readonly code = 'CHAIN_CONFLICT'
}

const format = 1

/** Segments in one chain; bounds the register and the handles. */
export const segmentsMax = 10_000
export const holesMax = 1000

export function firstChain(plan: SegmentPlan): Chain {
  return validate({ version: 1, segments: [{ index: 0, start: lsn(0), ...plan }] })
}

export function lastSegment(chain: Chain): Segment {
  return chain.segments.at(-1) as Segment
}

/** The first position that the chain still has. */
export function startOf(chain: Chain): Lsn {
  return (chain.segments[0] as Segment).start
}

/** The segment that owns `at`; undefined below the chain's start. The last segment owns everything from its start. */
export function segmentAt(chain: Chain, at: Lsn): Segment | undefined {
  const { segments } = chain
  return segments[upperBound(segments, at, segment => segment.start) - 1]
}

export function segmentByIndex(chain: Chain, index: number): Segment | undefined {
  return chain.segments[index - (chain.segments[0] as Segment).index]
}

/** Ends the open segment `expectedIndex` at `end` and opens its successor there. @throws {ChainConflictError} */
export function extend(chain: Chain, expectedIndex: number, end: Lsn, plan: SegmentPlan): Chain {
  const last = lastSegment(chain)
  if (last.index !== expectedIndex || last.end !== undefined)
    throw new ChainConflictError(
      `segment ${expectedIndex} is not the open one: that is ${last.index}`,
    )
  const closed: Segment = { ...last, end }
  const opened: Segment = { index: last.index + 1, start: end, ...plan }
  return validate({
    version: chain.version + 1,
    segments: [...chain.segments.slice(0, -1), closed, opened],
  })
}

/** Drops the sealed segments that lie wholly below `before`. The same chain when there are none. */
export function truncate(chain: Chain, before: Lsn): Chain {
  const kept = chain.segments.filter(s => s.end === undefined || s.end > before)
  if (kept.length === chain.segments.length) return chain
  return validate({ version: chain.version + 1, segments: kept })
}

/** Replaces the loglet of the sealed segment `index`, whose loglet must still be `expectedId`. @throws {ChainConflictError} */
export function modify(
  chain: Chain,
  index: number,
  expectedId: string,
  plan: SegmentPlan & { readonly holes: readonly Hole[] },
): Chain {
  const old = segmentByIndex(chain, index)
  if (old === undefined || old.id !== expectedId)
    throw new ChainConflictError(
      `segment ${index} is ${old === undefined ? 'gone' : `served by ${old.id}`}, not by ${expectedId}`,
    )
  if (old.end === undefined)
    throw new ChainConflictError(`segment ${index} is open: only a sealed one can be replaced`)
  const { holes: _, placement: __, ...rest } = old
  const { holes, ...place } = plan
  const replaced: Segment = { ...rest, ...place, ...(holes.length > 0 ? { holes } : {}) }
  return validate({
    version: chain.version + 1,
    segments: chain.segments.map(s => (s.index === index ? replaced : s)),
  })
}

/** Checks every invariant. @throws {ChainInvalidError} naming the segment at fault */
export function validate(chain: Chain): Chain {
  const { version, segments } = chain
  if (!Number.isSafeInteger(version) || version < 1)
    throw new ChainInvalidError(`the chain's version is ${version}, not a number from 1`)
  if (segments.length === 0) throw new ChainInvalidError('the chain has no segment')
  if (segments.length > segmentsMax)
    throw new ChainInvalidError(
      `the chain has ${segments.length} segments, the limit is ${segmentsMax}: trim the log`,
    )
  const ids = new Set<string>()
  segments.forEach((segment, i) => {
    const fault = faultOf(segment, segments[i - 1], i === segments.length - 1)
    if (fault !== undefined) throw new ChainInvalidError(`segment ${segment.index}: ${fault}`)
    if (ids.has(segment.id))
      throw new ChainInvalidError(
        `segment ${segment.index}: loglet ${segment.id} serves two segments`,
      )
    ids.add(segment.id)
  })
  return chain
}

function faultOf(segment: Segment, before: Segment | undefined, last: boolean): string | undefined {
  const { index, id, start, end, spec } = segment
  if (!isCount(index)) return 'its index is not a whole number from 0'
  if (typeof id !== 'string' || id.length === 0) return 'it has no id'
  if (typeof spec !== 'string' || spec.length === 0) return 'it has no spec'
  if (!isPlacement(segment.placement)) return 'its placement is not a list of texts'
  if (!isCount(start)) return `its start ${start} is not a position`
  if (last && end !== undefined) return 'it is the last and has an end'
  if (!last && end === undefined) return 'it has no end and is not the last'
  if (end !== undefined && (!isCount(end) || end < start))
    return `it ends at ${end}, before its start ${start}`
  if (before !== undefined && index !== before.index + 1)
    return `it follows segment ${before.index}`
  if (before !== undefined && start !== before.end)
    return `it starts at ${start}, but the segment before it ends at ${before.end}`
  return holesFault(segment)
}

function isPlacement(placement: unknown): boolean {
  if (placement === undefined) return true
  return Array.isArray(placement) && placement.every(text => typeof text === 'string')
}

function holesFault({ holes, start, end }: Segment): string | undefined {
  if (holes === undefined) return undefined
  if (!Array.isArray(holes) || holes.length > holesMax) return `it has more than ${holesMax} holes`
  let at: number = start
  for (const hole of holes as readonly Hole[]) {
    if (hole.gap !== 'filler' && hole.gap !== 'lost') return 'a hole has no kind'
    if (!isCount(hole.from) || hole.from < at || !(hole.to > hole.from) || hole.to > (end ?? 0))
      return `its hole from ${hole.from} to ${hole.to} is out of order`
    at = hole.to
  }
  return undefined
}

/** The register's value: JSON with a format number, for ever. */
export function encodeChain(chain: Chain): Uint8Array {
  const { version, segments } = chain
  return new TextEncoder().encode(JSON.stringify({ format, version, segments }))
}

/** @throws {ChainInvalidError} */
export function decodeChain(value: Uint8Array): Chain {
  let parsed: unknown
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(value))
  } catch (cause) {
    throw new ChainInvalidError(
      'the chain in the metastore is not JSON: restore it from a backup of the metastore directory',
      { cause },
    )
  }
  const found = parsed as { format?: unknown; version?: unknown; segments?: unknown } | null
  if (typeof found !== 'object' || found === null || typeof found.format !== 'number')
    throw new ChainInvalidError('the chain in the metastore has no format number')
  if (found.format > format)
    throw new ChainInvalidError(
      `the chain has format ${found.format}, this version reads up to ${format}: upgrade logloom`,
    )
  if (found.format !== format)
    throw new ChainInvalidError(`the chain has the unknown format ${found.format}`)
  if (
    !Array.isArray(found.segments) ||
    found.segments.some(s => typeof s !== 'object' || s === null)
  )
    throw new ChainInvalidError('the chain in the metastore has no list of segments')
  return validate({ version: found.version as number, segments: found.segments as Segment[] })
}

function isCount(n: unknown): boolean {
  return Number.isSafeInteger(n) && (n as number) >= 0
}
