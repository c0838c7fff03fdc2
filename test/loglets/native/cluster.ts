// Log servers and sequencers of a few nodes in one process, on simulated disks.

import { FileLogletProvider } from '../../../loglets/file/file-provider.ts'
import { LogServer } from '../../../loglets/native/log-server.ts'
import { NativeLogletProvider } from '../../../loglets/native/native-provider.ts'
import { Sequencers } from '../../../loglets/native/sequencers.ts'
import type { Net, NodeId } from '../../../loglets/net.ts'
import { nodeClock, nodeRandom } from '../../../loglets/node-clock.ts'
import { LogletRegistry } from '../../../loglets/registry.ts'
import { SimDisk } from '../../simulation/sim-disk.ts'
import { LocalNet } from './local-net.ts'

export interface TestNode {
  readonly node: NodeId
  readonly net: Net
  readonly disk: SimDisk
  server: LogServer
  sequencers: Sequencers
  readonly provider: NativeLogletProvider
  readonly registry: LogletRegistry
}

export class TestCluster {
  readonly net = new LocalNet()
  readonly nodes: readonly TestNode[]

  private constructor(count: number) {
    this.nodes = Array.from({ length: count }, (_, i) => this.make(`n${i + 1}`))
  }

  static async of(count: number): Promise<TestCluster> {
    const cluster = new TestCluster(count)
    for (const { disk } of cluster.nodes) await disk.mkdir('loglets')
    return cluster
  }

  at(i: number): TestNode {
    return this.nodes[i] as TestNode
  }

  /** As after a restart of the log server's process; its sequencer goes on, as if it lived elsewhere. */
  async restartServer(i: number): Promise<void> {
    const node = this.at(i)
    await node.server.close()
    node.server = serverOf(node.net, node.disk)
  }

  async close(): Promise<void> {
    for (const { server, sequencers } of this.nodes) {
      sequencers.close()
      await server.close()
    }
  }

  private make(node: NodeId): TestNode {
    const net = this.net.endpoint(node)
    const disk = new SimDisk()
    const sequencers = new Sequencers(net, nodeClock, `${node}-inc`)
    const provider = new NativeLogletProvider({
      net,
      clock: nodeClock,
      random: nodeRandom,
      sequencers,
      members: () =>
        this.nodes.map(n => ({ node: n.node, incarnation: `${n.node}-inc`, store: 'disk' })),
      serversTotal: () => this.nodes.length,
    })
    return {
      node,
      net,
      disk,
      server: serverOf(net, disk),
      sequencers,
      provider,
      registry: new LogletRegistry([provider]),
    }
  }
}

function serverOf(net: Net, disk: SimDisk): LogServer {
  const files = new FileLogletProvider({ disk, root: 'loglets', clock: nodeClock })
  return new LogServer({ net, disk, clock: nodeClock, store: 'disk', root: 'loglets', files })
}
