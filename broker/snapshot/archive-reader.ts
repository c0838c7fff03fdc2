// Reads an archive, chunk by chunk, from the file that the operator names and from no other.
//
// Guarantees: what is handed out has passed number, length and CRC; memory for a chunk is taken only when the file is long enough to hold it. Links are not
// followed. What pages and batches mean is checked in check-archive.ts.

import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { LogloomError } from '../../wire/errors.ts'
import { checkSize } from './archive-writer.ts'
import {
  checkMagic,
  chunkHeaderBytes,
  type ChunkType,
  corrupt,
  isIntact,
  magicBytes,
  parseChunkHeader,
  parseTrailer,
  trailerBytes,
} from './format.ts'

export interface Chunk {
  readonly type: ChunkType
  /** Byte of the file at which it begins. */
  readonly at: number
  readonly payload: Uint8Array
}

/** Bytes read at once: a chunk is about a quarter of it. */
const readAheadBytes = 4 << 20

export class ArchiveReader {
  readonly path: string
  readonly bytes: number
  private readonly file: FileHandle

  private constructor(path: string, file: FileHandle, bytes: number) {
    this.path = path
    this.file = file
    this.bytes = bytes
  }

  /** @throws SNAPSHOT_CORRUPT, INVALID_REQUEST for what is no regular file, or the system's error */
  static async open(path: string): Promise<ArchiveReader> {
    // Without O_NONBLOCK a named pipe would hold the open up.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
    const file = await open(path, flags).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'ELOOP' ? notRegular(path) : unreadable(path, error)
    })
    try {
      const stat = await file.stat()
      if (!stat.isFile()) throw notRegular(path)
      checkSize(path, stat.size)
      return new ArchiveReader(path, file, stat.size)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  close(): Promise<void> {
    return this.file.close()
  }

  /** The footer alone, and the SHA-256 of what lies before it when `digest` is set. @throws SNAPSHOT_CORRUPT */
  async footer(): Promise<Chunk> {
    const end = this.bytes - trailerBytes
    const fail = (reason: string) => corrupt(this.path, end, reason)
    // Of a file of another kind it is said that it is none, not that its end is missing.
    checkMagic(await this.read(0, magicBytes), reason => corrupt(this.path, 0, reason))
    const at = parseTrailer(await this.read(end, trailerBytes), fail)
    if (!Number.isSafeInteger(at) || at < magicBytes || at + chunkHeaderBytes > end)
      throw fail(`the footer is said to be at ${at}`)
    const header = await this.read(at, chunkHeaderBytes)
    const { type, length } = parseChunkHeader(header, reason => corrupt(this.path, at, reason))
    if (type !== 'footer' || at + chunkHeaderBytes + length !== end)
      throw corrupt(this.path, at, 'the trailer does not lead to the footer')
    const payload = await this.read(at + chunkHeaderBytes, length)
    this.check(at, header, payload)
    return { type, at, payload }
  }

  /** All chunks in order, the footer last. `onDigest` gets the SHA-256 of everything before the footer. Payloads are the caller's. @throws SNAPSHOT_CORRUPT */
  async *chunks(onDigest?: (digest: Uint8Array) => void): AsyncGenerator<Chunk> {
    const end = this.bytes - trailerBytes
    const sha = onDigest === undefined ? undefined : createHash('sha256')
    const input = new Window(this.file, end, this.path)
    const start = await input.take(0, magicBytes)
    checkMagic(start, reason => corrupt(this.path, 0, reason))
    sha?.update(start)
    let at = magicBytes
    for (let number = 0; ; number++) {
      if (at + chunkHeaderBytes > end) throw corrupt(this.path, at, 'the footer is missing')
      const header = (await input.take(at, chunkHeaderBytes)).slice()
      const parsed = parseChunkHeader(header, reason => corrupt(this.path, at, reason))
      const next = at + chunkHeaderBytes + parsed.length
      if (next > end)
        throw corrupt(this.path, at, `a chunk of ${parsed.length} bytes reaches past the end`)
      if (parsed.number !== number)
        throw corrupt(this.path, at, `chunk ${parsed.number} is in the place of chunk ${number}`)
      const payload = (await input.take(at + chunkHeaderBytes, parsed.length)).slice()
      this.check(at, header, payload)
      const { type } = parsed
      if (type === 'footer') {
        if (sha !== undefined) onDigest?.(sha.digest())
        if (next !== end) throw corrupt(this.path, next, 'something follows the footer')
        yield { type, at, payload }
        return
      }
      sha?.update(header)
      sha?.update(payload)
      yield { type, at, payload }
      at = next
    }
  }

  private check(at: number, header: Uint8Array, payload: Uint8Array): void {
    const parsed = parseChunkHeader(header, reason => corrupt(this.path, at, reason))
    if (!isIntact(header, payload, parsed))
      throw corrupt(this.path, at, `the ${parsed.type} chunk does not match its CRC`)
  }

  private read(at: number, length: number): Promise<Uint8Array> {
    return readAt(this.file, at, length, this.path)
  }
}

/** Reads forward in large pieces. */
class Window {
  private readonly file: FileHandle
  private readonly end: number
  private readonly path: string
  private bytes: Uint8Array = new Uint8Array()
  private from = 0

  constructor(file: FileHandle, end: number, path: string) {
    this.file = file
    this.end = end
    this.path = path
  }

  /** A view that is valid until the next call. */
  async take(at: number, length: number): Promise<Uint8Array> {
    if (at < this.from || at + length > this.from + this.bytes.length) {
      const wanted = Math.min(Math.max(length, readAheadBytes), this.end - at)
      this.bytes = await readAt(this.file, at, wanted, this.path)
      this.from = at
    }
    return this.bytes.subarray(at - this.from, at - this.from + length)
  }
}

async function readAt(
  file: FileHandle,
  at: number,
  length: number,
  path: string,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(bytes, done, length - done, at + done)
    if (bytesRead === 0) throw corrupt(path, at + done, 'the file ends here, it was longer before')
    done += bytesRead
  }
  return bytes
}

function notRegular(path: string): LogloomError {
  return new LogloomError(
    'INVALID_REQUEST',
    `${path} is no regular file`,
    { path },
    { hint: 'name the archive itself, not a link or a directory' },
  )
}

function unreadable(path: string, error: NodeJS.ErrnoException): LogloomError {
  return new LogloomError(
    'INVALID_REQUEST',
    `${path} cannot be read: ${error.message}`,
    { path },
    { cause: error, hint: 'name a file that exists and may be read' },
  )
}
