// A disk in memory that can lose what was not synced: for crash points and simulation.
//
//   file    synced bytes  +  un-synced operations in order (writes, truncations)     datasync moves them over
//   names   durable entries  +  un-synced creates, renames and removals              syncDir of the parent moves them over
//
// A crash keeps any chosen part of what was not synced: each operation whole, not at all, or (writes) up to a 512-byte boundary, as real
// disks reorder and tear. Handles from before the crash are dead.

import type { Disk, DiskFile } from '../../loglets/ports.ts'

type FileOp =
  | { readonly type: 'write'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly type: 'truncate'; readonly length: number }

interface Inode {
  /** What survives any crash. */
  durable: Uint8Array
  /** What a reader sees now. */
  current: Uint8Array
  pending: FileOp[]
}

/** A rename is one step: a crash shows the old name or the new one. */
type NameOp =
  | { readonly type: 'link'; readonly path: string; readonly inode: Inode; readonly from?: string }
  | { readonly type: 'unlink'; readonly path: string }

function applyName(names: Map<string, Inode>, op: NameOp): void {
  if (op.type === 'unlink') names.delete(op.path)
  else {
    if (op.from !== undefined) names.delete(op.from)
    names.set(op.path, op.inode)
  }
}

/** How much of an un-synced operation a crash keeps: everything, nothing, the first bytes of a write, or some of its sectors. */
export type Keep = 'all' | 'none' | number | readonly boolean[]

export interface UnsyncedOp {
  readonly kind: 'write' | 'truncate' | 'name'
  readonly path: string
  /** Bytes of a write. */
  readonly length: number
}

export class DiskError extends Error {
  override readonly name = 'DiskError'
  readonly code: string

  constructor(code: string, message: string) {
    super(`${code}: ${message}`)
    this.code = code
  }
}

export interface SimDiskFaults {
  /** The next datasync fails once; its pages are dropped, as Linux does. */
  failSync?: (path: string) => boolean
  /** Bytes that writes may still take before ENOSPC. */
  spaceLeft?: number
}

export class SimDisk implements Disk {
  readonly faults: SimDiskFaults = {}
  /** Operations so far that change something or make it durable. */
  operations = 0
  /** Called before each of them; may throw to stop there. */
  onOperation: (name: string, path: string) => void = () => {}
  private names = new Map<string, Inode>()
  private durableNames = new Map<string, Inode>()
  private pendingNames: NameOp[] = []
  private readonly directories = new Set<string>(['.', ''])
  private generation = 0

  /** A copy that shares nothing. */
  fork(): SimDisk {
    const copy = new SimDisk()
    const inodes = new Map<Inode, Inode>()
    const of = (inode: Inode): Inode => {
      let twin = inodes.get(inode)
      if (twin === undefined) {
        twin = {
          durable: inode.durable.slice(),
          current: inode.current.slice(),
          pending: [...inode.pending],
        }
        inodes.set(inode, twin)
      }
      return twin
    }
    for (const [path, inode] of this.names) copy.names.set(path, of(inode))
    for (const [path, inode] of this.durableNames) copy.durableNames.set(path, of(inode))
    copy.pendingNames = this.pendingNames.map(op =>
      op.type === 'link' ? { ...op, inode: of(op.inode) } : op,
    )
    for (const directory of this.directories) copy.directories.add(directory)
    return copy
  }

  /** What a crash may lose, in the order in which `crash` asks. */
  unsynced(): UnsyncedOp[] {
    const ops: UnsyncedOp[] = this.pendingNames.map(op => ({
      kind: 'name',
      path: op.path,
      length: 0,
    }))
    for (const [path, inode] of this.allInodes())
      for (const op of inode.pending)
        ops.push({ kind: op.type, path, length: op.type === 'write' ? op.bytes.length : 0 })
    return ops
  }

  /** Power cut: keeps of each un-synced operation what `keep` says. */
  crash(keep: (op: UnsyncedOp, index: number) => Keep): void {
    this.generation++
    let index = 0
    const inodes = this.allInodes()
    const names = new Map(this.durableNames)
    for (const op of this.pendingNames) {
      if (keep({ kind: 'name', path: op.path, length: 0 }, index++) === 'none') continue
      applyName(names, op)
    }
    for (const [path, inode] of inodes) {
      let bytes = inode.durable
      for (const op of inode.pending) {
        const length = op.type === 'write' ? op.bytes.length : 0
        const kept = keep({ kind: op.type, path, length }, index++)
        if (kept === 'none') continue
        bytes =
          op.type === 'truncate'
            ? resized(bytes, op.length)
            : keptWrite(bytes, op.at, op.bytes, kept)
      }
      inode.durable = bytes
      inode.current = bytes
      inode.pending = []
    }
    this.durableNames = names
    this.names = new Map(names)
    this.pendingNames = []
  }

  /** Changes stored bytes behind everybody's back. */
  corrupt(path: string, at: number, change: (byte: number) => number): void {
    const inode = this.inode(path)
    for (const bytes of new Set([inode.durable, inode.current]))
      bytes[at] = change(bytes[at] as number)
  }

  /** What a reader sees now. */
  content(path: string): Uint8Array {
    return this.inode(path).current
  }

  paths(): string[] {
    return [...this.names.keys()].sort()
  }

  async open(path: string, options: { create?: boolean } = {}): Promise<DiskFile> {
    if (options.create === true) {
      if (this.names.has(path)) throw new DiskError('EEXIST', path)
      if (!this.directories.has(parentOf(path))) throw new DiskError('ENOENT', parentOf(path))
      this.operation('create', path)
      const inode = { durable: new Uint8Array(0), current: new Uint8Array(0), pending: [] }
      this.names.set(path, inode)
      this.pendingNames.push({ type: 'link', path, inode })
      return this.handle(path, inode)
    }
    return this.handle(path, this.inode(path))
  }

  async list(path: string): Promise<readonly string[]> {
    if (!this.directories.has(path)) throw new DiskError('ENOENT', path)
    const prefix = path === '.' || path === '' ? '' : `${path}/`
    const found = new Set<string>()
    for (const name of [...this.names.keys(), ...this.directories])
      if (name.startsWith(prefix) && name.length > prefix.length)
        found.add(name.slice(prefix.length).split('/')[0] as string)
    found.delete('.')
    return [...found].sort()
  }

  /** Directories are durable at once: no caller relies on their loss. */
  async mkdir(path: string): Promise<void> {
    const parts = path.split('/')
    for (let i = 1; i <= parts.length; i++) this.directories.add(parts.slice(0, i).join('/'))
  }

  async exists(path: string): Promise<boolean> {
    return this.names.has(path) || this.directories.has(path)
  }

  async rename(from: string, to: string): Promise<void> {
    const inode = this.inode(from)
    this.operation('rename', to)
    const op: NameOp = { type: 'link', path: to, inode, from }
    applyName(this.names, op)
    this.pendingNames.push(op)
  }

  async remove(path: string): Promise<void> {
    const gone = [...this.names.keys()].filter(name => name === path || name.startsWith(`${path}/`))
    if (gone.length > 0) this.operation('remove', path)
    for (const name of gone) {
      this.names.delete(name)
      this.pendingNames.push({ type: 'unlink', path: name })
    }
    for (const directory of this.directories)
      if (directory === path || directory.startsWith(`${path}/`)) this.directories.delete(directory)
  }

  async syncDir(path: string): Promise<void> {
    this.operation('syncDir', path)
    const inside = (op: NameOp): boolean =>
      parentOf(op.path) === path || op.path.startsWith(`${path}/`)
    for (const op of this.pendingNames.filter(inside)) applyName(this.durableNames, op)
    this.pendingNames = this.pendingNames.filter(op => !inside(op))
  }

  private operation(name: string, path: string): void {
    this.onOperation(name, path)
    this.operations++
  }

  private inode(path: string): Inode {
    const inode = this.names.get(path)
    if (inode === undefined) throw new DiskError('ENOENT', path)
    return inode
  }

  /** Every inode that a name reaches now or might reach after a crash, each with one path. */
  private allInodes(): Map<string, Inode> {
    const found = new Map<Inode, string>()
    for (const [path, inode] of [...this.durableNames, ...this.names])
      if (!found.has(inode)) found.set(inode, path)
    for (const op of this.pendingNames)
      if (op.type === 'link' && !found.has(op.inode)) found.set(op.inode, op.path)
    return new Map([...found].map(([inode, path], i) => [`${path}#${i}`, inode]))
  }

  private handle(path: string, inode: Inode): DiskFile {
    const { generation } = this
    const alive = (): void => {
      if (generation !== this.generation)
        throw new DiskError('EBADF', `${path} was open before the crash`)
    }
    return {
      write: async (buffers, at) => {
        alive()
        this.operation('write', path)
        let bytes = joined(buffers)
        const { spaceLeft } = this.faults
        const growth = Math.max(0, at + bytes.length - inode.current.length)
        const full = spaceLeft !== undefined && growth > spaceLeft
        if (full) bytes = bytes.subarray(0, Math.max(0, bytes.length - (growth - spaceLeft)))
        if (spaceLeft !== undefined) this.faults.spaceLeft = Math.max(0, spaceLeft - growth)
        inode.current = overwritten(inode.current, at, bytes)
        inode.pending.push({ type: 'write', at, bytes })
        if (full) throw new DiskError('ENOSPC', path)
      },
      read: async (at, length) => {
        alive()
        return inode.current.slice(at, at + length)
      },
      datasync: async () => {
        alive()
        this.operation('datasync', path)
        if (this.faults.failSync?.(path) === true) {
          // The pages are marked clean and still show the new bytes; the disk has the old ones.
          inode.pending = []
          throw new DiskError('EIO', path)
        }
        inode.durable = inode.current.slice()
        inode.pending = []
      },
      truncate: async length => {
        alive()
        this.operation('truncate', path)
        const { spaceLeft } = this.faults
        if (spaceLeft !== undefined)
          this.faults.spaceLeft = spaceLeft + Math.max(0, inode.current.length - length)
        inode.current = resized(inode.current, length)
        inode.pending.push({ type: 'truncate', length })
      },
      size: async () => {
        alive()
        return inode.current.length
      },
      close: async () => {},
    }
  }
}

function parentOf(path: string): string {
  return path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.'
}

function joined(buffers: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(buffers.reduce((sum, b) => sum + b.length, 0))
  let at = 0
  for (const buffer of buffers) {
    bytes.set(buffer, at)
    at += buffer.length
  }
  return bytes
}

function resized(bytes: Uint8Array, length: number): Uint8Array {
  const result = new Uint8Array(length)
  result.set(bytes.subarray(0, length))
  return result
}

export const sectorBytes = 512

/** What is left of a write; sectors that did not make it keep what was there, zeros past the end. */
function keptWrite(
  bytes: Uint8Array,
  at: number,
  patch: Uint8Array,
  kept: Exclude<Keep, 'none'>,
): Uint8Array {
  if (kept === 'all') return overwritten(bytes, at, patch)
  if (typeof kept === 'number') return overwritten(bytes, at, patch.subarray(0, kept))
  let result = bytes
  kept.forEach((isKept, i) => {
    const part = patch.subarray(i * sectorBytes, (i + 1) * sectorBytes)
    if (isKept && part.length > 0) result = overwritten(result, at + i * sectorBytes, part)
  })
  return result
}

function overwritten(bytes: Uint8Array, at: number, patch: Uint8Array): Uint8Array {
  const result = resized(bytes, Math.max(bytes.length, at + patch.length))
  result.set(patch, at)
  return result
}
