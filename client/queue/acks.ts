// Acknowledgements on their way to the broker: gathered for a moment, sent as runs of neighbours on a command lane of their own.
//
// Guarantees: each takes effect once, however often it has to be sent; each is answered by itself, also when only some of a request are refused.

import { type Frame, LogloomError } from '../../wire/index.ts'
import { refusedOf } from '../checked.ts'
import type { ClientClock } from '../clock.ts'
import type { CommandLane } from '../command-lane.ts'
import { asLogloomError } from '../failures.ts'
import type { Tracing } from '../tracing/tracing.ts'
import type { HeldRecord } from './held-record.ts'

export type AckKind = 'accept' | 'release' | 'reject' | 'renew' | 'gap'

/** What is said of one offset. */
export interface Word {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly type: AckKind
  /** Delay of a release, lock of a renew, ms. */
  readonly ms: number
}

interface Pending extends Word {
  readonly resolve: () => void
  readonly reject: (error: LogloomError) => void
}

/** Words in one request; neighbours become one element of it. */
const wordsPerRequest = 1000

export interface AcksOptions {
  readonly clock: ClientClock
  readonly lane: CommandLane
  readonly group: string
  readonly memberId: string
  readonly lingerMs: number
  readonly timeoutMs: number
  readonly tracing: Tracing | undefined
}

export class Acks {
  readonly #options: AcksOptions
  #pending: Pending[] = []
  #cancelLinger: (() => void) | undefined
  readonly #sending = new Set<Promise<void>>()

  constructor(options: AcksOptions) {
    this.#options = options
  }

  /** @throws INVALID_RECORD_STATE when the record is not this member's any more; OUTCOME_UNKNOWN, TIMEOUT, CONNECTION_CLOSED */
  say(word: Word): Promise<void> {
    const said = new Promise<void>((resolve, reject) => {
      this.#pending.push({ ...word, resolve, reject })
    })
    // Whoever does not wait for the answer hears of a refusal by the record's signal, or by its next delivery.
    said.catch(() => {})
    if (this.#pending.length >= wordsPerRequest) this.#send()
    else
      this.#cancelLinger ??= this.#options.clock.schedule(this.#options.lingerMs, () =>
        this.#send(),
      )
    return said
  }

  /** Sends what waits, and resolves once everything is answered. */
  async flush(): Promise<void> {
    this.#send()
    await Promise.all(this.#sending)
  }

  #send(): void {
    this.#cancelLinger?.()
    this.#cancelLinger = undefined
    const pending = this.#pending
    if (pending.length === 0) return
    this.#pending = []
    const sent = this.#run(pending).finally(() => this.#sending.delete(sent))
    this.#sending.add(sent)
  }

  async #run(pending: readonly Pending[]): Promise<void> {
    const { lane, group, memberId, timeoutMs, tracing } = this.#options
    try {
      const fields = { group, memberId, records: runsOf(pending) }
      const run = (): Promise<Frame> => lane.run('shareAcknowledge', fields, { timeoutMs })
      // What only holds records on tells of no outcome.
      const settled = tracing && pending.filter(({ type }) => type !== 'renew' && type !== 'gap')
      const isTold = tracing !== undefined && settled !== undefined && settled.length > 0
      const reply = await (isTold ? tracing.settle('settle', group, settled, run) : run())
      const refused = new Set<string>()
      for (const row of refusedOf(reply, pending.length))
        for (let i = 0; i < row.count; i++)
          refused.add(`${row.topic}/${row.partition}/${row.offset + i}`)
      for (const { topic, partition, offset, resolve, reject } of pending)
        if (!refused.has(`${topic}/${partition}/${offset}`)) resolve()
        else reject(notHeld({ topic, partition, offset }, group))
    } catch (error) {
      for (const { reject } of pending) reject(asLogloomError(error))
    }
  }
}

export function notHeld(
  {
    topic,
    partition,
    offset,
  }: { readonly topic: string; readonly partition: number; readonly offset: number },
  group: string,
): LogloomError {
  return new LogloomError(
    'INVALID_RECORD_STATE',
    `${topic}[${partition}] ${offset} is not held by this member of share group ${group} any more`,
    { group, topic, partition, offset },
  )
}

/** The elements of a `records` field: neighbours of which the same is said together. */
export function runsOf(words: readonly Word[]): readonly Frame[] {
  const inOrder = [...words].sort(
    (a, b) => compare(a.topic, b.topic) || a.partition - b.partition || a.offset - b.offset,
  )
  const runs: { word: Word; count: number }[] = []
  for (const word of inOrder) {
    const last = runs.at(-1)
    const isNext =
      last?.word.topic === word.topic &&
      last.word.partition === word.partition &&
      last.word.offset + last.count === word.offset &&
      last.word.type === word.type &&
      last.word.ms === word.ms
    if (isNext) last.count++
    else runs.push({ word, count: 1 })
  }
  return runs.map(({ word: { topic, partition, offset, type, ms }, count }) => ({
    topic,
    partition,
    offset,
    type,
    ...(count === 1 ? {} : { count }),
    ...(type === 'release' && ms > 0 ? { delayMs: ms } : {}),
    ...(type === 'renew' ? { recordLockDurationMs: ms } : {}),
  }))
}

export function wordOf({ raw }: HeldRecord, type: AckKind, ms = 0): Word {
  const { topic, partition, offset } = raw
  return { topic, partition, offset, type, ms }
}

function compare(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
