// The first and the last bytes of a segment file, and the watermark records that vouch for what was synced in it (DESIGN 4.4 "file").

import type { Disk, DiskFile } from '../ports.ts'
import {
  encodeFileHeader,
  encodeIndex,
  encodeRecordHeader,
  encodeTrailer,
  recordHeaderBytes,
  recordType,
} from './format.ts'

/** `0000000000000042.log`: names sort as positions do. */
export function segmentName(first: number): string {
  return `${String(first).padStart(16, '0')}.log`
}

/** Makes a segment file with its header, durable with its name. */
export async function createSegmentFile(
  disk: Disk,
  directory: string,
  id: string,
  first: number,
): Promise<void> {
  const made = await disk.open(`${directory}/${segmentName(first)}`, { create: true })
  try {
    await made.write([encodeFileHeader(id, first)], 0)
    // Both are waited for by every append that comes after, and most file systems do both with one write to their journal.
    await settled([made.datasync(), disk.syncDir(directory)])
  } finally {
    await made.close()
  }
}

/** Waits for all, also when one fails: whoever cleans up afterwards must not meet the others. @throws the first reason */
async function settled(works: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(works))
    if (result.status === 'rejected') throw result.reason
}

/** Takes back what a {@link createSegmentFile} that failed may have left: a file that holds nothing must not hide the one before it. */
export async function discardSegmentFile(
  disk: Disk,
  directory: string,
  first: number,
): Promise<void> {
  await disk.remove(`${directory}/${segmentName(first)}`)
  await disk.syncDir(directory)
}

export interface Watermark {
  /** Where it is written; all bytes before it are synced. */
  readonly end: number
  /** The next position. */
  readonly next: number
  readonly lastCrc: number
  readonly salt: number
}

/**
 * Writes and syncs a watermark record: a later open takes damage before it for damage, not for a torn write. Returns its CRC; undefined
 * when the disk is full, which leaves the file as it was.
 */
export async function writeWatermark(
  file: DiskFile,
  { end, next, lastCrc, salt }: Watermark,
): Promise<number | undefined> {
  const header = new Uint8Array(recordHeaderBytes)
  const { watermark: type } = recordType
  const fields = { type, position: next, watermark: end, length: 0, previousCrc: lastCrc }
  const crc = encodeRecordHeader(header, 0, fields, [], salt)
  try {
    await file.write([header], end)
    await file.datasync()
    return crc
  } catch (error) {
    if (!isNoSpace(error)) throw error
    await file.truncate(end)
    return undefined
  }
}

/** Index record and trailer of a file that takes no more; left out when the disk is full, which leaves the file as it was. */
export async function finishSegmentFile(
  file: DiskFile,
  { end, next, lastCrc, salt }: Watermark,
  points: readonly number[],
): Promise<void> {
  const body = encodeIndex(points)
  const header = new Uint8Array(recordHeaderBytes)
  const { index: type } = recordType
  const fields = { type, position: next, watermark: end, length: body.length, previousCrc: lastCrc }
  encodeRecordHeader(header, 0, fields, [body], salt)
  try {
    await file.write([header, body, encodeTrailer(end)], end)
    await file.datasync()
  } catch (error) {
    if (!isNoSpace(error)) throw error
    await file.truncate(end)
  }
}

/** The disk takes no more for now; everything that was written before is as it was. */
export function isNoSpace(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return code === 'ENOSPC' || code === 'EFBIG' || code === 'EDQUOT'
}
