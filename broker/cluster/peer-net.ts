// The port `Net` in production: nodes talk over WebSockets on a listener of their own (protocol.md 9).
//
// Guarantees: each node sends its requests over one connection that it made itself, so two nodes have two; only nodes in the peer list that
// hold the cluster's secret are served; one node id has one living incarnation at a time, and a second one waits until the first is gone.
// It retries connections, never calls. Bytes in messages are views of the frame they came in: keep a copy, not the view, for long.

import {
  type CallOptions,
  type Handler,
  type Message,
  type Net,
  NetError,
  type NodeId,
  nodeIdPattern,
  RemoteError,
} from '../../loglets/net.ts'
import { nodeRandom } from '../../loglets/node-clock.ts'
import { majority } from '../../loglets/majority.ts'
import type { Clock, Random } from '../../loglets/ports.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { BrokerLogger } from '../broker-options.ts'
import type { Certificate } from '../security/certificate.ts'
import { CallTable } from './call-table.ts'
import {
  foreignBirth,
  type Identity,
  isName,
  type Peer,
  type ProtocolRange,
  protocolRange,
} from './handshake.ts'
import { codedError } from './messages.ts'
import type { PeerConnection } from './peer-connection.ts'
import { closeWaitMsMax, peerTimeoutMsDefault, secretBytesMin, tickMs } from './peer-limits.ts'
import { PeerLink } from './peer-link.ts'
import { PeerListener } from './peer-listener.ts'
import { PeerSession } from './peer-session.ts'
import { isSocketUrl } from './socket-url.ts'

export interface PeerNetOptions {
  readonly self: NodeId
  /** 1 to 64 visible ASCII characters; nodes of other clusters are refused. */
  readonly clusterId: string
  /** Shared by the nodes of the cluster, at least 16 bytes; never sent. Best 32 random bytes as text. */
  readonly clusterSecret: string
  /** Of this process: no other process of this node has it. */
  readonly incarnation: string
  /** Address to listen on; not the clients' port. */
  readonly host: string
  /** 0 picks one. */
  readonly port: number
  /** `ws://` or `wss://` of the other nodes' listeners; this node itself may be among them and is left out. */
  readonly peers: ReadonlyMap<NodeId, string>
  readonly logger: BrokerLogger
  readonly clock: Clock
  readonly random?: Random
  /** A peer that shows no sign of life for so long is cut; default 2000. Its pings come every quarter of *its* value. */
  readonly peerTimeoutMs?: number
  /** Of the software, shown to the other nodes. */
  readonly version?: string
  /** See {@link Identity}; undefined without a register. */
  readonly birth?: () => string | undefined
  /**
   * Called once, when a majority of all nodes says that this one's data directory is of another cluster: it can be of no use here. Nothing
   * was changed by then.
   */
  readonly onForeign?: (error: LogloomError) => void
  /**
   * Called when most of the other nodes have said for a while that they do not know this one, and none is connected: with their names; with
   * none once one of them knows it again.
   */
  readonly onUnknown?: (by: readonly NodeId[]) => void
  /** With it all links are TLS, and both sides of each show a certificate with the name of their node. */
  readonly certificate?: Certificate
  /** For rolling upgrades and tests; what this version speaks by default. */
  readonly protocols?: ProtocolRange
}

export interface PeerStatus {
  readonly node: NodeId
  readonly url: string
  /** An authenticated connection lives, in either direction. */
  readonly connected: boolean
  /** Of the connection that lives, or of the last one that did. */
  readonly incarnation: string | undefined
  /** Since the last sign of life, ms; undefined when there never was one. */
  readonly lastSeenMs: number | undefined
  readonly version: string | undefined
}

/** A hint for failure detectors: the first connection with a node has come up, the last one has gone. */
export interface PeerEvent {
  readonly node: NodeId
  readonly up: boolean
  readonly incarnation: string
  readonly reason?: string
}

interface PeerEntry {
  readonly link: PeerLink
  session: PeerSession | undefined
  last: Peer | undefined
  lastSeen: number | undefined
  up: boolean
  lastFailure: string | undefined
  /** Since when it cannot be connected, on the clock; undefined while it can, or before the first try. */
  failingSince: number | undefined
  /** At the last try it said that this node's directory is of another cluster, or its own is. */
  foreign: boolean
  /** At the last try it said that it does not know this node. */
  unknown: boolean
}

/** A node that is just away is told of after this; a refusal at once. */
const quietMs = 2000
/** Longer than this between two ticks, and the process itself stood still. */
const lateTickMs = 4 * tickMs

export class PeerNet implements Net {
  readonly self: NodeId
  private readonly options: PeerNetOptions
  private readonly me: Identity
  private readonly peerTimeoutMs: number
  private readonly listener: PeerListener
  private readonly entries = new Map<NodeId, PeerEntry>()
  private readonly handlers = new Map<string, Handler>()
  private readonly ownCalls = new CallTable()
  private readonly listeners = new Set<(event: PeerEvent) => void>()
  private readonly ending = new Set<PeerSession>()
  private boundPort = 0
  private ticker: ReturnType<typeof setInterval> | undefined
  private tickedAt: number
  private lastRefusal = ''
  private foreign = false
  private unknown = false
  private closing: Promise<void> | undefined

  private constructor(options: PeerNetOptions) {
    const { self, clusterId, clusterSecret, incarnation, version = '0', clock } = options
    if (!nodeIdPattern.test(self)) throw invalid('self', `${self} is not a node id`)
    for (const [name, value] of Object.entries({ clusterId, incarnation, version }))
      if (!isName(value)) throw invalid(name, `${name} must be 1 to 64 visible ASCII characters`)
    const secretBytes = Buffer.byteLength(clusterSecret)
    if (secretBytes < secretBytesMin)
      throw invalid(
        'clusterSecret',
        `the cluster secret has ${secretBytes} bytes, it needs at least ${secretBytesMin} (secretBytesMin)`,
      )
    this.options = options
    this.self = self
    this.peerTimeoutMs = options.peerTimeoutMs ?? peerTimeoutMsDefault
    this.me = {
      clusterId,
      incarnation,
      version,
      node: self,
      secret: clusterSecret,
      protocols: options.protocols ?? protocolRange,
      birth: options.birth ?? (() => undefined),
    }
    this.tickedAt = clock.now()
    this.listener = new PeerListener({
      me: this.me,
      certificate: options.certificate,
      peerTimeoutMs: this.peerTimeoutMs,
      now: () => clock.now(),
      admit: peer => this.admit(peer),
      onConnection: connection => this.accept(connection),
      onRefusal: (error, address) => this.refused(error, address),
    })
    for (const [node, url] of options.peers) if (node !== self) this.addPeer(node, url)
  }

  /** Binds the listener; peers are dialled at their first call. @throws INVALID_CONFIG, PORT_IN_USE */
  static async listen(options: PeerNetOptions): Promise<PeerNet> {
    const net = new PeerNet(options)
    net.boundPort = await net.listener.listen(options.host, options.port)
    net.ticker = setInterval(() => net.tick(), tickMs)
    net.ticker.unref()
    return net
  }

  /** The port that is bound. */
  get port(): number {
    return this.boundPort
  }

  call(to: NodeId, verb: string, request: Message, options: CallOptions): Promise<Message> {
    if (this.closing !== undefined)
      return Promise.reject(new NetError('UNREACHABLE', `node ${this.self} is closing`))
    if (to === this.self) return this.callSelf(verb, request, options)
    const entry = this.entries.get(to)
    if (entry !== undefined) return entry.link.call(verb, request, options)
    return Promise.reject(
      new NetError('UNREACHABLE', `node ${to} is not in the peer list of node ${this.self}`),
    )
  }

  handle(verb: string, handler: Handler): () => void {
    if (this.handlers.has(verb))
      throw new LogloomError('INTERNAL', `${verb} is served already: one handler per verb`)
    this.handlers.set(verb, handler)
    return () => {
      if (this.handlers.get(verb) === handler) this.handlers.delete(verb)
    }
  }

  /** Adds a node, or moves it to another URL, which ends the calls to the old one. @throws INVALID_CONFIG */
  addPeer(node: NodeId, url: string): void {
    if (!nodeIdPattern.test(node)) throw invalid('peers', `${node} is not a node id`)
    if (node === this.self) throw invalid('peers', `${node} is this node`)
    if (!isSocketUrl(url)) throw invalid('peers', `${url} of node ${node} is not ws://HOST:PORT`)
    const old = this.entries.get(node)
    if (old?.link.url === url) return
    this.removePeer(node)
    const { clock, random = nodeRandom, logger } = this.options
    const entry: PeerEntry = {
      link: new PeerLink({
        me: this.me,
        to: node,
        url,
        certificate: this.options.certificate,
        peerTimeoutMs: this.peerTimeoutMs,
        now: () => clock.now(),
        random: () => random.next(),
        admit: peer => this.admit(peer),
        onUp: peer => this.checkUp(node, entry, peer),
        onDown: reason => this.checkUp(node, entry, undefined, reason),
        onFailure: error => {
          entry.foreign = error instanceof LogloomError && error.details.reason === foreignBirth
          if (entry.foreign) this.checkForeign(error as LogloomError)
          entry.failingSince ??= clock.now()
          entry.unknown = error instanceof LogloomError && error.code === 'PEER_UNKNOWN'
          this.checkUnknown()
          const { code, hint } = remedyOf(error)
          // Nodes that start together do not find each other at once: that is no news.
          if (code === undefined && clock.now() - entry.failingSince < quietMs) return
          // The same failure again and again is one line.
          if (entry.lastFailure === error.message) return
          entry.lastFailure = error.message
          logger.warn({ node, url, code, error: error.message, hint }, 'cannot reach a node')
        },
      }),
      session: undefined,
      last: undefined,
      lastSeen: undefined,
      up: false,
      lastFailure: undefined,
      failingSince: undefined,
      foreign: false,
      unknown: false,
    }
    this.entries.set(node, entry)
  }

  /** Ends its connections and serves it no more. */
  removePeer(node: NodeId): void {
    const entry = this.entries.get(node)
    if (entry === undefined) return
    this.entries.delete(node)
    entry.link.close(`node ${node} was taken from the peer list`)
    entry.session?.connection.end('PEER_UNKNOWN')
  }

  peers(): readonly PeerStatus[] {
    const now = this.options.clock.now()
    return [...this.entries].map(([node, entry]) => {
      const seen = this.lastSeen(entry)
      return {
        node,
        url: entry.link.url,
        connected: entry.up,
        incarnation: entry.last?.incarnation,
        lastSeenMs: seen === undefined ? undefined : Math.max(0, Math.round(now - seen)),
        version: entry.last?.version,
      }
    })
  }

  /** Calls `listener` at every change; returns the way to stop it. */
  onPeer(listener: (event: PeerEvent) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** Ends every connection; what is in flight rejects. Waits a little for handlers under way. Idempotent. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      const listenerClosed = this.listener.close()
      for (const { session } of this.entries.values()) if (session) this.ending.add(session)
      for (const { link, session } of this.entries.values()) {
        link.close(`node ${this.self} is closing`)
        session?.connection.end('going away', 1001)
      }
      this.ownCalls.failAll('BROKEN', `node ${this.self} is closing`)
      clearInterval(this.ticker)
      const handlers = Promise.all([...this.ending].map(session => session.settled()))
      let timer: ReturnType<typeof setTimeout> | undefined
      const late = new Promise<void>(resolve => {
        timer = setTimeout(resolve, closeWaitMsMax)
      })
      await Promise.race([handlers, late])
      clearTimeout(timer)
      await listenerClosed
    })()
    return this.closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  private callSelf(verb: string, request: Message, options: CallOptions): Promise<Message> {
    return this.ownCalls.add(this.self, verb, this.options.clock.now(), options, id => {
      void this.serveSelf(id, verb, request)
      return undefined
    })
  }

  private async serveSelf(id: number, verb: string, request: Message): Promise<void> {
    // A caller never runs inside its own call.
    await Promise.resolve()
    try {
      const handler = this.handlers.get(verb)
      if (handler === undefined)
        throw new LogloomError('UNKNOWN_OP', `this node does not serve ${verb}`)
      this.ownCalls.resolve(id, await handler(this.self, request))
    } catch (error) {
      const { code, message } = codedError(error)
      this.ownCalls.fail(id, new RemoteError(this.self, code, message))
    }
  }

  /** Why a node that proved itself is not let in, whichever side dialled. */
  private admit(peer: Peer): LogloomError | undefined {
    const { node, incarnation } = peer
    if (this.closing !== undefined)
      return new LogloomError('SHUTTING_DOWN', `node ${this.self} is going away`)
    if (node === this.self)
      return new LogloomError(
        'PEER_DUPLICATE',
        `another process says that it is node ${node}, which is this one`,
        { node },
      )
    const entry = this.entries.get(node)
    if (entry === undefined)
      return new LogloomError(
        'PEER_UNKNOWN',
        `node ${node} is not in the peer list of node ${this.self}`,
        { node },
      )
    const living = connectionsOf(entry).find(({ peer: other }) => other.incarnation !== incarnation)
    if (living === undefined) return undefined
    return new LogloomError(
      'PEER_DUPLICATE',
      `node ${node} is connected to node ${this.self} as incarnation ${living.peer.incarnation}, which lives; ${incarnation} has to wait until that is gone`,
      { node, expected: living.peer.incarnation, actual: incarnation },
    )
  }

  private accept(connection: PeerConnection): void {
    const { node } = connection.peer
    const entry = this.entries.get(node)
    // `admit` has just looked.
    if (entry === undefined) return
    // The same process dials anew only when it has given its older connection up.
    entry.session?.connection.end('replaced by a newer connection', 1001)
    const session = new PeerSession(connection, this.handlers, this.options.logger)
    entry.session = session
    connection.onEnd = reason => {
      this.ending.add(session)
      void session.settled().finally(() => this.ending.delete(session))
      if (entry.session === session) entry.session = undefined
      this.checkUp(node, entry, undefined, reason)
    }
    this.checkUp(node, entry, connection.peer)
    entry.link.peerSeen()
  }

  private checkUp(node: NodeId, entry: PeerEntry, peer: Peer | undefined, reason?: string): void {
    if (peer !== undefined) {
      entry.last = peer
      entry.lastFailure = undefined
      entry.failingSince = undefined
      entry.foreign = false
      entry.unknown = false
      this.checkUnknown()
    }
    entry.lastSeen = this.lastSeen(entry)
    const up = connectionsOf(entry).length > 0
    if (up === entry.up) return
    entry.up = up
    const incarnation = entry.last?.incarnation ?? ''
    this.options.logger.info(
      { node, incarnation, ...(reason === undefined ? {} : { reason }) },
      up ? 'node connected' : 'node disconnected',
    )
    const event = { node, up, incarnation, ...(reason === undefined || up ? {} : { reason }) }
    for (const listener of this.listeners) listener(event)
  }

  private checkForeign(error: LogloomError): void {
    const saying = [...this.entries].flatMap(([node, { foreign }]) => (foreign ? [node] : []))
    if (this.foreign || saying.length < majority(this.entries.size + 1)) return
    this.foreign = true
    this.options.onForeign?.(
      new LogloomError(
        'DATA_DIR_FOREIGN',
        `this data directory belongs to another cluster ${this.options.clusterId} than that of nodes ${saying.join(', ')}; its log was not changed`,
        { nodes: saying },
        { cause: error },
      ),
    )
  }

  /**
   * The nodes themselves say whether this one belongs to them; those that are away say nothing. A node that joins is known to one of them
   * first, and to the others a little later.
   */
  private checkUnknown(): void {
    const now = this.options.clock.now()
    const lasts = ({ unknown, failingSince = now }: PeerEntry): boolean =>
      unknown && now - failingSince >= quietMs
    const saying = [...this.entries].flatMap(([node, entry]) => (lasts(entry) ? [node] : []))
    const isConnected = [...this.entries.values()].some(entry => connectionsOf(entry).length > 0)
    const isUnknown = !isConnected && saying.length >= majority(this.entries.size)
    if (isUnknown === this.unknown) return
    this.unknown = isUnknown
    this.options.onUnknown?.(isUnknown ? saying : [])
  }

  private lastSeen(entry: PeerEntry): number | undefined {
    const times = connectionsOf(entry).map(({ lastHeard }) => lastHeard)
    if (entry.lastSeen !== undefined) times.push(entry.lastSeen)
    return times.length === 0 ? undefined : Math.max(...times)
  }

  private refused(error: LogloomError, address: string): void {
    // Whoever is refused comes again and again.
    const text = `${address} ${error.message}`
    if (text === this.lastRefusal) return
    this.lastRefusal = text
    this.options.logger.warn({ address, code: error.code, error: error.message }, 'refused a node')
  }

  private tick(): void {
    const now = this.options.clock.now()
    const elapsed = now - this.tickedAt
    this.tickedAt = now
    // What came meanwhile is read after this: nobody was silent while we were.
    const stalledMs = elapsed > lateTickMs ? elapsed : 0
    this.listener.tick(now)
    this.ownCalls.sweep(now)
    for (const entry of this.entries.values()) {
      entry.lastSeen = this.lastSeen(entry)
      entry.link.tick(now, stalledMs)
      entry.session?.tick(now, stalledMs)
    }
  }
}

/** Of a refusal, which an operator can act on; a node that is just away has none. */
function remedyOf(error: Error): { readonly code?: string; readonly hint?: string } {
  if (!(error instanceof LogloomError) || error.code === 'CONNECTION_CLOSED') return {}
  return { code: error.code, hint: error.hint }
}

function connectionsOf({ link, session }: PeerEntry): readonly PeerConnection[] {
  const all = [link.connection, session?.connection]
  return all.filter(connection => connection?.isOpen === true) as PeerConnection[]
}

function invalid(key: string, message: string): LogloomError {
  return new LogloomError('INVALID_CONFIG', message, { key }, { hint: `correct ${key}` })
}
