// What a consumer tells those who listen. A listener that throws is reported to nobody and stops nothing.

import type { Place } from './group-member.ts'

export interface ConsumerListener {
  /** Partitions that are new to this member. */
  readonly assigned: (places: readonly Place[]) => void
  /** Partitions that the group asks back: they are committed and released once what is under way has ended. */
  readonly revoked: (places: readonly Place[]) => void
  /** Partitions that are another's without having been given back. */
  readonly lost: (places: readonly Place[]) => void
  /** Records that were not handed out yet, after each batch. */
  readonly lag: (lag: {
    readonly topic: string
    readonly partition: number
    readonly records: number
  }) => void
  /** A partition has records beyond `position`, and brings none. */
  readonly stalled: (stalled: {
    readonly topic: string
    readonly partition: number
    readonly position: number
    readonly end: number
  }) => void
}

export class ConsumerEvents {
  /** An assignment has come, be it empty. */
  hasAssignment = false
  readonly #listeners = new Map<keyof ConsumerListener, Set<(value: never) => void>>()

  on<T extends keyof ConsumerListener>(type: T, listener: ConsumerListener[T]): () => void {
    const set = this.#listeners.get(type) ?? new Set()
    this.#listeners.set(type, set)
    set.add(listener)
    return () => {
      set.delete(listener)
    }
  }

  assigned(places: readonly Place[]): void {
    this.hasAssignment = true
    if (places.length > 0) this.#tell('assigned', places.map(plain))
  }

  revoked(places: readonly Place[]): void {
    this.#tell('revoked', places.map(plain))
  }

  lost(places: readonly Place[]): void {
    this.#tell('lost', places.map(plain))
  }

  lag({ topic, partition }: Place, records: number): void {
    this.#tell('lag', { topic, partition, records: Math.max(0, records) })
  }

  stalled({ topic, partition }: Place, position: number, end: number): void {
    this.#tell('stalled', { topic, partition, position, end })
  }

  #tell<T extends keyof ConsumerListener>(
    type: T,
    value: Parameters<ConsumerListener[T]>[0],
  ): void {
    for (const listener of this.#listeners.get(type) ?? [])
      try {
        ;(listener as (value: unknown) => void)(value)
      } catch {
        // The listener's own business.
      }
  }
}

function plain({ topic, partition, generation }: Place): Place {
  return { topic, partition, generation }
}
