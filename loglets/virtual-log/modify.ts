// Replaces the loglet of a sealed segment by a copy elsewhere (the paper's reconfigModify; DESIGN 4.2). Positions stay equal.
//
//   old   |--trimmed--|-e-|-e-|-filler-|-e-|          |--trimmed--|-e-|-e-|-x-|-e-|   copy;  x is noted as a hole in the chain
//
// Loglets refuse empty entries, so a position without content gets a placeholder of one byte, and the chain says that it is a gap. The
// chain is changed only once the copy is complete and sealed; until then readers use the old loglet.

import {
  type Chain,
  ChainConflictError,
  type Hole,
  holesMax,
  modify,
  type Segment,
  segmentByIndex,
} from '../chain.ts'
import {
  type Loglet,
  LogletFailedError,
  LogletLostError,
  type Lsn,
  lsn,
  position,
} from '../contract.ts'
import type { ChainView } from './chain-view.ts'
import type { LogletMaker, NewLoglet } from './new-loglet.ts'
import { sealAndDrain } from './reconfigure.ts'
import type { LsnItem, SegmentReader } from './segment.ts'

export interface CopyResult {
  readonly holes: readonly Hole[]
  readonly entries: number
  readonly bytes: number
}

const copyReadBytes = 4 << 20
const placeholdersAtOnce = 4096
const placeholder: readonly Uint8Array[] = [Uint8Array.of(0)]

/** @returns false when the segment was replaced or trimmed away meanwhile. @throws {ChainConflictError} when it is not sealed */
export async function modifySegment(
  view: ChainView,
  maker: LogletMaker,
  index: number,
  spec: string,
  trimPoint: () => Lsn,
): Promise<boolean> {
  const { clock, onEvent, registry } = view.options
  const startedAt = clock.now()
  registry.validate(spec)
  const old = segmentByIndex(view.chain, index)
  if (old === undefined) return false
  if (old.end === undefined)
    throw new ChainConflictError(`segment ${index} is open: only a sealed one can be copied`)
  const reader = view.readerOf(old)
  const made = await maker.make(index, spec, { expectedVersion: view.chain.version })
  let copied: CopyResult
  try {
    copied = await copySegment(view, reader, made.loglet, trimPoint)
  } catch (error) {
    await maker.discard(made.source)
    throw error
  }
  const chain = await install(view, maker, old, made, copied.holes)
  if (chain === undefined) {
    await maker.discard(old)
    await maker.discard(made.source)
    return false
  }
  await maker.placed(made.source.id)
  await maker.discard(old)
  // A trim that came during the copy reached the old loglet only.
  const { loglet, segment } = view.readerAt(old.start) ?? reader
  if (segment.id === made.source.id && loglet !== undefined)
    await loglet.prefixTrim(position(Math.max(0, Math.min(trimPoint(), old.end) - old.start)))
  onEvent({
    type: 'modified',
    from: old,
    to: segmentByIndex(chain, index) ?? old,
    entries: copied.entries,
    bytes: copied.bytes,
    totalMs: clock.now() - startedAt,
  })
  return true
}

async function install(
  view: ChainView,
  maker: LogletMaker,
  old: Segment,
  { source }: NewLoglet,
  holes: readonly Hole[],
): Promise<Chain | undefined> {
  const { id } = source
  await maker.retire(old, view.chain.version)
  let noted = -1
  try {
    for (;;) {
      const base = view.chain
      // The note has to count on the version that the write counts on, before the write is sent.
      if (noted !== base.version) await maker.renote({ ...source, expectedVersion: base.version })
      noted = base.version
      const { installed, chain } = await view.change(
        current => modify(current, old.index, old.id, { ...source, holes }),
        current => current.segments.some(s => s.id === id),
        base,
      )
      if (installed) return chain
      if (segmentByIndex(chain, old.index)?.id !== old.id) return undefined
    }
  } catch (error) {
    await maker.leave(id)
    throw error
  }
}

/** Copies everything, position by position, and seals the copy. */
async function copySegment(
  view: ChainView,
  reader: SegmentReader,
  copy: Loglet,
  trimPoint: () => Lsn,
): Promise<CopyResult> {
  const { segment } = reader
  const end = segment.end as Lsn
  if (reader.loglet === undefined)
    throw new LogletLostError(
      `segment ${segment.index} is lost: there is nothing to copy`,
      'refused',
    )
  const holes: Hole[] = []
  let entries = 0
  let bytes = 0
  for (let at: number = segment.start; at < end; ) {
    view.closing.signal.throwIfAborted()
    const items = await reader.readNext(lsn(at), end, copyReadBytes, view.closing.signal)
    for (const item of items) {
      if (item.kind === 'entry') {
        entries++
        bytes += item.bytes.length
      } else if (item.gap !== 'trimmed') addHole(holes, item.gap, item.from, item.to)
    }
    await appendItems(copy, items, segment.start)
    const last = items.at(-1) as LsnItem
    at = last.kind === 'entry' ? last.lsn + 1 : last.to
  }
  const tail = await sealAndDrain(copy)
  if (tail !== end - segment.start)
    throw new LogletFailedError(
      `the copy of segment ${segment.index} has ${tail} positions instead of ${end - segment.start}`,
      'unknown',
    )
  const trimmed = Math.min(Math.max(trimPoint(), await trimmedOf(reader)), end)
  await copy.prefixTrim(position(Math.max(0, trimmed - segment.start)))
  return { holes, entries, bytes }
}

async function trimmedOf(reader: SegmentReader): Promise<Lsn> {
  return reader.toLsn((await reader.loglet?.prefixTrim(position(0))) ?? position(0))
}

async function appendItems(copy: Loglet, items: readonly LsnItem[], start: Lsn): Promise<void> {
  const appends: Promise<void>[] = []
  const put = (at: number, entry: readonly Uint8Array[]): void => {
    appends.push(
      copy.append(entry).then(landed => {
        if (landed !== at - start)
          throw new LogletFailedError(`position ${at - start} was copied to ${landed}`, 'unknown')
      }),
    )
  }
  for (const item of items) {
    if (item.kind === 'entry') {
      put(item.lsn, [item.bytes])
      continue
    }
    for (let at: number = item.from; at < item.to; at++) {
      put(at, placeholder)
      if (appends.length >= placeholdersAtOnce) await Promise.all(appends.splice(0))
    }
  }
  await Promise.all(appends)
}

function addHole(holes: Hole[], gap: Hole['gap'], from: Lsn, to: Lsn): void {
  const before = holes.at(-1)
  if (before !== undefined && before.gap === gap && before.to === from)
    holes[holes.length - 1] = { ...before, to }
  else holes.push({ gap, from, to })
  if (holes.length > holesMax)
    throw new LogletLostError(
      `the segment has more than ${holesMax} separate gaps: it stays where it is`,
      'refused',
    )
}
