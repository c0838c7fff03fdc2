// Runs a handler over records: those of one key one after the other, those of different keys side by side.
//
// Guarantees: at most `concurrency` handlers run; a record is finished when its handler has returned, was given up to the dead-letter topic, or its
// partition is not this member's any more. A failure that nothing helps against stops the run, and the record stays uncommitted.

import { type Backoff, type ClientClock, fullJitterMs, pause } from '../clock.ts'
import type { GroupRecord, Taken } from './consumer.ts'

export type Handler<V, K> = (record: GroupRecord<V, K>) => unknown

export interface RunOptions {
  /** Handlers at a time; default 1. */
  readonly concurrency?: number
  /** What stays in order: the records of a `key` (default), or those of a `partition`, which {@link GroupRecord.commit} and transactions need. */
  readonly order?: 'key' | 'partition'
  /** Tries again before it gives up; default none. */
  readonly retry?: {
    readonly attempts: number
    readonly backoffMs?: number
    readonly maxBackoffMs?: number
  }
  /**
   * Where a record goes that no try helped: then it counts as processed. A topic gets it as it was written, with headers that say where it was and
   * why. Default: the run ends with the error.
   */
  readonly deadLetter?: string | GiveUp
}

/** Takes a record that no try helped. */
export type GiveUp = (record: GroupRecord<unknown, unknown>, error: unknown) => unknown

export interface RunnerContext {
  readonly giveUp: GiveUp | undefined
  readonly take: () => Promise<Taken | undefined>
  readonly clock: ClientClock
  /** Nothing that waits is begun any more. */
  readonly isEnding: () => boolean
}

/** Records that may wait behind one of the same key before no more are taken, as a multiple of the concurrency. */
const waitingPerSlot = 16

export class Runner<V, K> {
  readonly #handler: Handler<V, K>
  readonly #options: RunOptions
  readonly #context: RunnerContext
  readonly #concurrency: number
  /** The last record of each key that is not done. */
  readonly #tails = new Map<string, Promise<void>>()
  readonly #waiters: (() => void)[] = []
  #running = 0
  #pending = 0
  #failure: { readonly error: unknown } | undefined
  #onPending: (() => void) | undefined

  constructor(handler: Handler<V, K>, options: RunOptions, context: RunnerContext) {
    this.#handler = handler
    this.#options = options
    this.#context = context
    this.#concurrency = Math.max(1, Math.floor(options.concurrency ?? 1))
  }

  /** Ends when there is nothing more to take and all handlers have ended, or as soon as something failed. @throws what failed */
  async run(): Promise<void> {
    try {
      await this.#takeAll()
    } catch (error) {
      // What waits is not begun any more.
      this.#failure ??= { error }
    }
    if (this.#failure === undefined) await this.drained()
    this.#throwIfFailed()
  }

  /** Resolves once no handler runs any more. */
  async drained(): Promise<void> {
    await Promise.all(this.#tails.values())
  }

  async #takeAll(): Promise<void> {
    for (;;) {
      const failed = new Promise<undefined>(resolve => {
        this.#onPending = () => {
          if (this.#failure !== undefined) resolve(undefined)
        }
      })
      const taken = await Promise.race([this.#context.take(), failed])
      if (taken === undefined || this.#failure !== undefined) return
      for (const record of taken.batch.records) {
        while (this.#pending >= this.#concurrency * waitingPerSlot && this.#failure === undefined)
          await new Promise<void>(resolve => {
            this.#onPending = resolve
          })
        if (this.#failure !== undefined) return
        this.#dispatch(taken, record as GroupRecord<V, K>)
      }
    }
  }

  #dispatch(taken: Taken, record: GroupRecord<V, K>): void {
    // One at a time is as they come: what is committed by hand covers all before it.
    const key = laneOf(record, this.#concurrency === 1 ? 'partition' : this.#options.order)
    const before = this.#tails.get(key) ?? Promise.resolve()
    this.#pending++
    const done = before.then(() => this.#handle(taken, record))
    this.#tails.set(key, done)
    void done.then(() => {
      if (this.#tails.get(key) === done) this.#tails.delete(key)
      this.#pending--
      this.#onPending?.()
    })
  }

  /** Never rejects. */
  async #handle({ held }: Taken, record: GroupRecord<V, K>): Promise<void> {
    if (this.#running >= this.#concurrency)
      await new Promise<void>(resolve => this.#waiters.push(resolve))
    this.#running++
    try {
      // What is not ours any more is somebody else's work.
      const isOver =
        record.signal.aborted || this.#failure !== undefined || this.#context.isEnding()
      if (!isOver && (await this.#attempt(record))) held.finish(record.offset)
      else held.abandon(record.offset)
    } finally {
      this.#running--
      this.#waiters.shift()?.()
    }
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** Whether the record is done with. */
  async #attempt(record: GroupRecord<V, K>): Promise<boolean> {
    const { retry } = this.#options
    const { clock, giveUp } = this.#context
    const backoff: Backoff = {
      baseMs: retry?.backoffMs ?? 100,
      maxMs: retry?.maxBackoffMs ?? 10_000,
    }
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#handler(record)
        return true
      } catch (error) {
        if (record.signal.aborted) return false
        if (attempt < (retry?.attempts ?? 0)) {
          await pause(clock, fullJitterMs(attempt, backoff, clock), record.signal)
          continue
        }
        try {
          if (giveUp === undefined) throw error
          await giveUp(record, error)
          return true
        } catch (last) {
          this.#failure ??= { error: last }
          this.#onPending?.()
          return false
        }
      }
    }
  }
}

/** Records without a key are in order per partition. */
function laneOf(
  { topic, partition, key }: GroupRecord<unknown, unknown>,
  order: RunOptions['order'],
): string {
  const name = `${topic}/${partition}`
  if (key === null || order === 'partition') return name
  return `${name}/${key instanceof Uint8Array ? key.join() : JSON.stringify(key)}`
}
