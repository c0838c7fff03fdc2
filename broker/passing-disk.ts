// The disk of a broker without a data directory: a file is there until it is renamed into place, and then forgotten. What is written for the
// next start (checkpoints) can be written and verified like everywhere, but leaves nothing in the working directory, where another broker
// would take it for its own.

import type { Disk, DiskFile } from '../loglets/ports.ts'

/** An empty disk in memory that never keeps what is finished. */
export function passingDisk(): Disk {
  const files = new Map<string, PassingFile>()
  return {
    open: async (path, options = {}) => {
      const known = files.get(path)
      if (options.create === true) {
        if (known !== undefined) throw failure('EEXIST', path)
        const file = new PassingFile()
        files.set(path, file)
        return file
      }
      if (known === undefined) throw failure('ENOENT', path)
      return known
    },
    list: async () => [],
    mkdir: async () => {},
    exists: async path => files.has(path),
    rename: async from => {
      files.delete(from)
    },
    remove: async path => {
      files.delete(path)
    },
    syncDir: async () => {},
  }
}

class PassingFile implements DiskFile {
  private content = Buffer.alloc(0)
  private length = 0

  async write(buffers: readonly Uint8Array[], at: number): Promise<void> {
    let end = at
    for (const buffer of buffers) {
      this.reserve(end + buffer.length)
      this.content.set(buffer, end)
      end += buffer.length
    }
    this.length = Math.max(this.length, end)
  }

  async read(at: number, length: number): Promise<Uint8Array> {
    return this.content.subarray(at, Math.min(at + length, this.length)).slice()
  }

  async datasync(): Promise<void> {}

  async truncate(length: number): Promise<void> {
    this.content.fill(0, length)
    this.length = length
  }

  async size(): Promise<number> {
    return this.length
  }

  async close(): Promise<void> {}

  /** Doubles, so that many small writes are copied a few times only. */
  private reserve(bytes: number): void {
    if (bytes <= this.content.length) return
    const larger = Buffer.alloc(Math.max(bytes, 2 * this.content.length))
    larger.set(this.content)
    this.content = larger
  }
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}: this broker has no data directory`), { code })
}
