// Recovery of the last segment file: what is certain, what is damaged, what was torn (DESIGN 4.4 "file").
//
//   file   |-- header --|---- records known durable ----W---- suffix ----|-- torn --|
//
// W is the highest watermark of any record header that is whole; the body behind it need not be, since a watermark speaks of earlier bytes.
// Below W a bad stretch is damage: the range is lost, never truncated. At or past W the first bad stretch is where a write was torn: it and
// what follows were never acked as far as anyone can know, and are cut. The whole records between W and there may exist in the page cache
// only: they are rewritten by the caller, never trusted. Memory is bounded by what lies past W: what was written during two syncs.

import type { DiskFile } from '../ports.ts'
import { fileHeaderBytes, type RecordHeader, recordHeaderBytes, recordType } from './format.ts'
import { scanRecords } from './scan.ts'
import { SparseIndex } from './sparse-index.ts'

export interface Damage {
  /** Positions `[from, to)`. */
  readonly from: number
  readonly to: number
  readonly detail: string
}

export interface SuffixRecord {
  readonly type: number
  readonly position: number
  readonly body: Uint8Array
}

export interface Recovered {
  /** Position after the last whole record, the suffix included. */
  readonly next: number
  readonly sealed: boolean
  /** File offset up to which the content is certain: the file is cut here. */
  readonly durableEnd: number
  /** True when a watermark record says so of all of it; else the caller writes one after the cut. */
  readonly vouched: boolean
  /** CRC of the last record before `durableEnd`. */
  readonly lastCrc: number
  /** Position of the first record of the suffix; `next` when there is none. */
  readonly suffixStart: number
  readonly suffix: readonly SuffixRecord[]
  readonly damage: readonly Damage[]
  /** Index of the part below `durableEnd`. */
  readonly index: SparseIndex
  /** Where a write was torn; undefined when the file ends with a whole record. */
  readonly tornAt: number | undefined
}

interface Whole {
  readonly kind: 'whole'
  readonly at: number
  readonly end: number
  readonly header: RecordHeader
}

interface Problem {
  readonly kind: 'problem'
  readonly at: number
  /** Where it ends, if a header says so that stands in its place. */
  readonly end: number
  readonly from: number
  /** Position at which sense begins again; undefined as long as nothing says so. */
  to: number | undefined
  readonly detail: string
}

/** Looks at the whole file; changes nothing. `salt` as of format.ts. */
export async function recoverFile(file: DiskFile, first: number, salt: number): Promise<Recovered> {
  const size = await file.size()
  const certain = new Certain(first, salt)
  const doubtful: (Whole | Problem)[] = []
  let watermark = fileHeaderBytes
  let expected = first
  /** CRC of the record before; undefined after a bad stretch, where the chain cannot be followed. */
  let crc: number | undefined = salt
  let open: Problem | undefined
  const problem = (at: number, end: number, to: number | undefined, detail: string): void => {
    const found: Problem = { kind: 'problem', at, end, from: expected, to, detail }
    doubtful.push(found)
    open = to === undefined ? found : undefined
    crc = undefined
  }
  for await (const item of scanRecords(file, fileHeaderBytes, size, salt)) {
    if (item.kind === 'bad') {
      problem(item.from, item.from, undefined, `no record at byte ${item.from}`)
      continue
    }
    const { at, header, whole, end } = item
    const detail = mismatch(at, header, expected, crc)
    if (detail !== undefined) {
      problem(at, at, undefined, `record at byte ${at}: ${detail}`)
      continue
    }
    if (open !== undefined) open.to = header.position
    open = undefined
    if (whole) {
      doubtful.push({ kind: 'whole', at, end, header })
      expected = nextOf(header)
      crc = header.crc
    } else {
      problem(at, end, nextOf(header), `record at byte ${at}: its bytes do not match their CRC`)
      expected = nextOf(header)
    }
    watermark = Math.max(watermark, header.watermark)
    // Little waits here: every record carries where the last sync before it ended.
    for (let old = doubtful[0]; old !== undefined && old.at < watermark; old = doubtful[0]) {
      certain.add(old)
      doubtful.shift()
    }
  }
  return judge(file, certain, doubtful, watermark)
}

const nextOf = (header: RecordHeader): number =>
  header.position + (header.type === recordType.data ? 1 : 0)

/** Why the record does not continue what came before; undefined when it does. */
function mismatch(
  at: number,
  header: RecordHeader,
  expected: number,
  crc: number | undefined,
): string | undefined {
  const { type, position, previousCrc, watermark } = header
  if (watermark > at) return `its watermark ${watermark} lies ahead`
  // After a bad stretch positions must still rise.
  if (crc === undefined) return position < expected ? `position ${position} again` : undefined
  if (previousCrc !== crc) return 'it does not follow the record before'
  const follows = type === recordType.skip ? position >= expected : position === expected
  return follows ? undefined : `position ${position}, expected ${expected}`
}

/** What lies below the watermark, in order. */
class Certain {
  next: number
  lastCrc: number
  /** File offset behind the last record. */
  end = fileHeaderBytes
  sealed = false
  readonly index = new SparseIndex()
  readonly damage: Damage[] = []

  constructor(first: number, salt: number) {
    this.next = first
    this.lastCrc = salt
  }

  add(item: Whole | Problem): void {
    this.end = Math.max(this.end, item.end)
    if (item.kind === 'problem') {
      const { from, to, detail } = item
      if (to === undefined || to <= from) return
      this.damage.push({ from, to, detail })
      this.next = to
      return
    }
    const { at, header } = item
    this.next = nextOf(header)
    this.lastCrc = header.crc
    if (header.type === recordType.seal) this.sealed = true
    if (header.type === recordType.data) this.index.add(header.position, at)
  }
}

async function judge(
  file: DiskFile,
  certain: Certain,
  doubtful: readonly (Whole | Problem)[],
  watermark: number,
): Promise<Recovered> {
  const tear = doubtful.findIndex(item => item.kind === 'problem')
  const after = (tear < 0 ? doubtful : doubtful.slice(0, tear)) as readonly Whole[]
  const tornAt = doubtful[tear]?.at
  const { next, sealed, damage, index } = certain
  const common = { damage, index, tornAt }
  // The watermark is the end of a record, unless bytes came in before it: what is certain is not cut in two.
  const certainEnd = Math.max(watermark, certain.end)
  const content = after.filter(({ header }) => isContent(header.type))
  const last = after.at(-1)
  if (content.length === 0) {
    // Watermark records carry nothing that could be missed, so they may stay although nothing vouches for themselves.
    const vouched = tear < 0 && after.every(({ header }) => header.type === recordType.watermark)
    const durableEnd = vouched && last !== undefined ? last.end : certainEnd
    const lastCrc = vouched && last !== undefined ? last.header.crc : certain.lastCrc
    return { ...common, next, sealed, durableEnd, vouched, lastCrc, suffixStart: next, suffix: [] }
  }
  const suffix: SuffixRecord[] = []
  for (const { at, header } of content)
    suffix.push({
      type: header.type,
      position: header.position,
      body: await file.read(at + recordHeaderBytes, header.length),
    })
  return {
    ...common,
    next: nextOf((content.at(-1) as Whole).header),
    sealed: sealed || content.some(({ header }) => header.type === recordType.seal),
    durableEnd: certainEnd,
    vouched: false,
    lastCrc: certain.lastCrc,
    suffixStart: (suffix[0] as SuffixRecord).position,
    suffix,
  }
}

const isContent = (type: number): boolean =>
  type === recordType.data || type === recordType.seal || type === recordType.skip
