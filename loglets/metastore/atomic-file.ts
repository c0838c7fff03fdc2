// Replacing a small file so that a crash leaves the old content or the new, never a mix (DESIGN 4.3): temporary file, datasync, rename,
// directory sync. The caller serialises writers of one directory.

import type { Disk, DiskFile } from '../ports.ts'

/** Makes the directory and its entry in the parent durable. */
export async function makeDir(disk: Disk, dir: string): Promise<void> {
  await disk.mkdir(dir)
  const parents = dir.split('/').slice(0, -1)
  for (let depth = parents.length; depth >= 0; depth--)
    await disk.syncDir(parents.slice(0, depth).join('/') || '.')
}

/** Durable once resolved. After a rejection the old content or the new one is there; the new one only durably after `syncDir`. */
export async function replaceFile(
  disk: Disk,
  dir: string,
  name: string,
  content: readonly Uint8Array[],
): Promise<void> {
  const path = `${dir}/${name}`
  const temporary = `${path}.new`
  await disk.remove(temporary)
  const file = await disk.open(temporary, { create: true })
  try {
    await file.write(content, 0)
    await file.datasync()
  } finally {
    await file.close()
  }
  await disk.rename(temporary, path)
  await disk.syncDir(dir)
}

/** The whole file; undefined when there is none. */
export async function readFile(disk: Disk, path: string): Promise<Uint8Array | undefined> {
  let file: DiskFile
  try {
    file = await disk.open(path)
  } catch (error) {
    // Only this proves absence: a file that may not be read is no empty register.
    if ((error as { code?: unknown }).code === 'ENOENT') return undefined
    throw error
  }
  try {
    return await file.read(0, await file.size())
  } finally {
    await file.close()
  }
}
