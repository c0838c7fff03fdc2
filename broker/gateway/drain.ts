// How a broker leaves its clients (docs/operations.md, "Starting and stopping"): not all at once, because they all turn to somebody else.
//
//   0 ──── goaway, in random order ──── spread ───────── drainMs ── grace
//          each is closed once it has its answers         all are closed
//
// The spread grows with the number of connections, up to `drainSpreadMs` and half of the drain: few are told at once. Whoever has not been
// told yet is served as ever.

import { closeCode } from './connection.ts'

const pollMs = 5
/** How long a stop waits at least for peers to take the close frame. */
const closeGraceMs = 200
/** What one connection adds to the spread: a rate at which others take clients in with ease. */
const perConnectionMs = 4

/** What the drain needs of a connection. */
export interface Leaving {
  readonly closed: boolean
  readonly idle: boolean
  goAway(): void
  close(code: number, reason: string): void
  terminate(): void
}

/** How long telling `count` connections takes. */
export function spreadOf(count: number, drainSpreadMs: number, drainMs: number): number {
  return Math.min(drainSpreadMs, drainMs / 2, count <= 1 ? 0 : count * perConnectionMs)
}

export class Drain {
  private readonly connections: Iterable<Leaving> & { readonly size: number }
  private readonly spreadMs: number

  /** `connections` loses those that are gone. */
  constructor(connections: Iterable<Leaving> & { readonly size: number }, spreadMs: number) {
    this.connections = connections
    this.spreadMs = spreadMs
  }

  /** Resolves when all are gone, `ms` and a little later at the latest. */
  async run(ms: number): Promise<void> {
    const start = performance.now()
    const deadline = start + ms
    const waiting = shuffled([...this.connections])
    const count = waiting.length
    const spreadMs = spreadOf(count, this.spreadMs, ms)
    const told = new Set<Leaving>()
    const tell = (connection: Leaving): void => {
      connection.goAway()
      told.add(connection)
    }
    for (;;) {
      const now = performance.now()
      const share = spreadMs === 0 ? 1 : Math.min(1, (now - start) / spreadMs)
      const due = Math.ceil(share * count) - (count - waiting.length)
      for (const each of waiting.splice(0, due)) tell(each)
      // Some were let in just before the port was closed.
      if (share === 1) for (const each of this.connections) if (!told.has(each)) tell(each)
      if (closeIdle(told, now >= deadline) === 0 && share === 1) break
      await pollOnce()
    }
    await this.allGone(Math.max(deadline, performance.now() + closeGraceMs))
    for (const connection of this.connections) connection.terminate()
  }

  /** Peers that read get their last replies and the close code before their sockets are dropped. */
  private async allGone(deadline: number): Promise<void> {
    while (this.connections.size > 0 && performance.now() < deadline) await pollOnce()
  }
}

/** Closes each connection that has its answers, or all of them. @returns how many are left */
function closeIdle(told: ReadonlySet<Leaving>, isLate: boolean): number {
  let open = 0
  for (const connection of told) {
    if (connection.closed) continue
    if (connection.idle || isLate) connection.close(closeCode.goingAway, 'the broker is going away')
    else open++
  }
  return open
}

function shuffled<T>(items: T[]): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[items[i], items[j]] = [items[j] as T, items[i] as T]
  }
  return items
}

function pollOnce(): Promise<void> {
  return new Promise(resolve => {
    setTimeout(resolve, pollMs)
  })
}
