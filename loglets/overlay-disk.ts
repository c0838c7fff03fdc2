// A disk that shows another one and keeps every change to itself, in memory: for looking at files with code that would repair them.

import type { Disk, DiskFile } from './ports.ts'

interface Patch {
  readonly at: number
  readonly bytes: Uint8Array
}

/** Nothing of what is written through it reaches `base`. */
export function overlayDisk(base: Disk): Disk {
  const files = new Map<string, OverlayFile>()
  /** Names that are gone here: files, or directories with everything in them. */
  const removed = new Set<string>()
  const isRemoved = (path: string): boolean =>
    removed.has(path) || [...removed].some(gone => path.startsWith(`${gone}/`))
  const exists = async (path: string): Promise<boolean> =>
    files.has(path) || (!isRemoved(path) && (await base.exists(path)))
  const find = async (path: string): Promise<OverlayFile> => {
    const known = files.get(path)
    if (known !== undefined) return known
    if (isRemoved(path)) throw failure('ENOENT', path)
    const found = await base.open(path)
    const file = new OverlayFile(found, await found.size())
    files.set(path, file)
    return file
  }
  return {
    open: async (path, options = {}) => {
      if (options.create !== true) return find(path)
      if (await exists(path)) throw failure('EEXIST', path)
      const file = new OverlayFile(undefined, 0)
      files.set(path, file)
      return file
    },
    list: async path => {
      const below = isRemoved(path)
        ? []
        : (await base.list(path)).filter(name => !isRemoved(`${path}/${name}`))
      const here = [...files.keys()].filter(name => name.startsWith(`${path}/`))
      const names = here.map(name => name.slice(path.length + 1).split('/')[0] as string)
      return [...new Set([...below, ...names])].sort()
    },
    mkdir: async path => {
      removed.delete(path)
    },
    exists,
    rename: async (from, to) => {
      const file = await find(from)
      files.delete(from)
      removed.add(from)
      files.set(to, file)
    },
    remove: async path => {
      removed.add(path)
      for (const name of files.keys())
        if (name === path || name.startsWith(`${path}/`)) files.delete(name)
    },
    syncDir: async () => {},
  }
}

/** The first `shown` bytes of a file, with patches over and behind them. Stays open: it may be asked for again. */
class OverlayFile implements DiskFile {
  private readonly base: DiskFile | undefined
  private shown: number
  private length: number
  private patches: Patch[] = []

  constructor(base: DiskFile | undefined, length: number) {
    this.base = base
    this.shown = length
    this.length = length
  }

  async write(buffers: readonly Uint8Array[], at: number): Promise<void> {
    let end = at
    for (const buffer of buffers) {
      this.patches.push({ at: end, bytes: buffer.slice() })
      end += buffer.length
    }
    this.length = Math.max(this.length, end)
  }

  async read(at: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, this.length - at)))
    const fromBase = Math.min(bytes.length, this.shown - at)
    if (this.base !== undefined && fromBase > 0) bytes.set(await this.base.read(at, fromBase))
    for (const patch of this.patches) {
      const from = Math.max(at, patch.at)
      const to = Math.min(at + bytes.length, patch.at + patch.bytes.length)
      if (from < to) bytes.set(patch.bytes.subarray(from - patch.at, to - patch.at), from - at)
    }
    return bytes
  }

  async datasync(): Promise<void> {}

  async truncate(length: number): Promise<void> {
    this.shown = Math.min(this.shown, length)
    this.length = length
    this.patches = this.patches.flatMap(({ at, bytes }) =>
      at >= length ? [] : [{ at, bytes: bytes.subarray(0, length - at) }],
    )
  }

  async size(): Promise<number> {
    return this.length
  }

  async close(): Promise<void> {}
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code })
}
