// What lives in the log, in the order of the log (DESIGN 5.2 "Cleaning"): the rows of `Places` that the partitions' indexes still confirm.
//
// A place that nothing lives at stays so for ever: batches are only ever put at the tail. So the lowest live place only rises, and finding it again
// costs no more than what died since.

import type { Clock } from '../../loglets/ports.ts'
import type { Place } from '../state/places.ts'
import type { StateMachine } from '../state/state-machine.ts'
import type { IndexEntry } from '../state/topics.ts'

export interface LivePlace extends Place {
  readonly entry: IndexEntry
}

/** Rows looked at before others get their turn. */
const rowsPerTurn = 500

export class LivePlaces {
  private readonly machine: StateMachine
  private readonly clock: Clock
  /** Nothing lives below. */
  private lowestKnown = { lsn: 0, start: 0 }

  constructor(machine: StateMachine, clock: Clock) {
    this.machine = machine
    this.clock = clock
  }

  /** The batch that lies there, if it does. */
  confirm(place: Place): LivePlace | undefined {
    const { topics } = this.machine
    const partition = topics.partition(place.topicId, place.partition)
    const entry = partition === undefined ? undefined : topics.at(partition, place.base)
    return entry?.lsn === place.lsn && entry.start === place.start ? { ...place, entry } : undefined
  }

  /** Live batches that lie at or past `from` and below `before`, as far as the store knows them. */
  async *from(
    from: { readonly lsn: number; readonly start: number },
    before: number,
    signal?: AbortSignal,
  ): AsyncGenerator<LivePlace> {
    let at = from
    for (;;) {
      const page = this.machine.topics.places.page(at, before, rowsPerTurn)
      for (const place of page) {
        const live = this.confirm(place)
        if (live !== undefined) yield live
      }
      const last = page.at(-1)
      if (last === undefined || page.length < rowsPerTurn) return
      at = { lsn: last.lsn, start: last.start + 1 }
      await this.clock.sleep(0, signal)
    }
  }

  /** Live batches from the oldest on: all that lie below where something may still come to life. */
  async *oldest(signal?: AbortSignal): AsyncGenerator<LivePlace> {
    const before = this.machine.placedBelow
    let isFirst = true
    for await (const place of this.from(this.lowestKnown, before, signal)) {
      if (isFirst) this.raise(place)
      isFirst = false
      yield place
    }
    if (isFirst) this.raise({ lsn: before, start: 0 })
  }

  /** Live batches below `before`, from the oldest on. The caller has flushed the state, so that the store knows all that took effect. */
  below(before: number, signal?: AbortSignal): AsyncGenerator<LivePlace> {
    return this.from(this.lowestKnown, before, signal)
  }

  /** No batch lives below this position, now or later. */
  async lowest(signal?: AbortSignal): Promise<number> {
    for await (const { lsn } of this.oldest(signal)) return lsn
    return this.lowestKnown.lsn
  }

  private raise({ lsn, start }: { readonly lsn: number; readonly start: number }): void {
    const { lowestKnown } = this
    if (lsn > lowestKnown.lsn || (lsn === lowestKnown.lsn && start > lowestKnown.start))
      this.lowestKnown = { lsn, start }
  }
}
