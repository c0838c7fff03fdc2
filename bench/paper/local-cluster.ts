// Three log servers and three acceptors in one process, on real directories, with a VirtualLog that can be switched between `native` and
// `register` (register-loglet.ts).

import { nodeClock, nodeRandom } from '../../loglets/node-clock.ts'
import { nodeDisk } from '../../loglets/node-disk.ts'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { Acceptor } from '../../loglets/metastore/paxos/acceptor.ts'
import { PaxosMetaStore } from '../../loglets/metastore/paxos/paxos-metastore.ts'
import { LogServer } from '../../loglets/native/log-server.ts'
import { type ClusterMember, NativeLogletProvider } from '../../loglets/native/native-provider.ts'
import { Sequencers } from '../../loglets/native/sequencers.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import type { BenchContext } from '../context.ts'
import { localNets } from './local-net.ts'
import { RegisterLogletProvider } from './register-loglet.ts'

const nodes = ['n1', 'n2', 'n3'] as const
const incarnation = 'bench'

export async function openLocalCluster(
  context: BenchContext,
  initialSpec: string,
): Promise<VirtualLog> {
  const ports = { clock: nodeClock, random: nodeRandom }
  const onFatal = (error: Error): never => {
    throw error
  }
  const parts = localNets(nodes).map(net => {
    const disk = nodeDisk(context.directory(net.self))
    const files = new FileLogletProvider({ disk, root: 'loglets', clock: nodeClock, onFatal })
    const common = { net, disk, clock: nodeClock }
    return {
      net,
      server: new LogServer({ ...common, store: `store-${net.self}`, root: 'loglets', files }),
      sequencers: new Sequencers(net, nodeClock, incarnation),
      // One register for the chain, one for the loglet: acceptors answer for one.
      chain: new Acceptor({
        net,
        disk,
        dir: 'chain',
        store: `store-${net.self}`,
        initialMembers: nodes,
      }),
    }
  })
  const registerParts = localNets(nodes).map(net => ({
    net,
    acceptor: new Acceptor({
      net,
      disk: nodeDisk(context.directory(`register-${net.self}`)),
      dir: 'register',
      store: `store-${net.self}`,
      initialMembers: nodes,
    }),
  }))
  const [first] = parts
  const [firstRegister] = registerParts
  if (first === undefined || firstRegister === undefined) throw new Error('a cluster needs nodes')
  const metaStore = new PaxosMetaStore({
    ...ports,
    incarnation,
    net: first.net,
    acceptor: first.chain,
  })
  const register = new PaxosMetaStore({ ...ports, incarnation, ...firstRegister })
  const members: readonly ClusterMember[] = nodes.map(node => ({
    node,
    incarnation,
    store: `store-${node}`,
  }))
  const native = new NativeLogletProvider({
    ...ports,
    net: first.net,
    sequencers: first.sequencers,
    members: () => members,
    serversTotal: () => members.length,
  })
  const log = await VirtualLog.open({
    metaStore,
    registry: new LogletRegistry([native, new RegisterLogletProvider(register)]),
    ...ports,
    initialSpec,
    scope: 'cluster',
  })
  context.defer(async () => {
    await log.close()
    metaStore.close()
    register.close()
    await Promise.all(parts.map(({ server }) => server.close()))
    for (const { chain } of parts) chain.close()
    for (const { acceptor } of registerParts) acceptor.close()
  })
  return log
}
