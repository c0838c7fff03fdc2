// Making and discarding loglets that are not in the chain (DESIGN 4.2, "an orphan records its expected index").
//
//   note ──► create ──► write of the chain ──┬─ in:  drop the note
//                                            └─ out: delete the store, then the note
//
// A crash anywhere leaves the note, and `collectOrphans` goes on from it. An orphan is deleted only once the chain is past what the write
// that would have installed it counted on.

import { type Chain, lastSegment } from '../chain.ts'
import { type Loglet, LogletExistsError, LogletLostError } from '../contract.ts'
import type { Placement } from '../registry.ts'
import type { Note } from '../metastore/metastore.ts'
import type { ChainView } from './chain-view.ts'

/** What it takes to find a loglet again. */
export interface LogletSource {
  readonly id: string
  readonly spec: string
  readonly placement?: Placement
}

export interface NewLoglet {
  readonly source: LogletSource
  readonly loglet: Loglet
}

export class LogletMaker {
  private readonly view: ChainView
  /** Ids that a call in this process is responsible for right now. */
  private readonly busy = new Set<string>()

  constructor(view: ChainView) {
    this.view = view
  }

  /** Makes a loglet with a fresh id for segment `index`. Nothing is left when it fails. */
  async make(index: number, spec: string, expectation: Partial<Note>): Promise<NewLoglet> {
    for (;;) {
      const made = await this.makeOnce(index, spec, expectation)
      if (made !== undefined) return made
    }
  }

  /** Notes a loglet that is about to leave the chain. */
  async retire(source: LogletSource, expectedVersion: number): Promise<void> {
    await this.view.options.metaStore.notes?.put({ ...sourceOf(source), expectedVersion })
  }

  /** Replaces what the note of a loglet made here counts on. */
  async renote(note: Note): Promise<void> {
    await this.view.options.metaStore.notes?.put(note)
  }

  /** The loglet is in the chain. A note that stays after a failure is harmless. */
  async placed(id: string): Promise<void> {
    this.busy.delete(id)
    await this.forget(id)
  }

  /** The loglet did not come into the chain, and cannot any more: deletes it. */
  async discard({ id, spec, placement }: LogletSource): Promise<void> {
    try {
      await this.view.abandon(id)
      await this.view.left(id)
      await this.view.options.registry.remove(id, spec, placement)
      await this.forget(id)
    } catch {
      // The note stays; collectOrphans tries again.
    } finally {
      this.busy.delete(id)
    }
  }

  /** Nobody knows whether the loglet came into the chain: closes it and leaves the rest to `collectOrphans`. */
  async leave(id: string): Promise<void> {
    await this.view.abandon(id).catch(() => {})
    this.busy.delete(id)
  }

  /** Deletes what earlier attempts left behind, as far as the chain allows. */
  async collectOrphans(): Promise<void> {
    const { notes } = this.view.options.metaStore
    if (notes === undefined) return
    const listed = await notes.list()
    if (listed.length === 0) return
    const chain = await this.view.refresh()
    for (const note of listed) {
      if (this.busy.has(note.id)) continue
      if (chain.segments.some(s => s.id === note.id)) await notes.delete(note.id)
      else if (isPast(chain, note)) await this.discard(note)
    }
  }

  private async makeOnce(
    index: number,
    spec: string,
    expectation: Partial<Note>,
  ): Promise<NewLoglet | undefined> {
    const { registry, clock, random, metaStore } = this.view.options
    const id = `${String(index).padStart(6, '0')}-${random.hex(3)}`
    const listed = (await metaStore.notes?.list()) ?? []
    if (this.busy.has(id) || listed.some(note => note.id === id)) return undefined
    const placement = registry.place(spec)
    const source = sourceOf({ id, spec, ...(placement === undefined ? {} : { placement }) })
    this.busy.add(id)
    try {
      await metaStore.notes?.put({ ...expectation, ...source })
      const loglet = await registry.create(id, spec, { clock, random }, placement)
      this.view.prepare(id, loglet)
      return { source, loglet }
    } catch (error) {
      if (error instanceof LogletExistsError) {
        // Somebody else's: its store is not ours to delete.
        await this.placed(id)
        return undefined
      }
      await this.discard(source)
      throw error
    }
  }

  private async forget(id: string): Promise<void> {
    await this.view.options.metaStore.notes?.delete(id).catch(() => {})
  }
}

/** Of a segment or a note: nothing but what finds the loglet. */
export function sourceOf({ id, spec, placement }: LogletSource): LogletSource {
  return placement === undefined ? { id, spec } : { id, spec, placement }
}

function isPast(chain: Chain, { expectedIndex, expectedVersion }: Note): boolean {
  if (expectedIndex !== undefined && lastSegment(chain).index <= expectedIndex) return false
  return expectedVersion === undefined || chain.version > expectedVersion
}

/** The open segment's durable store is gone. */
export function lostTailError(index: number, id: string, spec: string): LogletLostError {
  return new LogletLostError(
    `the store of the open segment ${index} (loglet ${id}, ${spec}) does not exist: restore the data directory, ` +
      'or start with an empty one; nothing was changed',
    'refused',
  )
}
