// Forgetting a prefix of the log: first the loglets drop it, then the chain drops segments that are wholly gone (the paper's
// reconfigTruncate; physical trim first, so that a stale reader sees "trimmed" and never somebody else's data).

import { type Chain, truncate } from '../chain.ts'
import { LogletClosedError, LogletLostError, type Lsn, lsn, position } from '../contract.ts'
import type { ChainView } from './chain-view.ts'
import type { LogletMaker } from './new-loglet.ts'
import type { SegmentReader } from './segment.ts'

/** The trim point that the loglets of the chain remember. */
export async function trimPointOf(view: ChainView): Promise<Lsn> {
  let trimmed = 0
  for (const segment of view.chain.segments) {
    const { loglet } = view.readerOf(segment)
    trimmed = Math.max(trimmed, segment.start)
    if (loglet === undefined) break
    trimmed += await loglet.prefixTrim(position(0))
    if (segment.end === undefined || trimmed < segment.end) break
    trimmed = segment.end
  }
  return lsn(trimmed)
}

/** Trims every segment below `before`, clamped to the tail. @returns how far the log is trimmed now, at least `trimmed` */
export async function trimSegments(view: ChainView, before: Lsn, trimmed: Lsn): Promise<Lsn> {
  let reached: number = trimmed
  for (const segment of view.chain.segments) {
    if (segment.start >= before) break
    if (segment.end !== undefined && segment.end <= trimmed) continue
    const goal = lsn(Math.min(before, segment.end ?? before))
    const now = await trimSegment(view, view.readerOf(segment), goal)
    reached = Math.max(reached, Math.min(now, segment.end ?? now))
    if (reached < goal) break
  }
  return lsn(reached)
}

/** Drops the segments below `trimmed` from the chain and deletes their stores. */
export async function truncateChain(
  view: ChainView,
  maker: LogletMaker,
  trimmed: Lsn,
): Promise<Chain> {
  const before = view.chain
  const leaving = before.segments.filter(s => s.end !== undefined && s.end <= trimmed)
  if (leaving.length === 0) return before
  for (const segment of leaving) await maker.retire(segment, before.version)
  const { installed, chain } = await view.change(
    current => truncate(current, trimmed),
    () => false,
  )
  const kept = new Set(chain.segments.map(s => s.id))
  for (const segment of leaving)
    if (kept.has(segment.id)) await maker.placed(segment.id)
    else await maker.discard(segment)
  if (installed) view.options.onEvent({ type: 'truncated', segments: leaving })
  return chain
}

async function trimSegment(view: ChainView, reader: SegmentReader, goal: Lsn): Promise<Lsn> {
  const { loglet } = reader
  if (loglet === undefined) return goal
  try {
    return reader.toLsn(await loglet.prefixTrim(reader.toPosition(goal)))
  } catch (error) {
    // The segment was copied elsewhere or dropped meanwhile.
    if (!(error instanceof LogletClosedError || error instanceof LogletLostError)) throw error
    const now = view.readerAt(reader.segment.start)
    if (now === undefined || now === reader) throw error
    return trimSegment(view, now, goal)
  }
}
