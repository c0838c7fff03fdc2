// Places, makes, opens and removes native loglets (DESIGN 4.4).
//
// A loglet is made on every log server of its placement, and counts as made once a majority has it durably and its sequencer runs. After
// that the chain says that it exists; which of its servers answer, each step finds out by itself.

import {
  type Loglet,
  LogletError,
  LogletExistsError,
  LogletLostError,
  type LogletParams,
  type LogletProvider,
  LogletSpecError,
  LogletUnavailableError,
  type PlaceRequest,
} from '../contract.ts'
import { majority } from '../majority.ts'
import type { Message, MessageValue, Net, NodeId } from '../net.ts'
import { RemoteError } from '../net.ts'
import type { Clock, Random } from '../ports.ts'
import { nativeErrors, stateOf, verbs } from './messages.ts'
import { NativeLoglet } from './native-loglet.ts'
import {
  decodePlacement,
  encodePlacement,
  type LogServerId,
  type NativePlacement,
  replicasMax,
} from './placement.ts'
import { ask, callServer, type LogletContext } from './quorum.ts'
import type { Sequencers } from './sequencers.ts'

/** A node of the cluster that is up, as the members see each other. */
export interface ClusterMember {
  readonly node: NodeId
  readonly incarnation: string
  /** Of its log server; undefined when it runs none. */
  readonly store?: string
}

export interface NativeProviderOptions {
  readonly net: Net
  readonly clock: Clock
  readonly random: Random
  readonly sequencers: Sequencers
  /** Who is up now, this node included. */
  readonly members: () => readonly ClusterMember[]
  /** Log servers that the cluster has, up or not: a new loglet needs a majority of them, so that no minority goes on alone. */
  readonly serversTotal: () => number
}

const createTimeoutMs = 3000
const createGraceMs = 500
const removeTimeoutMs = 2000
const openTimeoutMs = 1000
const replicasDefault = 3
const optionNames: readonly string[] = ['replicas', 'segment.bytes']

export class NativeLogletProvider implements LogletProvider {
  readonly kind = 'native'
  readonly scope = 'cluster'
  readonly volatile = false
  private readonly options: NativeProviderOptions

  constructor(options: NativeProviderOptions) {
    this.options = options
  }

  validate(params: LogletParams): void {
    replicasOf(params)
    for (const key of Object.keys(params.options))
      if (!optionNames.includes(key))
        throw new LogletSpecError(`native has no option ${key}: it knows ${optionNames.join(', ')}`)
  }

  /** Shared servers: every leaf on the same ones, sequencers in turn. Disjoint: each leaf on its own group, its sequencer among them. */
  place(params: LogletParams, { leaf, leaves, servers }: PlaceRequest): string {
    const { members, serversTotal, net } = this.options
    const live = sortedFrom(members(), net.self)
    const hosts = live.filter(isServer)
    const needed = majority(serversTotal())
    if (hosts.length < needed)
      throw new LogletUnavailableError(
        `${hosts.length} of ${serversTotal()} log servers are up, a new native loglet needs ${needed}`,
      )
    const groups = servers === 'disjoint' ? leaves : 1
    const group = hosts.filter((_, i) => i % groups === leaf % groups)
    if (group.length === 0)
      throw new LogletUnavailableError(
        `${leaves} stripes on disjoint servers need ${leaves} log servers, ${hosts.length} are up`,
      )
    const chosen = group.slice(0, replicasOf(params))
    const sequencers = groups > 1 ? chosen : live
    const { node, incarnation } = sequencers[
      Math.floor(leaf / groups) % sequencers.length
    ] as ClusterMember
    return encodePlacement({
      sequencer: { node, incarnation },
      servers: chosen.map(host => ({ node: host.node, store: host.store })),
    })
  }

  async create(id: string, params: LogletParams): Promise<Loglet> {
    const context = this.contextOf(id, params)
    const { 'segment.bytes': segmentBytes } = params.options
    const options: Record<string, string> =
      segmentBytes === undefined ? {} : { 'segment.bytes': segmentBytes }
    const fields = { options, placement: params.placement }
    try {
      const answers = await ask(context, verbs.create, fields, stateOf, {
        timeoutMs: createTimeoutMs,
        graceMs: createGraceMs,
      })
      if (answers.some(({ value }) => value.tail > 0 || value.sealed))
        throw new LogletExistsError(`loglet ${id} exists`, 'refused')
      await this.startSequencer(context, params.placement as string, options)
    } catch (error) {
      throw error instanceof LogletError ? error : unavailableFrom(id, error)
    }
    return this.handle(id, params)
  }

  /** @throws {LogletLostError} when every server says that it has no such loglet; who does not answer may have it */
  async open(id: string, params: LogletParams): Promise<Loglet> {
    const context = this.contextOf(id, params)
    const exists = await Promise.all(
      context.placement.servers.map(server =>
        callServer(context, server, verbs.tail, {}, { timeoutMs: openTimeoutMs }).then(
          () => true,
          error => !(error instanceof RemoteError && error.code === nativeErrors.unknownLoglet),
        ),
      ),
    )
    if (!exists.includes(true))
      throw new LogletLostError(`no log server has loglet ${id} (${params.placement})`, 'unknown')
    return this.handle(id, params)
  }

  private handle(id: string, params: LogletParams): Loglet {
    const { sequencers, net, clock, random } = this.options
    const placement = decodePlacement(params.placement)
    return new NativeLoglet({
      id,
      placement,
      net,
      clock,
      random,
      sequencer: isOwn(placement, sequencers) ? sequencers.find(id) : undefined,
      client: `${net.self}.${random.hex(6)}`,
    })
  }

  async remove(id: string, params: LogletParams): Promise<void> {
    const context = this.contextOf(id, params)
    this.options.sequencers.stop(id)
    // Who is away keeps its copy until it is asked again; its id never comes back.
    await ask(context, verbs.remove, {}, () => true, {
      timeoutMs: removeTimeoutMs,
      graceMs: createGraceMs,
    })
  }

  private contextOf(id: string, params: LogletParams): LogletContext {
    const { net, clock, random } = this.options
    const placement = decodePlacement(params.placement)
    const { signal: closing } = new AbortController()
    return { id, placement, net, clock, random, knownTail: () => 0, closing }
  }

  private async startSequencer(
    { id, placement }: LogletContext,
    text: string,
    options: Message & MessageValue,
  ): Promise<void> {
    const { sequencers, net } = this.options
    if (isOwn(placement, sequencers)) sequencers.start(id, text, options)
    else
      await net.call(
        placement.sequencer.node,
        verbs.sequence,
        { id, placement: text, options },
        { timeoutMs: createTimeoutMs },
      )
  }
}

function replicasOf({ options }: LogletParams): number {
  const { replicas: text } = options
  if (text === undefined) return replicasDefault
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1 || value > replicasMax || value % 2 === 0)
    throw new LogletSpecError(`replicas=${text}: use an odd number from 1 to ${replicasMax}`)
  return value
}

/** By name, beginning with `self`, so that every node chooses alike but for who comes first. */
function sortedFrom(members: readonly ClusterMember[], self: NodeId): readonly ClusterMember[] {
  const sorted = [...members].sort((a, b) => (a.node < b.node ? -1 : 1))
  const at = Math.max(
    0,
    sorted.findIndex(member => member.node === self),
  )
  return [...sorted.slice(at), ...sorted.slice(0, at)]
}

function isServer(member: ClusterMember): member is ClusterMember & LogServerId {
  return member.store !== undefined
}

function isOwn({ sequencer }: NativePlacement, { self }: Sequencers): boolean {
  return sequencer.node === self.node && sequencer.incarnation === self.incarnation
}

function unavailableFrom(id: string, error: unknown): LogletUnavailableError {
  const who = error instanceof RemoteError ? `${error.from}: ` : ''
  return new LogletUnavailableError(
    `loglet ${id} cannot be made: ${who}${(error as Error).message}`,
    error,
  )
}
