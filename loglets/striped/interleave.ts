// Puts what was read from the stripes back into one order. Pure.

import { type GapKind, type LogItem, position } from '../contract.ts'
import { frameKind, prefixBytes } from './frame.ts'
import { localOf, stripeOf } from './stripe-map.ts'

/** Items of `[from, to)` up to where a stripe's items end; `read[i]` begins at the first position of stripe i from `from` on. */
export function interleave(
  read: readonly (readonly LogItem[])[],
  from: number,
  to: number,
): readonly LogItem[] {
  const stripes = read.length
  const cursors = read.map(() => 0)
  const items: LogItem[] = []
  for (let at = from; at < to; at++) {
    const stripe = stripeOf(at, stripes)
    const item = (read[stripe] as readonly LogItem[])[cursors[stripe] as number]
    if (item === undefined) break
    if (item.kind === 'gap') {
      if (localOf(at, stripes) + 1 >= item.to) (cursors[stripe] as number)++
      addGap(items, item.gap, at)
      continue
    }
    ;(cursors[stripe] as number)++
    const kind = frameKind(item.bytes)
    if (kind === 'data')
      items.push({ kind: 'entry', position: position(at), bytes: item.bytes.subarray(prefixBytes) })
    else addGap(items, kind === 'filler' ? 'filler' : 'lost', at)
  }
  return items
}

/** The first position behind the items. */
export function endOf(items: readonly LogItem[], from: number): number {
  const last = items.at(-1)
  if (last === undefined) return from
  return last.kind === 'entry' ? last.position + 1 : last.to
}

function addGap(items: LogItem[], gap: GapKind, at: number): void {
  const before = items.at(-1)
  const to = position(at + 1)
  if (before?.kind === 'gap' && before.gap === gap) items[items.length - 1] = { ...before, to }
  else items.push({ kind: 'gap', gap, from: position(at), to })
}
