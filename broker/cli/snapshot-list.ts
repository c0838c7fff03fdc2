// What snapshots a folder holds, by their first and last chunk, or read through.

import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { LogloomError } from '../../wire/errors.ts'
import { checkArchive, readSummary } from '../snapshot/check-archive.ts'
import { archiveSuffix, partialSuffix } from '../snapshot/format.ts'

export interface ListedSnapshot {
  readonly name: string
  /** Bytes of the file. */
  readonly fileBytes: number
  /** `ok`: head and footer are; `verified`: everything was read; `unfinished`: it is being taken, or was left behind. */
  readonly state: 'ok' | 'verified' | 'corrupt' | 'unfinished'
  /** Why it is corrupt. */
  readonly detail?: string
  /** Wall clock of whoever took it, ms. */
  readonly takenAt?: number
  readonly position?: number
  readonly topics?: number
  readonly records?: number
  readonly groups?: number
  readonly sha256?: string
}

/** Files of one folder that are looked at. */
const filesMax = 10_000

/** Regular files of the folder only: links are not followed. In the order of their names. @throws INVALID_REQUEST */
export async function listSnapshots(
  directory: string,
  { verify }: { readonly verify: boolean },
): Promise<readonly ListedSnapshot[]> {
  const names = await readdir(directory).catch((error: Error) => {
    throw new LogloomError(
      'INVALID_REQUEST',
      `${directory} cannot be listed: ${error.message}`,
      { path: directory },
      { cause: error, hint: 'name a folder with snapshots' },
    )
  })
  const wanted = names.filter(name => name.endsWith(archiveSuffix) || isPartial(name)).sort()
  if (wanted.length > filesMax)
    throw new LogloomError(
      'LIMIT_EXCEEDED',
      `${directory} has ${wanted.length} snapshots, the limit is ${filesMax} (filesMax)`,
      { limit: filesMax, actual: wanted.length },
    )
  const found: ListedSnapshot[] = []
  for (const name of wanted) {
    const path = join(directory, name)
    const stat = await lstat(path).catch(() => undefined)
    if (stat?.isFile() !== true) continue
    if (isPartial(name)) found.push({ name, fileBytes: stat.size, state: 'unfinished' })
    else found.push(await lookAt(path, name, stat.size, verify))
  }
  return found
}

async function lookAt(
  path: string,
  name: string,
  fileBytes: number,
  verify: boolean,
): Promise<ListedSnapshot> {
  try {
    const { head, sha256, totals } = verify ? await checkArchive(path) : await readSummary(path)
    const { takenAt, position } = head
    const { groups, records, shareGroups, topics } = totals
    const facts = { takenAt, position, topics, records, groups: groups + shareGroups, sha256 }
    return { name, fileBytes, state: verify ? 'verified' : 'ok', ...facts }
  } catch (error) {
    return { name, fileBytes, state: 'corrupt', detail: (error as Error).message }
  }
}

function isPartial(name: string): boolean {
  return name.startsWith('.') && name.endsWith(partialSuffix)
}
