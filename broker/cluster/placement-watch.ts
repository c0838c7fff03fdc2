// Keeps the last segment on as many living log servers as it should have (DESIGN 4.2 "one function for every cause"): after a node came up,
// came back with a new disk, or went away for good, the log goes on in a loglet that is placed anew.
//
// One node acts, the first of those that are up by name, and only when what it sees has lasted: two nodes that each "improve" the placement
// would take the log from each other. It never acts on a loss that the loglet bears while no better place is up.

import { decodePlacement, type LogServerId } from '../../loglets/native/placement.ts'
import type { Clock } from '../../loglets/ports.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import type { BrokerLogger } from '../broker-options.ts'
import type { NodeDescription } from './membership.ts'

export interface PlacementWatchOptions {
  readonly log: VirtualLog
  readonly clock: Clock
  readonly self: string
  readonly members: () => readonly NodeDescription[]
  /** Where a new loglet with this spec would be placed now. @throws when there is no place */
  readonly place: (spec: string) => readonly string[] | undefined
  readonly logger: BrokerLogger
}

const lookMs = 500
/** What is seen so many times in a row is acted on. */
const looksNeeded = 4

/** Runs until the signal says stop. Never rejects. */
export async function watchPlacement(
  options: PlacementWatchOptions,
  signal: AbortSignal,
): Promise<void> {
  const { log, clock, logger } = options
  let seen = ''
  let looks = 0
  while (!signal.aborted) {
    await clock.sleep(lookMs, signal).catch(() => {})
    const found = betterPlace(options)
    looks = found === undefined || found !== seen ? 1 : looks + 1
    seen = found ?? ''
    if (found === undefined || looks < looksNeeded || signal.aborted) continue
    looks = 0
    const last = log.chain.segments.at(-1)
    if (last === undefined) continue
    try {
      await log.reconfigure(last.index, last.spec, `placement: ${found}`)
    } catch (error) {
      logger.warn({ error: (error as Error).message }, 'the log could not be placed anew')
    }
  }
}

/** Why another place would be better; undefined when it would not, or when it is another node's to act. */
function betterPlace({ log, self, members, place }: PlacementWatchOptions): string | undefined {
  const up = members()
  const brokers = up.filter(({ url }) => url !== undefined).map(({ node }) => node)
  if (brokers.sort()[0] !== self) return undefined
  const last = log.chain.segments.at(-1)
  if (last?.placement === undefined) return undefined
  let wanted: readonly string[] | undefined
  try {
    wanted = place(last.spec)
  } catch {
    return undefined
  }
  const lives = ({ node, store }: LogServerId): boolean =>
    up.some(member => member.node === node && member.store === store)
  for (const [leaf, text] of last.placement.entries()) {
    const { servers } = decodePlacement(text)
    const living = servers.filter(lives)
    const possible = decodePlacement(wanted?.[leaf]).servers
    if (possible.length > living.length)
      return `${living.length} of ${servers.length} log servers of segment ${last.index} are up, ${possible.length} can be`
  }
  return undefined
}
