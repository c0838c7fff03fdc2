// Where one native loglet lives: its sequencer, bound to one incarnation of one process, and its 2f+1 log servers. Written into the chain
// when the loglet is made, and never changed: another sequencer or other servers are another loglet.

import { LogletSpecError } from '../contract.ts'
import { type NodeId, nodeIdPattern } from '../net.ts'

/** A log server. `store` names its data directory: a node that lost its disk comes back with another, and counts in no quorum. */
export interface LogServerId {
  readonly node: NodeId
  readonly store: string
}

/** The process that orders. A restarted one has another incarnation and never resumes. */
export interface SequencerId {
  readonly node: NodeId
  readonly incarnation: string
}

export interface NativePlacement {
  readonly sequencer: SequencerId
  readonly servers: readonly LogServerId[]
}

export const replicasMax = 9
const tokenPattern = /^[A-Za-z0-9_-]{1,64}$/

/** `sequencer@incarnation;server@store,server@store` */
export function encodePlacement({ sequencer, servers }: NativePlacement): string {
  const list = servers.map(({ node, store }) => `${node}@${store}`).join(',')
  return `${sequencer.node}@${sequencer.incarnation};${list}`
}

/** @throws {LogletSpecError} */
export function decodePlacement(text: string | undefined): NativePlacement {
  const [first = '', rest = '', ...more] = (text ?? '').split(';')
  const sequencer = decodePair(first)
  const servers = rest.split(',').map(decodePair)
  const distinct = new Set(servers.map(s => s?.[0])).size
  if (
    sequencer === undefined ||
    more.length > 0 ||
    servers.length > replicasMax ||
    distinct !== servers.length ||
    !servers.every(s => s !== undefined)
  )
    throw new LogletSpecError(
      `"${String(text).slice(0, 200)}" is not a placement of a native loglet: node@incarnation;node@store,… with 1 to ${replicasMax} different servers`,
    )
  return {
    sequencer: { node: sequencer[0], incarnation: sequencer[1] },
    servers: servers.map(([node, store]) => ({ node, store })),
  }
}

function decodePair(text: string): readonly [string, string] | undefined {
  const [node = '', token = '', ...more] = text.split('@')
  const valid = more.length === 0 && nodeIdPattern.test(node) && tokenPattern.test(token)
  return valid ? [node, token] : undefined
}
