// Broker sessions: SessionOrder and log time of "Log-structured Protocols in Delos" (SOSP 2021), DESIGN 5.1.
//
// An entry takes effect once, and only after its session's earlier ones. What arrives early is held back, and is part of the state with
// its content: the log that held it may be a volatile loglet, which a restart empties. Its place must not be trimmed, since batches are
// read from there. Entries of closed or unknown sessions are ignored.

import { packFrame } from '../../wire/frame.ts'
import { encodeEntry, parseEntry } from '../engine/entry.ts'
import type { Command, ParsedEntry } from './commands.ts'
import { firstFeatureLevel } from './feature-level.ts'
import { prefixRange, sessionKey } from './keys.ts'
import type { StateStore, StoreOp } from './store.ts'
import { unpackOwn } from './own-frame.ts'

export interface HeldEntry {
  readonly lsn: number
  readonly entry: ParsedEntry
}

export interface Session {
  /** LSN of the entry that opened it. */
  readonly id: number
  readonly node: string
  readonly incarnation: string
  /** Sequence of the next entry to take effect. */
  next: number
  /** Newest wall-clock stamp, ms. */
  stamp: number
  readonly held: Map<number, HeldEntry>
  /** Which commands its broker reads. */
  level: number
}

export interface ReadyEntry {
  readonly lsn: number
  readonly entry: ParsedEntry
}

export class Sessions {
  readonly live = new Map<number, Session>()
  /** Called for each session that ends. */
  onClose: ((session: Session) => void) | undefined
  private readonly store: StateStore
  private readonly dirty = new Set<number>()

  constructor(store: StateStore) {
    this.store = store
  }

  load(): void {
    for (const [, value] of this.store.range(prefixRange(7))) {
      const row = unpackOwn(value)
      const held = new Map(
        (row.h as [number, number, Uint8Array][]).map(([sequence, lsn, bytes]) => [
          sequence,
          { lsn, entry: parseEntry(bytes) },
        ]),
      )
      this.live.set(row.id as number, {
        id: row.id as number,
        node: row.node as string,
        incarnation: row.inc as string,
        next: row.n as number,
        stamp: row.s as number,
        held,
        level: (row.l as number | undefined) ?? firstFeatureLevel,
      })
    }
  }

  /** Whether a session is the oldest of those that live: what one broker is enough for is its broker's. */
  isOldest(id: number | undefined): boolean {
    return id !== undefined && id === Math.min(...this.live.keys())
  }

  /** The lowest LSN that a held entry still needs, if any. */
  heldFrom(): number | undefined {
    const lsns = [...this.live.values()].flatMap(s => [...s.held.values()].map(h => h.lsn))
    return lsns.length === 0 ? undefined : Math.min(...lsns)
  }

  /** Opens a session and closes the node's earlier ones. */
  open(
    id: number,
    { node, incarnation, level = firstFeatureLevel }: Command & { readonly type: 'open' },
    stamp: number,
  ): Session {
    for (const session of this.live.values()) if (session.node === node) this.close(session)
    const held = new Map<number, HeldEntry>()
    const session = { id, node, incarnation, next: 0, stamp, held, level }
    this.live.set(id, session)
    this.dirty.add(id)
    return session
  }

  /** What the session's broker reads, also for those that heard of its opening before there were levels. */
  setLevel(id: number, level: number): void {
    const session = this.live.get(id)
    if (session !== undefined) session.level = level
  }

  close(session: Session): void {
    if (!this.live.delete(session.id)) return
    this.onClose?.(session)
    this.dirty.add(session.id)
  }

  closeAll(): void {
    for (const session of this.live.values()) this.close(session)
  }

  /** Whether the entry's turn has come. Early ones are held back; duplicates and strangers are dropped. */
  admit(lsn: number, entry: ParsedEntry): Session | undefined {
    const session = this.live.get(entry.header.session)
    if (session === undefined) return undefined
    session.stamp = Math.max(session.stamp, entry.header.stamp)
    const { sequence } = entry.header
    this.dirty.add(session.id)
    if (sequence === session.next) return session
    if (sequence > session.next && !session.held.has(sequence))
      session.held.set(sequence, { lsn, entry })
    return undefined
  }

  /** Moves past the entry that just took effect; returns the next one if it was held back. */
  advance(session: Session): ReadyEntry | undefined {
    session.next++
    const held = session.held.get(session.next)
    if (held === undefined || !this.live.has(session.id)) return undefined
    session.held.delete(session.next)
    return held
  }

  /** Median of the newest stamps of the live sessions; the lower one of an even number. */
  medianStamp(): number | undefined {
    const stamps = [...this.live.values()].map(s => s.stamp).sort((a, b) => a - b)
    return stamps[(stamps.length - 1) >> 1]
  }

  takeChanges(ops: StoreOp[]): void {
    for (const id of this.dirty) {
      const session = this.live.get(id)
      ops.push(
        session === undefined
          ? { type: 'delete', key: sessionKey(id) }
          : { type: 'put', key: sessionKey(id), value: encodeSession(session) },
      )
    }
    this.dirty.clear()
  }
}

/** The entry in one piece, as it lies in the log. */
function entryBytes({ header, commands }: ParsedEntry): Uint8Array {
  const { buffers, bytes } = encodeEntry(
    header,
    commands.map(located => located.command),
  )
  const whole = new Uint8Array(bytes)
  let at = 0
  for (const buffer of buffers) {
    whole.set(buffer, at)
    at += buffer.length
  }
  return whole
}

function encodeSession(session: Session): Uint8Array {
  const { id, node, incarnation, next, stamp, held, level } = session
  const h = [...held].map(([sequence, { lsn, entry }]) => [sequence, lsn, entryBytes(entry)])
  return packFrame({ id, node, inc: incarnation, n: next, s: stamp, h, l: level })
}
