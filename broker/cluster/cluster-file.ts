// `cluster.json` of a data directory: which node of which cluster it belongs to (DESIGN 4.4). Written once, at the first start; compared at
// every later one, so that a directory left by another cluster or another node is refused before anything in it is touched. A broker
// without a cluster has no cluster id. A directory with content but without the file is refused too: nobody can tell whose it is.

import { randomBytes } from 'node:crypto'
import { type NodeId, nodeIdPattern } from '../../loglets/net.ts'
import { LogloomError } from '../../wire/errors.ts'
import { isName } from './handshake.ts'

export interface ClusterFile {
  readonly nodeId: NodeId
  /** Undefined for a broker without a cluster. */
  readonly clusterId: string | undefined
  /** Of this directory, at random: a node that lost its disk comes back with another, and is not taken for what it was. */
  readonly store: string
}

/** What the one who opens a directory says that it is. */
export interface Membership {
  /** Undefined: a broker without a cluster. */
  readonly clusterId: string | undefined
  /** Undefined: whatever the directory says; a random name for a new one. */
  readonly nodeId: NodeId | undefined
}

/** Opens only what belongs to no cluster. */
export const noCluster: Membership = { clusterId: undefined, nodeId: undefined }

/** For a directory that is new. @throws INVALID_CONFIG */
export function newClusterFile(membership: Membership): ClusterFile {
  const { clusterId, nodeId = `n-${randomBytes(4).toString('hex')}` } = membership
  if (!nodeIdPattern.test(nodeId)) throw invalid('nodeId', nodeId, nodeIdPattern.source)
  if (clusterId !== undefined && !isName(clusterId))
    throw invalid('clusterId', clusterId, '1 to 64 visible ASCII characters')
  return { clusterId, nodeId, store: `s-${randomBytes(6).toString('hex')}` }
}

/** The text of the file. */
export function clusterFileText({ clusterId, nodeId, store }: ClusterFile): string {
  return `${JSON.stringify({ clusterId, nodeId, store })}\n`
}

/** Reads the text of the file of the directory `path`. @throws DATA_DIR_FOREIGN when it does not say whose the directory is */
export function parseClusterFile(path: string, text: string): ClusterFile {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Refused below.
  }
  const {
    nodeId,
    clusterId,
    store = nodeId,
  } = (typeof value === 'object' && value !== null ? value : {}) as {
    readonly nodeId?: unknown
    readonly clusterId?: unknown
    readonly store?: unknown
  }
  const isWhole =
    typeof nodeId === 'string' &&
    nodeIdPattern.test(nodeId) &&
    typeof store === 'string' &&
    isName(store) &&
    (clusterId === undefined || (typeof clusterId === 'string' && isName(clusterId)))
  if (isWhole) return { nodeId, clusterId, store }
  throw new LogloomError(
    'DATA_DIR_FOREIGN',
    `${path}: cluster.json does not say to which node the directory belongs`,
    { path },
    { hint: 'restore cluster.json from a backup' },
  )
}

/** @throws DATA_DIR_FOREIGN naming both sides when the directory is not the member's */
export function checkMembership(path: string, found: ClusterFile, wanted: Membership): void {
  const isOurs =
    found.clusterId === wanted.clusterId &&
    (wanted.nodeId === undefined || found.nodeId === wanted.nodeId)
  if (isOurs) return
  const expected = nameOf(wanted)
  const actual = nameOf(found)
  throw new LogloomError(
    'DATA_DIR_FOREIGN',
    `${path} belongs to ${actual}, this is ${expected}; nothing in it was changed`,
    { path, expected, actual },
  )
}

function nameOf({ clusterId, nodeId }: Membership): string {
  const node = nodeId === undefined ? 'a node' : `node ${nodeId}`
  return clusterId === undefined ? `${node} without a cluster` : `${node} of cluster ${clusterId}`
}

function invalid(key: string, value: string, expected: string): LogloomError {
  return new LogloomError('INVALID_CONFIG', `${key} ${value} is not allowed: ${expected}`, { key })
}
