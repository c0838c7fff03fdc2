// Three whole nodes in this process, each with a directory of its own below one that is removed at the end.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../broker/index.ts'
import { type Client, connect } from '../../client/index.ts'
import { freePort } from './free-port.ts'

export const nodeNames = ['n1', 'n2', 'n3'] as const
export type NodeName = (typeof nodeNames)[number]

export class ThreeNodes {
  readonly root: string
  readonly running = new Map<NodeName, RunningBroker>()
  private readonly peers: readonly string[]

  private constructor(root: string, peers: readonly string[]) {
    this.root = root
    this.peers = peers
  }

  /** Nothing is started yet. */
  static async prepare(): Promise<ThreeNodes> {
    const root = await mkdtemp(join(tmpdir(), 'logloom-nodes-'))
    const peers = await Promise.all(
      nodeNames.map(async node => `${node}=ws://127.0.0.1:${await freePort()}`),
    )
    return new ThreeNodes(root, peers)
  }

  /** The node's directory unless `options` name another. */
  data(node: NodeName): string {
    return join(this.root, node)
  }

  async start(node: NodeName, options: StartBrokerOptions = {}): Promise<void> {
    const clusterSecret = 'a secret that the tests share'
    const { peers } = this
    const own = { node, peers, clusterSecret, data: this.data(node), port: 0 }
    this.running.set(node, await startBroker({ ...own, ...options }))
  }

  async startAll(optionsOf: (node: NodeName) => StartBrokerOptions = () => ({})): Promise<void> {
    await Promise.all(nodeNames.map(node => this.start(node, optionsOf(node))))
  }

  async stop(node: NodeName): Promise<void> {
    await this.running.get(node)?.close()
    this.running.delete(node)
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.running.keys()].map(node => this.stop(node)))
  }

  /** A client of those that run now, or of one of them. */
  connect(node?: NodeName): Promise<Client> {
    const brokers = [...this.running].flatMap(([name, { url }]) =>
      node === undefined || node === name ? [url] : [],
    )
    return connect(brokers)
  }

  async withClient<T>(use: (client: Client) => Promise<T>): Promise<T> {
    const client = await this.connect()
    try {
      return await use(client)
    } finally {
      await client.close()
    }
  }

  async close(): Promise<void> {
    await this.stopAll()
    await rm(this.root, { recursive: true, force: true })
  }
}

/** Sends so many records with the values 0, 1, … to the topic `t`. */
export async function produceNumbers(client: Client, count: number): Promise<void> {
  const producer = client.producer()
  for (let i = 0; i < count; i++) producer.enqueue('t', { value: `${i}` })
  await producer.close()
}
