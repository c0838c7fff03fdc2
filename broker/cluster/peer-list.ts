// Which nodes belong to the cluster and where they listen (docs/architecture.md 4.4, "members"). Who belongs to it is decided by the register;
// the list adds the addresses, which the nodes tell each other, and keeps both over a restart.
//
//   joining   named by an operator on this node; let in, but without a vote until it is up and the register has taken it in
//   member    decided by the register
//   gone      decided by the register: its connections end, and it is not let in any more

import { type NodeId, nodeIdPattern } from '../../loglets/net.ts'
import { makeDir, readFile, replaceFile } from '../../loglets/metastore/atomic-file.ts'
import { MetaStoreCorruptError } from '../../loglets/metastore/metastore.ts'
import type { Disk } from '../../loglets/ports.ts'
import { isSocketUrl } from './socket-url.ts'

export interface PeerLinks {
  addPeer(node: NodeId, url: string): void
  removePeer(node: NodeId): void
}

export interface StoredPeers {
  readonly peers: Readonly<Record<NodeId, string>>
  readonly joining: readonly NodeId[]
}

const dir = 'metastore'
const fileName = 'peers.json'

/** Undefined when nothing was ever stored. @throws {MetaStoreCorruptError} */
export async function loadPeers(disk: Disk): Promise<StoredPeers | undefined> {
  const bytes = await readFile(disk, `${dir}/${fileName}`)
  return bytes === undefined ? undefined : parsePeers(new TextDecoder().decode(bytes))
}

function parsePeers(text: string): StoredPeers {
  try {
    const { peers, joining } = JSON.parse(text) as { peers?: unknown; joining?: unknown }
    const isList = Array.isArray(joining) && joining.every(isNodeId)
    if (isList && typeof peers === 'object' && peers !== null) {
      const pairs = Object.entries(peers)
      if (
        pairs.every(([node, url]) => isNodeId(node) && typeof url === 'string' && isSocketUrl(url))
      )
        return { peers: Object.fromEntries(pairs), joining }
    }
  } catch {
    // Reported below.
  }
  throw new MetaStoreCorruptError(
    `${dir}/${fileName} is no list of peers: delete it; the node then begins with those of its --peers`,
  )
}

function isNodeId(value: unknown): value is NodeId {
  return typeof value === 'string' && nodeIdPattern.test(value)
}

export class PeerList {
  private readonly self: NodeId
  private readonly disk: Disk
  private readonly links: PeerLinks
  private readonly urls: Map<NodeId, string>
  private readonly joiningNodes: Set<NodeId>
  private saving: Promise<void> = Promise.resolve()
  /** The last change is not on the disk, which may have been full. */
  private unsaved = false

  constructor(
    self: NodeId,
    urls: ReadonlyMap<NodeId, string>,
    joining: readonly NodeId[],
    links: PeerLinks,
    disk: Disk,
  ) {
    this.self = self
    this.urls = new Map(urls)
    this.joiningNodes = new Set(joining)
    this.links = links
    this.disk = disk
  }

  /** Nodes and the URLs of their listeners, this one and those that join included. */
  get all(): ReadonlyMap<NodeId, string> {
    return this.urls
  }

  get joining(): ReadonlySet<NodeId> {
    return this.joiningNodes
  }

  /** Lets a node in. Durable once resolved. @throws INVALID_CONFIG for a URL that is none */
  async invite(node: NodeId, url: string): Promise<void> {
    this.links.addPeer(node, url)
    this.urls.set(node, url)
    this.joiningNodes.add(node)
    await this.save()
  }

  /** Ends a node's connections; it is not let in any more. Durable once resolved. */
  async remove(node: NodeId): Promise<void> {
    if (!this.urls.delete(node)) return
    this.joiningNodes.delete(node)
    this.links.removePeer(node)
    await this.save()
  }

  /** What the register has decided, with the addresses that other nodes tell. */
  async follow(
    members: readonly NodeId[],
    heard: ReadonlyMap<NodeId, string>,
  ): Promise<readonly NodeId[]> {
    const news: NodeId[] = []
    for (const node of this.urls.keys())
      if (node !== this.self && !members.includes(node) && !this.joiningNodes.has(node)) {
        this.urls.delete(node)
        this.links.removePeer(node)
        news.push(node)
      }
    for (const node of members) {
      const url = heard.get(node)
      if (this.joiningNodes.delete(node)) news.push(node)
      if (node === this.self || this.urls.has(node) || url === undefined) continue
      this.links.addPeer(node, url)
      this.urls.set(node, url)
      news.push(node)
    }
    if (news.length > 0 || this.unsaved) await this.save()
    return news
  }

  private save(): Promise<void> {
    const stored: StoredPeers = {
      peers: Object.fromEntries(this.urls),
      joining: [...this.joiningNodes],
    }
    const content = [new TextEncoder().encode(`${JSON.stringify(stored)}\n`)]
    this.unsaved = true
    this.saving = this.saving
      .catch(() => {})
      .then(async () => {
        await makeDir(this.disk, dir)
        await replaceFile(this.disk, dir, fileName, content)
        this.unsaved = false
      })
    return this.saving
  }
}
