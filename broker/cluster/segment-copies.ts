// Which copies of the log's segments there are, as this node sees it: what health, `cluster describe` and the placement watch go by.
//
// A hint, like the members it is made of. A server that is away still has its copy; one that was removed, or came back with another disk,
// has none and never will.

import type { Segment } from '../../loglets/chain.ts'
import { decodePlacement, type LogServerId } from '../../loglets/native/placement.ts'
import type { NodeId } from '../../loglets/net.ts'
import type { NodeDescription } from './membership.ts'

export interface CopyView {
  readonly members: () => readonly NodeDescription[]
  /** Nodes of the cluster, up or not. */
  readonly nodes: () => ReadonlySet<NodeId>
}

/** Copies of one leaf of a segment. */
export interface LeafCopies {
  readonly sequencer: { readonly node: NodeId; readonly incarnation: string }
  readonly servers: readonly LogServerId[]
  /** Of those, the ones that are up with the disk that has it. */
  readonly up: readonly LogServerId[]
  /** Of those, the ones that will never have it again. */
  readonly gone: readonly LogServerId[]
}

/** A segment that has fewer copies than it was made with; of its leaves the one with the fewest. */
export interface LostCopies {
  readonly index: number
  readonly copies: number
  readonly wanted: number
  /** Nodes whose copy is gone. */
  readonly gone: readonly NodeId[]
}

/** Leaf by leaf; none for a segment that has no choice of places. */
export function leafCopies({ members, nodes }: CopyView, segment: Segment): readonly LeafCopies[] {
  const stores = new Map(members().map(({ node, store }) => [node, store]))
  const belongs = nodes()
  return (segment.placement ?? []).map(text => {
    const { sequencer, servers } = decodePlacement(text)
    return {
      sequencer,
      servers,
      up: servers.filter(({ node, store }) => stores.get(node) === store),
      gone: servers.filter(
        ({ node, store }) => !belongs.has(node) || (stores.has(node) && stores.get(node) !== store),
      ),
    }
  })
}

/** Copies that the segment was made with, all leaves together: with servers of their own one leaf may have more where another has less. */
export function copiesMade({ placement = [] }: Segment): number {
  return placement.reduce((sum, text) => sum + decodePlacement(text).servers.length, 0)
}

/** The segments that lost copies for good, in the order of the chain. */
export function lostCopies(view: CopyView, segments: readonly Segment[]): readonly LostCopies[] {
  const members = view.members()
  const nodes = view.nodes()
  const seen: CopyView = { members: () => members, nodes: () => nodes }
  return segments.flatMap(segment => {
    const flawed = leafCopies(seen, segment).filter(({ gone }) => gone.length > 0)
    if (flawed.length === 0) return []
    const present = ({ servers, gone }: LeafCopies): number => servers.length - gone.length
    const worst = flawed.reduce((a, b) => (present(b) < present(a) ? b : a))
    const gone = [...new Set(flawed.flatMap(leaf => leaf.gone.map(({ node }) => node)))].sort()
    return [{ index: segment.index, copies: present(worst), wanted: worst.servers.length, gone }]
  })
}

/** Copies of all segments of one spec and state, added up. */
export interface ReplicaCount {
  readonly spec: string
  readonly state: 'open' | 'sealed'
  /** That they were made with. */
  readonly replicas: number
  /** Of these, those whose log server is up. */
  readonly inSync: number
}

export function replicaCounts(
  view: CopyView,
  segments: readonly Segment[],
): readonly ReplicaCount[] {
  const counts = new Map<string, ReplicaCount>()
  for (const segment of segments) {
    const { spec } = segment
    const state = segment.end === undefined ? 'open' : 'sealed'
    const leaves = leafCopies(view, segment)
    const { replicas = 0, inSync = 0 } = counts.get(`${spec} ${state}`) ?? {}
    counts.set(`${spec} ${state}`, {
      spec,
      state,
      replicas: leaves.reduce((sum, { servers }) => sum + servers.length, replicas),
      inSync: leaves.reduce((sum, { up }) => sum + up.length, inSync),
    })
  }
  return [...counts.values()]
}
