// Keeps the log on as many living log servers as it should have (DESIGN 4.2 "one function for every cause"): after a node came up, came back
// with a new disk, was removed, or went away for good, the log goes on in a loglet that is placed anew; and sealed segments that lost a copy
// for good, or were made while a node was away, are copied to a new place.
//
// One node acts, the first of those that are up by name, and only when what it sees has lasted: two nodes that each "improve" the placement
// would take the log from each other. It never acts on a loss that the loglet bears while no better place is up.

import { decodePlacement } from '../../loglets/native/placement.ts'
import type { Segment } from '../../loglets/chain.ts'
import type { Clock } from '../../loglets/ports.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import type { BrokerLogger } from '../broker-options.ts'
import { copiesMade, type CopyView, leafCopies } from './segment-copies.ts'

export interface PlacementWatchOptions extends CopyView {
  readonly log: VirtualLog
  readonly clock: Clock
  readonly self: string
  /** Where a new loglet with this spec would be placed now. @throws when there is no place */
  readonly place: (spec: string) => readonly string[] | undefined
  readonly logger: BrokerLogger
}

/** Something that another place would better. */
interface Flaw {
  readonly segment: Segment
  readonly reason: string
}

const lookMs = 500
/** What is seen so many times in a row is acted on. */
const looksNeeded = 4
/** After a sealed segment could not be copied; twice as long each time. */
const backOffMsMin = 10_000
const backOffMsMax = 30 * 60_000

/** Runs until the signal says stop. Never rejects. */
export async function watchPlacement(
  options: PlacementWatchOptions,
  signal: AbortSignal,
): Promise<void> {
  const { log, clock, logger } = options
  let seen = ''
  let looks = 0
  const failed = new Map<string, { readonly until: number; readonly backOffMs: number }>()
  const waits = ({ id }: Segment): boolean => (failed.get(id)?.until ?? 0) > clock.now()
  while (!signal.aborted) {
    await clock.sleep(lookMs, signal).catch(() => {})
    const flaw = flawOf(options, waits)
    looks = flaw === undefined || flaw.reason !== seen ? 1 : looks + 1
    seen = flaw?.reason ?? ''
    if (flaw === undefined || looks < looksNeeded || signal.aborted) continue
    looks = 0
    const { segment, reason } = flaw
    try {
      if (segment.index === log.chain.segments.at(-1)?.index)
        await log.reconfigure(segment.index, segment.spec, `placement: ${reason}`)
      else if ((await log.modify(segment.index, segment.spec)).installed)
        logger.info(
          { segment: segment.index, reason },
          'a sealed segment was copied to a new place',
        )
    } catch (error) {
      logger.warn(
        { segment: segment.index, reason, error: (error as Error).message },
        'a segment could not be placed anew',
      )
      const before = failed.get(segment.id)?.backOffMs ?? backOffMsMin / 2
      const backOffMs = Math.min(before * 2, backOffMsMax)
      failed.set(segment.id, { until: clock.now() + backOffMs, backOffMs })
    }
  }
}

/** The first flaw, the open segment's before the sealed ones'; undefined when there is none or when it is another node's to act. */
function flawOf(
  options: PlacementWatchOptions,
  waits: (segment: Segment) => boolean,
): Flaw | undefined {
  const { log, self, members } = options
  const brokers = members().filter(({ url }) => url !== undefined)
  if (brokers.map(({ node }) => node).sort()[0] !== self) return undefined
  const { segments } = log.chain
  const last = segments.at(-1)
  if (last === undefined) return undefined
  const reason = missingServers(options, last) ?? goneServers(options, last)
  if (reason !== undefined) return { segment: last, reason }
  for (const segment of segments.slice(0, -1)) {
    if (waits(segment)) continue
    const reason = goneServers(options, segment) ?? fewServers(options, segment)
    if (reason !== undefined) return { segment, reason }
  }
  return undefined
}

/** The segment has fewer log servers that are up than it could have. */
function missingServers(options: PlacementWatchOptions, segment: Segment): string | undefined {
  const possible = possibleServers(options.place, segment)
  for (const [leaf, { servers, up }] of leafCopies(options, segment).entries()) {
    const possibleHere = possible[leaf] ?? 0
    if (possibleHere > up.length)
      return `${up.length} of ${servers.length} log servers of segment ${segment.index} are up, ${possibleHere} can be`
  }
  return undefined
}

/** A copy of the segment will never come back: its node was removed, or is up with another disk. */
function goneServers(options: PlacementWatchOptions, segment: Segment): string | undefined {
  const belongs = options.nodes()
  const possible = possibleServers(options.place, segment)
  for (const [leaf, { servers, gone }] of leafCopies(options, segment).entries()) {
    // As many copies as before, or as the cluster has room for now.
    if (gone.length > 0 && (possible[leaf] ?? 0) > servers.length - gone.length)
      return `${gone.map(({ node, store }) => `${node}@${store}`).join(', ')} of segment ${segment.index} will not come back`
    const isShrunk = gone.some(({ node }) => !belongs.has(node)) && (possible[leaf] ?? 0) > 0
    if (isShrunk)
      return `${gone.map(({ node }) => node).join(', ')} of segment ${segment.index} was removed`
  }
  return undefined
}

/** The segment was made while log servers were away: it has fewer copies than it could have. */
function fewServers(options: PlacementWatchOptions, segment: Segment): string | undefined {
  const possible = possibleServers(options.place, segment).reduce((sum, n) => sum + n, 0)
  const copies = copiesMade(segment)
  return copies > 0 && possible > copies
    ? `segment ${segment.index} has ${copies} copies, ${possible} can be`
    : undefined
}

/** Log servers of each leaf of a new loglet with the segment's spec; none when it has no place now. */
export function possibleServers(
  place: PlacementWatchOptions['place'],
  { spec }: Segment,
): readonly number[] {
  try {
    return (place(spec) ?? []).map(text => decodePlacement(text).servers.length)
  } catch {
    return []
  }
}
