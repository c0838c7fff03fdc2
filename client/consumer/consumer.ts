// A member of a consumer group that reads what the group gives it.
//
// Guarantees: every record of the group's topics is handed out at least once, in offset order per partition; what moves to another member is committed
// before it is given back; partitions that do not move never pause. Handlers may be as slow as they like: membership hangs on the connection alone. It
// does not know sockets or the protocol: see GroupMember and Reader.

import { LogloomError } from '../../wire/index.ts'
import { pause } from '../clock.ts'
import { closedError } from '../failures.ts'
import type { Connection } from '../connection.ts'
import { checkDeadLetterTopic, type DeadLetters } from '../dead-letter.ts'
import { endable } from '../endable.ts'
import type { ReadRecord } from '../read-record.ts'
import type { OnInvalid, SomeTopic } from '../read-options.ts'
import type { Readers } from '../read-topics.ts'
import { topicName } from '../topic.ts'
import { ConsumerEvents, type ConsumerListener } from './consumer-events.ts'
import type { ConsumerSettings } from './consumer-options.ts'
import { type Assignment, type CommitPlace, GroupMember, type Place } from './group-member.ts'
import { HeldPartition } from './held-partition.ts'
import { type GiveUp, type Handler, Runner, type RunOptions } from './runner.ts'

/** A record with what can be done about it. */
export interface GroupRecord<V, K = string>
  extends Pick<
    ReadRecord<V, K>,
    'topic' | 'partition' | 'offset' | 'timestamp' | 'key' | 'value' | 'headers' | 'header'
  > {
  /** Fires when the partition is asked back or lost, and when the consumer ends: what is done afterwards may be done again elsewhere. */
  readonly signal: AbortSignal
  /** Commits everything of the partition up to and with this record. @throws STALE_GENERATION when another member has it */
  commit(): Promise<void>
}

/** Records of one partition, handed out together. */
export interface GroupBatch<V, K = string> {
  readonly topic: string
  readonly partition: number
  readonly records: readonly GroupRecord<V, K>[]
  /** First offset after the batch. */
  readonly next: number
  readonly signal: AbortSignal
  /** Commits the partition up to the end of the batch. @throws STALE_GENERATION */
  commit(): Promise<void>
}

/** Offsets that {@link Consumer.commit} takes: those of the next records to read. */
export interface OffsetToCommit {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly metadata?: string
}

/** A batch taken from its partition, with its place. */
export interface Taken {
  readonly held: HeldPartition
  readonly batch: GroupBatch<unknown, unknown>
}

export class Consumer<V = string, K = string> {
  readonly #connection: Connection
  readonly #readers: Readers
  readonly #deadLetters: DeadLetters
  readonly #settings: ConsumerSettings
  readonly #onClosed: (consumer: Consumer<never, never>) => void
  readonly #held = new Map<string, HeldPartition>()
  readonly #events = new ConsumerEvents()
  readonly #typed: ReadonlyMap<string, SomeTopic>
  #member: GroupMember | undefined
  #wake: (() => void)[] = []
  #turn = 0
  #failure: Error | undefined
  #claimed = false
  /** Records of one partition are worked on side by side. */
  #isByKey = false
  #cancelTick: (() => void) | undefined
  #closing: Promise<void> | undefined
  #drained: Promise<void> = Promise.resolve()
  readonly #stop = new AbortController()

  /** Made by {@link Client.consumer}; joins at the first record that is asked for, or {@link join}. */
  constructor(
    connection: Connection,
    readers: Readers,
    deadLetters: DeadLetters,
    settings: ConsumerSettings,
    onClosed: (consumer: Consumer<never, never>) => void,
  ) {
    this.#connection = connection
    this.#readers = readers
    this.#deadLetters = deadLetters
    this.#settings = settings
    this.#onClosed = onClosed
    this.#typed = new Map(settings.topics.map(topic => [topicName(topic), topic]))
  }

  get groupId(): string {
    return this.#settings.groupId
  }

  /** What this member holds now. */
  get assignment(): readonly Place[] {
    return [...this.#held.values()]
      .filter(({ revoking }) => !revoking)
      .map(({ topic, partition, generation }) => ({ topic, partition, generation }))
  }

  /** Offset of the next record of a held partition that nobody was given; undefined as long as its start is not known. */
  position(topic: string, partition: number): number | undefined {
    return this.#matching(topic, partition)[0]?.position
  }

  /** Hears of one kind of event; returns the way to stop. */
  on<T extends keyof ConsumerListener>(type: T, listener: ConsumerListener[T]): () => void {
    return this.#events.on(type, listener)
  }

  /** Joins the group, unless it has. Resolves once the first assignment is known, which may be empty. */
  async join(): Promise<void> {
    this.#start()
    while (!this.#events.hasAssignment) {
      this.#throwIfOver()
      await this.#change()
    }
  }

  /** Records one by one. With autoCommit a record counts as processed once the next one is asked for. */
  [Symbol.asyncIterator](): AsyncGenerator<GroupRecord<V, K>, void, void> {
    return endable(this.#oneByOne(), () => void this.close())
  }

  async *#oneByOne(): AsyncGenerator<GroupRecord<V, K>, void, void> {
    for await (const batch of this.#batches(true)) yield* batch.records
  }

  /**
   * Records as they were delivered: arrays of one partition each. With autoCommit a batch counts as processed once the next one is asked for. Use one
   * of iteration, `batches` and `run`, once.
   */
  batches(o: { readonly one?: boolean } = {}): AsyncGenerator<GroupBatch<V, K>, void, void> {
    return endable(this.#batches(o.one === true), () => void this.close())
  }

  async *#batches(isOne: boolean): AsyncGenerator<GroupBatch<V, K>, void, void> {
    this.#claim()
    const { tracing } = this.#connection
    const group = this.groupId
    /** Ends the span of what the application works on. */
    let worked: (() => void) | undefined
    try {
      for (;;) {
        const received = tracing?.receiving()
        const taken = await this.#take()
        if (taken === undefined) return
        const { held, batch } = taken
        const typed = batch as GroupBatch<V, K>
        received?.({ group, records: typed.records })
        if (isOne)
          for (const record of typed.records) {
            // The rest of what was asked back is for its next owner.
            if (held.abort.signal.aborted) held.abandon(record.offset)
            else {
              worked = tracing?.working({ group, records: [record] })
              yield { ...typed, records: [record] }
              worked?.()
              held.finish(record.offset)
            }
          }
        else {
          worked = tracing?.working({ group, records: typed.records })
          yield typed
          worked?.()
          for (const { offset } of typed.records) held.finish(offset)
        }
        worked = undefined
      }
    } finally {
      worked?.()
      await this.close()
    }
  }

  /**
   * Runs `handler` for every record until the consumer is closed: records of one key in order, those of different keys side by side.
   * @throws what the handler throws when neither retries nor a dead-letter topic help; the record is not committed then
   */
  async run(handler: Handler<V, K>, options: RunOptions = {}): Promise<void> {
    const giveUp = this.#giveUp(options.deadLetter)
    this.#claim()
    this.#isByKey = (options.concurrency ?? 1) > 1 && options.order !== 'partition'
    const traced = this.#connection.tracing?.around(this.groupId, handler) ?? handler
    const runner = new Runner<V, K>(traced, options, {
      giveUp,
      take: () => this.#take(),
      clock: this.#connection.clock,
      isEnding: () => this.#closing !== undefined,
    })
    const running = runner.run()
    // One that failed ends the run; others may be in the middle of something.
    this.#drained = running.catch(() => runner.drained())
    try {
      await running
    } finally {
      await this.close()
    }
  }

  /** Commits what was processed, or the offsets given. @throws STALE_GENERATION, UNKNOWN_MEMBER: nothing was committed */
  async commit(offsets?: readonly OffsetToCommit[]): Promise<void> {
    if (offsets === undefined) return this.#commitDue([...this.#held.values()])
    const places = offsets.map(({ topic, partition, offset, metadata }): CommitPlace => {
      const held = this.#find(topic, partition)
      const { generation } = held
      return {
        topic,
        partition,
        generation,
        offset,
        ...(metadata === undefined ? {} : { metadata }),
      }
    })
    if (places.length > 0) await this.#commit(() => places)
  }

  /** Hands out no more of a topic, or of one partition of it, until {@link resume}; it stays this member's. */
  pause(topic: string, partition?: number): void {
    for (const held of this.#matching(topic, partition)) held.paused = true
  }

  resume(topic: string, partition?: number): void {
    for (const held of this.#matching(topic, partition)) held.paused = false
    this.#changed()
  }

  /** Goes on at `offset`. What is under way may still be committed by its own `commit`. @throws STALE_GENERATION when it is not held */
  seek(topic: string, partition: number, offset: number): void {
    const held = this.#find(topic, partition)
    held.seek(offset)
    this.#read(held, offset)
  }

  /**
   * Runs `send` with the fields that commit `places`; no other commit of this member is under way meanwhile. Each names the generation under which its
   * records were handed out: what was lost since is refused, also when this member has the partition again.
   */
  async transact<R>(
    places: readonly CommitPlace[],
    send: (commit: Readonly<Record<string, unknown>>) => Promise<R>,
  ): Promise<R> {
    if (this.#member === undefined) throw closedError('consumer')
    return this.#member.withCommit(places, send)
  }

  /**
   * Waits for handlers that run, at most 30 s, so a handler must not wait for it; commits what was processed (with autoCommit) unless the broker refuses or
   * is away for too long; leaves the group and ends every iteration. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    this.#cancelTick?.()
    this.#changed()
    for (const held of this.#held.values()) held.stop()
    // Handlers that run may end what they are at.
    await Promise.race([this.#drained, pause(this.#connection.clock, drainMs, this.#stop.signal)])
    this.#stop.abort()
    const all = [...this.#held.values()]
    for (const held of all) held.abort.abort(closedError('consumer'))
    // Also when a partition cannot be read: what was lost with the membership is not held any more.
    if (this.#settings.autoCommit) await this.#commitDue(all).catch(() => {})
    await this.#member?.close()
    this.#held.clear()
    this.#onClosed(this as unknown as Consumer<never, never>)
  }

  #claim(): void {
    if (this.#claimed)
      throw new LogloomError('INVALID_REQUEST', 'a consumer is used once: make another one')
    this.#claimed = true
    this.#start()
  }

  #start(): void {
    if (this.#closing !== undefined) throw closedError('consumer')
    if (this.#member !== undefined) return
    this.#member = new GroupMember(this.#connection, this.#settings, {
      onAssignment: assignment => this.#assign(assignment),
      onLost: error => this.#lose([...this.#held.values()], error),
      onCommitted: places => this.#remember(places),
      onFailed: error => {
        // Whoever works on its records must hear of it: nothing of that can be committed any more.
        this.#lose([...this.#held.values()], error)
        this.#fail(error)
      },
    })
    this.#tick()
  }

  /** What changed between what is held and what should be. */
  #assign({ assigned, revoking }: Assignment): void {
    const { clock } = this.#connection
    const wanted = new Map(assigned.map(place => [keyOf(place), place]))
    const asked = new Map(revoking.map(place => [keyOf(place), place]))
    const gone = [...this.#held.entries()].filter(([key]) => !wanted.has(key) && !asked.has(key))
    if (gone.length > 0)
      this.#lose(
        gone.map(([, held]) => held),
        new LogloomError('STALE_GENERATION', 'the partition was given to another member'),
      )
    const fresh: HeldPartition[] = []
    for (const [key, place] of wanted) {
      const held = this.#held.get(key)
      if (held !== undefined) {
        held.revoking = false
        held.allow(place)
        continue
      }
      const made = new HeldPartition(place, clock.nowMs(), () => this.#atEnd(made))
      this.#held.set(key, made)
      fresh.push(made)
    }
    const toRelease: Place[] = []
    const revoked: HeldPartition[] = []
    for (const [key, place] of asked) {
      const held = this.#held.get(key)
      if (held === undefined) toRelease.push(place)
      else if (!held.revoking) {
        held.revoking = true
        revoked.push(held)
      }
    }
    if (toRelease.length > 0) void this.#member?.release(toRelease)
    this.#events.assigned(fresh)
    for (const held of fresh) this.#read(held, held.position)
    if (revoked.length > 0) void this.#giveBack(revoked)
    this.#changed()
  }

  /** Lets what is under way end, commits, and gives the partitions back. */
  async #giveBack(revoked: readonly HeldPartition[]): Promise<void> {
    for (const held of revoked) {
      held.stop()
      held.waiting = undefined
      held.abort.abort(
        new LogloomError('STALE_GENERATION', 'the partition is asked back by the group'),
      )
    }
    this.#events.revoked(revoked)
    await Promise.all(revoked.map(held => held.idle()))
    const still = revoked.filter(held => this.#held.get(keyOf(held)) === held)
    if (this.#settings.autoCommit) await this.#commitDue(still).catch(() => {})
    for (const held of still)
      if (this.#held.get(keyOf(held)) === held) this.#held.delete(keyOf(held))
    await this.#member?.release(still)
  }

  #lose(lost: readonly HeldPartition[], error: LogloomError): void {
    for (const held of lost) {
      this.#held.delete(keyOf(held))
      held.stop()
      held.abort.abort(error)
    }
    if (lost.length > 0) this.#events.lost(lost)
    this.#changed()
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#changed()
  }

  /** @throws INVALID_REQUEST */
  #giveUp(deadLetter: RunOptions['deadLetter']): GiveUp | undefined {
    if (deadLetter === undefined || typeof deadLetter === 'function') return deadLetter
    checkDeadLetterTopic(deadLetter, [...this.#typed.keys()])
    const { groupId: group } = this
    return (record, error) => this.#deadLetters.give(deadLetter, record, { group, error })
  }

  #onInvalid(): OnInvalid | undefined {
    const { onInvalid } = this.#settings
    if (typeof onInvalid !== 'object') return onInvalid
    const { groupId: group } = this
    return (record, error) => this.#deadLetters.send(onInvalid.deadLetter, record, { group, error })
  }

  #read(held: HeldPartition, offset: number | undefined): void {
    const { autoOffsetReset, maxBytes, read } = this.#settings
    const onInvalid = this.#onInvalid()
    const { topic, partition } = held
    if (offset === undefined && autoOffsetReset === 'error') {
      this.#fail(
        new LogloomError(
          'OFFSET_OUT_OF_RANGE',
          `group ${this.groupId} has no offset of ${topic}[${partition}], and autoOffsetReset is error`,
          { topic, partition },
          { hint: 'set autoOffsetReset to earliest or latest, or reset the offsets of the group' },
        ),
      )
      return
    }
    const from = offset ?? (autoOffsetReset === 'earliest' ? 'beginning' : 'end')
    const options = {
      ...read,
      ...(onInvalid === undefined ? {} : { onInvalid }),
      partition,
      from,
      maxBytes: Math.max(1, Math.floor(maxBytes / Math.max(1, this.#held.size))),
    }
    const reader = this.#readers.open(this.#typed.get(topic) ?? topic, options, held)
    held
      .read(reader, () => {
        held.heardMs = this.#connection.clock.nowMs()
        this.#changed()
        // Where it began is part of what the group knows: the next owner must not begin at a later end.
        if (offset === undefined && this.#settings.autoCommit && held.committed === undefined)
          this.#commitDue([held]).catch(() => {})
        else this.#atEnd(held)
      })
      .catch((error: unknown) => {
        if (this.#held.get(keyOf(held)) === held && !held.revoking) this.#fail(error as Error)
      })
  }

  /** The next batch of whichever partition has one, in turn; undefined once the consumer is closed. */
  async #take(): Promise<Taken | undefined> {
    for (;;) {
      if (this.#closing !== undefined) return undefined
      if (this.#failure !== undefined) throw this.#failure
      const all = [...this.#held.values()]
      for (let step = 0; step < all.length; step++) {
        const held = all[(this.#turn + step) % all.length] as HeldPartition
        if (held.paused || held.revoking || held.waiting === undefined) continue
        this.#turn = (this.#turn + step + 1) % all.length
        return this.#open(held)
      }
      await this.#change()
    }
  }

  #open(held: HeldPartition): Taken {
    const found = held.take(this.#connection.clock.nowMs())
    if (found === undefined) throw new Error('nothing waits')
    const { topic, partition, generation } = held
    const { signal } = held.abort
    const originAt = (offset: number, isWhole: boolean): Origin => ({
      consumer: this as unknown as Consumer<never, never>,
      place: { topic, partition, generation, offset: offset + 1 },
      check: () => {
        if (isWhole || !this.#isByKey || held.isFirst(offset)) return
        throw new LogloomError(
          'INVALID_REQUEST',
          `${topic}[${partition}]: ${offset} cannot be committed while records before it are under way`,
          { topic, partition, offset },
          {
            hint: "run with order: 'partition', with concurrency 1, or leave commits to autoCommit",
          },
        )
      },
    })
    const committing = (origin: Origin) => async (): Promise<void> => {
      origin.check()
      await this.#commit(() => [origin.place])
    }
    const records = found.records.map((record): GroupRecord<unknown, unknown> => {
      const origin = originAt(record.offset, false)
      const made = {
        topic,
        partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: record.headers,
        header: (name: string) => record.header(name),
        signal,
        commit: committing(origin),
      }
      origins.set(made, origin)
      return made
    })
    this.#events.lag(held, found.end - found.next)
    const origin = originAt(found.next - 1, true)
    const { next } = found
    const batch = { topic, partition, records, next, signal, commit: committing(origin) }
    origins.set(batch, origin)
    return { held, batch }
  }

  /** Where partitions were added, others wait until a partition is committed up to where it was then. */
  #atEnd(held: HeldPartition): void {
    const { topic, partition, generation, revoking } = held
    if (revoking || this.#held.get(keyOf(held)) !== held) return
    const offset = held.ended(!this.#settings.autoCommit)
    // What fails now is tried again soon.
    if (offset !== undefined)
      this.#commit(() => [{ topic, partition, generation, offset }]).catch(() => {})
  }

  /** What is due once earlier commits are over: it must not take back what those have committed. */
  async #commitDue(all: readonly HeldPartition[]): Promise<void> {
    const due = (): readonly CommitPlace[] =>
      all.flatMap((held): CommitPlace[] => {
        const { topic, partition, generation, due: offset } = held
        return offset === undefined ? [] : [{ topic, partition, generation, offset }]
      })
    if (due().length > 0) await this.#commit(due)
  }

  async #commit(places: () => readonly CommitPlace[]): Promise<void> {
    if (this.#member === undefined) throw closedError('consumer')
    const member = this.#member
    const { tracing } = this.#connection
    const commit = (): Promise<void> => member.commit(places)
    await (tracing === undefined
      ? commit()
      : tracing.settle('commit', this.groupId, places(), commit))
  }

  #remember(places: readonly CommitPlace[]): void {
    for (const place of places) {
      const held = this.#held.get(keyOf(place))
      if (held !== undefined) held.committed = place.offset
    }
  }

  /** Commits in the background, and looks for partitions that have records but bring none. */
  #tick(): void {
    const { clock } = this.#connection
    const { autoCommit, autoCommitIntervalMs, stalledAfterMs } = this.#settings
    this.#cancelTick = clock.schedule(Math.min(autoCommitIntervalMs, stalledAfterMs), () => {
      if (this.#closing !== undefined) return
      const all = [...this.#held.values()].filter(({ revoking }) => !revoking)
      // What was refused is another's by now, which a push says; what is unknown is committed again.
      if (autoCommit) this.#commitDue(all).catch(() => {})
      else for (const held of all) this.#atEnd(held)
      void this.#lookForStalled(all)
      this.#tick()
    })
  }

  async #lookForStalled(all: readonly HeldPartition[]): Promise<void> {
    const nowMs = this.#connection.clock.nowMs()
    for (const held of all) {
      const { topic, partition, position, heardMs } = held
      const isWaiting = held.isIdle && held.waiting === undefined && !held.paused
      // What waits for other partitions of its topic is not stalled.
      if (!isWaiting || position === undefined || position >= held.limit) continue
      if (nowMs - heardMs < this.#settings.stalledAfterMs) continue
      held.heardMs = nowMs
      try {
        const fields = { topic, partition, at: 'end' }
        const reply = await this.#connection.call('listOffsets', fields)
        const [found] = reply['offsets'] as readonly { readonly offset: number }[]
        const end = found?.offset ?? 0
        if (end > position && held.position === position) this.#events.stalled(held, position, end)
      } catch {
        // The broker does not answer: the status of the client says so.
      }
    }
  }

  #find(topic: string, partition: number): HeldPartition {
    const [held] = this.#matching(topic, partition)
    if (held !== undefined) return held
    throw new LogloomError(
      'STALE_GENERATION',
      `this member of group ${this.groupId} does not hold ${topic}[${partition}]`,
      { topic, partition },
    )
  }

  #matching(topic: string, partition: number | undefined): readonly HeldPartition[] {
    return [...this.#held.values()].filter(
      held => held.topic === topic && (partition === undefined || held.partition === partition),
    )
  }

  #throwIfOver(): void {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#closing !== undefined) throw closedError('consumer')
  }

  #changed(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }

  #change(): Promise<void> {
    return new Promise(resolve => this.#wake.push(resolve))
  }
}

/** Where a record or a batch came from, and what committing it means. */
export interface Origin {
  readonly consumer: Consumer<never, never>
  readonly place: CommitPlace
  /** @throws INVALID_REQUEST when it cannot be committed, because what lies before it is not done */
  readonly check: () => void
}

const origins = new WeakMap<object, Origin>()

/** Undefined for what no consumer has handed out. */
export function originOf(consumed: object): Origin | undefined {
  return origins.get(consumed)
}

/** How long {@link Consumer.close} waits for handlers that run. */
const drainMs = 30_000

const keyOf = ({ topic, partition, generation }: Place): string =>
  `${topic}/${partition}@${generation}`
