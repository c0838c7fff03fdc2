// Puts a whole broker together and starts it: data directory, log, state, gateway. What `logloom start` runs, and what other people's
// tests embed: `startBroker({ loglet: 'memory', port: 0 })` needs no directory and loads neither LMDB nor pino.

import { randomBytes } from 'node:crypto'
import { LogletFailedError, LogletLostError, LogletSpecError } from '../loglets/contract.ts'
import { FileLogletProvider } from '../loglets/file/file-provider.ts'
import { MemoryLogletProvider } from '../loglets/memory/memory-provider.ts'
import { FileMetaStore } from '../loglets/metastore/file.ts'
import { MemoryMetaStore } from '../loglets/metastore/memory.ts'
import type { MetaStore } from '../loglets/metastore/metastore.ts'
import { nodeClock, nodeRandom } from '../loglets/node-clock.ts'
import { nodeDisk } from '../loglets/node-disk.ts'
import type { Disk } from '../loglets/ports.ts'
import { LogletRegistry } from '../loglets/registry.ts'
import { VirtualLog, type VirtualLogEvent } from '../loglets/virtual-log/virtual-log.ts'
import { LogloomError } from '../wire/errors.ts'
import { Broker } from './broker.ts'
import type { BrokerLogger } from './broker-options.ts'
import { CanaryStats, runCanary } from './canary.ts'
import { noCluster } from './cluster/cluster-file.ts'
import { checkpointsDir, ClusterNode } from './cluster/cluster-node.ts'
import { type ClusterConfig, clusterConfigOf } from './cluster/cluster-settings.ts'
import { type DataDirectory, openDataDirectory } from './data-directory.ts'
import { diskFindings, diskSpace } from './disk-space.ts'
import { Gateway } from './gateway/gateway.ts'
import { GatewayStats } from './gateway/stats.ts'
import { LogStats } from './metrics/log-stats.ts'
import type { Metrics } from './metrics/metrics.ts'
import { packageCommit, packageVersion } from './package-version.ts'
import { passingDisk } from './passing-disk.ts'
import { Reminder } from './reminder.ts'
import { asUnavailable } from './unavailable.ts'
import type { Certificate } from './security/certificate.ts'
import { checkBind } from './security/bind.ts'
import { openAuthenticator, openCertificate } from './security/open-security.ts'
import { resolveSettings, type Settings } from './settings.ts'
import { MemoryStore } from './state/memory-store.ts'
import type { StateStore } from './state/store.ts'

export interface StartBrokerOptions extends Partial<Settings> {
  readonly logger?: BrokerLogger
  /** Storage failed: nothing can be acked any more. The default throws in a later turn, which ends the process. */
  readonly onFatal?: (error: Error) => void
}

export interface RunningBroker {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Absolute path, or `memory`. */
  readonly data: string
  /** Spec of the open segment. */
  readonly loglet: string
  readonly broker: Broker
  /** Looks at the certificates for new ones now; what is wrong with them is in the log and in `health`. */
  reloadCertificates(): void
  /** Drains and stops. Idempotent. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

const silent: BrokerLogger = { info: () => {}, warn: () => {}, error: () => {} }
/** Sealed segments of a volatile loglet are copied to this. */
const durableSpec = 'file'
const openRetryMs = 100
/** How long a new node waits for all others before it opens the log, so that a new log is placed on all of them. */
const firstStartWaitMs = 3000

/**
 * Starts a broker and resolves when it serves. With `loglet: 'memory'` and no `data` everything is in memory.
 * @throws LogloomError: INVALID_CONFIG, INVALID_SPEC, PORT_IN_USE, DATA_DIR_*, INSECURE_PUBLIC_BIND, LOG_LOST
 */
export async function startBroker(options: StartBrokerOptions = {}): Promise<RunningBroker> {
  const { logger = silent, onFatal = throwLater, ...flags } = options
  const settings = resolveSettings({ flags })
  checkBind(settings)
  const inMemory = options.data === undefined && settings.loglet.split(',')[0] === 'memory'
  const config = clusterConfigOf(settings)
  const owner =
    config === undefined ? noCluster : { clusterId: config.clusterId, nodeId: config.self }
  const directory = inMemory ? undefined : openDataDirectory(settings.data, owner)
  const opened: (() => Promise<void>)[] = []
  try {
    return await start(settings, config, directory, logger, onFatal, opened)
  } catch (error) {
    // The directory is let go last: another process may take it at once.
    for (const close of opened.reverse()) await close().catch(() => {})
    directory?.release()
    throw known(error)
  }
}

async function start(
  settings: Settings,
  config: ClusterConfig | undefined,
  directory: DataDirectory | undefined,
  logger: BrokerLogger,
  onFatal: (error: Error) => void,
  /** What a start that fails has to close. */
  opened: (() => Promise<void>)[],
): Promise<RunningBroker> {
  const version = packageVersion()
  const logStats = new LogStats()
  const gatewayStats = new GatewayStats(settings.metricsTopicsMax)
  const reports = reportsTo(logStats, gatewayStats)
  const cluster = await joinCluster(config, directory, version, reports, logger, onFatal)
  if (cluster !== undefined) opened.push(() => cluster.close())
  const certificate = openCertificate(settings, logger)
  opened.push(async () => certificate?.close())
  const nodeId = cluster?.self ?? directory?.nodeId ?? 'memory'
  const disk = directory === undefined ? passingDisk() : nodeDisk(directory.path)
  const log = await openLog(settings, directory, disk, reports, logger, onFatal, cluster)
  opened.push(() => log.close())
  const store = directory === undefined ? new MemoryStore() : await openStore(directory)
  opened.push(() => store.close())
  const broker = await Broker.open({
    disk,
    clock: nodeClock,
    random: nodeRandom,
    defer: fn => setImmediate(fn),
    log,
    store,
    checkpointsDir,
    ...(cluster === undefined ? {} : { checkpoints: cluster.checkpoints }),
    nodeId,
    settings: {
      ...settings,
      shared: cluster !== undefined,
      // Sealed volatile segments of a log on one node go to its disk.
      ...(directory === undefined || cluster !== undefined ? {} : { durableSpec }),
    },
    observe: {
      appended: (spec, bytes, records, ms) => logStats.appended(spec, bytes, records, ms),
      produced: (stage, ms) => gatewayStats.stage(stage, ms / 1000),
    },
    // In a cluster a full disk here is not a full log.
    ...(directory === undefined || cluster !== undefined
      ? {}
      : { freeBytes: () => diskSpace(directory.path)?.free }),
    findings: () => [
      ...(cluster?.findings() ?? []),
      ...(directory === undefined ? [] : diskFindings(directory.path)),
      ...(certificate?.findings(Date.now()) ?? []),
    ],
    onFatal,
    logger,
  })
  // It closes its log and its store.
  opened.splice(-2, 2, () => broker.close())
  const authenticator = openAuthenticator({
    settings,
    cluster: config,
    directory: directory?.path,
    keys: broker.security,
    fresh: () => broker.sync(),
    logger,
  })
  let metrics: Metrics | undefined
  const canary = new CanaryStats()
  const gateway = new Gateway({
    broker,
    settings,
    version,
    serverId: `${nodeId}-${randomBytes(4).toString('hex')}`,
    logger,
    stats: gatewayStats,
    authenticator,
    ...(certificate === undefined ? {} : { certificate }),
    ...(cluster === undefined
      ? {}
      : { brokers: () => cluster.brokers(), nodes: () => cluster.nodes(), cluster }),
    metrics: async names => {
      // Loaded at the first scrape: a broker that nobody watches starts faster.
      const { createMetrics } = await import('./metrics/metrics.ts')
      metrics ??= createMetrics({
        version,
        commit: packageCommit(),
        nodeId,
        role: cluster === undefined ? 'broker' : [...settings.roles].sort().join(','),
        perPartition: settings.metricsPerPartition,
        ...(settings.canaryIntervalMs === 0 ? {} : { canary }),
        ...(cluster === undefined ? {} : { replicas: () => cluster.replicaCounts() }),
        broker: () => broker,
        gateway: gatewayStats,
        log: logStats,
        authFailures: authenticator.failures,
        certificates: () => certificatesOf(certificate, cluster),
        ...(directory === undefined ? {} : { dataPath: directory.path }),
      })
      return metrics.render(names)
    },
  })
  const port = await gateway.listen()
  const stopping = new AbortController()
  const { canaryIntervalMs: intervalMs } = settings
  if (intervalMs > 0)
    void runCanary({ broker, clock: nodeClock, nodeId, intervalMs, stats: canary }, stopping.signal)
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= (async () => {
      stopping.abort()
      await gateway.drain(settings.drainMs)
      cluster?.release()
      await broker.close({ drainMs: settings.drainMs })
      await cluster?.close()
      certificate?.close()
      directory?.release()
    })()
    return closing
  }
  const host = settings.host.includes(':') ? `[${settings.host}]` : settings.host
  const url = `${certificate === undefined ? 'ws' : 'wss'}://${host}:${port}`
  cluster?.announce(settings.advertisedUrl === '' ? url : settings.advertisedUrl)
  cluster?.onMembers(() => gateway.announceBrokers())
  return {
    url,
    port,
    pid: process.pid,
    data: directory?.path ?? 'memory',
    loglet: broker.health().loglet,
    broker,
    reloadCertificates: () => {
      for (const each of certificatesOf(certificate, cluster)) each.reload()
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

function certificatesOf(
  certificate: Certificate | undefined,
  cluster: ClusterNode | undefined,
): readonly Certificate[] {
  return [certificate, cluster?.certificate].filter(each => each !== undefined)
}

async function openLog(
  settings: Settings,
  directory: DataDirectory | undefined,
  disk: Disk,
  reports: LogReports,
  logger: BrokerLogger,
  onFatal: (error: Error) => void,
  cluster: ClusterNode | undefined,
): Promise<VirtualLog> {
  if (cluster !== undefined) return openSharedLog(settings, cluster, reports, logger)
  const memory = new MemoryLogletProvider({ bytesMax: settings.memoryLogletBytesMax })
  const file = new FileLogletProvider({
    disk,
    root: 'loglets',
    clock: nodeClock,
    onFatal,
    observe: report => reports.synced('file', report.ms),
  })
  if (directory !== undefined) {
    await disk.mkdir('loglets')
    await disk.mkdir('metastore')
    await disk.syncDir('.')
  }
  const metaStore =
    directory === undefined ? new MemoryMetaStore() : new FileMetaStore({ disk, dir: 'metastore' })
  if (directory !== undefined) await refuseLogWithoutChain(disk, metaStore)
  return VirtualLog.open({
    metaStore,
    registry: new LogletRegistry(directory === undefined ? [memory] : [file, memory], {
      native: 'it needs a cluster (--node, --peers)',
      ...(directory === undefined ? { file: 'it needs a data directory (--data)' } : {}),
    }),
    clock: nodeClock,
    random: nodeRandom,
    initialSpec: settings.loglet,
    onEvent: event => reportEvent(event, reports, logger),
  })
}

/** The log of a cluster. Waits for a majority of its nodes, and says so. */
async function openSharedLog(
  settings: Settings,
  cluster: ClusterNode,
  reports: LogReports,
  logger: BrokerLogger,
): Promise<VirtualLog> {
  const { metaStore, provider } = cluster
  const registry = new LogletRegistry([provider], {
    file: 'it keeps records on one node only',
    memory: 'it keeps records on one node only',
  })
  await cluster.awaitFirstStart(firstStartWaitMs)
  const reminder = new Reminder(nodeClock)
  for (;;) {
    try {
      let opened: VirtualLog | undefined
      const log = await VirtualLog.open({
        metaStore,
        registry,
        clock: nodeClock,
        random: nodeRandom,
        initialSpec: settings.loglet,
        scope: 'cluster',
        onEvent: event => {
          reportEvent(event, reports, logger)
          if (opened !== undefined) cluster.onLogEvent(event, opened.chain.version)
        },
      })
      opened = log
      cluster.serve(log, spec => registry.place(spec))
      return log
    } catch (error) {
      const unavailable = asUnavailable(error)
      if (unavailable === undefined) throw error
      cluster.checkDirectory()
      if (reminder.isDue) {
        const { code, hint, message } = unavailable
        logger.warn({ code, error: message, hint }, 'waiting for a majority of the cluster')
      }
      await nodeClock.sleep(openRetryMs)
    }
  }
}

/** Undefined for a broker without a cluster. */
async function joinCluster(
  config: ClusterConfig | undefined,
  directory: DataDirectory | undefined,
  version: string,
  reports: LogReports,
  logger: BrokerLogger,
  onFatal: (error: Error) => void,
): Promise<ClusterNode | undefined> {
  if (config === undefined) return undefined
  if (directory === undefined)
    throw new LogloomError('INVALID_CONFIG', 'a node of a cluster needs a data directory', {
      key: 'data',
    })
  return ClusterNode.start({
    config,
    disk: nodeDisk(directory.path),
    store: directory.store,
    version,
    logger,
    onFatal,
    onSync: report => reports.synced('native', report.ms),
    onReplicated: ms => reports.replicated('native', ms),
  })
}

/** Where the parts of the log say what they did. */
interface LogReports {
  synced(kind: string, ms: number): void
  replicated(kind: string, ms: number): void
  event(event: VirtualLogEvent): void
}

/** What syncs and replicates is what a produce waits for: it is one of its stages as well. */
function reportsTo(log: LogStats, gateway: GatewayStats): LogReports {
  return {
    synced: (kind, ms) => {
      log.synced(kind, ms)
      gateway.stage('sync', ms / 1000)
    },
    replicated: (kind, ms) => {
      log.replicated(kind, ms)
      gateway.stage('replicate', ms / 1000)
    },
    event: event => log.event(event),
  }
}

function reportEvent(event: VirtualLogEvent, reports: LogReports, logger: BrokerLogger): void {
  reports.event(event)
  if (event.type === 'reconfigured')
    logger.info(
      {
        reason: event.reason,
        from: event.from.spec,
        to: event.to.spec,
        sealMs: event.sealMs,
        outcome: event.outcome,
      },
      'log reconfigured',
    )
  else if (event.type === 'lost')
    logger.error({ from: event.from, to: event.to }, 'log positions are lost')
  else if (event.type === 'stuck')
    logger.warn({ error: event.error.message }, 'a reconfiguration is stuck')
}

/** A directory with loglets but without the chain that orders them is damaged, not new. @throws LOG_LOST */
async function refuseLogWithoutChain(disk: Disk, metaStore: MetaStore): Promise<void> {
  if ((await metaStore.read()).value !== undefined) return
  // A first start that was cut off leaves loglets that are noted as unplaced.
  const unplaced = ((await metaStore.notes?.list()) ?? []).map(note => note.id)
  const strangers = (await disk.list('loglets')).filter(
    id => !unplaced.some(note => id === note || id.startsWith(`${note}.`)),
  )
  if (strangers.length === 0) return
  throw new LogloomError(
    'LOG_LOST',
    `there are ${strangers.length} loglets but no chain in metastore/: it was deleted or never restored`,
    {
      loglets: strangers.slice(0, 10),
    },
    { hint: 'restore the metastore folder from the same backup as the loglets' },
  )
}

async function openStore(directory: DataDirectory): Promise<StateStore> {
  const { openLmdbStore } = await import('./state/lmdb-store.ts')
  return openLmdbStore(`${directory.path}/state/store`)
}

/** Errors of the layers below, in the words of the protocol. */
function known(error: unknown): unknown {
  if (error instanceof LogletSpecError)
    return new LogloomError('INVALID_SPEC', error.message, {}, { cause: error })
  if (error instanceof LogletLostError)
    return new LogloomError('LOG_LOST', error.message, {}, { cause: error })
  if (error instanceof LogletFailedError)
    return new LogloomError(
      'DATA_DIR_UNWRITABLE',
      error.message,
      {},
      { cause: error, hint: 'check the disk below the data directory' },
    )
  const code = (error as { code?: unknown } | null)?.code
  if (code === 'ENOSPC' || code === 'EACCES' || code === 'EROFS' || code === 'EPERM')
    return new LogloomError(
      code === 'ENOSPC' ? 'STORAGE_FULL' : 'DATA_DIR_UNWRITABLE',
      (error as Error).message,
      {},
      { cause: error },
    )
  return error
}

function throwLater(error: Error): void {
  setImmediate(() => {
    throw error
  })
}
