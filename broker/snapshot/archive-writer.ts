// Writes an archive: streamed, under another name, which it changes for its own only once everything is on the disk.
//
// Guarantees: a file of the given name is a whole archive or is not there; memory does not grow with the archive. Knows nothing of what pages and
// batches mean.

import { createHash } from 'node:crypto'
import { type FileHandle, open, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { LogloomError } from '../../wire/errors.ts'
import { type Frame, packFrame } from '../../wire/frame.ts'
import {
  archiveMagic,
  chunkHeader,
  type ChunkType,
  corrupt,
  magicBytes,
  partialSuffix,
  trailer,
  trailerBytes,
} from './format.ts'

/** Bytes gathered for one write. */
const gatherBytes = 1 << 20

export class ArchiveWriter {
  readonly path: string
  private readonly partial: string
  private readonly file: FileHandle
  private readonly sha = createHash('sha256')
  private gathered: Uint8Array[] = []
  private gatheredBytes = 0
  private number = 0
  /** Bytes handed over so far. */
  bytes = 0

  private constructor(path: string, partial: string, file: FileHandle) {
    this.path = path
    this.partial = partial
    this.file = file
  }

  /** Begins an archive that will be at `path`. @throws INVALID_REQUEST when something is there */
  static async create(path: string, unique: string): Promise<ArchiveWriter> {
    await refuseExisting(path)
    const partial = join(dirname(path), `.${basename(path)}.${unique}${partialSuffix}`)
    // The hashes of API keys are in it, and everybody's records.
    const file = await open(partial, 'wx', 0o600).catch((error: Error) => {
      throw unwritable(path, error)
    })
    const writer = new ArchiveWriter(path, partial, file)
    writer.put([archiveMagic()])
    return writer
  }

  /** Adds a chunk. The pieces MUST stay as they are until it resolves. */
  async chunk(type: ChunkType, payload: readonly Uint8Array[]): Promise<void> {
    this.put([chunkHeader(type, this.number++, payload), ...payload])
    await this.flush(gatherBytes)
  }

  /** Adds the footer, brings everything to the disk and gives the file its name. @returns bytes of the file, and SHA-256 of all before the footer */
  async finish(totals: Frame): Promise<{ readonly bytes: number; readonly sha256: string }> {
    const digest = this.sha.copy().digest()
    const footerAt = this.bytes
    const footer = packFrame({ ...totals, sha256: digest })
    this.put([chunkHeader('footer', this.number++, [footer]), footer, trailer(footerAt)])
    await this.flush(0)
    await this.file.sync()
    await this.file.close()
    await refuseExisting(this.path)
    await rename(this.partial, this.path)
    await syncDirectory(dirname(this.path))
    return { bytes: this.bytes, sha256: digest.toString('hex') }
  }

  /** Gives up: nothing is left of it. */
  async abandon(): Promise<void> {
    await this.file.close().catch(() => {})
    await unlink(this.partial).catch(() => {})
  }

  private put(pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) {
      this.sha.update(piece)
      this.gathered.push(piece)
      this.gatheredBytes += piece.length
      this.bytes += piece.length
    }
  }

  private async flush(above: number): Promise<void> {
    if (this.gatheredBytes <= above) return
    const pieces = this.gathered
    this.gathered = []
    this.gatheredBytes = 0
    await writeAll(this.file, pieces)
  }
}

/** A short write is no error to Node. */
async function writeAll(file: FileHandle, pieces: readonly Uint8Array[]): Promise<void> {
  // Most pieces are small headers.
  const bytes = Buffer.concat(pieces)
  for (let from = 0; from < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, from, bytes.length - from)
    if (bytesWritten === 0) throw new Error('the disk takes no more')
    from += bytesWritten
  }
}

async function refuseExisting(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  if (found === undefined) return
  throw new LogloomError(
    'INVALID_REQUEST',
    `${path} exists`,
    { path },
    { hint: 'choose another name, or remove the file first' },
  )
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** The smallest file that could be an archive. @throws SNAPSHOT_CORRUPT */
export function checkSize(path: string, bytes: number): void {
  if (bytes < magicBytes + trailerBytes) throw corrupt(path, bytes, 'the file is too short')
}

function unwritable(path: string, error: Error): LogloomError {
  return new LogloomError(
    'INVALID_REQUEST',
    `${path} cannot be written: ${error.message}`,
    { path },
    { cause: error, hint: 'name a file in a folder that exists and may be written to' },
  )
}
