// Room in LMDB's file before LMDB writes there. Where a page cannot be written for want of space, lmdb 3.5 formats a message of more than 100
// characters into a buffer of 100 (mdb_page_flush in its mdb.c): the heap is damaged, and the process aborts some time later. So the file always
// extends, written and not sparse, past whatever the next commit can need; that is where a full disk is met, as an error like any other.

import { type FileHandle, open } from 'node:fs/promises'

const stepBytes = 1 << 20
/** Written at once, and never changed. */
const zeros = new Uint8Array(stepBytes)

/** The tree as it is before a commit, in pages. */
export interface TreePages {
  readonly pageSize: number
  readonly treeLeafPageCount: number
  readonly treeBranchPageCount: number
  readonly overflowPages: number
}

/** What a commit is going to do. */
export interface CommitSize {
  /** Keys that are put or deleted. */
  readonly keys: number
  /** Of keys and values that are put. */
  readonly bytes: number
}

/** At most so many pages of the file are new after a commit, if LMDB reuses none. */
export function pagesNeeded(commit: CommitSize, tree: TreePages): number {
  const { pageSize, treeLeafPageCount, treeBranchPageCount, overflowPages } = tree
  const { keys, bytes } = commit
  // Every page on the way to a key is copied once; a leaf is split when it is full, so that two are half full; a value that fills more than
  // half a page gets pages of its own.
  const copied = Math.min(keys, treeLeafPageCount) + Math.min(keys, treeBranchPageCount)
  const filled = Math.ceil((3 * bytes) / pageSize) + Math.ceil(keys / 8)
  // Which pages are free is written as well, 8 bytes for each.
  const freed = copied + Math.min(keys, overflowPages) + (copied + filled) / 64
  return Math.ceil(copied + filled + freed / 64) + 64
}

/** The same for a commit that drops the whole tree: all its pages become free, and are listed as such. */
export function pagesNeededToClear(tree: TreePages): number {
  const { treeLeafPageCount, treeBranchPageCount, overflowPages } = tree
  return 64 + Math.ceil((treeLeafPageCount + treeBranchPageCount + overflowPages) / 64)
}

export class RoomAhead {
  private readonly path: string
  private file: FileHandle | undefined
  private size = 0

  /** `path` of LMDB's data file. */
  constructor(path: string) {
    this.path = path
  }

  /** Resolves when the file reaches to `bytes`. Call it while LMDB writes nothing. @throws as the file system does: ENOSPC, EDQUOT, EIO. */
  async extendTo(bytes: number): Promise<void> {
    if (bytes <= this.size) return
    this.file ??= await open(this.path, 'r+')
    this.size = (await this.file.stat()).size
    if (bytes <= this.size) return
    while (this.size < bytes) {
      const length = stepBytes - (this.size % stepBytes)
      const { bytesWritten } = await this.file.write(zeros, 0, length, this.size)
      // A short write: the next one says why.
      this.size += bytesWritten
    }
    // Some file systems find out only now.
    await this.file.datasync()
  }

  async close(): Promise<void> {
    await this.file?.close()
    this.file = undefined
  }
}
