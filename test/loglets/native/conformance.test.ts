// The native loglet, alone and striped over shared and disjoint servers, against the one contract. Every reopen restarts all log servers.

import { describe, it } from 'vitest'
import { type LogletFixture, runLogletConformance } from '../../../loglets/conformance/index.ts'
import type { Loglet } from '../../../loglets/contract.ts'
import type { Placement } from '../../../loglets/registry.ts'
import { ports } from '../workshop.ts'
import { TestCluster } from './cluster.ts'

/** Loglets of `spec` used through node `user`, made by node 0. */
function fixtureOf(spec: string, nodes: number, user: number): LogletFixture {
  return async () => {
    const cluster = await TestCluster.of(nodes)
    const sources = new Map<Loglet, { id: string; placement: Placement }>()
    const opened: Loglet[] = []
    const open = async (source: { id: string; placement: Placement }): Promise<Loglet> => {
      const { id, placement } = source
      const loglet = await cluster.at(user).registry.open(id, spec, ports, placement)
      sources.set(loglet, source)
      opened.push(loglet)
      return loglet
    }
    return {
      durable: true,
      create: async (id = `00000${opened.length}-abcdef`) => {
        const { registry } = cluster.at(0)
        const placement = registry.place(spec) as Placement
        const made = await registry.create(id, spec, ports, placement)
        await made.close()
        return open({ id, placement })
      },
      reopen: async loglet => {
        for (const i of cluster.nodes.keys()) await cluster.restartServer(i)
        return open(sources.get(loglet) as { id: string; placement: Placement })
      },
      openAbsent: () => {
        const { registry } = cluster.at(user)
        return registry.open('000099-abcdef', spec, ports, registry.place(spec))
      },
      cleanup: async () => {
        for (const loglet of opened) await loglet.close()
        await cluster.close()
      },
    }
  }
}

const cases = [
  { name: 'native on one node', spec: 'native,replicas=1', nodes: 1, user: 0 },
  { name: 'native, beside its sequencer', spec: 'native', nodes: 3, user: 0 },
  { name: 'native, through another node', spec: 'native', nodes: 3, user: 1 },
  { name: 'native on five servers', spec: 'native,replicas=5', nodes: 5, user: 4 },
  { name: 'stripes on shared servers', spec: 'striped:3,servers=shared:native', nodes: 3, user: 0 },
  {
    name: 'stripes on disjoint servers',
    spec: 'striped:2,servers=disjoint:native',
    nodes: 6,
    user: 5,
  },
]

for (const { name, spec, nodes, user } of cases)
  runLogletConformance(name, fixtureOf(spec, nodes, user), { describe, it })
