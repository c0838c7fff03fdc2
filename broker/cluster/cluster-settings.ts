// What the settings say about a node's cluster, checked before anything is opened.

import { readFileSync } from 'node:fs'
import { type NodeId, nodeIdPattern } from '../../loglets/net.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { Settings } from '../settings.ts'

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
  /** The cluster exists and takes this node in: it has no vote before that. */
  readonly join: boolean
}

/** Undefined for a broker without a cluster. @throws INVALID_CONFIG */
export function clusterConfigOf(settings: Settings): ClusterConfig | undefined {
  const { node, peers: list, peerHost, clusterId } = settings
  if (node === '') {
    if (list.length > 0)
      throw invalid('node', 'peers are given, but not which of them this node is')
    if (settings.metastore === 'paxos')
      throw invalid('metastore', 'metastore=paxos needs a cluster: give node and peers')
    return undefined
  }
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
  return {
    self: node,
    peers,
    listen: { host: peerHost, port: Number(new URL(own).port) },
    clusterId,
    clusterSecret: secretOf(settings),
    roles: rolesOf(settings),
    join: settings.join,
  }
}

function parsePeer(text: string): readonly [NodeId, string] {
  const at = text.indexOf('=')
  const [node, url] = [text.slice(0, Math.max(0, at)), text.slice(at + 1)]
  if (!nodeIdPattern.test(node) || !/^wss?:\/\//.test(url) || !URL.canParse(url))
    throw invalid('peers', `"${text}" is not NODE=ws://HOST:PORT`)
  if (new URL(url).port === '') throw invalid('peers', `"${text}" has no port`)
  return [node, url]
}

/** Whether it names a listener for nodes: `ws://HOST:PORT` or `wss://HOST:PORT`. */
export function isPeerUrl(url: string): boolean {
  return /^wss?:\/\//.test(url) && URL.canParse(url) && new URL(url).port !== ''
}

function secretOf({ clusterSecret, clusterSecretFile }: Settings): string {
  if (clusterSecretFile === '') {
    if (clusterSecret !== '') return clusterSecret
    throw invalid(
      'clusterSecretFile',
      'a cluster needs a secret: give clusterSecretFile, a file with at least 16 bytes of text that all nodes share',
    )
  }
  try {
    return readFileSync(clusterSecretFile, 'utf8').trim()
  } catch (cause) {
    throw invalid('clusterSecretFile', `cannot read it: ${(cause as Error).message}`)
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

function invalid(key: string, message: string): LogloomError {
  return new LogloomError('INVALID_CONFIG', message, { key }, { hint: `correct ${key}` })
}
