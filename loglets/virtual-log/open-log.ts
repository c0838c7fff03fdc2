// Opens the chain of a log: makes segment 0 on the first start, deals with stores that are gone on a later one (DESIGN 4.1 rule 7, 4.4
// "memory").
//
//   missing store of       sealed segment   →  its range reads as `lost`
//                          volatile, open   →  closed at start + 2^32, a successor with the same spec
//                          durable, open    →  error: absent storage never opens empty

import { extend, firstChain, lastSegment } from '../chain.ts'
import { type Lsn, lsn } from '../contract.ts'
import type { ChainView } from './chain-view.ts'
import { type LogletMaker, lostTailError } from './new-loglet.ts'

/** Positions that a forgotten open segment keeps for itself, so that none of its LSNs is used again. */
export const lostSpan = 2 ** 32

/** @throws {LogletLostError} when the store of a durable open segment is missing */
export async function openChain(view: ChainView, maker: LogletMaker, spec: string): Promise<void> {
  const chain = await view.load()
  if (chain === undefined) await firstStart(view, maker, spec)
  else await view.adopt(chain)
  await closeForgotten(view, maker)
  await maker.collectOrphans()
}

async function firstStart(view: ChainView, maker: LogletMaker, spec: string): Promise<void> {
  const made = await maker.make(0, spec, { expectedIndex: -1 })
  const { clock } = view.options
  const { source } = made
  const first = firstChain({ ...source, createdAt: clock.wall(), reason: 'first start' })
  try {
    const installed = await view.begin(first)
    if (installed) await maker.placed(source.id)
    else await maker.discard(source)
  } catch (error) {
    // Nobody knows whether it is in: the next start finds out.
    await maker.leave(source.id)
    throw error
  }
}

/** Gives a log whose volatile open segment is gone a new one, behind everything that may ever have been acked. */
async function closeForgotten(view: ChainView, maker: LogletMaker): Promise<void> {
  while (view.last.loglet === undefined) {
    const { registry, clock, onEvent } = view.options
    const { segment } = view.last
    const { index, id, spec } = segment
    if (!registry.volatile(spec)) throw lostTailError(index, id, spec)
    const end = lsn(segment.start + lostSpan) satisfies Lsn
    const made = await maker.make(index + 1, spec, { expectedIndex: index })
    const { source } = made
    const plan = { ...source, createdAt: clock.wall(), reason: `segment ${index} was lost` }
    const { installed, chain } = await view.change(
      current => extend(current, index, end, plan),
      current => current.segments.some(s => s.id === source.id),
    )
    if (installed) {
      await maker.placed(source.id)
      onEvent({ type: 'lost', segment: { ...segment, end }, from: segment.start, to: end })
    } else await maker.discard(source)
    if (lastSegment(chain).index === index) throw lostTailError(index, id, spec)
  }
}
