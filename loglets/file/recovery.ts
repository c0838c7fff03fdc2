// Recovery of the last segment file: what is certain, what is damaged, what was torn (DESIGN 4.4 "file").
//
//   file   |-- header --|---- records known durable ----W---- suffix ----|-- torn --|
//
// W is the highest watermark of any whole record. Below W a bad stretch is damage: the range is lost, never truncated. At or past W the
// first bad stretch is where a write was torn: it and what follows were never acked as far as anyone can know, and are cut. The whole
// records between W and there may exist in the page cache only: they are rewritten by the caller, never trusted.

import type { DiskFile } from '../ports.ts'
import { fileHeaderBytes, recordHeaderBytes, recordType } from './format.ts'
import { scanRecords } from './scan.ts'

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
  /** CRC of the last record before `durableEnd`. */
  readonly lastCrc: number
  /** Position of the first record of the suffix. */
  readonly suffixStart: number
  readonly suffix: readonly SuffixRecord[]
  readonly damage: readonly Damage[]
  /** Sparse index of the part below `durableEnd`: pairs of position and file offset. */
  readonly points: readonly number[]
  /** True when bytes past the last whole record were found. */
  readonly torn: boolean
}

interface Kept {
  readonly at: number
  readonly end: number
  readonly type: number
  readonly position: number
  readonly next: number
  readonly crc: number
}

interface Problem {
  readonly at: number
  readonly position: number
  readonly detail: string
  /** Where sense begins again; absent at the end of the file. */
  resumed?: number
}

/** Looks at the whole file; changes nothing. */
export async function recoverFile(file: DiskFile, first: number, seed: number): Promise<Recovered> {
  const size = await file.size()
  const kept: Kept[] = []
  const problems: Problem[] = []
  let expected = first
  let crc: number | undefined = seed
  let watermark = fileHeaderBytes
  for await (const item of scanRecords(file, fileHeaderBytes, size)) {
    if (item.kind === 'bad') {
      problems.push({ at: item.from, position: expected, detail: `no record at byte ${item.from}` })
      crc = undefined
      continue
    }
    const { at, header, whole } = item
    const open = problems.at(-1)
    const detail = mismatch(header.position, expected, header.previousCrc, crc, whole)
    if (detail !== undefined) {
      problems.push({ at, position: expected, detail: `record at byte ${at}: ${detail}` })
      crc = undefined
      continue
    }
    if (open !== undefined && open.resumed === undefined) open.resumed = header.position
    const next = header.position + (header.type === recordType.data ? 1 : 0)
    kept.push({
      at,
      end: at + recordHeaderBytes + header.length,
      type: header.type,
      position: header.position,
      next,
      crc: header.crc,
    })
    watermark = Math.max(watermark, header.watermark)
    expected = next
    crc = header.crc
  }
  return judge(file, { first, seed, size, kept, problems, watermark })
}

/** Why the record does not continue what came before; undefined when it does. */
function mismatch(
  position: number,
  expected: number,
  previousCrc: number,
  crc: number | undefined,
  whole: boolean,
): string | undefined {
  if (!whole) return 'its bytes do not match their CRC'
  // After a bad stretch the chain cannot be followed; positions must still rise.
  if (crc === undefined) return position < expected ? `position ${position} again` : undefined
  if (previousCrc !== crc) return 'it does not follow the record before'
  return position === expected ? undefined : `position ${position}, expected ${expected}`
}

async function judge(
  file: DiskFile,
  found: {
    readonly first: number
    readonly seed: number
    readonly size: number
    readonly kept: readonly Kept[]
    readonly problems: readonly Problem[]
    readonly watermark: number
  },
): Promise<Recovered> {
  const { first, seed, size, kept, problems, watermark } = found
  const tear = problems.find(p => p.at >= watermark)
  const limit = tear?.at ?? size
  const certain = kept.filter(k => k.end <= watermark)
  const after = kept.filter(k => k.at >= watermark && k.end <= limit)
  const damage = problems
    .filter(p => p.at < watermark)
    .map(p => ({ from: p.position, to: p.resumed ?? p.position, detail: p.detail }))
    .filter(d => d.to > d.from)
  const suffix: SuffixRecord[] = []
  for (const record of after)
    if (record.type === recordType.data || record.type === recordType.seal)
      suffix.push({
        type: record.type,
        position: record.position,
        body: await file.read(
          record.at + recordHeaderBytes,
          record.end - record.at - recordHeaderBytes,
        ),
      })
  const last = suffix.at(-1)
  const lastCertain = certain.at(-1)
  // Damage right before the watermark leaves positions that only a later record names.
  const certainNext = Math.max(lastCertain?.next ?? first, ...damage.map(d => d.to))
  const next =
    last === undefined ? certainNext : last.position + (last.type === recordType.data ? 1 : 0)
  return {
    next,
    sealed: [...certain, ...suffix].some(r => r.type === recordType.seal),
    durableEnd: watermark,
    lastCrc: lastCertain?.crc ?? seed,
    suffixStart: suffix[0]?.position ?? certainNext,
    suffix,
    damage,
    points: pointsOf(certain),
    torn: tear !== undefined || limit < size,
  }
}

/** Sparse points of the data records, at most one per {@link pointBytes} or {@link pointRecords}. */
function pointsOf(records: readonly Kept[]): number[] {
  const points = new PointMaker()
  for (const r of records) if (r.type === recordType.data) points.add(r.position, r.at)
  return points.points
}

const pointBytes = 65_536
const pointRecords = 64

/** Collects a sparse index: pairs of position and file offset. */
export class PointMaker {
  readonly points: number[]
  private since = 0

  constructor(points: readonly number[] = []) {
    this.points = [...points]
    this.since = pointRecords
  }

  add(position: number, at: number): void {
    const lastAt = this.points.at(-1)
    this.since++
    if (lastAt !== undefined && this.since <= pointRecords && at - lastAt < pointBytes) return
    this.points.push(position, at)
    this.since = 1
  }
}
