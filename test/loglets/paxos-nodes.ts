// A register on a few nodes in one process, on simulated disks.

import { FileMetaStore } from '../../loglets/metastore/file.ts'
import { Acceptor } from '../../loglets/metastore/paxos/acceptor.ts'
import { PaxosMetaStore } from '../../loglets/metastore/paxos/paxos-metastore.ts'
import { nodeClock, nodeRandom } from '../../loglets/node-clock.ts'
import { SimDisk } from '../simulation/sim-disk.ts'
import { LocalNet } from './native/local-net.ts'

export interface RegisterNode {
  readonly node: string
  readonly disk: SimDisk
  readonly net: LocalNet
  acceptor: Acceptor
  store: PaxosMetaStore
  /** As a restart of the process, on the same disk or on a new, empty one. */
  restart(options?: { readonly disk: SimDisk; readonly store: string }): void
}

/** `outsiders` are started too, but have no vote at first. */
export function registerOf(nodes: number, outsiders = 0): readonly RegisterNode[] {
  const net = new LocalNet()
  const names = Array.from({ length: nodes + outsiders }, (_, i) => `n${i + 1}`)
  const initialMembers = names.slice(0, nodes).map(name => `${name}@${name}-disk`)
  return names.map((node): RegisterNode => {
    const make = (disk: SimDisk, store: string): Pick<RegisterNode, 'acceptor' | 'store'> => {
      const endpoint = net.endpoint(node)
      const acceptor = new Acceptor({ net: endpoint, disk, dir: 'register', store, initialMembers })
      const metaStore = new PaxosMetaStore({
        net: endpoint,
        clock: nodeClock,
        random: nodeRandom,
        acceptor,
        incarnation: nodeRandom.hex(4),
        notes: new FileMetaStore({ disk, dir: 'notes' }).notes,
      })
      return { acceptor, store: metaStore }
    }
    const disk = new SimDisk()
    const made: RegisterNode = {
      node,
      disk,
      net,
      ...make(disk, `${node}-disk`),
      restart: (to = { disk, store: `${node}-disk` }) => {
        made.acceptor.close()
        Object.assign(made, make(to.disk, to.store))
      },
    }
    return made
  })
}
