// A disk whose writes wait for a test.

import type { Disk } from '../../loglets/ports.ts'

/** As `disk`, but for what `before` says of a write: it comes after that is settled, and fails as that does. */
export function holdingWrites(
  disk: Disk,
  before: (path: string, at: number) => Promise<void> | undefined,
): Disk {
  return {
    open: async (path, options) => {
      const file = await disk.open(path, options)
      return {
        read: (at, length) => file.read(at, length),
        datasync: () => file.datasync(),
        truncate: length => file.truncate(length),
        size: () => file.size(),
        close: () => file.close(),
        write: async (buffers, at) => {
          await before(path, at)
          await file.write(buffers, at)
        },
      }
    },
    list: path => disk.list(path),
    mkdir: path => disk.mkdir(path),
    exists: path => disk.exists(path),
    rename: (from, to) => disk.rename(from, to),
    remove: path => disk.remove(path),
    syncDir: path => disk.syncDir(path),
  }
}
