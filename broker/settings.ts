// Every setting of a broker, in one table: name, type, default, what it means (DESIGN 7). Flag > LOGLOOM_ environment > ./logloom.json >
// default. Sizes are bytes, times milliseconds. docs/limits.md lists the bounds among them.

import { LogloomError } from '../wire/errors.ts'
import { wireLimits } from '../wire/limits.ts'

type SettingType = 'string' | 'number' | 'boolean' | 'list'

interface Setting {
  readonly type: SettingType
  readonly default: string | number | boolean | readonly string[]
  /** Of a number; 1 and none when absent. */
  readonly min?: number
  readonly max?: number
  readonly doc: string
  /** A bound: listed in docs/limits.md with what happens when it is reached. */
  readonly limit?: string
}

const mib = 1 << 20
const throttled = 'it is served, told throttleMs, and not read until that is over'

export const settingsTable = {
  host: text('127.0.0.1', 'address to listen on'),
  port: {
    ...number(5640, 'port for WebSocket, HTTP and metrics; 0 picks one'),
    min: 0,
    max: 65_535,
  },
  data: text('./.logloom', 'data directory'),
  loglet: text(
    'striped:2:file',
    'spec of the first segment of a new log: file, memory, striped:N:file; in a cluster native (the default), striped:N:native, striped:N,servers=disjoint:native',
  ),
  metastore: text('file', 'where the chain is kept: file, or paxos (the default in a cluster)'),
  node: text('', 'name of this node in its cluster; a broker alone has none'),
  peers: list('all nodes of the cluster: NODE=ws://HOST:PORT of each listener for nodes'),
  join: flag(false, 'the cluster exists: this node joins it, after `logloom cluster add`'),
  peerHost: text('127.0.0.1', 'address of the listener for nodes; its port is that in peers'),
  clusterId: text('logloom', 'name of the cluster: nodes of another one are refused'),
  clusterSecret: text('', 'secret that all nodes share; better in clusterSecretFile'),
  clusterSecretFile: text('', 'file with the secret that all nodes share'),
  roles: {
    ...list('what a node of a cluster does (default: broker,logserver)'),
    default: ['broker', 'logserver'],
  },
  advertisedUrl: text('', 'where clients reach this broker, told to them by the other nodes'),
  insecurePublic: flag(
    false,
    'accept clients without a token, or tokens in plain text, on an address that is not loopback',
  ),
  authentication: text('none', 'none, or required: nobody gets in without a token'),
  adminTokenFile: text(
    '',
    "file with the administrator's token, made at the first start (default: admin.token in the data directory)",
  ),
  jwtJwksUrl: text('', 'where the keys of the issuer of JSON Web Tokens are: https://…/jwks.json'),
  jwtJwksFile: text('', 'file with the keys of the issuer of JSON Web Tokens, in place of a URL'),
  jwtIssuer: text('', 'issuer (iss) that a JSON Web Token must have'),
  jwtAudience: list('audiences (aud), of which a JSON Web Token must have one'),
  jwtPrincipalClaim: text('sub', 'claim of a JSON Web Token that names the principal'),
  jwtScopeClaim: text(
    '',
    'claim of a JSON Web Token with what it may do at most: topic:orders:read,write …; none: all that its principal may',
  ),
  jwtAlgorithms: {
    ...list('signatures taken of JSON Web Tokens (default: RS256,ES256,EdDSA)'),
    default: ['RS256', 'ES256', 'EdDSA'],
  },
  jwtClockToleranceMs: {
    ...number(5000, "how far the issuer's clock may be off"),
    min: 0,
    max: 300_000,
  },
  mintedTokenLifetimeMaxMs: {
    ...number(
      86_400_000,
      'longest life of a token that `token mint` makes; 0: none are made, and none are taken',
      'LIMIT_EXCEEDED; with 0, tokens that were made before or elsewhere are AUTHENTICATION_FAILED',
    ),
    min: 0,
    max: 86_400_000,
  },
  tlsCertFile: text('', 'PEM certificate of the port for clients, with its chain; none: no TLS'),
  tlsKeyFile: text('', 'PEM key of that certificate'),
  tlsTerminatedUpstream: flag(
    false,
    'a proxy in front of the broker does TLS: tokens may come in plain text on an address that is not loopback',
  ),
  tlsReloadIntervalMs: number(10_000, 'how often certificates are looked at for new ones'),
  peerTlsCertFile: text('', 'PEM certificate of this node, for the links between nodes'),
  peerTlsKeyFile: text('', 'PEM key of that certificate'),
  peerTlsCaFile: text('', 'PEM certificates of the authority that signs those of all nodes'),
  superUsers: list('principals that may do everything: User:alice,User:bob'),
  allowedHosts: list('Host headers to accept besides loopback and the bound address'),
  allowedOrigins: list('Origins of web pages to accept besides same-origin and loopback pages'),
  logLevel: text('info', 'pino level: fatal, error, warn, info, debug, trace, silent'),
  autoCreateTopicsEnable: flag(true, 'create a topic at its first produce'),
  numPartitions: number(1, 'partitions of a topic created without a number'),
  drainMs: {
    ...number(10_000, 'how long a stop waits for requests in flight', 'connections are closed'),
    min: 0,
  },
  drainSpreadMs: {
    ...number(
      5000,
      'over how long a stop spreads what it tells its connections; few of them take less',
      'the last ones are told',
    ),
    min: 0,
  },
  appendsInFlightMax: number(
    8,
    'entries being appended at once',
    'further proposals join the next entry',
  ),
  entryBytesMax: number(
    mib,
    'bytes of proposals grouped into one entry',
    'the rest goes into the next entry; one larger proposal has an entry of its own',
  ),
  backlogBytesMax: number(64 * mib, 'bytes proposed and not answered, whole process', 'THROTTLED'),
  memoryBudgetBytes: {
    ...number(
      0,
      'held for clients, whole process; 0: a quarter of the heap’s limit or of the container’s memory, 64 MiB to 1 GiB',
      'from three quarters of it on writes are THROTTLED, from all of it on reads wait',
    ),
    min: 0,
  },
  queueTimeTargetMs: number(
    500,
    'how long writes may wait in the broker when more come than it can do',
    'THROTTLED for whoever has more than its share',
  ),
  tailCacheBytes: {
    ...number(
      64 * mib,
      'newest entries kept in memory for readers',
      'the oldest go; readers fetch them from the log',
    ),
    min: 0,
  },
  stateCommitIntervalMs: number(
    1000,
    'how often the state is written to its store while little changes; under load it is written more often',
  ),
  producerIdExpirationMs: number(
    86_400_000,
    'how long an idle producer is remembered, by log time',
    'it is forgotten; its next sequence other than 0 is UNKNOWN_PRODUCER',
  ),
  logRetentionMs: {
    ...number(
      604_800_000,
      'how long records are kept, by log append time; -1: for ever; `retention.ms` of a topic wins',
      'the oldest records go',
    ),
    min: -1,
  },
  logRetentionBytes: {
    ...number(
      -1,
      'bytes kept of a partition; -1: all; `retention.bytes` of a topic wins',
      'the oldest records go',
    ),
    min: -1,
  },
  retentionCheckIntervalMs: number(30_000, 'how often retention is enforced'),
  offsetsRetentionMs: number(
    604_800_000,
    'how long the offsets of a consumer group without members are kept, by log time',
    'the group is forgotten',
  ),
  groupSweepIntervalMs: number(1000, 'how often members that are away too long are looked for'),
  reclaimBytesMin: {
    ...number(
      64 * mib,
      'bytes of records that have to be gone before the log is trimmed for them',
      'the beginning of the log that nobody needs is trimmed',
    ),
    min: 0,
  },
  logSizeTargetPercent: {
    ...number(
      200,
      'bytes of the log, in percent of those that live in it, with reclaimBytesMin on top',
      'what lives in the oldest part moves to the end, and the part is trimmed',
    ),
    min: 110,
  },
  logCleanerIoMaxBytesPerSecond: {
    ...number(
      64 * mib,
      'bytes per second that cleaning moves or compacts',
      'cleaning waits; the disk may grow past its target',
    ),
    min: 1024,
  },
  logCleanerBackoffMs: number(15_000, 'how often topics to compact are looked for'),
  logCleanerDedupeBufferSize: {
    ...number(
      128 * mib,
      'memory for the keys of the partition that is being compacted, 32 bytes a key',
      'it takes several passes',
    ),
    min: 4096,
  },
  logCleanerTailBytes: {
    ...number(mib, 'newest bytes of a partition, which compaction leaves alone'),
    min: 0,
  },
  snapshotHoldMsMax: number(
    21_600_000,
    'how long a snapshot that is being taken may hold retention and compaction, by log time',
    'they go on; the snapshot fails with SNAPSHOT_EXPIRED',
  ),
  clockJumpMaxMs: number(
    600_000,
    'a jump of the wall clock that is believed',
    'log time follows the monotonic clock; /health says so',
  ),
  memoryLogletBytesMax: number(
    256 * mib,
    'content of one memory loglet',
    'STORAGE_FULL until the log is switched or trimmed',
  ),
  frameBytesMax: number(
    wireLimits.frameBytesMax,
    'largest WebSocket message read',
    'the connection is closed with 1009',
  ),
  batchBytesMax: number(
    wireLimits.batchBytesMax,
    'largest batch, header included',
    'MESSAGE_TOO_LARGE',
  ),
  recordsPerPublishMax: number(1000, 'records in one publish', 'LIMIT_EXCEEDED'),
  partitionsPerTopicMax: number(10_000, 'partitions of one topic', 'INVALID_PARTITIONS'),
  connectionsMax: number(20_000, 'open connections', 'the upgrade is refused with 503'),
  connectionsPerAddressMax: number(
    1000,
    'sockets of one address that is not loopback (of IPv6 its /64)',
    'further ones are dropped',
  ),
  handshakesPerSecondMax: number(
    1000,
    'upgrades per second, and a quarter of it from one address that is not loopback',
    'the upgrade is refused with 503 and Retry-After',
  ),
  strangersMax: number(
    2000,
    'sockets that have not said hello, from the first packet on',
    'the one that has been silent for longest is dropped',
  ),
  requestsInFlightMax: number(
    1024,
    'unanswered requests of one connection',
    'its socket is not read until replies went out',
  ),
  bytesInFlightMax: number(
    8 * mib,
    'bytes of unanswered requests of one connection',
    'its socket is not read until replies went out',
  ),
  subscriptionsMax: number(10_000, 'subscriptions of one connection', 'LIMIT_EXCEEDED'),
  creditBytesMax: number(64 * mib, 'credit of one subscription', 'more credit is cut to this'),
  fetchBytesMax: number(4 * mib, 'maxBytes of one fetch', 'more is cut to this'),
  fetchWaitMsMax: number(60_000, 'maxWaitMs of one fetch', 'more is cut to this'),
  outputBytesHigh: number(
    256 * 1024,
    'output waiting on one connection',
    'pushes pause and its requests are not read until it drains',
  ),
  outputBytesMax: number(
    8 * mib,
    'output waiting on one connection, hard',
    'the connection is closed with 3008',
  ),
  slowConsumerMs: number(
    10_000,
    'how long output may wait above outputBytesHigh',
    'the connection is closed with 3008',
  ),
  helloTimeoutMs: number(
    wireLimits.helloTimeoutMs,
    'silence before hello',
    'the connection is closed with 1008',
  ),
  messageTimeoutMs: number(
    30_000,
    'from the first byte of a WebSocket message that was seen to its last',
    'the connection is closed with 1008',
  ),
  quotaProducerByteRate: quota('bytes per second that a principal may produce', throttled),
  quotaConsumerByteRate: quota('bytes per second that a principal may read', throttled),
  quotaRequestRate: quota('requests per second of a principal', throttled),
  quotaConnections: quota('connections of a principal', 'QUOTA_EXCEEDED, closed with 1013'),
  quotaInFlightBytes: quota(
    'bytes of unanswered requests of a principal',
    'its sockets are not read until replies went out',
  ),
  quotaTopics: quota('topics that a principal has made', 'QUOTA_EXCEEDED'),
  quotaPartitions: quota('partitions of the topics that a principal has made', 'QUOTA_EXCEEDED'),
  metricsPerPartition: flag(
    false,
    'series of each partition at /metrics as well: its offsets and bytes, and the lag of groups',
  ),
  canaryIntervalMs: {
    ...number(0, 'how often this broker writes a record to __canary and reads it back; 0 is never'),
    min: 0,
  },
  metricsTopicsMax: {
    ...number(
      500,
      'topics with series of their own',
      'the others are counted under topic="_other"',
    ),
    min: 0,
  },
} as const satisfies Record<string, Setting>

export type SettingName = keyof typeof settingsTable

type ValueOf<S extends Setting> = S['type'] extends 'number'
  ? number
  : S['type'] extends 'boolean'
    ? boolean
    : S['type'] extends 'list'
      ? readonly string[]
      : string

export type Settings = { readonly [K in SettingName]: ValueOf<(typeof settingsTable)[K]> }

export interface SettingSources {
  /** camelCase names; strings are parsed. */
  readonly flags?: Readonly<Record<string, unknown>>
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Content of logloom.json. */
  readonly file?: Readonly<Record<string, unknown>>
}

/** Resolves every setting. @throws INVALID_CONFIG naming the key, its source, the value and what is expected */
export function resolveSettings(sources: SettingSources = {}): Settings {
  const { flags = {}, env = {}, file = {} } = sources
  for (const key of Object.keys(file))
    if (!Object.hasOwn(settingsTable, key))
      throw invalid(
        `logloom.json: unknown key ${key}`,
        key,
        'remove it, or see `logloom start --help` for the names',
      )
  const resolved: Record<string, unknown> = {}
  for (const [name, setting] of Object.entries(settingsTable) as [SettingName, Setting][]) {
    const variable = environmentName(name)
    const found: readonly [string, unknown] =
      flags[name] !== undefined
        ? [`--${flagName(name)}`, flags[name]]
        : env[variable] !== undefined
          ? [variable, env[variable]]
          : file[name] !== undefined
            ? [`logloom.json: ${name}`, file[name]]
            : ['default', setting.default]
    resolved[name] = parse(found[0], found[1], setting)
  }
  if (resolved.node !== '') inCluster(resolved, sources)
  if (resolved.metastore !== 'file' && resolved.metastore !== 'paxos')
    throw invalid(
      `metastore=${String(resolved.metastore)} is not known`,
      'metastore',
      'use file or paxos',
    )
  const settings = resolved as Settings
  checkTogether(settings)
  checkSecurity(settings)
  return settings
}

/** Defaults that a node of a cluster has otherwise; what is given stays. */
function inCluster(resolved: Record<string, unknown>, sources: SettingSources): void {
  if (!isGiven('metastore', sources)) resolved.metastore = 'paxos'
  if (!isGiven('loglet', sources)) resolved.loglet = 'native'
}

function isGiven(name: SettingName, { flags, env, file }: SettingSources): boolean {
  return (flags?.[name] ?? env?.[environmentName(name)] ?? file?.[name]) !== undefined
}

/** Room that a frame needs around the largest batch. */
const frameOverheadBytes = 1024

/** Limits that contradict each other would show as refusals that nobody understands. @throws INVALID_CONFIG */
function checkTogether(settings: Settings): void {
  const ordered = [
    ['batchBytesMax', 'frameBytesMax', frameOverheadBytes],
    ['outputBytesHigh', 'outputBytesMax', 0],
    ['fetchBytesMax', 'outputBytesMax', frameOverheadBytes],
    ['batchBytesMax', 'backlogBytesMax', frameOverheadBytes],
    ...(settings.memoryBudgetBytes === 0
      ? []
      : ([['fetchBytesMax', 'memoryBudgetBytes', frameOverheadBytes]] as const)),
  ] as const
  for (const [small, large, gap] of ordered)
    if (settings[small] + gap > settings[large])
      throw invalid(
        `${small}=${settings[small]} does not fit ${large}=${settings[large]}`,
        small,
        `raise ${large} to ${settings[small] + gap} at least, or lower ${small}`,
      )
}

/** What belongs together, and what would be less safe than it looks. @throws INVALID_CONFIG */
function checkSecurity(settings: Settings): void {
  const { authentication, tlsCertFile, tlsKeyFile, jwtJwksUrl, jwtJwksFile } = settings
  if (authentication !== 'none' && authentication !== 'required')
    throw invalid(
      `authentication=${authentication} is not known`,
      'authentication',
      'use none or required',
    )
  together(settings, ['tlsCertFile', 'tlsKeyFile'])
  together(settings, ['peerTlsCertFile', 'peerTlsKeyFile', 'peerTlsCaFile'])
  if (settings.tlsTerminatedUpstream && tlsCertFile !== '' && tlsKeyFile !== '')
    throw invalid(
      'tlsTerminatedUpstream is given, and a certificate too',
      'tlsTerminatedUpstream',
      'leave one of them out: either the broker does TLS or the proxy in front of it',
    )
  if (jwtJwksUrl === '' && jwtJwksFile === '') return
  if (jwtJwksUrl !== '' && jwtJwksFile !== '')
    throw invalid(
      'both jwtJwksUrl and jwtJwksFile are given',
      'jwtJwksUrl',
      'leave one of them out',
    )
  if (authentication !== 'required')
    throw invalid(
      'JSON Web Tokens are set up, but authentication=none',
      'authentication',
      'give --authentication required too',
    )
  if (settings.jwtIssuer === '' || settings.jwtAudience.length === 0)
    throw invalid(
      'jwtIssuer and jwtAudience are missing: any token of that issuer, made for whatever, would be taken',
      settings.jwtIssuer === '' ? 'jwtIssuer' : 'jwtAudience',
      'give both, as the issuer writes them into iss and aud',
    )
  checkKeySetUrl(jwtJwksUrl)
  const unknown = settings.jwtAlgorithms.filter(name => !signatureAlgorithms.includes(name))
  if (unknown.length > 0 || settings.jwtAlgorithms.length === 0)
    throw invalid(
      `jwtAlgorithms: ${unknown.join(', ') || 'none'} is not taken`,
      'jwtAlgorithms',
      `use some of ${signatureAlgorithms.join(', ')}: signatures that need a private key`,
    )
}

/** Signatures that need a private key; never `none` or an HMAC. */
const signatureAlgorithms =
  'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ')

/** Whoever can change the keys on their way can be anybody. */
function checkKeySetUrl(text: string): void {
  if (text === '') return
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isLocal = url?.hostname === 'localhost' || url?.hostname.startsWith('127.') === true
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isLocal)) return
  throw invalid(
    'jwtJwksUrl is no https:// address',
    'jwtJwksUrl',
    'give an https:// address, or jwtJwksFile',
  )
}

function together(settings: Settings, names: readonly SettingName[]): void {
  const missing = names.filter(name => settings[name] === '')
  if (missing.length === 0 || missing.length === names.length) return
  throw invalid(
    `${missing.join(' and ')} missing: ${names.join(', ')} belong together`,
    missing[0] ?? '',
    `give ${missing.map(name => `--${flagName(name)}`).join(' and ')} too`,
  )
}

/** `slowConsumerMs` → `LOGLOOM_SLOW_CONSUMER_MS` */
export function environmentName(name: string): string {
  return `LOGLOOM_${name.replace(/[A-Z]/g, c => `_${c}`).toUpperCase()}`
}

/** `slowConsumerMs` → `slow-consumer-ms` */
export function flagName(name: string): string {
  return name.replace(/[A-Z]/g, c => `-${c.toLowerCase()}`)
}

function parse(source: string, value: unknown, setting: Setting): unknown {
  const { type, min = 1, max = Number.MAX_SAFE_INTEGER } = setting
  if (type === 'string' && typeof value === 'string') return value
  if (type === 'list') {
    if (typeof value === 'string')
      return value
        .split(',')
        .map(v => v.trim())
        .filter(v => v !== '')
    if (Array.isArray(value) && value.every(v => typeof v === 'string')) return value
  }
  if (type === 'boolean') {
    if (typeof value === 'boolean') return value
    if (value === 'true' || value === '1' || value === '') return true
    if (value === 'false' || value === '0') return false
  }
  if (type === 'number') {
    const n = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
    if (typeof n === 'number' && Number.isSafeInteger(n) && n >= min && n <= max) return n
  }
  const expected = {
    string: 'text',
    list: 'a list separated by commas',
    boolean: 'true or false',
    number:
      max === Number.MAX_SAFE_INTEGER
        ? `a whole number from ${min}`
        : `a whole number from ${min} to ${max}`,
  }
  throw invalid(
    `${source}: ${JSON.stringify(value)} is not ${expected[type]}`,
    source,
    `give ${expected[type]}`,
  )
}

function invalid(message: string, key: string, hint: string): LogloomError {
  return new LogloomError('INVALID_CONFIG', message, { key }, { hint })
}

function text(value: string, doc: string): Setting & { type: 'string' } {
  return { type: 'string', default: value, doc }
}

function number(
  value: number,
  doc: string,
  limit?: string,
): Setting & { type: 'number'; default: number } {
  return { type: 'number', default: value, doc, ...(limit === undefined ? {} : { limit }) }
}

/** Of principals that have no quota of their own; 0: none. */
function quota(doc: string, limit: string): ReturnType<typeof number> {
  return { ...number(0, `${doc}, by default; 0: no limit`, limit), min: 0 }
}

function flag(value: boolean, doc: string): Setting & { type: 'boolean' } {
  return { type: 'boolean', default: value, doc }
}

function list(doc: string): Setting & { type: 'list' } {
  return { type: 'list', default: [], doc }
}
