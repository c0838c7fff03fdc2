// What the settings say about a node's cluster, checked before anything is opened.

import { type NodeId, nodeIdPattern } from '../../loglets/net.ts'
import { LogloomError } from '../../wire/errors.ts'
import { isLoopback } from '../gateway/origin.ts'
import { type ForeignOwner, readOwnedFile } from '../security/file-owner.ts'
import { flagName, type SettingName, type Settings, settingsTable } from '../settings.ts'
import { secretBytesMin } from './peer-limits.ts'
import { isSocketUrl } from './socket-url.ts'

export const roles = ['broker', 'logserver'] as const
export type Role = (typeof roles)[number]

export interface ClusterConfig {
  readonly self: NodeId
  /** Peer listeners of all nodes, this one included. */
  readonly peers: ReadonlyMap<NodeId, string>
  readonly listen: { readonly host: string; readonly port: number }
  readonly clusterId: string
  readonly clusterSecret: string
  readonly roles: ReadonlySet<Role>
  /** Files for TLS between nodes; undefined: no TLS. */
  readonly tls: PeerTlsFiles | undefined
  /** The cluster exists and takes this node in: it has no vote before that. */
  readonly join: boolean
  /** What is taken, but had better be otherwise. */
  readonly warnings: readonly string[]
}

export interface PeerTlsFiles {
  readonly certFile: string
  readonly keyFile: string
  readonly caFile: string
  readonly reloadMs: number
}

/** What means something in a cluster only. */
const clusterOnly = [
  'peers',
  'join',
  'peerHost',
  'clusterId',
  'clusterSecret',
  'clusterSecretFile',
  'roles',
  'advertisedUrl',
  'peerTlsCertFile',
  'peerTlsKeyFile',
  'peerTlsCaFile',
] as const satisfies readonly SettingName[]

/** Undefined for a broker without a cluster. @throws INVALID_CONFIG */
export function clusterConfigOf(settings: Settings): ClusterConfig | undefined {
  const { node, peers: list, peerHost, clusterId } = settings
  if (node === '') {
    refuseWithoutNode(settings)
    return undefined
  }
  if (settings.metastore === 'file')
    throw invalid(
      'metastore',
      'metastore=file keeps the chain on one node, a cluster keeps it on all of them',
      'use --metastore paxos, or leave it out: it is the default in a cluster',
    )
  checkAdvertised(settings.advertisedUrl)
  if (!nodeIdPattern.test(node))
    throw invalid(
      'node',
      `${node} is not a node id: use 1 to 32 of a-z 0-9 -, not beginning with -`,
    )
  const peers = new Map(list.map(parsePeer))
  if (peers.size !== list.length) throw invalid('peers', 'a node is named twice in peers')
  const own = peers.get(node)
  if (own === undefined)
    throw invalid(
      'peers',
      `node ${node} is not in peers: name every node of the cluster, this one too`,
    )
  const secret = secretOf(settings)
  const tls = tlsOf(settings, peers)
  return {
    tls,
    self: node,
    peers,
    listen: { host: peerHost, port: Number(new URL(own).port) },
    clusterId,
    clusterSecret: secret.text,
    roles: rolesOf(settings),
    join: settings.join,
    warnings: [...secret.warnings, ...plainText(peerHost, tls)],
  }
}

/** Both ends of a link have certificates, or neither has. */
function tlsOf(settings: Settings, peers: ReadonlyMap<NodeId, string>): PeerTlsFiles | undefined {
  const { peerTlsCertFile: certFile, peerTlsKeyFile: keyFile, peerTlsCaFile: caFile } = settings
  const scheme = certFile === '' ? 'ws:' : 'wss:'
  for (const [node, url] of peers)
    if (new URL(url).protocol !== scheme)
      throw invalid(
        'peers',
        `node ${node} has the address ${url}, but ${certFile === '' ? 'no certificate for the links between nodes is given' : 'the links between nodes have certificates'}`,
        certFile === ''
          ? 'give --peer-tls-cert-file, --peer-tls-key-file and --peer-tls-ca-file, or write ws:// in peers'
          : 'write wss:// for all nodes in peers',
      )
  if (certFile === '') return undefined
  return { certFile, keyFile, caFile, reloadMs: settings.tlsReloadIntervalMs }
}

function plainText(peerHost: string, tls: PeerTlsFiles | undefined): readonly string[] {
  return tls !== undefined || isLoopback(peerHost)
    ? []
    : [
        `nodes talk in plain text on ${peerHost}: the secret keeps others out, but who sees the network sees all records; give --peer-tls-cert-file`,
      ]
}

/** Settings without effect are refused, not stored. */
function refuseWithoutNode(settings: Settings): void {
  const remedy = (name: SettingName): string =>
    `give --node and --peers too, or leave --${flagName(name)} out`
  for (const name of clusterOnly)
    if (String(settings[name]) !== String(settingsTable[name].default))
      throw invalid(
        name,
        `${name} is given, but no node: a broker without a cluster has no use for it`,
        remedy(name),
      )
  if (settings.metastore === 'paxos')
    throw invalid('metastore', 'metastore=paxos needs a cluster', remedy('metastore'))
}

function checkAdvertised(url: string): void {
  if (url === '' || isSocketUrl(url)) return
  throw invalid(
    'advertisedUrl',
    `advertisedUrl=${url} is not an address that clients could dial`,
    'write ws://HOST:PORT or wss://HOST:PORT, as clients reach this broker',
  )
}

function parsePeer(text: string): readonly [NodeId, string] {
  const at = text.indexOf('=')
  const [node, url] = [text.slice(0, Math.max(0, at)), text.slice(at + 1)]
  if (!nodeIdPattern.test(node) || !isSocketUrl(url))
    throw invalid('peers', `"${text}" is not NODE=ws://HOST:PORT`)
  if (new URL(url).port === '') throw invalid('peers', `"${text}" has no port`)
  return [node, url]
}

/** Whether it names a listener for nodes: `ws://HOST:PORT` or `wss://HOST:PORT`. */
export function isPeerUrl(url: string): boolean {
  return isSocketUrl(url) && new URL(url).port !== ''
}

function secretOf({ clusterSecret, clusterSecretFile }: Settings): {
  readonly text: string
  readonly warnings: readonly string[]
} {
  if (clusterSecretFile !== '') {
    if (clusterSecret === '') return secretIn(clusterSecretFile)
    throw invalid(
      'clusterSecret',
      'both clusterSecret and clusterSecretFile are given',
      'leave one out, best clusterSecret',
    )
  }
  if (clusterSecret === '')
    throw invalid(
      'clusterSecretFile',
      `a cluster needs a secret of at least ${secretBytesMin} bytes that all nodes share`,
      'give --cluster-secret-file FILE; make one with `head -c 32 /dev/urandom | base64 > FILE` and bring it to all nodes',
    )
  const bytes = Buffer.byteLength(clusterSecret)
  if (bytes < secretBytesMin)
    throw invalid(
      'clusterSecret',
      `the cluster secret has ${bytes} bytes, it needs at least ${secretBytesMin} (secretBytesMin)`,
      'give a longer one to all nodes, best in --cluster-secret-file',
    )
  return { text: clusterSecret, warnings: [] }
}

function secretIn(file: string): { readonly text: string; readonly warnings: readonly string[] } {
  const remedy = `make one with \`head -c 32 /dev/urandom | base64 > ${file}\`, readable by this user only, and bring the same file to all nodes`
  let text: string
  let mode: number
  let foreign: ForeignOwner | undefined
  try {
    const read = readOwnedFile(file)
    foreign = read.foreign
    text = read.text.trim()
    mode = read.mode
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
    const message = isMissing
      ? `clusterSecretFile: there is no file ${file}`
      : `clusterSecretFile: cannot read ${file}: ${(cause as Error).message}`
    throw invalid(
      'clusterSecretFile',
      message,
      isMissing ? remedy : `make ${file} readable for the user that runs the node`,
    )
  }
  if (foreign !== undefined)
    throw invalid('clusterSecretFile', `clusterSecretFile: ${foreign.message}`, foreign.hint)
  const bytes = Buffer.byteLength(text)
  if (bytes < secretBytesMin)
    throw invalid(
      'clusterSecretFile',
      bytes === 0
        ? `clusterSecretFile: ${file} is empty, the secret needs at least ${secretBytesMin} bytes (secretBytesMin)`
        : `clusterSecretFile: ${file} has ${bytes} bytes, the secret needs at least ${secretBytesMin} (secretBytesMin)`,
      remedy,
    )
  const isOpen = (mode & 0o077 & ~0o040) !== 0
  return {
    text,
    warnings: isOpen
      ? [
          `${file} has the mode ${mode.toString(8)}: other users of this machine can read or change the cluster's secret; chmod 600 ${file}`,
        ]
      : [],
  }
}

function rolesOf(settings: Settings): ReadonlySet<Role> {
  const found = settings.roles.map(name => {
    const role = roles.find(known => known === name)
    if (role === undefined) throw invalid('roles', `${name} is no role: use ${roles.join(', ')}`)
    return role
  })
  if (found.length === 0) throw invalid('roles', `a node needs a role: ${roles.join(', ')}`)
  return new Set(found)
}

function invalid(key: string, message: string, hint = `correct ${key}`): LogloomError {
  return new LogloomError('INVALID_CONFIG', message, { key }, { hint })
}
