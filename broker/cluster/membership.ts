// Who is up, as this node sees it: which nodes are connected, and what they say of themselves (docs/architecture.md 4.4, "members").
//
// A hint, never a decision: a node that looks dead may live. What it is good for is choosing where new loglets go and telling clients whom
// else they can ask; wrong guesses cost a retry.

import {
  type Message,
  type MessageValue,
  type Net,
  type NodeId,
  nodeIdPattern,
} from '../../loglets/net.ts'
import type { ClusterMember } from '../../loglets/native/native-provider.ts'
import type { Clock } from '../../loglets/ports.ts'

import { isPeerUrl } from './cluster-settings.ts'

export const describeVerb = 'cluster.describe'

export interface NodeDescription {
  readonly node: NodeId
  readonly incarnation: string
  /** Names the data directory, by which the register knows the node. */
  readonly directory?: string
  /** The same for its log server; absent when it runs none. */
  readonly store?: string
  /** False when it runs no broker. */
  readonly broker?: boolean
  /** Where clients reach its broker; absent when it runs none, or not yet. */
  readonly url?: string
  readonly version: string
  /** The nodes that it knows, with the URLs of their listeners. */
  readonly peers?: Readonly<Record<NodeId, string>>
}

/** What membership needs to know of the links. */
export interface Links {
  /** Nodes with a living connection, and which incarnation is at its end. */
  connected(): ReadonlyMap<NodeId, string | undefined>
  onChange(listener: () => void): () => void
}

export interface MembershipOptions {
  readonly net: Net
  readonly clock: Clock
  readonly links: Links
  readonly nodes: () => readonly NodeId[]
  readonly self: () => NodeDescription
  readonly onChange: () => void
}

const pollMs = 500
const describeTimeoutMs = 1000

export class Membership {
  private readonly options: MembershipOptions
  private readonly known = new Map<NodeId, NodeDescription>()
  private readonly closing = new AbortController()
  private readonly stops: readonly (() => void)[]
  private readonly loop: Promise<void>
  private last = ''

  constructor(options: MembershipOptions) {
    this.options = options
    this.stops = [
      options.net.handle(describeVerb, async () => messageOf(options.self())),
      options.links.onChange(() => this.compare()),
    ]
    this.loop = this.poll()
  }

  /** Every node that is up now, this one included. */
  members(): readonly NodeDescription[] {
    const connected = this.options.links.connected()
    const others = [...this.known.values()].filter(
      ({ node, incarnation }) => connected.get(node) === incarnation,
    )
    return [this.options.self(), ...others]
  }

  /** The same, as loglets are placed. */
  hosts(): readonly ClusterMember[] {
    return this.members().map(({ node, incarnation, store }) => ({
      node,
      incarnation,
      ...(store === undefined ? {} : { store }),
    }))
  }

  /** Nodes that have a log server as far as anybody knows: all but those that said that they have none. */
  logServersTotal(): number {
    return this.total(({ store }) => store !== undefined)
  }

  /** Nodes that have a broker as far as anybody knows. */
  brokersTotal(): number {
    return this.total(({ broker }) => broker !== false)
  }

  private total(has: (description: NodeDescription) => boolean): number {
    const { net, nodes, self } = this.options
    const all = nodes()
    const without = all.filter(node => {
      const description = node === net.self ? self() : this.known.get(node)
      return description !== undefined && !has(description)
    })
    return all.length - without.length
  }

  async close(): Promise<void> {
    for (const stop of this.stops) stop()
    this.closing.abort()
    await this.loop
  }

  private async poll(): Promise<void> {
    const { clock } = this.options
    while (!this.closing.signal.aborted) {
      await Promise.all(this.options.nodes().map(node => this.look(node)))
      this.compare()
      await clock.sleep(pollMs, this.closing.signal).catch(() => {})
    }
  }

  private async look(node: NodeId): Promise<void> {
    const { net } = this.options
    if (node === net.self) return
    try {
      const options = { timeoutMs: describeTimeoutMs, signal: this.closing.signal }
      const description = descriptionOf(await net.call(node, describeVerb, {}, options))
      if (description?.node === node) this.known.set(node, description)
    } catch {
      // It is away, or stopping: its connection says so.
    }
  }

  private compare(): void {
    const now = JSON.stringify(this.members())
    if (now === this.last) return
    this.last = now
    this.options.onChange()
  }
}

function messageOf({ peers, ...fields }: NodeDescription): Message {
  return { ...fields, peers: { ...peers } }
}

/** Undefined when a peer answers nonsense. */
function descriptionOf(message: Message): NodeDescription | undefined {
  const { node, incarnation, directory, store, broker, url, version, peers } = message
  if (typeof node !== 'string' || typeof incarnation !== 'string') return undefined
  return {
    node,
    incarnation,
    ...(typeof directory === 'string' ? { directory } : {}),
    ...(typeof store === 'string' ? { store } : {}),
    ...(typeof broker === 'boolean' ? { broker } : {}),
    ...(typeof url === 'string' ? { url } : {}),
    version: typeof version === 'string' ? version : 'unknown',
    peers: peersOf(peers),
  }
}

function peersOf(value: MessageValue | undefined): Readonly<Record<NodeId, string>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {}
  return Object.fromEntries(
    Object.entries(value).filter(
      (pair): pair is [NodeId, string] =>
        nodeIdPattern.test(pair[0]) && typeof pair[1] === 'string' && isPeerUrl(pair[1]),
    ),
  )
}
