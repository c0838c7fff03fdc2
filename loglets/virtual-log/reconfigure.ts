// Reconfiguration: one function for every cause (DESIGN 4.2; "Virtual Consensus in Delos", OSDI 2020, section 3.2).
//
//   0 validate   1 make the new loglet   2 seal the expected one   3 drained tail T   4 compare-and-set of the chain   5 adopt
//
// Racing callers are normal: step 4 picks one winner, everyone else adopts its chain and deletes the loglet of step 1. Nothing is sealed
// before the new loglet exists. A crash behind step 2 leaves a sealed last segment, which anyone may finish.

import {
  type Chain,
  ChainConflictError,
  extend,
  lastSegment,
  type Segment,
  segmentByIndex,
} from '../chain.ts'
import {
  type Loglet,
  LogletLostError,
  LogletSpecError,
  type Lsn,
  type Position,
  type Scope,
} from '../contract.ts'
import { covers } from '../registry.ts'
import type { ChainView } from './chain-view.ts'
import type { LogletMaker, NewLoglet } from './new-loglet.ts'
import type { SegmentReader } from './segment.ts'

export interface ReconfigureResult {
  /** False: somebody else's reconfiguration of this segment won. */
  readonly installed: boolean
  readonly sealed: Segment
  readonly opened: Segment
  readonly chain: Chain
  readonly sealMs: number
  readonly totalMs: number
}

export interface Wish {
  readonly expectedIndex: number
  readonly spec: string
  readonly reason: string
  /** Everyone who uses the log must reach the new loglet. */
  readonly scope: Scope
}

export async function reconfigure(
  view: ChainView,
  maker: LogletMaker,
  wish: Wish,
): Promise<ReconfigureResult> {
  const { clock, onEvent } = view.options
  const startedAt = clock.now()
  validateWish(view, wish)
  if (lastSegment(view.chain).index < wish.expectedIndex) await view.refresh()
  const last = lastSegment(view.chain)
  if (last.index < wish.expectedIndex)
    throw new ChainConflictError(
      `there is no segment ${wish.expectedIndex}: the last is ${last.index}`,
    )
  if (last.index > wish.expectedIndex) return lostRace(view.chain, wish, 0, clock.now() - startedAt)

  // From here on this reader and no other: others may win while the new loglet is made, and their segment must stay open.
  const expected = view.last
  const { expectedIndex, spec } = wish
  const made = await maker.make(expectedIndex + 1, spec, { expectedIndex })
  const sealingAt = clock.now()
  const end = await endOf(view, maker, expected, made)
  const sealMs = clock.now() - sealingAt
  const changed = await install(view, maker, wish, made, end)
  const totalMs = clock.now() - startedAt
  const { chain } = changed
  if (changed.installed) {
    await maker.placed(made.source.id)
    const from = segmentByIndex(chain, expectedIndex) ?? { ...last, end }
    const to = segmentByIndex(chain, expectedIndex + 1) as Segment
    onEvent({
      type: 'reconfigured',
      reason: wish.reason,
      from,
      to,
      sealMs,
      totalMs,
      outcome: 'installed',
    })
    return { installed: true, sealed: from, opened: to, chain, sealMs, totalMs }
  }
  await maker.discard(made.source)
  const result = lostRace(chain, wish, sealMs, totalMs)
  onEvent({
    type: 'reconfigured',
    reason: wish.reason,
    from: result.sealed,
    to: result.opened,
    sealMs,
    totalMs,
    outcome: 'lost-race',
  })
  return result
}

/** Seals the loglet and learns its drained tail: two operations (DESIGN 4.1 rule 2). */
export async function sealAndDrain(loglet: Loglet): Promise<Position> {
  for (;;) {
    await loglet.seal()
    const state = await loglet.checkTail()
    if (state.sealed) return state.tail
  }
}

function validateWish({ options: { registry } }: ChainView, { spec, scope }: Wish): void {
  registry.validate(spec)
  const own = registry.scope(spec)
  if (!covers(own, scope))
    throw new LogletSpecError(
      `${spec} reaches one ${own} only, the members of this log span a ${scope}: choose a loglet of that scope`,
    )
}

/** Where the expected segment ends: its loglet's drained tail, unless the chain has decided. */
async function endOf(
  view: ChainView,
  maker: LogletMaker,
  reader: SegmentReader,
  made: NewLoglet,
): Promise<Lsn> {
  const decided = (): Lsn | undefined => reader.segment.end
  try {
    const { loglet, segment } = reader
    if (loglet === undefined)
      throw new LogletLostError(`segment ${segment.index} has no store to seal`, 'refused')
    return decided() ?? reader.toLsn(await sealAndDrain(loglet))
  } catch (error) {
    // The winner may have gone on to copy or drop the segment, which closes its loglet.
    const end = decided()
    if (end !== undefined) return end
    // No write was tried, and only this call knows the new id: it can go at once.
    await maker.discard(made.source)
    throw error
  }
}

async function install(
  view: ChainView,
  maker: LogletMaker,
  { expectedIndex, reason }: Wish,
  { source }: NewLoglet,
  end: Lsn,
): Promise<{ installed: boolean; chain: Chain }> {
  const { id } = source
  const plan = { ...source, createdAt: view.options.clock.wall(), reason }
  try {
    return await view.change(
      chain => extend(chain, expectedIndex, end, plan),
      chain => chain.segments.some(s => s.id === id),
    )
  } catch (error) {
    await maker.leave(id)
    throw error
  }
}

/** What the winner did. Its segments may be trimmed already; then the oldest that are left stand for them. */
function lostRace(
  chain: Chain,
  { expectedIndex }: Wish,
  sealMs: number,
  totalMs: number,
): ReconfigureResult {
  const oldest = chain.segments[0] as Segment
  const opened = segmentByIndex(chain, expectedIndex + 1) ?? oldest
  const ended = segmentByIndex(chain, expectedIndex) ?? oldest
  return { installed: false, sealed: ended, opened, chain, sealMs, totalMs }
}
