// One node of a cluster, without its broker: the links to the others, the log server, the sequencers, the vote in the register, and who is
// up. What start-broker.ts puts a VirtualLog and a broker on; a node with the role `logserver` alone is just this.

import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import type { SyncReport } from '../../loglets/file/appender.ts'
import { majority } from '../../loglets/majority.ts'
import { FileMetaStore } from '../../loglets/metastore/file.ts'
import { Acceptor, storedBirth } from '../../loglets/metastore/paxos/acceptor.ts'
import { nodeOf } from '../../loglets/metastore/paxos/record.ts'
import { PaxosMetaStore } from '../../loglets/metastore/paxos/paxos-metastore.ts'
import { LogServer } from '../../loglets/native/log-server.ts'
import { NativeLogletProvider } from '../../loglets/native/native-provider.ts'
import { Sequencers } from '../../loglets/native/sequencers.ts'
import { type NodeId, nodeIdPattern } from '../../loglets/net.ts'
import { nodeClock, nodeRandom } from '../../loglets/node-clock.ts'
import type { Disk } from '../../loglets/ports.ts'
import type { VirtualLog, VirtualLogEvent } from '../../loglets/virtual-log/virtual-log.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { BrokerLogger } from '../broker-options.ts'
import type { NodeStatus } from '../gateway/context.ts'
import type { Finding } from '../health.ts'
import { Certificate } from '../security/certificate.ts'
import { CheckpointExchange } from './checkpoint-exchange.ts'
import { clusterFindings, outcastError } from './cluster-health.ts'
import { type ClusterConfig, isPeerUrl } from './cluster-settings.ts'
import { Membership, type NodeDescription } from './membership.ts'
import { PeerNet } from './peer-net.ts'
import { loadPeers, PeerList } from './peer-list.ts'
import { possibleServers, watchPlacement } from './placement-watch.ts'
import { keepRegisterMembers } from './register-members.ts'
import {
  type CopyView,
  lostCopies,
  type LostCopies,
  replicaCounts,
  type ReplicaCount,
} from './segment-copies.ts'

export interface ClusterNodeOptions {
  readonly config: ClusterConfig
  readonly disk: Disk
  /** Names the data directory. */
  readonly store: string
  readonly version: string
  readonly logger: BrokerLogger
  readonly onFatal: (error: Error) => void
  readonly onSync?: (report: SyncReport) => void
  /** A sequencer of this node brought an entry to a majority, ms. */
  readonly onReplicated?: (ms: number) => void
}

/** Where a node keeps the checkpoints of its state, below the data directory. */
export const checkpointsDir = 'state/checkpoints'
const registerDir = 'metastore/paxos'
const chainVerb = 'chain.changed'
const tellTimeoutMs = 1000
const awaitStepMs = 20

export class ClusterNode {
  readonly net: PeerNet
  readonly metaStore: PaxosMetaStore
  readonly provider: NativeLogletProvider
  readonly membership: Membership
  readonly checkpoints: CheckpointExchange
  /** Of the links between nodes; undefined without TLS. */
  readonly certificate: Certificate | undefined
  /** @throws DATA_DIR_FOREIGN when a majority of the nodes says that the data directory is of another cluster */
  readonly checkDirectory: () => void
  private readonly config: ClusterConfig
  private readonly peers: PeerList
  private readonly acceptor: Acceptor
  private readonly sequencers: Sequencers
  private readonly logServer: LogServer | undefined
  private url: string | undefined
  private log: VirtualLog | undefined
  private place: (spec: string) => readonly string[] | undefined = () => undefined
  /** Set while the others say that this node does not belong to them. */
  private outcast: LogloomError | undefined
  private membersChanged: () => void = () => {}
  private readonly logger: BrokerLogger
  private readonly stopping = new AbortController()
  private watching: Promise<void> = Promise.resolve()
  private readonly keepingMembers: Promise<void>
  private closing: Promise<void> | undefined

  private constructor(
    options: ClusterNodeOptions,
    net: PeerNet,
    peers: PeerList,
    incarnation: string,
    checkDirectory: () => void,
    certificate: Certificate | undefined,
  ) {
    this.checkDirectory = checkDirectory
    this.certificate = certificate
    const { config, disk, store, version, onFatal, onSync } = options
    this.peers = peers
    const clock = nodeClock
    this.net = net
    this.config = config
    this.logger = options.logger
    const servesLog = config.roles.has('logserver')
    const root = 'loglets'
    const files = new FileLogletProvider({
      disk,
      root,
      clock,
      onFatal,
      ...(onSync === undefined ? {} : { observe: onSync }),
    })
    this.logServer = servesLog ? new LogServer({ net, disk, clock, store, root, files }) : undefined
    this.sequencers = new Sequencers(net, clock, incarnation, options.onReplicated)
    this.acceptor = new Acceptor({
      net,
      disk,
      dir: registerDir,
      store,
      // A node that joins has no say in whether the cluster exists.
      initialMembers: [...config.peers.keys()]
        .filter(node => !config.join || node !== config.self)
        .sort(),
    })
    this.metaStore = new PaxosMetaStore({
      net,
      clock,
      random: nodeRandom,
      acceptor: this.acceptor,
      incarnation,
      notes: new FileMetaStore({ disk, dir: 'metastore' }).notes,
    })
    this.membership = new Membership({
      net,
      clock,
      links: {
        connected: () =>
          new Map(net.peers().flatMap(p => (p.connected ? [[p.node, p.incarnation]] : []))),
        onChange: listener => net.onPeer(listener),
      },
      nodes: () => [...peers.all.keys()],
      self: () => ({
        node: config.self,
        incarnation,
        version,
        peers: Object.fromEntries(peers.all),
        directory: store,
        broker: config.roles.has('broker'),
        ...(servesLog ? { store } : {}),
        ...(this.url === undefined ? {} : { url: this.url }),
      }),
      onChange: () => this.membersChanged(),
    })
    this.provider = new NativeLogletProvider({
      net,
      clock,
      random: nodeRandom,
      sequencers: this.sequencers,
      members: () => this.membership.hosts(),
      serversTotal: () => this.membership.logServersTotal(),
    })
    this.keepingMembers = keepRegisterMembers(
      {
        acceptor: this.acceptor,
        metaStore: this.metaStore,
        clock,
        self: config.self,
        members: () => this.members(),
        peers,
        logger: options.logger,
      },
      this.stopping.signal,
    )
    this.checkpoints = new CheckpointExchange({
      net,
      disk,
      dir: checkpointsDir,
      others: () => this.members().flatMap(({ node }) => (node === config.self ? [] : [node])),
      copiesNeeded: () => majority(this.membership.brokersTotal()),
    })
    net.handle(chainVerb, async (_, { version: changed }) => {
      const { log } = this
      if (log !== undefined && typeof changed === 'number' && changed > log.chain.version)
        await log.refresh()
      return {}
    })
  }

  /** Binds the listener for the other nodes; what needs them comes later. @throws INVALID_CONFIG, PORT_IN_USE */
  static async start(options: ClusterNodeOptions): Promise<ClusterNode> {
    const { config, version, logger, disk } = options
    for (const warning of config.warnings) logger.warn({}, warning)
    const incarnation = nodeRandom.hex(8)
    for (const dir of ['loglets', 'metastore']) await disk.mkdir(dir)
    await disk.syncDir('.')
    const { self, clusterId, clusterSecret, listen } = config
    // What an operator writes now counts for addresses; nodes that were added at run time are in the file only.
    const stored = await loadPeers(disk)
    const peers = new Map([...Object.entries(stored?.peers ?? {}), ...config.peers])
    const born = await storedBirth(disk, registerDir)
    const certificate = openPeerCertificate(config, logger)
    let node: ClusterNode | undefined
    let foreign: LogloomError | undefined
    const listening = PeerNet.listen({
      self,
      birth: () => node?.acceptor.birth ?? born,
      onForeign: error => {
        foreign = error
        if (node?.log !== undefined || !config.roles.has('broker')) options.onFatal(error)
      },
      onUnknown: by => {
        void node?.followOutcast(by)
      },
      clusterId,
      clusterSecret,
      incarnation,
      ...listen,
      peers,
      logger,
      clock: nodeClock,
      version,
      ...(certificate === undefined ? {} : { certificate }),
    })
    const net = await listening.catch((error: unknown) => {
      certificate?.close()
      throw error
    })
    const list = new PeerList(self, peers, stored?.joining ?? [], net, disk)
    node = new ClusterNode(
      options,
      net,
      list,
      incarnation,
      () => {
        if (foreign !== undefined) throw foreign
      },
      certificate,
    )
    return node
  }

  get self(): NodeId {
    return this.config.self
  }

  /** Nodes of the cluster that are up, this one first. */
  members(): readonly NodeDescription[] {
    return this.membership.members()
  }

  /** For a node that knows of no log yet: resolves once every node of the cluster is up, or after `ms`. */
  async awaitFirstStart(ms: number): Promise<void> {
    if ((await this.acceptor.decided()).version > 0) return
    const deadline = nodeClock.now() + ms
    while (this.members().length < this.config.peers.size && nodeClock.now() < deadline)
      await nodeClock.sleep(awaitStepMs)
  }

  /** The brokers that are up, as clients are told. */
  brokers(): readonly { readonly nodeId: NodeId; readonly url: string }[] {
    return this.members().flatMap(({ node, url }) =>
      url === undefined ? [] : [{ nodeId: node, url }],
    )
  }

  /** Every node of the cluster, up or not. */
  nodes(): readonly NodeStatus[] {
    const up = new Map(this.members().map(member => [member.node, member]))
    return [...this.peers.all].map(([node, peerUrl]) => {
      const member = up.get(node)
      const { url, version } = member ?? {}
      return {
        node,
        up: member !== undefined,
        self: node === this.self,
        joining: this.peers.joining.has(node),
        peerUrl,
        ...(url === undefined ? {} : { url }),
        ...(version === undefined ? {} : { version }),
        ...(member === undefined ? {} : { logServer: member.store !== undefined }),
      }
    })
  }

  /** What `health` tells of the cluster. */
  findings(): readonly Finding[] {
    const segments = this.log?.chain.segments ?? []
    const last = segments.at(-1)
    const found = clusterFindings({
      self: this.self,
      nodes: this.nodes(),
      members: this.members(),
      segments,
      possible: last === undefined ? [] : possibleServers(this.place, last),
      voters: this.acceptor.members,
      outcast: this.outcast,
    })
    return [...found, ...(this.certificate?.findings(Date.now()) ?? [])]
  }

  /** Sealed segments that have fewer copies than they were made with. */
  lostCopies(): readonly LostCopies[] {
    return lostCopies(this.copyView(), this.log?.chain.segments.slice(0, -1) ?? [])
  }

  /** How many copies the segments of the log were made with, and how many are up. */
  replicaCounts(): readonly ReplicaCount[] {
    return replicaCounts(this.copyView(), this.log?.chain.segments ?? [])
  }

  private copyView(): CopyView {
    return { members: () => this.members(), nodes: () => new Set(this.peers.all.keys()) }
  }

  /**
   * Lets a node in, which becomes a member as soon as it is up. Durable once resolved.
   * @throws NODE_EXISTS, INVALID_CONFIG
   */
  async addNode(node: NodeId, url: string): Promise<void> {
    if (!nodeIdPattern.test(node))
      throw new LogloomError('INVALID_CONFIG', `${node} is not a node id: use 1 to 32 of a-z 0-9 -`)
    if (!isPeerUrl(url))
      throw new LogloomError(
        'INVALID_CONFIG',
        `${url} is not ws://HOST:PORT of a listener for nodes`,
      )
    const scheme = this.certificate === undefined ? 'ws' : 'wss'
    if (!url.startsWith(`${scheme}:`))
      throw new LogloomError(
        'INVALID_CONFIG',
        `${url}: the links between the nodes of this cluster are ${scheme}://`,
      )
    const known = this.peers.all.get(node)
    if (known !== undefined && !this.peers.joining.has(node))
      throw new LogloomError('NODE_EXISTS', `node ${node} is in the cluster, at ${known}`, { node })
    await this.peers.invite(node, url)
    this.logger.info({ node, url }, 'a node may join')
  }

  /**
   * Takes a node out of the cluster: out of the register, the links and the place of the log. What only it has is lost.
   * @throws UNKNOWN_NODE; TOO_FEW_NODES when too few of the others are up
   */
  async removeNode(node: NodeId): Promise<void> {
    if (!this.peers.all.has(node))
      throw new LogloomError('UNKNOWN_NODE', `node ${node} is not in the cluster`, { node })
    if (node === this.self)
      throw new LogloomError(
        'INVALID_REQUEST',
        `node ${node} is the one that answers: ask another node to remove it`,
        { node },
      )
    if (!this.peers.joining.has(node)) await this.dismiss(node)
    await this.peers.remove(node)
    this.logger.info({ node }, 'a node was removed')
  }

  /** The others do not know this node (any more), or do again: said once, and shown in `health`. */
  private async followOutcast(by: readonly NodeId[]): Promise<void> {
    if (by.length === 0) {
      if (this.outcast !== undefined) this.logger.info({}, 'the other nodes know this node again')
      this.outcast = undefined
      return
    }
    // Only who was in the cluster has a log of it.
    const { version } = await this.acceptor.decided()
    const error = outcastError(this.self, by, version > 0)
    const isNews = this.outcast?.code !== error.code
    this.outcast = error
    if (isNews) this.logger.error({ code: error.code, hint: error.hint }, error.message)
  }

  /** Out of the register, by a majority of those that were in it. */
  private async dismiss(node: NodeId): Promise<void> {
    for (;;) {
      const { members } = await this.acceptor.decided()
      const rest = members.filter(member => nodeOf(member) !== node)
      if (rest.length === members.length) return
      const up = new Set(this.members().map(member => member.node))
      const living = rest.filter(member => up.has(nodeOf(member))).length
      if (living < majority(rest.length))
        throw new LogloomError(
          'TOO_FEW_NODES',
          `without ${node} the cluster has ${rest.length} nodes, of which ${living} are up and ${majority(rest.length)} are needed`,
          { node, limit: majority(rest.length), actual: living },
        )
      const found = await this.metaStore.changeMembers(members, rest)
      if (!found.some(member => nodeOf(member) === node)) return
    }
  }

  /** Calls `listener` when who is up has changed. */
  onMembers(listener: () => void): void {
    this.membersChanged = listener
  }

  /** Where clients reach this node's broker: told to the others from now on. */
  announce(url: string): void {
    this.url = url
  }

  /** The log that a change of the chain elsewhere concerns, and whose placement this node watches with the others. */
  serve(log: VirtualLog, place: (spec: string) => readonly string[] | undefined): void {
    this.log = log
    this.place = place
    this.watching = watchPlacement(
      {
        log,
        place,
        clock: nodeClock,
        self: this.self,
        members: () => this.members(),
        nodes: () => new Set(this.peers.all.keys()),
        logger: this.logger,
      },
      this.stopping.signal,
    )
  }

  /** Begins to end what uses the log; a copy of a segment that is under way ends with the log. To be called before that is closed. */
  release(): void {
    this.stopping.abort()
  }

  /** Tells the others that this node moved the chain, so that they need not find out by a refusal. */
  onLogEvent(event: VirtualLogEvent, version: number): void {
    const moved =
      (event.type === 'reconfigured' && event.outcome === 'installed') ||
      event.type === 'modified' ||
      event.type === 'truncated'
    if (!moved) return
    for (const { node } of this.members())
      if (node !== this.self)
        this.net.call(node, chainVerb, { version }, { timeoutMs: tellTimeoutMs }).catch(() => {})
  }

  /** The VirtualLog has to be closed before. Idempotent. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      this.release()
      await Promise.all([this.watching, this.keepingMembers])
      await this.membership.close()
      this.checkpoints.close()
      this.metaStore.close()
      this.acceptor.close()
      this.sequencers.close()
      await this.logServer?.close()
      await this.net.close()
      this.certificate?.close()
    })()
    return this.closing
  }
}

/** @throws INVALID_CONFIG */
function openPeerCertificate(
  { tls }: ClusterConfig,
  logger: BrokerLogger,
): Certificate | undefined {
  if (tls === undefined) return undefined
  const { reloadMs, ...files } = tls
  return Certificate.open('nodes', { certSetting: 'peerTlsCertFile', ...files }, reloadMs, logger)
}
