// A MetaStore in memory, for tests, simulation and brokers without a data directory. Several VirtualLogs may share one.

import type { MetaStore, Note, NoteStore, WriteResult } from './metastore.ts'

export class MemoryMetaStore implements MetaStore {
  readonly notes: NoteStore
  private value: Uint8Array | undefined
  private version = 0

  constructor() {
    const notes = new Map<string, Note>()
    this.notes = {
      list: () => Promise.resolve([...notes.values()]),
      put: note => Promise.resolve(void notes.set(note.id, note)),
      delete: id => Promise.resolve(void notes.delete(id)),
    }
  }

  read(): Promise<{ value: Uint8Array | undefined; version: number }> {
    return Promise.resolve({ value: this.value?.slice(), version: this.version })
  }

  write(value: Uint8Array, expectedVersion: number): Promise<WriteResult> {
    if (expectedVersion !== this.version)
      return Promise.resolve({ ok: false, version: this.version, value: this.value?.slice() })
    this.value = value.slice()
    this.version++
    return Promise.resolve({ ok: true, version: this.version })
  }
}
