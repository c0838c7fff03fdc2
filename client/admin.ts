// Topics and the log, as an operator sees them (protocol.md 2 and 7).
//
// Guarantees: changes of topics take effect at most once through retries, because they carry a producer identity; what only looks, or
// is harmless twice, is repeated until the timeout; a switch or seal of the log is sent once, and an unknown outcome is reported as
// such. It does not know what the answers mean.

import type {
  CommittedOffset,
  GroupDescription,
  GroupListing,
  OffsetReset,
  ResetOffsetsOptions,
  ShareGroupDescription,
} from './group-admin.ts'
import { type Frame, LogloomError } from '../wire/index.ts'
import type { BrokerDescription, ConnectionDescription } from './broker-description.ts'
import { CommandLane } from './command-lane.ts'
import type { Connection } from './connection.ts'
import type { PartitionEpoch } from './epochs.ts'
import type { Lsn, Offset } from './positions.ts'
import { ProducerIdSource } from './producer-id.ts'
import {
  type AclBinding,
  type AclFilter,
  type AdminCalls,
  type CreatedToken,
  createAcls,
  createToken,
  type NewScopedToken,
  deleteAcls,
  listTokens,
  type NewAclBinding,
  type NewToken,
  type Quota,
  type TokenListing,
} from './security-admin.ts'

/** Options of every admin call. `timeoutMs` bounds the whole call, reconnects included. */
export interface AdminOptions {
  readonly signal?: AbortSignal
  readonly timeoutMs?: number
}

export interface NewTopic extends TopicSettings {
  readonly topic: string
}

export interface TopicSettings {
  /** Default: the broker's `num.partitions`. */
  readonly partitions?: number
  /** Dotted keys as in Kafka, for example `retention.ms`. */
  readonly config?: Readonly<Record<string, string>>
}

export interface CreatedTopic {
  readonly topic: string
  readonly topicId: number
  readonly partitions: number
  /** False when it existed and `ifNotExists` was set. */
  readonly created: boolean
}

export interface TopicListing {
  readonly topic: string
  readonly topicId: number
  readonly partitions: number
  readonly records: number
  readonly bytes: number
}

export interface TopicDescription {
  readonly topic: string
  readonly topicId: number
  readonly config: Readonly<Record<string, string>>
  /** The principal whose quota it counts for, if it was made by one; told to those who may describe the cluster. */
  readonly owner?: string
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** The creation, and each time that partitions were added. */
  readonly epochs: readonly PartitionEpoch[]
  readonly partitions: readonly {
    readonly partition: number
    readonly startOffset: Offset
    readonly endOffset: Offset
    readonly bytes: number
  }[]
}

/** A starting point of protocol.md 6.1. */
export type OffsetSpec =
  | 'beginning'
  | 'end'
  | number
  | { readonly timestamp: number }
  | { readonly last: number }

export interface LogSegment {
  readonly index: number
  readonly id: string
  readonly start: Lsn
  readonly end: Lsn | null
  readonly spec: string
  readonly state: 'open' | 'sealed' | 'lost'
  /** Its records do not survive the broker process. */
  readonly volatile: boolean
  /** Where its leaves live, leaf by leaf: `sequencer@incarnation;server@store,…`. For kinds that have a choice. */
  readonly placement?: readonly string[]
}

export interface LogDescription {
  readonly version: number
  readonly tail: Lsn
  readonly applied: Lsn
  readonly trim: Lsn
  readonly segments: readonly LogSegment[]
  /** Why this may not be the newest: the broker cannot reach the others now, and tells what it knew last. */
  readonly stale?: string
}

/** A sealed segment that has fewer copies than it was made with. */
export interface LostSegmentCopies {
  readonly index: number
  readonly copies: number
  readonly wanted: number
  /** Nodes whose copy is gone for good. */
  readonly gone: readonly string[]
}

/** A node of a cluster, as one broker sees it. */
export interface ClusterNodeStatus {
  readonly node: string
  readonly up: boolean
  /** The broker that answers. */
  readonly self: boolean
  /** Let in by `addNode`, but not up since: no member yet. */
  readonly joining: boolean
  /** Of its listener for nodes. */
  readonly peerUrl: string
  /** Of its broker, if it runs one and is up. */
  readonly url?: string
  readonly version?: string
  readonly logServer?: boolean
}

export interface LogSwitch {
  readonly sealed: { readonly index: number; readonly start: Lsn; readonly end: Lsn }
  /** The broker's longest gap without an ack, milliseconds. */
  readonly pauseMs: number
  readonly opened: { readonly index: number; readonly start: Lsn; readonly spec: string }
}

export interface LogVerification {
  readonly ok: boolean
  readonly entries: number
  readonly bytes: number
  readonly damaged: readonly {
    readonly from: Lsn
    readonly to: Lsn
    readonly kind: string
    readonly detail: string
  }[]
}

export interface BrokerHealth {
  /** `ok`; `degraded`: serves, but something needs a person; `unavailable`: takes no appends or cannot tell where the log ends. */
  readonly status: string
  readonly version: string
  readonly tail: Lsn
  readonly applied: Lsn
  readonly loglet: string
  readonly problems: readonly string[]
}

const verifyTimeoutMs = 10 * 60_000

export class Admin {
  readonly #connection: Connection
  readonly #commands: CommandLane
  readonly #calls: AdminCalls = {
    ask: (op, fields, o) => this.#ask(op, fields, o),
    change: (op, fields, o) => this.#change(op, fields, o),
  }

  /** Made by {@link Client.admin}. */
  constructor(connection: Connection) {
    this.#connection = connection
    this.#commands = new CommandLane(connection, new ProducerIdSource(connection), 'admin')
  }

  /** @throws TOPIC_EXISTS unless `ifNotExists`, INVALID_TOPIC_NAME, INVALID_PARTITIONS, INVALID_CONFIG */
  createTopic(
    topic: string | NewTopic,
    o: AdminOptions & TopicSettings & { readonly ifNotExists?: boolean } = {},
  ): Promise<CreatedTopic> {
    const { partitions = o.partitions, config = o.config, topic: name } = named(topic)
    const fields: Frame = { topic: name, ifNotExists: o.ifNotExists ?? false }
    if (partitions !== undefined) fields['partitions'] = partitions
    if (config !== undefined) fields['config'] = config
    return this.#change('createTopic', fields, o)
  }

  /** One after the other; the first refusal ends it, and what was created before stays. */
  async createTopics(
    topics: readonly (string | NewTopic)[],
    o: AdminOptions & TopicSettings & { readonly ifNotExists?: boolean } = {},
  ): Promise<readonly CreatedTopic[]> {
    const created: CreatedTopic[] = []
    for (const topic of topics) created.push(await this.createTopic(topic, o))
    return created
  }

  /** @throws UNKNOWN_TOPIC */
  deleteTopic(
    topic: string,
    o: AdminOptions = {},
  ): Promise<{ readonly topic: string; readonly topicId: number }> {
    return this.#change('deleteTopic', { topic }, o)
  }

  /** Sets configuration keys, leaving the others. @throws UNKNOWN_TOPIC, INVALID_CONFIG */
  alterTopic(
    topic: string,
    config: Readonly<Record<string, string>>,
    o: AdminOptions = {},
  ): Promise<{ readonly topic: string; readonly config: Readonly<Record<string, string>> }> {
    return this.#change('alterTopic', { topic, config }, o)
  }

  /**
   * Adds partitions to a topic in use, `partitions` in all, and sets configuration keys with them. Producers and readers of this SDK go on without an
   * error, and the records of each key stay in order.
   * @throws UNKNOWN_TOPIC, INVALID_PARTITIONS when it is not more, LIMIT_EXCEEDED, INVALID_CONFIG
   */
  createPartitions(
    topic: string,
    partitions: number,
    o: AdminOptions & { readonly config?: Readonly<Record<string, string>> } = {},
  ): Promise<{
    readonly topic: string
    readonly partitions: number
    readonly config: Readonly<Record<string, string>>
  }> {
    const { config } = o
    return this.#change('alterTopic', { topic, partitions, ...(config && { config }) }, o)
  }

  async listTopics(o: AdminOptions = {}): Promise<readonly TopicListing[]> {
    const { topics } = await this.#ask<{ topics: readonly TopicListing[] }>('listTopics', {}, o)
    return topics
  }

  /** @throws UNKNOWN_TOPIC */
  describeTopic(topic: string, o: AdminOptions = {}): Promise<TopicDescription> {
    return this.#ask('describeTopic', { topic }, o)
  }

  /** The offsets of a place in each partition, as of a log position if one is given. @throws UNKNOWN_TOPIC, OFFSET_OUT_OF_RANGE, OFFSET_TRIMMED */
  async listOffsets(
    topic: string,
    at: OffsetSpec,
    o: AdminOptions & { partition?: number; asOf?: number } = {},
  ): Promise<readonly { readonly partition: number; readonly offset: Offset }[]> {
    const { partition, asOf } = o
    const fields: Frame = { topic, at }
    if (partition !== undefined) fields['partition'] = partition
    if (asOf !== undefined) fields['asOf'] = asOf
    type Reply = { offsets: readonly { partition: number; offset: Offset }[] }
    const { offsets } = await this.#ask<Reply>('listOffsets', fields, o)
    return offsets
  }

  describeLog(o: AdminOptions = {}): Promise<LogDescription> {
    return this.#ask('describeLog', {}, o)
  }

  /**
   * Seals the current loglet and continues in one of `spec`. With `expectedIndex` only if that is the current segment.
   * @throws INVALID_SPEC, RECONFIGURE_CONFLICT, OUTCOME_UNKNOWN (look at describeLog)
   */
  switchLog(spec: string, o: AdminOptions & { expectedIndex?: number } = {}): Promise<LogSwitch> {
    const { expectedIndex } = o
    return this.#once(
      'switchLog',
      expectedIndex === undefined ? { spec } : { spec, expectedIndex },
      o,
    )
  }

  /** Seals the current loglet and reopens with the same spec. @throws RECONFIGURE_CONFLICT, OUTCOME_UNKNOWN */
  sealLog(o: AdminOptions = {}): Promise<LogSwitch> {
    return this.#once('sealLog', {}, o)
  }

  /**
   * Gives up the records of a partition below an offset, as Kafka's DeleteRecords. @returns where the partition begins now
   * @throws OFFSET_OUT_OF_RANGE { start, end } beyond the end
   */
  async deleteRecords(
    topic: string,
    partition: number,
    before: number,
    o: AdminOptions = {},
  ): Promise<{ readonly partition: number; readonly startOffset: number }> {
    return this.#ask('deleteRecords', { topic, partition, before }, o)
  }

  async listGroups(o: AdminOptions = {}): Promise<readonly GroupListing[]> {
    return (await this.#ask<{ groups: readonly GroupListing[] }>('listGroups', {}, o)).groups
  }

  /** A consumer group. @throws UNKNOWN_GROUP, INCONSISTENT_GROUP_PROTOCOL */
  async describeGroup(group: string, o: AdminOptions = {}): Promise<GroupDescription> {
    const found = await this.#describeAny(group, o)
    if (found.type === 'consumer') return found
    throw otherKind(group, found.type)
  }

  /** A share group. @throws UNKNOWN_GROUP, INCONSISTENT_GROUP_PROTOCOL */
  async describeShareGroup(group: string, o: AdminOptions = {}): Promise<ShareGroupDescription> {
    const found = await this.#describeAny(group, o)
    if (found.type === 'share') return found
    throw otherKind(group, found.type)
  }

  #describeAny(group: string, o: AdminOptions): Promise<GroupDescription | ShareGroupDescription> {
    return this.#ask('describeGroup', { group }, o)
  }

  /** What the group has committed; nothing for one that does not exist. */
  fetchOffsets(
    group: string,
    o: AdminOptions = {},
  ): Promise<{ readonly offsets: readonly CommittedOffset[] }> {
    return this.#ask('fetchOffsets', { group }, o)
  }

  /**
   * Moves the offsets of a group without members. What lies outside a partition becomes its start or end.
   * @throws GROUP_NOT_EMPTY, UNKNOWN_GROUP, UNKNOWN_TOPIC
   */
  resetOffsets(
    group: string,
    { to, topics, dryRun, ...o }: ResetOffsetsOptions & AdminOptions,
  ): Promise<{ readonly offsets: readonly OffsetReset[] }> {
    const fields = { group, to, ...(topics && { topics }), ...(dryRun && { dryRun }) }
    return this.#ask('resetOffsets', fields, o)
  }

  /** Forgets a group without members, its offsets included. @throws GROUP_NOT_EMPTY, UNKNOWN_GROUP */
  async deleteGroup(group: string, o: AdminOptions = {}): Promise<void> {
    await this.#once('deleteGroup', { group }, o)
  }

  /** Drops the log before `lsn`. @throws TRIM_BLOCKED { topics } when live records would go, unless `force` */
  trimLog(
    lsn: number,
    o: AdminOptions & { force?: boolean } = {},
  ): Promise<{ readonly trim: Lsn }> {
    return this.#ask('trimLog', o.force ? { lsn, force: true } : { lsn }, o)
  }

  /** Reads the whole log and checks it; default timeout 10 minutes. */
  verifyLog(o: AdminOptions = {}): Promise<LogVerification> {
    return this.#ask('verifyLog', {}, { timeoutMs: verifyTimeoutMs, ...o })
  }

  /** The nodes of the cluster as the broker at the other end sees them; none for a broker alone. */
  describeCluster(o: AdminOptions = {}): Promise<{
    readonly nodes: readonly ClusterNodeStatus[]
    /** Sealed segments that lost copies for good; absent from brokers that do not tell. */
    readonly lostCopies?: readonly LostSegmentCopies[]
  }> {
    return this.#ask('describeCluster', {}, o)
  }

  /**
   * Lets a node in. It becomes a member as soon as it is up; start it with `join`. @throws NODE_EXISTS, INVALID_CONFIG
   * @param peerUrl `ws://HOST:PORT` of its listener for nodes
   */
  async addNode(node: string, peerUrl: string, o: AdminOptions = {}): Promise<void> {
    await this.#ask('addNode', { node, peerUrl }, o)
  }

  /** Takes a node out of the cluster, whether it is up or not. @throws UNKNOWN_NODE, TOO_FEW_NODES when too few others are up */
  async removeNode(node: string, o: AdminOptions = {}): Promise<void> {
    await this.#ask('removeNode', { node }, o)
  }

  /** Makes an API key. Its secret is made here and is in no broker, log or backup: only the reply of this call has it. */
  createToken(token: NewToken, o: AdminOptions = {}): Promise<CreatedToken> {
    return createToken(this.#calls, token, o)
  }

  listTokens(o: AdminOptions = {}): Promise<readonly TokenListing[]> {
    return listTokens(this.#calls, o)
  }

  /** The key is not accepted any more; connections that came with it end. @throws UNKNOWN_TOKEN */
  revokeToken(
    tokenId: string,
    o: AdminOptions = {},
  ): Promise<{ readonly tokenId: string; readonly principal: string }> {
    return this.#change('revokeToken', { tokenId }, o)
  }

  /**
   * A short-lived token that can do at most what `grants` say, of what its principal may: for a page, so that it never sees an API key. It ends with the
   * credential that this client came with at the latest. @throws LIMIT_EXCEEDED, AUTHORIZATION_FAILED for more than this client's own token allows
   */
  mintToken(
    { grants, ttlMs }: NewScopedToken,
    o: AdminOptions = {},
  ): Promise<{ readonly token: string; readonly expiresAt: number }> {
    return this.#ask('mintToken', ttlMs === undefined ? { grants } : { grants, ttlMs }, o)
  }

  /** Those that are there already stay as they are. @returns how many are new. @throws LIMIT_EXCEEDED */
  createAcls(
    bindings: readonly NewAclBinding[],
    o: AdminOptions = {},
  ): Promise<{ readonly created: number }> {
    return createAcls(this.#calls, bindings, o)
  }

  /** Deletes what the filter matches; with `dryRun` only tells. @returns those bindings */
  deleteAcls(
    filter: AclFilter,
    o: AdminOptions & { readonly dryRun?: boolean } = {},
  ): Promise<readonly AclBinding[]> {
    return deleteAcls(this.#calls, filter, o)
  }

  async listAcls({
    filter,
    ...o
  }: AdminOptions & { readonly filter?: AclFilter } = {}): Promise<readonly AclBinding[]> {
    type Reply = { bindings: readonly AclBinding[] }
    return (await this.#ask<Reply>('listAcls', filter === undefined ? {} : { filter }, o)).bindings
  }

  /** In place of what the principal had; null removes it. `User:*`: for all that have none of a kind themselves. @throws LIMIT_EXCEEDED */
  setQuota(
    principal: string,
    quota: Quota | null,
    o: AdminOptions = {},
  ): Promise<{ readonly principal: string; readonly quota: Quota | null }> {
    return this.#change('setQuota', { principal, quota }, o)
  }

  async listQuotas(
    o: AdminOptions = {},
  ): Promise<readonly { readonly principal: string; readonly quota: Quota }[]> {
    type Reply = { quotas: readonly { principal: string; quota: Quota }[] }
    return (await this.#ask<Reply>('listQuotas', {}, o)).quotas
  }

  health(o: AdminOptions = {}): Promise<BrokerHealth> {
    return this.#ask('health', {}, o)
  }

  /** What the broker at the other end has done since it started: ask twice for rates. */
  describeBroker(o: AdminOptions = {}): Promise<BrokerDescription> {
    return this.#ask('describeBroker', {}, o)
  }

  /** The connections of the broker at the other end, the oldest first, at most `limit` (default 1000). */
  listConnections({ limit, ...o }: AdminOptions & { readonly limit?: number } = {}): Promise<{
    readonly total: number
    readonly connections: readonly ConnectionDescription[]
  }> {
    return this.#ask('listConnections', limit === undefined ? {} : { limit }, o)
  }

  /**
   * Ends a connection of the broker at the other end, by its number in {@link listConnections}. A client of this SDK dials again at once. @returns whether there was one
   * @throws OUTCOME_UNKNOWN
   */
  async closeConnection(id: number, o: AdminOptions = {}): Promise<boolean> {
    const { closed } = await this.#once<{ closed: boolean }>(
      'closeConnection',
      { connection: id },
      o,
    )
    return closed
  }

  /** Milliseconds for a request and its answer. */
  async ping(o: AdminOptions = {}): Promise<number> {
    const { clock } = this.#connection
    const startMs = clock.nowMs()
    await this.#ask('ping', {}, o)
    return clock.nowMs() - startMs
  }

  async #ask<R>(op: string, fields: Frame, o: AdminOptions): Promise<R> {
    return withoutId(await this.#connection.call(op, fields, { ...o, impatient: true })) as R
  }

  async #change<R>(op: string, fields: Frame, o: AdminOptions): Promise<R> {
    const timeoutMs = o.timeoutMs ?? this.#connection.requestTimeoutMs
    return withoutId(await this.#commands.run(op, fields, { timeoutMs, signal: o.signal })) as R
  }

  /** Sent once: twice would do it twice. */
  async #once<R>(op: string, fields: Frame, o: AdminOptions): Promise<R> {
    const timeoutMs = o.timeoutMs ?? this.#connection.requestTimeoutMs
    const link = await this.#connection.waitForLink({ timeoutMs, signal: o.signal })
    try {
      const signal = o.signal ? { signal: o.signal } : {}
      return withoutId(await link.channel.request(op, fields, { timeoutMs, ...signal })) as R
    } catch (cause) {
      const code = cause instanceof LogloomError ? cause.code : ''
      if (code !== 'CONNECTION_CLOSED' && code !== 'TIMEOUT') throw cause
      const hint = 'look at describeLog before you repeat it'
      throw new LogloomError(
        'OUTCOME_UNKNOWN',
        `${op} was sent but not answered`,
        {},
        { cause, hint },
      )
    }
  }
}

function named(topic: string | NewTopic): NewTopic {
  return typeof topic === 'string' ? { topic } : topic
}

function withoutId(reply: Frame): unknown {
  const { id: _, ...rest } = reply
  return rest
}

function otherKind(group: string, kind: 'consumer' | 'share'): LogloomError {
  return new LogloomError('INCONSISTENT_GROUP_PROTOCOL', `${group} is a ${kind} group`, {
    group,
    kind,
  })
}
