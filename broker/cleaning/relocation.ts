// Moves what lives in the oldest part of the log to its tail, so that the part can be trimmed (a log-structured file system's cleaner, in the only order
// that a log which is trimmed from its beginning allows: the oldest first). One topic with long retention then does not hold the disk of the others.
//
//   before    |..A....B..A........|B.B.A.BB.A...        total > target
//   after                         |B.B.A.BB.A...AAB     the batches keep offsets, bytes and times; only their places change
//
// Guarantees that nothing is trimmed that lives; knows nothing of records.

import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { LogloomError } from '../../wire/errors.ts'
import { readBatchHeader } from '../../wire/batch.ts'
import { isMissing, readBatches } from '../batch-reads.ts'
import type { StateMachine } from '../state/state-machine.ts'
import type { LivePlace, LivePlaces } from './live-places.ts'
import { type MoverOptions, Portion, proposeMoves } from './mover.ts'
import type { Pace } from './pace.ts'

export interface RelocationOptions extends MoverOptions {
  readonly machine: StateMachine
  readonly log: VirtualLog
  readonly places: LivePlaces
  readonly pace: Pace
  /** Target of the log's bytes, in percent of those that live in it. */
  readonly targetPercent: number
  /** Bytes that the log may have beyond that. */
  readonly slackBytes: number
  /** Whether this broker is still the one that cleans. */
  readonly isActing: () => boolean
  /** Trims the log below what lives. */
  readonly cut: () => Promise<void>
  readonly moved: (batches: number, bytes: number) => void
}

/** Cleaning begins at this share of the target: the copies need room until the originals go. */
const beginShare = 7 / 8
const endShare = 3 / 4
/** The log is trimmed while more is moved, once this share of it can go. */
const cutShare = 1 / 16

export class Relocation {
  private readonly options: RelocationOptions
  /** All moved, and still above the target: what is over is no batch. Not again before the log has had so many bytes. */
  private restUntil = 0

  constructor(options: RelocationOptions) {
    this.options = options
  }

  get isDue(): boolean {
    const { meter } = this.options.machine
    return meter.total >= this.restUntil && this.logBytes > this.goal(beginShare)
  }

  /** Bytes of the entries that are not trimmed. */
  get logBytes(): number {
    const { machine, log } = this.options
    return machine.meter.total - machine.meter.below(log.trimPoint)
  }

  /** Moves and trims until the log is well below its target. */
  async run(signal: AbortSignal): Promise<void> {
    const { cut, isActing, log, machine, places, slackBytes } = this.options
    const { meter } = machine
    // What is moved now is not moved again.
    const end = machine.applied
    const portion = new Portion<LivePlace>()
    let isEnough = false
    let isEmpty = true
    for await (const place of places.oldest(signal)) {
      isEmpty = false
      if (place.lsn >= end || !isActing()) break
      const free = meter.below(place.lsn) - meter.below(log.trimPoint)
      isEnough = this.logBytes - free <= this.goal(endShare)
      if (isEnough) break
      if (!portion.add(place, place.entry.length)) continue
      await this.move(portion.take(), signal)
      if (free >= Math.max(slackBytes / 2, this.logBytes * cutShare)) await cut()
    }
    // The store may be behind: it knows of none yet, and will soon. What can be trimmed without a move is not this one's work.
    if (isEmpty && machine.placedBelow < end) return
    await this.move(portion.take(), signal)
    await cut()
    if (!isEnough && isActing())
      this.restUntil = meter.total + Math.max(slackBytes, this.logBytes / 2)
  }

  /** Share of the target's bytes that exceed what lives. */
  private goal(share: number): number {
    const { machine, slackBytes, targetPercent } = this.options
    const live = machine.topics.bytes
    return live + share * ((live * (targetPercent - 100)) / 100 + slackBytes)
  }

  private async move(places: readonly LivePlace[], signal: AbortSignal): Promise<void> {
    const { log, machine, moved, pace } = this.options
    if (places.length === 0) return
    const bytes = places.reduce((sum, { entry }) => sum + entry.length, 0)
    await pace.spend(bytes, signal)
    const batches = await readBatches(
      log,
      places.map(({ entry }) => entry),
    )
    const moves = places.flatMap((place, i) => {
      const batch = batches[i] as (typeof batches)[number]
      if (!isMissing(batch)) {
        const { topicId, partition, base, lsn, start } = place
        return [{ topicId, partition, base, lsn, start, batch, header: readBatchHeader(batch) }]
      }
      if (this.options.places.confirm(place) === undefined) return []
      throw new LogloomError(
        'LOG_LOST',
        `the batch of topic ${place.topicId}[${place.partition}] at offset ${place.base} cannot be moved, ${batch.detail}: the log is not trimmed past position ${place.lsn} until \`topic trim\` gives it up`,
        { lsn: place.lsn, applied: machine.applied },
      )
    })
    if (moves.length === 0) return
    moved(await proposeMoves(this.options, moves), bytes)
  }
}
