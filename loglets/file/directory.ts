// The files of one loglet's directory: which there are, what a crash left among them, and whether the newest is the newest.

import { LogletLostError } from '../contract.ts'
import type { Disk, DiskFile } from '../ports.ts'
import { decodeFileHeader, decodeTrailer, fileHeaderBytes, trailerBytes } from './format.ts'
import { scanRecords } from './scan.ts'
import { SegmentFile } from './segment-file.ts'

/** The segment files of a loglet in position order; none when there is no directory. Changes nothing. */
export async function listSegments(
  disk: Disk,
  directory: string,
  id: string,
): Promise<SegmentFile[]> {
  if (!(await disk.exists(directory))) return []
  const segments: SegmentFile[] = []
  for (const name of await disk.list(directory)) {
    const match = /^(\d{16})\.log$/.exec(name)
    if (match !== null)
      segments.push(new SegmentFile(disk, `${directory}/${name}`, id, Number(match[1])))
  }
  return segments
}

/** What a crash left of files that were never given their names. */
export async function dropTemporary(disk: Disk, directory: string): Promise<void> {
  if (!(await disk.exists(directory))) return
  for (const name of await disk.list(directory))
    if (name.endsWith('.tmp')) await disk.remove(`${directory}/${name}`)
}

/**
 * The newest file must hold what its name says and must be the newest. A header that rotted is no loss: the records say by their salt
 * whose they are. @throws LogletLostError
 */
export async function checkNewest(id: string, last: SegmentFile): Promise<void> {
  const file = await last.file()
  const header = await file.read(0, fileHeaderBytes)
  if (decodeFileHeader(header, id) !== last.first && !(await hasRecords(file, last.salt)))
    throw new LogletLostError(
      `${last.path} has neither a readable header nor records: its content is lost`,
      'unknown',
    )
  if (await hasTrailer(file))
    throw new LogletLostError(
      `${last.path} was followed by another file, which is missing`,
      'unknown',
    )
}

/**
 * A roll that was cut off leaves a newest file without a whole header. It held nothing: its header is synced before anything is written
 * behind it, and the file before it gets its trailer only afterwards. Anything else without a header is damage, and stays.
 */
export async function dropUnborn(
  disk: Disk,
  directory: string,
  id: string,
  segments: SegmentFile[],
): Promise<void> {
  const last = segments.at(-1)
  const before = segments.at(-2)
  if (last === undefined || before === undefined) return
  const file = await last.file()
  if (decodeFileHeader(await file.read(0, fileHeaderBytes), id) !== undefined) return
  if (await hasRecords(file, last.salt)) return
  if (await hasTrailer(await before.file())) return
  segments.pop()
  await last.retire()
  await disk.remove(last.path)
  await disk.syncDir(directory)
}

async function hasRecords(file: DiskFile, salt: number): Promise<boolean> {
  for await (const item of scanRecords(file, 0, await file.size(), salt))
    if (item.kind === 'record') return true
  return false
}

async function hasTrailer(file: DiskFile): Promise<boolean> {
  const size = await file.size()
  const bytes = await file.read(Math.max(0, size - trailerBytes), trailerBytes)
  return decodeTrailer(bytes) !== undefined
}
