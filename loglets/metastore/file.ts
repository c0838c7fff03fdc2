// A MetaStore in a directory: the embedded default (DESIGN 4.3).
//
//   <dir>/register        magic "LLMS" | format u32 | version u64 | length u32 | crc32 u32 | value      big endian; the CRC covers all else
//   <dir>/notes/<id>.json {"format":1,"note":{"id","spec",…}}
//
// Guarantees: a write that resolved survives a power cut; a crash leaves the old value or the new. Writers of one process are serialised;
// other processes are kept out by the LOCK of the data directory, which is not this file's concern.

import { crc32 } from '../../wire/crc32.ts'
import type { Disk } from '../ports.ts'
import { makeDir, readFile, replaceFile } from './atomic-file.ts'
import {
  type MetaStore,
  MetaStoreCorruptError,
  type Note,
  type NoteStore,
  type WriteResult,
} from './metastore.ts'

export interface FileMetaStoreOptions {
  readonly disk: Disk
  /** Made when it does not exist. */
  readonly dir: string
}

interface Register {
  readonly value: Uint8Array | undefined
  readonly version: number
}

const magic = 0x4c4c4d53
const format = 1
const headerBytes = 24
const registerName = 'register'
/** Of the value; a chain of 10,000 segments stays far below. */
const valueBytesMax = 64 << 20

export class FileMetaStore implements MetaStore {
  readonly notes: NoteStore
  private readonly disk: Disk
  private readonly dir: string
  private queue: Promise<unknown> = Promise.resolve()
  /** The directory may hold a rename that is not durable yet: sync before believing it. */
  private settled = false

  constructor({ disk, dir }: FileMetaStoreOptions) {
    this.disk = disk
    this.dir = dir
    this.notes = {
      list: () => this.inTurn(() => this.listNotes()),
      put: note => this.inTurn(() => this.putNote(note)),
      delete: id => this.inTurn(() => this.deleteNote(id)),
    }
  }

  /** @throws {MetaStoreCorruptError} */
  read(): Promise<Register> {
    return this.inTurn(() => this.load())
  }

  /** @throws {MetaStoreCorruptError} */
  write(value: Uint8Array, expectedVersion: number): Promise<WriteResult> {
    return this.inTurn(async () => {
      const { version, value: found } = await this.load()
      if (version !== expectedVersion) return { ok: false, version, value: found }
      this.settled = false
      await replaceFile(this.disk, this.dir, registerName, encode(value, version + 1))
      this.settled = true
      return { ok: true, version: version + 1 }
    })
  }

  /** One after the other; a failure does not stop the next. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.queue.then(work)
    this.queue = done.catch(() => {})
    return done
  }

  private async load(): Promise<Register> {
    if (!this.settled) {
      await makeDir(this.disk, `${this.dir}/notes`)
      await this.disk.syncDir(this.dir)
      this.settled = true
    }
    const bytes = await readFile(this.disk, `${this.dir}/${registerName}`)
    return bytes === undefined ? { value: undefined, version: 0 } : decode(bytes, this.dir)
  }

  private async listNotes(): Promise<readonly Note[]> {
    await this.load()
    const notes: Note[] = []
    for (const name of await this.disk.list(`${this.dir}/notes`)) {
      if (!name.endsWith('.json')) {
        // What a crash left of a note that was never put.
        await this.disk.remove(`${this.dir}/notes/${name}`)
        continue
      }
      const bytes = await readFile(this.disk, `${this.dir}/notes/${name}`)
      if (bytes !== undefined) notes.push(decodeNote(bytes, `${this.dir}/notes/${name}`))
    }
    return notes
  }

  private async putNote(note: Note): Promise<void> {
    await this.load()
    const text = JSON.stringify({ format, note })
    await replaceFile(this.disk, `${this.dir}/notes`, `${note.id}.json`, [
      new TextEncoder().encode(text),
    ])
  }

  private async deleteNote(id: string): Promise<void> {
    await this.disk.remove(`${this.dir}/notes/${id}.json`)
    await this.disk.syncDir(`${this.dir}/notes`)
  }
}

function encode(value: Uint8Array, version: number): readonly Uint8Array[] {
  const header = new Uint8Array(headerBytes)
  const view = new DataView(header.buffer)
  view.setUint32(0, magic)
  view.setUint32(4, format)
  view.setBigUint64(8, BigInt(version))
  view.setUint32(16, value.length)
  view.setUint32(20, checksum(header, value))
  return [header, value]
}

function decode(bytes: Uint8Array, dir: string): Register {
  const corrupt = (what: string): MetaStoreCorruptError =>
    new MetaStoreCorruptError(
      `${dir}/${registerName} ${what}: restore the metastore directory from a backup; nothing was changed`,
    )
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < headerBytes || view.getUint32(0) !== magic)
    throw corrupt('is not a metastore register')
  if (view.getUint32(4) > format)
    throw new MetaStoreCorruptError(
      `${dir}/${registerName} has format ${view.getUint32(4)}, this version reads ${format}: upgrade logloom`,
    )
  const value = bytes.subarray(headerBytes)
  if (value.length !== view.getUint32(16) || value.length > valueBytesMax)
    throw corrupt(`holds ${value.length} bytes instead of ${view.getUint32(16)}`)
  if (view.getUint32(20) !== checksum(bytes.subarray(0, headerBytes), value))
    throw corrupt('has a wrong checksum')
  const version = Number(view.getBigUint64(8))
  if (!Number.isSafeInteger(version)) throw corrupt(`has the impossible version ${version}`)
  return { value, version }
}

/** Of the header before its checksum, and the value. */
function checksum(header: Uint8Array, value: Uint8Array): number {
  return crc32(value, crc32(header.subarray(0, headerBytes - 4)))
}

function decodeNote(bytes: Uint8Array, path: string): Note {
  try {
    const { note } = JSON.parse(new TextDecoder().decode(bytes)) as { note: Note }
    if (typeof note.id === 'string' && typeof note.spec === 'string') return note
  } catch {
    // Reported below.
  }
  throw new MetaStoreCorruptError(
    `${path} is not a note: delete it; the loglet that it names may stay behind`,
  )
}
