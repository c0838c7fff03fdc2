// A partition that this member holds: the reader of it, what of it is being worked on, and how far it may be committed.
//
//   committed     processed      handed out       waiting
//   |-------------|--- work ---|---------------|-- batch --|
//
// Records may be finished in any order; what may be committed is below the first that is not. What was given up unfinished counts as that for good.

import type { AssignedPlace, Place } from './group-member.ts'
import type { ReadBatch } from '../read-record.ts'
import type { Gate, Reader } from '../reader.ts'

export type AnyBatch = ReadBatch<unknown, unknown>

export class HeldPartition implements Place, Gate {
  readonly topic: string
  readonly partition: number
  readonly generation: number
  /** Fires when the partition is asked back or lost, and when the consumer ends. */
  readonly abort = new AbortController()
  /** The next batch, until somebody takes it. */
  waiting: AnyBatch | undefined
  paused = false
  /** Asked back: nothing more of it is handed out. */
  revoking = false
  /** Committed, as far as this member knows. */
  committed: number | undefined
  /** When it last brought something, ms. */
  heardMs: number
  /** End of the partition as last heard. */
  end: number | undefined
  #next: number | undefined
  /** The first record that was given up. */
  #limit = Number.POSITIVE_INFINITY
  readonly #open = new Set<number>()
  #reader: Reader<unknown, unknown> | undefined
  #taken: (() => void) | undefined
  #idle: (() => void)[] = []
  /** Up to where the group lets it be read, as of so many partitions of the topic. */
  #until: number
  #partitions: number
  /** Partitions of the topic that its reader heard of. */
  #told = 0
  /** First offset after the last record that was handed out. */
  #handed: number | undefined
  readonly #onEnd: () => void

  /** `onEnd`: what is processed may have come to where the group waits for it, see {@link ended}. */
  constructor(place: AssignedPlace, nowMs: number, onEnd: () => void) {
    this.topic = place.topic
    this.partition = place.partition
    this.generation = place.generation
    this.committed = place.offset
    this.#next = place.offset
    this.heardMs = nowMs
    this.#until = place.until
    this.#partitions = place.partitions
    this.#onEnd = onEnd
  }

  /** Nothing at or past it is handed out; nothing at all while the topic has partitions of which the group has not spoken. */
  get limit(): number {
    return this.#told > this.#partitions ? 0 : this.#until
  }

  told(partitions: number): void {
    this.#told = partitions
  }

  passed(next: number): void {
    this.#next = next
    this.#onEnd()
  }

  /** The group says how far it may be read. */
  allow({ until, partitions }: AssignedPlace): void {
    this.#until = until
    this.#partitions = partitions
    this.#reader?.look()
    this.#onEnd()
  }

  /**
   * What is to be committed at once, because the group waits for it: everything up to where it may be read is done. With `manual` only what holds no
   * record that the application did not commit itself.
   */
  ended(manual: boolean): number | undefined {
    const { due, committed = -1 } = this
    if (due === undefined || due < this.#until) return undefined
    return manual && this.#handed !== undefined && committed < this.#handed ? undefined : due
  }

  /** Offset of the next record that nobody has been given; undefined as long as the start is not known. */
  get position(): number | undefined {
    return this.#next
  }

  /** Everything below it is done. */
  get processed(): number | undefined {
    if (this.#next === undefined) return undefined
    return Math.min(this.#next, this.#limit, this.#first)
  }

  /** The first record that is being worked on: they are handed out in order, and a set keeps that. */
  get #first(): number {
    for (const offset of this.#open) return offset
    return Number.POSITIVE_INFINITY
  }

  /** What is to be committed; undefined when nothing is. */
  get due(): number | undefined {
    const { processed, committed = -1 } = this
    return processed !== undefined && processed > committed ? processed : undefined
  }

  /** No record before `offset` is being worked on. */
  isFirst(offset: number): boolean {
    return this.#first >= offset
  }

  get isIdle(): boolean {
    return this.#open.size === 0
  }

  /** Reads on from here, in place of what was read until now. Resolves when the reader ends; rejects with why. */
  async read(reader: Reader<unknown, unknown>, onBatch: () => void): Promise<void> {
    this.#reader = reader
    const [position] = await reader.opened()
    if (this.#reader !== reader) return
    this.#next ??= position?.next
    onBatch()
    for await (const batch of reader.batches()) {
      if (this.#reader !== reader) return
      this.waiting = batch
      this.end = batch.end
      onBatch()
      await new Promise<void>(resolve => {
        this.#taken = resolve
      })
      if (this.#reader !== reader) return
    }
  }

  /** The waiting batch; its records are open until {@link finish}. */
  take(nowMs: number): AnyBatch | undefined {
    const batch = this.waiting
    if (batch === undefined) return undefined
    this.waiting = undefined
    this.heardMs = nowMs
    this.#next = batch.next
    for (const { offset } of batch.records) {
      this.#open.add(offset)
      this.#handed = offset + 1
    }
    this.#taken?.()
    return batch
  }

  /** Not done, and nobody is at it any more: it is for whoever has the partition next. */
  abandon(offset: number): void {
    if (this.#open.has(offset)) this.#limit = Math.min(this.#limit, offset)
    this.finish(offset)
  }

  finish(offset: number): void {
    if (!this.#open.delete(offset) || this.#open.size > 0) return
    for (const wake of this.#idle.splice(0)) wake()
    this.#onEnd()
  }

  /** Resolves once nothing of it is being worked on. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  /** Begins anew at `offset`: what was handed out before no longer counts. */
  seek(offset: number): void {
    this.stop()
    this.waiting = undefined
    this.#open.clear()
    this.#limit = Number.POSITIVE_INFINITY
    this.#next = offset
    this.#handed = undefined
    // Going back is meant, so it may be committed.
    this.committed = undefined
  }

  /** Reads no more. */
  stop(): void {
    const reader = this.#reader
    this.#reader = undefined
    this.#taken?.()
    void reader?.close()
  }
}
