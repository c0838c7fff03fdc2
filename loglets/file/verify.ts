// Checks the files of one loglet without opening it: every record against its CRC, positions without holes, and a newest file that is the
// newest. Changes nothing, so it may run on a copy or on what a crash left. The loglet must not be open meanwhile.

import { LogletLostError } from '../contract.ts'
import type { Disk } from '../ports.ts'
import { checkNewest, listSegments } from './directory.ts'
import { fileHeaderBytes, recordType } from './format.ts'
import { recoverFile } from './recovery.ts'
import { scanRecords } from './scan.ts'
import type { SegmentFile } from './segment-file.ts'
import { readTrimPoint } from './trim-point.ts'

export interface DamagedRange {
  /** Positions `[from, to)`; empty for `torn`. */
  readonly from: number
  readonly to: number
  /** `lost`: it was durable and cannot be read. `torn`: an append that was cut off and never acked; an opening removes it. */
  readonly kind: 'lost' | 'torn'
  readonly detail: string
}

export interface FileLogletReport {
  /** Entries that are whole and not trimmed, and their bytes. */
  readonly entries: number
  readonly bytes: number
  readonly damaged: readonly DamagedRange[]
  readonly sealed: boolean
}

/** Reads all of `<root>/<id>`. @throws LogletLostError as an opening does */
export async function verifyFileLoglet(
  disk: Disk,
  root: string,
  id: string,
): Promise<FileLogletReport> {
  const directory = `${root}/${id}`
  const segments = await listSegments(disk, directory, id)
  if (segments.length === 0)
    throw new LogletLostError(`loglet ${id} has no files in ${directory}`, 'unknown')
  try {
    return await verifySegments(id, segments, await readTrimPoint(disk, directory))
  } finally {
    for (const segment of segments) await segment.retire()
  }
}

async function verifySegments(
  id: string,
  segments: readonly SegmentFile[],
  trimPoint: number,
): Promise<FileLogletReport> {
  const found = new Findings(trimPoint)
  for (const [i, segment] of segments.entries()) {
    const next = segments[i + 1]
    found.expect(segment.first, 'no segment file holds it')
    // A file may go on past where the next one begins: an opening that was cut off moved records and had not yet removed them.
    if (next !== undefined) await verifyDurable(segment, next.first, found)
    else if (await isUnborn(segment)) break
    else await verifyNewest(id, segment, found)
  }
  const { entries, bytes, damaged, sealed } = found
  return { entries, bytes, damaged, sealed }
}

/** What was seen so far, in the order of positions. */
class Findings {
  entries = 0
  bytes = 0
  sealed = false
  readonly damaged: DamagedRange[] = []
  private next: number
  private readonly trimPoint: number

  constructor(trimPoint: number) {
    this.next = trimPoint
    this.trimPoint = trimPoint
  }

  /** The next thing begins at the position: what lies between is lost. */
  expect(position: number, detail: string): void {
    if (position > this.next)
      this.damaged.push({ from: this.next, to: position, kind: 'lost', detail })
    this.next = Math.max(this.next, position)
  }

  entry(position: number, length: number): void {
    this.next = position + 1
    if (position < this.trimPoint) return
    this.entries++
    this.bytes += length
  }
}

/** A roll that was cut off made the file and nothing in it; the one before it is complete. */
async function isUnborn(segment: SegmentFile): Promise<boolean> {
  return segment.first > 0 && (await (await segment.file()).size()) < fileHeaderBytes
}

/** All that lies in `[segment.first, end)` was durable once; it lies in the first `bytes` of the file. */
async function verifyDurable(
  segment: SegmentFile,
  end: number,
  found: Findings,
  bytes?: number,
): Promise<void> {
  const file = await segment.file()
  const detail = `damage in ${segment.path}`
  const size = bytes ?? (await file.size())
  let next = segment.first
  for await (const item of scanRecords(file, fileHeaderBytes, size, segment.salt)) {
    if (item.kind === 'bad' || !item.whole || item.header.type !== recordType.data) continue
    const { position, length } = item.header
    if (position >= end) break
    // A copy that strayed.
    if (position < next) continue
    next = position + 1
    found.expect(position, detail)
    found.entry(position, length)
  }
  found.expect(end, detail)
}

async function verifyNewest(id: string, segment: SegmentFile, found: Findings): Promise<void> {
  await checkNewest(id, segment)
  const { path, first, salt } = segment
  const { sealed, suffixStart, suffix, next, tornAt, durableEnd } = await recoverFile(
    await segment.file(),
    first,
    salt,
  )
  found.sealed = sealed
  await verifyDurable(segment, suffixStart, found, durableEnd)
  for (const { type, position, body } of suffix)
    if (type === recordType.data) found.entry(position, body.length)
  if (tornAt === undefined) return
  const detail = `${path}: a write was cut off at byte ${tornAt}`
  found.damaged.push({ from: next, to: next, kind: 'torn', detail })
}
