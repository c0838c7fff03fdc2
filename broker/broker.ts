// The broker's core: one log, one state machine, many topics. Puts the engine together (DESIGN 5) and is what the gateway talks to.
//
// Guarantees: an answer to a write comes from apply; `sync` makes what follows it linearizable. Knows nothing of sockets or of how the log
// stores anything.

import { setMaxListeners } from 'node:events'
import type { Lsn } from '../loglets/contract.ts'
import { errorTable, LogloomError } from '../wire/errors.ts'
import { type BrokerOptions, type BrokerSettings, defaultBrokerSettings } from './broker-options.ts'
import { Applier } from './engine/applier.ts'
import { type EncodedEntry, isOld, recordsIn } from './engine/entry.ts'
import { lagFrom, lagRecords } from './group-lag.ts'
import { GroupWatch } from './group-watch.ts'
import { Cleaner, type CleaningStats } from './cleaning/cleaner.ts'
import { LivePlaces } from './cleaning/live-places.ts'
import { sweepGroups } from './group-sweep.ts'
import type { Group } from './state/groups/group.ts'
import { HashChecks, hashCheckEvery, type HashNote } from './engine/hash-checks.ts'
import { Healer, isUnavailable } from './engine/healer.ts'
import { loadState, restoreEmptyStore } from './engine/load-state.ts'
import { watchPeers } from './engine/peers-watch.ts'
import { Persister } from './engine/persister.ts'
import { type Answer, Proposer } from './engine/proposer.ts'
import { TailCache } from './engine/tail-cache.ts'
import { followTail } from './engine/tail-follower.ts'
import { WallClock } from './engine/wall-clock.ts'
import {
  LogOperations,
  type LogDescription,
  type SwitchResult,
  type VerifyResult,
} from './log-operations.ts'
import { type BrokerHealth, degraded, type Finding, judge, unavailable } from './health.ts'
import { expireIdleProducers } from './producer-expiry.ts'
import { Reminder } from './reminder.ts'
import { Retention } from './retention.ts'
import type { SecurityView } from './state/security/security-registry.ts'
import { sweepTokens } from './token-sweep.ts'
import { type OffsetSpec, type ReadResult, Reader } from './reader.ts'
import type { Command, Decision } from './state/commands.ts'
import type { PastRange } from './state/past.ts'
import { type MemberView, viewOf } from './state/groups/group-machine.ts'
import { atLevel, cleaningLevel, lowestLevel } from './state/feature-level.ts'
import { captureImage, type SnapshotImage } from './snapshot/image.ts'
import type { Producer } from './state/producers.ts'
import type { Session } from './state/sessions.ts'
import { placeKey, type ShareGroup } from './state/share/share-group.ts'
import { stateVersion } from './state/state-hash.ts'
import type { ApplyResult, StateMachine } from './state/state-machine.ts'
import { isHidden, type PartitionState, type TopicState } from './state/topics.ts'

const replayReadBytes = 4 << 20
/** Longer than a failover takes. */
const freshWaitMs = 3000
const unavailableRetryMs = 50
const damageShown = 10
/** A refusal for lack of space counts at least so long; after that, room for the same bytes and this much more is believed. */
const fullTrustMs = 5000
const spareBytes = 1 << 20

export class Broker {
  readonly settings: BrokerSettings
  /** State right after the replay, before this process wrote anything: what a rebuilt state must equal. */
  replayed = { applied: 0, hash: '' }
  private readonly options: BrokerOptions
  private readonly machine: StateMachine
  private readonly cache: TailCache
  private readonly applier: Applier
  private readonly proposer: Proposer
  private readonly persister: Persister
  private readonly reader: Reader
  private readonly logOperations: LogOperations
  private readonly retention: Retention
  private readonly cleaner: Cleaner
  private readonly wall: WallClock
  private readonly healer: Healer
  private readonly groupWatch = new GroupWatch()
  private readonly shareWatch = new GroupWatch()
  private readonly hashes: HashChecks
  private readonly reminder: Reminder
  private readonly listeners = new Map<PartitionState, Set<() => void>>()
  private readonly damage = new Map<number, string>()
  private readonly unsubscribe: () => void
  private readonly stopping = new AbortController()
  /** Loops that run until `stopping`. */
  private readonly loops: Promise<void>[] = []
  private opened = false
  private failure: Error | undefined
  private closing: Promise<void> | undefined
  private running: Promise<void> | undefined
  private queued: Promise<void> | undefined

  private constructor(options: BrokerOptions, machine: StateMachine) {
    const settings = { ...defaultBrokerSettings, ...options.settings }
    const { log, clock, defer } = options
    const onFatal = (error: Error): void => this.fail(error)
    this.options = options
    // One listener per tail check.
    setMaxListeners(0, this.stopping.signal)
    this.settings = settings
    this.machine = machine
    this.wall = new WallClock(clock, settings.clockJumpMaxMs)
    this.cache = new TailCache(settings.tailCacheBytes)
    this.reader = new Reader({
      log,
      topics: machine.topics,
      cache: this.cache,
      onDamage: (lsn, detail) => this.reportDamage(lsn, detail),
      sync: () => this.sync(),
    })
    this.persister = new Persister({
      machine,
      store: options.store,
      clock,
      intervalMs: settings.stateCommitIntervalMs,
      onTrouble: error =>
        options.logger?.warn(
          { error: error.message },
          'the state could not be stored; trying again',
        ),
    })
    this.reminder = new Reminder(clock)
    this.healer = new Healer({
      log,
      clock,
      random: options.random,
      onTrouble: (error, index) => this.waitsFor(index, error),
    })
    this.hashes = new HashChecks(machine.applied)
    machine.onNote = (note, session) => this.compare(note, session)
    this.applier = new Applier({
      log,
      machine,
      onApplied: result => this.onApplied(result),
      onProgress: () => this.wakeReaders(),
      beforeSegment: end => this.beforeSegment(end),
      beforeLost: to => this.beforeLost(to),
      onLost: (from, to) =>
        this.reportDamage(from, `positions up to ${to} are lost; offsets jumped`),
      onFatal,
      onUnavailable: error => this.lookAgain(error),
      readBytesMax: replayReadBytes,
    })
    this.proposer = new Proposer({
      log,
      clock,
      defer,
      node: options.nodeId,
      incarnation: options.random.hex(8),
      appendsInFlightMax: settings.appendsInFlightMax,
      entryBytesMax: settings.entryBytesMax,
      backlogBytesMax: settings.backlogBytesMax,
      stamp: () => this.wall.stamp(machine.logTime),
      onCommitted: (lsn, entry, ms, index) => this.onCommitted(lsn, entry, ms, index),
      onStage: (stage, ms) => options.observe?.produced?.(stage, ms),
      onFatal,
      onUnavailable: (index, cause) => this.healer.heal(index, cause.message),
    })
    const places = new LivePlaces(machine, clock)
    this.logOperations = new LogOperations({
      log,
      machine,
      clock,
      disk: options.disk,
      store: options.store,
      places,
      checkpointsDir: options.checkpointsDir,
      spreadCheckpoint: past => options.checkpoints?.spread(past) ?? Promise.resolve(),
      persister: this.persister,
      durableSpec: settings.durableSpec,
      backlogBytes: () => this.proposer.backlogBytes,
      propose: command => this.propose(command),
      sync: () => this.sync(),
      fresh: () => this.fresh(),
      appliedUpTo: lsn => this.applier.appliedUpTo(lsn),
      logger: options.logger,
    })
    this.retention = new Retention({
      machine,
      clock,
      now: () => this.now,
      defaults: { ms: settings.logRetentionMs, bytes: settings.logRetentionBytes },
      intervalMs: settings.retentionCheckIntervalMs,
      growthBytes: Math.max(1, settings.reclaimBytesMin),
      isActing: () => this.isOldest,
      propose: command => this.propose(command),
      onTrouble: error =>
        options.logger?.warn({ error: error.message }, 'retention will be tried again'),
    })
    this.cleaner = new Cleaner({
      machine,
      log,
      clock,
      places,
      now: () => this.now,
      intervalMs: settings.retentionCheckIntervalMs,
      compactionIntervalMs: settings.logCleanerBackoffMs,
      reclaimBytesMin: settings.reclaimBytesMin,
      targetPercent: settings.logSizeTargetPercent,
      bytesPerSecond: settings.logCleanerIoMaxBytesPerSecond,
      keyBytesMax: settings.logCleanerDedupeBufferSize,
      tailBytes: settings.logCleanerTailBytes,
      backlogBytes: () => this.proposer.backlogBytes,
      isActing: () => this.mayClean,
      propose: command => this.propose(command),
      whileDurable: work => this.logOperations.whileDurable(work),
      cut: () => this.logOperations.cut(),
      onTrouble: error =>
        options.logger?.warn({ error: error.message }, 'cleaning will be tried again'),
    })
    this.unsubscribe = log.onChain(() => {
      this.applier.followChain()
      this.logOperations.onChain()
    })
  }

  /** Loads the state, replays what it lacks, opens a session. @throws when the state cannot be brought up to the log. */
  static async open(options: BrokerOptions): Promise<Broker> {
    await restoreEmptyStore(options)
    for (let start: number = options.log.trimPoint; ; ) {
      const broker = new Broker(options, await loadState(options, start))
      try {
        await broker.replay()
        await broker.proposer.open()
      } catch (error) {
        const cause = broker.failure ?? error
        await broker.abandon(cause as Error)
        // Another node trimmed the log meanwhile.
        const begins = cause instanceof LogloomError && cause.code === 'STATE_BEHIND'
        if (!begins) throw cause
        start = Number(cause.details.start)
        continue
      }
      broker.logOperations.onChain()
      broker.startLoops()
      options.checkpoints?.offer(
        async past => {
          // Whoever trims waits for this node, so that it need not start again with a state that is too old.
          await broker.applier.appliedUpTo(past)
          return (await broker.logOperations.checkpoint()).applied
        },
        () => broker.machine.applied,
      )
      return broker
    }
  }

  /** Bytes proposed and not answered yet. */
  get backlogBytes(): number {
    return this.proposer.backlogBytes
  }

  get tailCacheBytes(): number {
    return this.cache.bytes
  }

  get applied(): number {
    return this.machine.applied
  }

  get tail(): number {
    return this.applier.tail
  }

  /** Bytes of batches that live, and of all entries of the log that are not trimmed. */
  get logBytes(): { readonly live: number; readonly total: number } {
    return { live: this.machine.topics.bytes, total: this.cleaner.logBytes }
  }

  get cleaning(): Readonly<CleaningStats> {
    return this.cleaner.stats
  }

  get liveSessions(): number {
    return this.machine.sessions.live.size
  }

  /** Ranges found damaged since the start. */
  get damagedRanges(): number {
    return this.damage.size
  }

  /**
   * Orders a command and resolves with the decision once it was applied. @throws THROTTLED, STORAGE_FULL, SHUTTING_DOWN,
   * MESSAGE_TOO_LARGE, UNSUPPORTED_VERSION (no trace) or OUTCOME_UNKNOWN.
   */
  propose(command: Command): Promise<Answer> {
    if (this.persister.stalled)
      return Promise.reject(
        new LogloomError(
          'STORAGE_FULL',
          'the state store takes no more: the disk below the data directory is full or failing',
        ),
      )
    this.logOperations.onProposal()
    try {
      return this.proposer.propose(atLevel(command, this.peers()))
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** Whether all brokers of the log read what this version can write, as far as cleaning is concerned. */
  private get mayClean(): boolean {
    return this.isOldest && lowestLevel(this.peers()) >= cleaningLevel
  }

  /** The sessions of the other brokers; one of this node that is not closed yet is its own past. */
  private *peers(): Iterable<Session> {
    for (const session of this.machine.sessions.live.values())
      if (session.node !== this.options.nodeId) yield session
  }

  /** One checkTail shared by all who ask meanwhile, then everything below it is applied: no stale negatives after this. */
  sync(): Promise<void> {
    // A check that already runs may have begun before something that the caller knows of: join the next one.
    this.queued ??= (this.running ?? Promise.resolve())
      .catch(() => {})
      .then(() => {
        this.queued = undefined
        this.running = this.syncOnce()
        return this.running
      })
    return this.queued
  }

  /**
   * As {@link sync}, for somebody who waits for an answer. @throws LOG_UNAVAILABLE when the log has not answered for a while and cannot be moved
   * either
   */
  async fresh(): Promise<void> {
    const { clock } = this.options
    const over = new AbortController()
    const synced = this.sync().finally(() => over.abort())
    synced.catch(() => {})
    for (;;) {
      const waited = clock.sleep(freshWaitMs, over.signal).catch(() => {})
      await Promise.race([synced, waited])
      if (over.signal.aborted) return synced
      const { problem } = this.healer
      if (problem === undefined) continue
      over.abort()
      throw new LogloomError('LOG_UNAVAILABLE', `the end of the log is not known: ${problem}`)
    }
  }

  /** A producer that was given out and is not forgotten. */
  producer(id: number): Producer | undefined {
    return this.machine.producers.get(id)
  }

  topicByName(name: string): TopicState | undefined {
    return this.machine.topics.byName.get(name)
  }

  topicById(id: number): TopicState | undefined {
    const topic = this.machine.topics.byId.get(id)
    return topic !== undefined && isHidden(topic) ? undefined : topic
  }

  topics(): Iterable<TopicState> {
    return this.machine.topics.byName.values()
  }

  /** Offset that `at` means now, or meant then; see {@link Reader.offsetAt}. */
  offsetAt(
    topicId: number,
    partition: number,
    at: OffsetSpec,
    past?: PastRange,
  ): number | Promise<number> {
    return this.reader.offsetAt(topicId, partition, at, past)
  }

  /** See {@link Reader.past}. */
  past(topicId: number, partition: number, position: number): PastRange {
    return this.reader.past(topicId, partition, position)
  }

  /** See {@link Reader.read}. */
  read(
    topicId: number,
    partition: number,
    from: number,
    maxBytes: number,
    until?: number,
  ): ReadResult | Promise<ReadResult> {
    return this.reader.read(topicId, partition, from, maxBytes, until)
  }

  /** Calls `listener` after each apply that moved the partition's end or start, added partitions to its topic or deleted it. Returns the way to stop. */
  onAppend(topicId: number, partition: number, listener: () => void): () => void {
    const state = this.reader.partition(topicId, partition)
    let set = this.listeners.get(state)
    if (set === undefined) {
      set = new Set()
      this.listeners.set(state, set)
    }
    set.add(listener)
    return () => {
      set.delete(listener)
      if (set.size === 0 && this.listeners.get(state) === set) this.listeners.delete(state)
    }
  }

  /** A consumer group; undefined when there is none of this name. */
  group(name: string): Group | undefined {
    return this.machine.groups.registry.byName.get(name)
  }

  /** The state between two entries of the log, as a snapshot needs it, with its rights or without. @throws LIMIT_EXCEEDED */
  captureImage(security: boolean): SnapshotImage {
    return captureImage(this.machine, security)
  }

  /** Topics that nobody sees yet. */
  hiddenTopics(): Iterable<TopicState> {
    return this.machine.topics.hidden.values()
  }

  /** Topics that a restore has made, hidden or not, by their number in the archive. */
  restoredTopics(restore: string): ReadonlyMap<number, TopicState> {
    return this.machine.restores.topicsOf(restore)
  }

  /** See {@link viewOf}. */
  memberView(group: string, memberId: string): MemberView | undefined {
    return viewOf(this.group(group), memberId, this.machine.topics)
  }

  groups(): Iterable<Group> {
    return this.machine.groups.registry.byName.values()
  }

  /** Of the brokers of this log the one whose session is the oldest: it does and tells what one is enough for. */
  get isOldest(): boolean {
    return this.machine.sessions.isOldest(this.proposer.sessionId)
  }

  /** Calls `listener` after each apply that changed the group's members or claims. Returns the way to stop. */
  onGroup(name: string, listener: () => void): () => void {
    return this.groupWatch.on(name, listener)
  }

  /** A share group; undefined when there is none of this name. */
  shareGroup(name: string): ShareGroup | undefined {
    return this.machine.shares.registry.byName.get(name)
  }

  shareGroups(): Iterable<ShareGroup> {
    return this.machine.shares.registry.byName.values()
  }

  /** Records of the partition that the share group has not finished: those that were never delivered, are held, or wait to be delivered again. */
  shareLag(group: ShareGroup, topicId: number, partition: number): number {
    const share = group.partitions.get(placeKey(topicId, partition))
    if (share === undefined) return 0
    return share.records.size + this.lagRecords(topicId, partition, share.end)
  }

  /** Calls `listener` after each apply that may have left something to be had in the share group. Returns the way to stop. */
  onShareGroup(name: string, listener: () => void): () => void {
    return this.shareWatch.on(name, listener)
  }

  /** API keys, ACLs and quotas. */
  get security(): SecurityView {
    return this.machine.security.registry
  }

  /** Name of the node whose broker session this is, if it lives. */
  nodeOfSession(session: number | undefined): string | undefined {
    return session === undefined ? undefined : this.machine.sessions.live.get(session)?.node
  }

  /** Age of the oldest record that somebody has not read who goes on at `offset`, ms; 0 when there is none. */
  lagMs(topicId: number, partition: number, offset: number): number {
    const state = this.reader.partition(topicId, partition)
    const { appendedAt } = lagFrom(this.machine.topics, state, offset)
    return appendedAt === undefined ? 0 : Math.max(0, this.now - appendedAt)
  }

  /** Records that somebody has not read who goes on at `offset`: no look into the index, as the age needs it. */
  lagRecords(topicId: number, partition: number, offset: number): number {
    return lagRecords(this.machine.topics, this.reader.partition(topicId, partition), offset)
  }

  /** Log time, or the wall clock where that is ahead: log time stands still while nobody writes. */
  get now(): number {
    return Math.max(this.machine.logTime, this.wall.now())
  }

  describeLog(): LogDescription {
    return this.logOperations.describe(this.applier.tail)
  }

  switchLog(spec: string, expectedIndex?: number): Promise<SwitchResult> {
    return this.logOperations.switchTo(spec, expectedIndex)
  }

  sealLog(): Promise<SwitchResult> {
    return this.logOperations.switchTo(undefined)
  }

  trimLog(before: number, force: boolean): Promise<number> {
    return this.logOperations.trim(before, force)
  }

  verifyLog(): Promise<VerifyResult> {
    return this.logOperations.verify()
  }

  /** Enforces retention soon, and looks what is to be compacted: a topic has another configuration. */
  enforceRetention(): void {
    this.retention.lookSoon()
    this.cleaner.lookSoon()
  }

  stateHash(): { readonly hash: string; readonly applied: number; readonly version: number } {
    return { hash: this.machine.digest(), applied: this.machine.applied, version: stateVersion }
  }

  health(): BrokerHealth {
    const damaged = [...this.damage].slice(0, damageShown)
    const findings: readonly Finding[] = [
      ...(this.failure === undefined ? [] : [unavailable(`stopped: ${this.failure.message}`)]),
      ...(this.closing === undefined ? [] : [unavailable('the broker is shutting down')]),
      ...this.fullFindings(),
      ...(this.wall.distrusted
        ? [degraded('the wall clock jumped and is not followed: correct it, or restart the broker')]
        : []),
      ...(this.healer.problem === undefined ? [] : [unavailable(this.healer.problem)]),
      ...this.logOperations.findings(),
      ...damaged.map(([lsn, detail]) => degraded(`damage at log position ${lsn}: ${detail}`)),
      ...(this.options.findings?.() ?? []),
    ]
    return {
      ...judge(findings),
      tail: this.applier.tail,
      applied: this.machine.applied,
      loglet: this.options.log.chain.segments.at(-1)?.spec ?? '',
    }
  }

  /** The storage takes no more, as far as is known: the last append says so, and the disk says nothing else since. */
  private fullFindings(): readonly Finding[] {
    const { clock, freeBytes } = this.options
    if (this.persister.stalled)
      return [
        unavailable(
          'the state store takes no more (disk full?): requests that write are refused: free space below the data directory',
        ),
      ]
    const { full } = this.proposer
    if (full === undefined) return []
    // Room on the disk says nothing about a loglet in memory.
    const inMemory = this.options.log.volatileSegments().some(({ end }) => end === undefined)
    const free = inMemory ? undefined : freeBytes?.()
    const isOver = free !== undefined && free >= full.bytes + spareBytes
    if (isOver && clock.now() - full.at >= fullTrustMs) return []
    return [
      unavailable(
        `the storage is full (STORAGE_FULL): the last append, ${full.bytes} bytes, was refused${free === undefined ? '' : `, ${free} bytes are free`}: free space below the data directory, or \`logloom log switch\` when the loglet itself is at its limit`,
      ),
    ]
  }

  /** Answers what was proposed (for at most `drainMs`), stores the state, closes store and log. Idempotent. */
  close(options: { readonly drainMs?: number } = {}): Promise<void> {
    this.closing ??= this.shutDown(options.drainMs ?? 10_000)
    return this.closing
  }

  /** Ends a broker that could not be opened; log and store stay open. */
  private async abandon(cause: Error): Promise<void> {
    this.applier.stop(cause)
    this.unsubscribe()
    this.stopping.abort()
    this.healer.stop()
    await this.persister.close()
  }

  private startLoops(): void {
    this.opened = true
    const { machine, settings, proposer, applier } = this
    const { clock, log } = this.options
    const { signal } = this.stopping
    const propose = (command: Command): Promise<Decision> => this.propose(command)
    const idleMs = settings.producerIdExpirationMs
    this.loops.push(expireIdleProducers({ machine, clock, idleMs, propose }, signal))
    this.loops.push(this.retention.run(signal), this.cleaner.run(signal))
    const sweep = {
      machine,
      clock,
      now: () => this.now,
      intervalMs: settings.groupSweepIntervalMs,
      retentionMs: settings.offsetsRetentionMs,
      isActing: () => this.isOldest,
      propose,
    }
    this.loops.push(sweepGroups(sweep, signal), sweepTokens(sweep, signal))
    if (!settings.shared) return
    const { stampEveryMs, sessionTimeoutMs } = settings
    const ownSession = (): number | undefined => proposer.sessionId
    const lastNote = (): HashNote | undefined => this.hashes.last
    this.loops.push(
      followTail(log, applier, clock, signal),
      watchPeers(
        { machine, clock, ownSession, propose, lastNote, stampEveryMs, sessionTimeoutMs },
        signal,
      ),
    )
  }

  /** Another broker told the hash of its state: two that differ must not both go on (invariant 8). */
  private compare(note: HashNote, session: number): void {
    const { live } = this.machine.sessions
    const own = this.proposer.sessionId
    const others = [...live.keys()].filter(id => id !== own)
    const { same, outvoted } = this.hashes.hear(note, session, others)
    if (same) return
    const { node = '' } = live.get(session) ?? {}
    const position = note.at * hashCheckEvery
    const error = new LogloomError(
      'STATE_DIVERGED',
      `the state at log position ${position} differs from that of node ${node}: one of them is wrong`,
      { node, position },
    )
    this.options.logger?.error({ code: error.code, node, position }, error.message)
    if (outvoted) this.fail(error)
  }

  /** Before a range that nobody can read any more: a state that was past it when it could be read is worth more than a gap. */
  private async beforeLost(to: number): Promise<void> {
    const applied = (await this.options.checkpoints?.ahead(to)) ?? -1
    if (applied < to) return
    throw new LogloomError(
      'STATE_BEHIND',
      `log positions up to ${to} are lost; another node applied them before, and its state is taken`,
      { applied: this.machine.applied, start: to },
    )
  }

  /** The tail, from whichever segment answers: reconfigures when the last one does not. */
  private async checkTail(): Promise<Lsn> {
    const { log } = this.options
    for (;;) {
      const index = log.chain.segments.at(-1)?.index ?? 0
      try {
        return await log.checkTail(this.stopping.signal)
      } catch (error) {
        if (!isUnavailable(error) || this.stopping.signal.aborted) throw error
        await this.healer.heal(index, (error as Error).message)
      }
    }
  }

  /** What does not answer may have left the chain: another broker may have trimmed it away. */
  private async lookAgain(error: Error): Promise<void> {
    const { clock, log } = this.options
    const { applied } = this.machine
    this.waitsFor(log.chain.segments.findLast(s => s.start <= applied)?.index ?? 0, error)
    await clock.sleep(unavailableRetryMs, this.stopping.signal)
    // The register may be away as well; then this is done again.
    await log.refresh().catch(() => {})
  }

  private waitsFor(index: number, error: Error): void {
    if (!this.reminder.isDue) return
    const code = 'LOG_UNAVAILABLE'
    const { hint } = errorTable[code]
    this.options.logger?.warn(
      { code, index, error: error.message, hint },
      'the log does not go on; trying again',
    )
  }

  private async replay(): Promise<void> {
    const { machine, applier } = this
    const tail = await this.checkTail()
    if (machine.applied > tail)
      throw new LogloomError(
        'LOG_LOST',
        `the state has applied ${machine.applied} positions, the log ends at ${tail}`,
      )
    this.persister.start()
    applier.advance(tail)
    await applier.appliedUpTo(tail)
    this.replayed = { applied: machine.applied, hash: machine.digest() }
  }

  private async syncOnce(): Promise<void> {
    if (this.failure !== undefined) throw new LogloomError('SHUTTING_DOWN', this.failure.message)
    const tail = await this.checkTail()
    this.applier.advance(tail)
    await this.applier.appliedUpTo(tail)
  }

  private onCommitted(lsn: number, entry: EncodedEntry, ms: number, segmentIndex: number): void {
    // It must not drive out what readers at the tail need.
    if (!isOld(entry)) this.cache.put(lsn, entry.buffers, entry.bytes)
    const { observe, log } = this.options
    if (observe?.appended !== undefined) {
      const spec = log.chain.segments.find(s => s.index === segmentIndex)?.spec ?? 'unknown'
      observe.appended(spec, entry.bytes, recordsIn(entry), ms)
    }
    this.applier.committed(lsn, entry.parsed)
  }

  private onApplied(result: ApplyResult): void {
    if (this.settings.shared) this.hashes.note(this.machine.applied, () => this.machine.digest())
    if (result.opened !== undefined) this.proposer.onOpened(result.opened)
    for (const applied of result.applied) this.proposer.onApplied(applied)
    if (result.applied.length > 0) this.logOperations.onReply()
    const session = this.proposer.sessionId
    if (session !== undefined && !this.machine.sessions.live.has(session))
      this.proposer.onSessionLost()
  }

  private wakeReaders(): void {
    this.groupWatch.wake(this.machine.groups.touched)
    this.shareWatch.wake(this.machine.shares.touched)
    this.machine.security.registry.tell()
    for (const partition of this.machine.touched) {
      const listeners = this.listeners.get(partition)
      if (listeners !== undefined) for (const listener of listeners) listener()
    }
    this.machine.touched.clear()
    this.persister.nudge()
  }

  /** What follows a volatile segment may be answered only when the state no longer depends on that segment's content. */
  private beforeSegment(end: number): Promise<void> | undefined {
    const { log } = this.options
    const volatile = log.volatileSegments().some(s => s.end === end)
    return volatile ? this.persister.flushPatiently() : undefined
  }

  private reportDamage(lsn: number, detail: string): void {
    if (this.damage.has(lsn) || this.damage.size >= 1000) return
    this.damage.set(lsn, detail)
    this.options.logger?.error({ lsn, detail, code: 'LOG_LOST' }, 'part of the log cannot be read')
  }

  private fail(error: Error): void {
    if (this.failure !== undefined || this.closing !== undefined) return
    this.failure = error
    this.applier.stop(error)
    this.proposer.end(
      new LogloomError(
        'SHUTTING_DOWN',
        `the broker failed: ${error.message}`,
        {},
        { cause: error },
      ),
    )
    // Until it is open, `open` rejects with it.
    if (this.opened) this.options.onFatal(error)
  }

  private async shutDown(drainMs: number): Promise<void> {
    const { clock, log, store } = this.options
    this.stopping.abort()
    const deadline = new AbortController()
    const timeout = clock.sleep(drainMs, deadline.signal).catch(() => {})
    if (this.failure === undefined) await Promise.race([this.proposer.drain(), timeout])
    deadline.abort()
    this.proposer.end(new LogloomError('SHUTTING_DOWN', 'the broker is shutting down'))
    this.healer.stop()
    await Promise.all(this.loops)
    await this.logOperations.close()
    this.applier.stop(new LogloomError('SHUTTING_DOWN', 'the broker is shutting down'))
    this.unsubscribe()
    if (this.failure === undefined) await this.persister.close()
    await store.close()
    await log.close()
  }
}
