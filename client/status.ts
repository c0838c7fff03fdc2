// The life of a client's connection as a stream of states.
//
// Guarantees: every iterator first sees the present state, then each change in order, and ends after `closed`. A reader that falls
// behind loses the oldest states, never the newest: the queue is bounded. One stream of a discriminated union instead of events, as
// in nats.js.

import type { LogloomError } from '../wire/index.ts'
import { endable } from './endable.ts'

/** One state of the connection. `recovering` says what broke it and that the client dials again by itself. */
export type ClientStatus =
  | { readonly type: 'connecting'; readonly url: string; readonly attempt: number }
  | {
      readonly type: 'open'
      readonly url: string
      readonly serverId: string
      readonly version: string
    }
  | {
      /** A quota is used up: what is sent or read waits for so long. The connection stays as it is. */
      readonly type: 'throttled'
      readonly url: string
      readonly throttleMs: number
    }
  | { readonly type: 'recovering'; readonly url: string; readonly error: LogloomError }
  | { readonly type: 'closed'; readonly error?: LogloomError }

const pendingStatusesMax = 64

interface StatusReader {
  readonly pending: ClientStatus[]
  wake: (() => void) | undefined
  isOver: boolean
}

/** Fans one sequence of states out to any number of iterators. */
export class StatusFeed {
  #current: ClientStatus
  readonly #readers = new Set<StatusReader>()

  constructor(first: ClientStatus) {
    this.#current = first
  }

  get current(): ClientStatus {
    return this.#current
  }

  publish(status: ClientStatus): void {
    if (this.#current.type === 'closed') return
    this.#current = status
    this.#hand(status)
  }

  /** Hands on something that is no state: `current` stays. */
  tell(status: ClientStatus): void {
    if (this.#current.type !== 'closed') this.#hand(status)
  }

  #hand(status: ClientStatus): void {
    for (const reader of this.#readers) {
      reader.pending.push(status)
      if (reader.pending.length > pendingStatusesMax) reader.pending.shift()
      reader.wake?.()
    }
  }

  read(): AsyncGenerator<ClientStatus, void, void> {
    const reader: StatusReader = { pending: [], wake: undefined, isOver: false }
    return endable(this.#read(reader), () => {
      reader.isOver = true
      reader.wake?.()
    })
  }

  async *#read(reader: StatusReader): AsyncGenerator<ClientStatus, void, void> {
    reader.pending.push(this.#current)
    this.#readers.add(reader)
    try {
      while (!reader.isOver) {
        for (let status = reader.pending.shift(); status; status = reader.pending.shift()) {
          yield status
          if (status.type === 'closed') return
        }
        await new Promise<void>(resolve => {
          reader.wake = resolve
          if (reader.pending.length > 0) resolve()
        })
        reader.wake = undefined
      }
    } finally {
      this.#readers.delete(reader)
    }
  }
}
