// What a node has to tell about its cluster in `health` (docs/operations.md, "Health"): pure, from what the node sees now.

import type { Segment } from '../../loglets/chain.ts'
import { majority } from '../../loglets/majority.ts'
import type { NodeId } from '../../loglets/net.ts'
import { nodeOf } from '../../loglets/metastore/paxos/record.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { NodeStatus } from '../gateway/context.ts'
import { degraded, type Finding, noted, unavailable } from '../health.ts'
import type { NodeDescription } from './membership.ts'
import {
  copiesMade,
  type CopyView,
  leafCopies,
  type LostCopies,
  lostCopies,
} from './segment-copies.ts'

export interface ClusterView {
  readonly self: NodeId
  readonly nodes: readonly NodeStatus[]
  readonly members: readonly NodeDescription[]
  readonly segments: readonly Segment[]
  /** Log servers of each leaf that the open segment could have now; none when it has no place. */
  readonly possible: readonly number[]
  /** Who decides in the register, as far as this node knows: `node` or `node@directory`. */
  readonly voters: readonly string[]
  /** The others say that this node does not belong to them. */
  readonly outcast: LogloomError | undefined
}

/** Segments named one by one. */
const segmentsShown = 5

/** Everything that is worth telling; nothing for a cluster that is whole. */
export function clusterFindings(view: ClusterView): readonly Finding[] {
  const { outcast } = view
  if (outcast !== undefined)
    return [{ ...unavailable(`${outcast.message}: ${outcast.hint}`), alone: true }]
  const lost = lostCopies(copyView(view), view.segments.slice(0, -1))
  return [
    ...nodeFindings(view),
    ...voteFindings(view),
    ...openFindings(view),
    ...lostFindings(view, lost),
    ...fewFindings(view, lost),
  ]
}

/** Why this node does not belong to the cluster, in words of its operator. */
export function outcastError(
  self: NodeId,
  by: readonly NodeId[],
  wasMember: boolean,
): LogloomError {
  const who = by.join(', ')
  if (wasMember)
    return new LogloomError(
      'NODE_REMOVED',
      `node ${self} was removed from the cluster (${who} say so): it takes no part any more`,
      { node: self, by },
    )
  return new LogloomError(
    'PEER_UNKNOWN',
    `${who} do not know node ${self}: it was not added to the cluster`,
    { node: self, by },
    {
      hint: `run \`logloom cluster add ${self} PEER-URL\` against one of them, and start it with --join; of a new cluster, give all nodes the same --peers`,
    },
  )
}

function nodeFindings({ nodes }: ClusterView): readonly Finding[] {
  const voters = nodes.filter(({ joining }) => !joining)
  const up = voters.filter(node => node.up).length
  const needed = majority(voters.length)
  return [
    ...(up < needed
      ? [
          degraded(
            `${up} of ${voters.length} nodes are up, the register needs ${needed}: the log cannot be moved or switched; start the nodes that are away`,
          ),
        ]
      : []),
    ...voters
      .filter(node => !node.up)
      .map(({ node, peerUrl }) =>
        degraded(
          `node ${node} (${peerUrl}) is away: start it, or run \`logloom cluster remove ${node}\` if it will not come back`,
        ),
      ),
    ...nodes
      .filter(({ joining, up: isUp }) => joining && !isUp)
      .map(({ node }) => noted(`node ${node} may join: start it with --join`)),
  ]
}

/** A node that lost its disk is up, but its vote hangs on the old one: another loss now, and nobody can decide anything any more. */
function voteFindings({ members, voters }: ClusterView): readonly Finding[] {
  return members.flatMap(({ node, directory }) => {
    const [, voting] = voters.find(voter => nodeOf(voter) === node)?.split('@') ?? []
    if (voting === undefined || voting === directory) return []
    return [
      degraded(
        `node ${node} has a new data directory, which has no vote in the register yet: it gets one within seconds, by itself; take no other node down before`,
      ),
    ]
  })
}

/** Sealed segments that were made while log servers were away. */
function fewFindings(
  { possible: leaves, segments }: ClusterView,
  lost: readonly LostCopies[],
): readonly Finding[] {
  const possible = leaves.reduce((sum, n) => sum + n, 0)
  const spec = segments.at(-1)?.spec
  const isLost = new Set(lost.map(({ index }) => index))
  const few = segments.slice(0, -1).filter(segment => {
    // How many there can be is known of the open segment's spec only.
    if (segment.spec !== spec || isLost.has(segment.index)) return false
    const copies = copiesMade(segment)
    return copies > 0 && copies < possible
  })
  if (few.length === 0) return []
  return [
    degraded(
      `${few.length} sealed segments have fewer copies than the log servers that are up could hold (first: segment ${few[0]?.index}): they are being copied; take no other node down before`,
    ),
  ]
}

function openFindings(view: ClusterView): readonly Finding[] {
  const last = view.segments.at(-1)
  if (last === undefined) return []
  const leaves = leafCopies(copyView(view), last)
  const short = leaves.find(({ servers, up }) => up.length < majority(servers.length))
  if (short !== undefined)
    return [
      unavailable(
        `${short.up.length} of ${short.servers.length} log servers of the open segment ${last.index} are up, ${majority(short.servers.length)} are needed: nothing can be appended; start the nodes that are away`,
      ),
    ]
  const voters = view.nodes.filter(({ joining }) => !joining)
  const canMove = voters.filter(({ up }) => up).length >= majority(voters.length)
  const headless = leaves.find(
    ({ sequencer }) =>
      !view.members.some(
        ({ node, incarnation }) => node === sequencer.node && incarnation === sequencer.incarnation,
      ),
  )
  if (headless !== undefined && !canMove)
    return [
      unavailable(
        `the sequencer of the open segment ${last.index} was on node ${headless.sequencer.node}, which is away, and too few nodes are up to move it: nothing can be appended`,
      ),
    ]
  const at = leaves.findIndex(({ up }, i) => (view.possible[i] ?? 0) > up.length)
  if (at < 0) return []
  return [
    degraded(
      `the open segment ${last.index} has ${leaves[at]?.up.length} copies and could have ${view.possible[at]}: it is placed anew within seconds, by itself`,
    ),
  ]
}

function lostFindings({ members }: ClusterView, lost: readonly LostCopies[]): readonly Finding[] {
  const servers = members.filter(({ store }) => store !== undefined).length
  const more = lost.length - segmentsShown
  return [
    ...lost
      .slice(0, segmentsShown)
      .map(({ index, copies, wanted, gone }) =>
        degraded(
          `segment ${index} has ${copies} of ${wanted} copies, those of ${gone.join(', ')} are gone: ${
            servers > copies
              ? 'it is being copied to another place'
              : 'start or add a node that it can be copied to'
          }`,
        ),
      ),
    ...(more > 0 ? [degraded(`${more} more segments have lost copies`)] : []),
  ]
}

function copyView({ members, nodes }: ClusterView): CopyView {
  return { members: () => members, nodes: () => new Set(nodes.map(({ node }) => node)) }
}
