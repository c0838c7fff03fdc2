// The real disk: node:fs behind the Disk port. Raw descriptors and callbacks, since the append path waits for two calls per group.
//
// Node resolves a short write without an error (seen on a full disk): every write is counted and continued, so a full disk shows as ENOSPC.

import {
  close,
  constants,
  fdatasync,
  fstat,
  fsync,
  ftruncate,
  open,
  promises,
  read,
  write,
  writev,
} from 'node:fs'
import { join } from 'node:path'
import type { Disk, DiskFile } from './ports.ts'

/** Linux takes at most this many buffers in one writev. */
const buffersPerWriteMax = 1024

/** A disk whose paths are relative to the directory `root`. */
export function nodeDisk(root: string): Disk {
  const at = (path: string): string => join(root, path)
  return {
    open: async (path, options = {}) => {
      const { O_RDWR, O_CREAT, O_EXCL } = constants
      return new NodeFile(
        await openFd(at(path), O_RDWR | (options.create === true ? O_CREAT | O_EXCL : 0)),
      )
    },
    list: async path => (await promises.readdir(at(path))).sort(),
    mkdir: async path => {
      await promises.mkdir(at(path), { recursive: true })
    },
    exists: path =>
      promises.access(at(path)).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          // Only what is absent is absent: a directory that may not be read must not look lost.
          if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false
          throw error
        },
      ),
    rename: (from, to) => promises.rename(at(from), at(to)),
    remove: path => promises.rm(at(path), { recursive: true, force: true }),
    syncDir: async path => {
      const fd = await openFd(at(path), constants.O_RDONLY)
      try {
        await call(done => fsync(fd, done))
      } finally {
        await call(done => close(fd, done))
      }
    },
  }
}

class NodeFile implements DiskFile {
  private readonly fd: number
  private closed = false

  constructor(fd: number) {
    this.fd = fd
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    let at = position
    for (let first = 0; first < buffers.length; first += buffersPerWriteMax)
      at = await this.writeSome(buffers.slice(first, first + buffersPerWriteMax), at)
  }

  read(at: number, length: number): Promise<Uint8Array> {
    const buffer = Buffer.allocUnsafeSlow(length)
    return this.fill(buffer, at, 0)
  }

  datasync(): Promise<void> {
    return call(done => fdatasync(this.fd, done))
  }

  truncate(length: number): Promise<void> {
    return call(done => ftruncate(this.fd, length, done))
  }

  size(): Promise<number> {
    return new Promise((resolve, reject) => {
      fstat(this.fd, (error, stats) => (error === null ? resolve(stats.size) : reject(error)))
    })
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    await call(done => close(this.fd, done))
  }

  private async writeSome(buffers: readonly Uint8Array[], position: number): Promise<number> {
    const bytes = buffers.reduce((sum, b) => sum + b.length, 0)
    let written = await this.writeOnce(buffers, position)
    while (written < bytes) {
      const more = await this.writeOnce(from(buffers, written), position + written)
      // A write that takes nothing and reports nothing would loop for ever.
      if (more === 0)
        throw Object.assign(new Error('the disk takes no more bytes'), { code: 'ENOSPC' })
      written += more
    }
    return position + bytes
  }

  private writeOnce(buffers: readonly Uint8Array[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const done = (error: Error | null, written: number): void => {
        if (error === null) resolve(written)
        else reject(error)
      }
      const [only] = buffers
      if (buffers.length === 1 && only !== undefined)
        write(this.fd, only, 0, only.length, position, done)
      else writev(this.fd, buffers as Uint8Array[], position, done)
    })
  }

  private async fill(buffer: Buffer, position: number, filled: number): Promise<Uint8Array> {
    let at = filled
    while (at < buffer.length) {
      const got = await new Promise<number>((resolve, reject) => {
        read(this.fd, buffer, at, buffer.length - at, position + at, (error, bytes) =>
          error === null ? resolve(bytes) : reject(error),
        )
      })
      if (got === 0) break
      at += got
    }
    return at === buffer.length ? buffer : buffer.subarray(0, at)
  }
}

/** What is left of the buffers after `skip` bytes. */
function from(buffers: readonly Uint8Array[], skip: number): Uint8Array[] {
  let left = skip
  const rest: Uint8Array[] = []
  for (const buffer of buffers) {
    if (left >= buffer.length) left -= buffer.length
    else {
      rest.push(buffer.subarray(left))
      left = 0
    }
  }
  return rest
}

function openFd(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, flags, 0o644, (error, fd) => (error === null ? resolve(fd) : reject(error)))
  })
}

function call(run: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) =>
    run(error => (error === null ? resolve() : reject(error))),
  )
}
