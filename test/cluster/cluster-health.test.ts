// What a node says about its cluster, from what it sees: pure.

import { expect, it } from 'vitest'
import {
  clusterFindings,
  type ClusterView,
  outcastError,
} from '../../broker/cluster/cluster-health.ts'
import type { NodeDescription } from '../../broker/cluster/membership.ts'
import { judge } from '../../broker/health.ts'
import type { Segment } from '../../loglets/chain.ts'

const all = ['n1', 'n2', 'n3']

function segment(index: number, servers: readonly string[], sealed = false): Segment {
  return {
    index,
    id: `s${index}`,
    start: index * 10,
    spec: 'native',
    placement: [`n1@i1;${servers.join(',')}`],
    ...(sealed ? { end: (index + 1) * 10 } : {}),
  } as unknown as Segment
}

function view(up: readonly string[], change: Partial<ClusterView> = {}): ClusterView {
  return {
    self: 'n1',
    nodes: all.map(node => ({
      node,
      up: up.includes(node),
      self: node === 'n1',
      joining: false,
      peerUrl: `ws://${node}:1`,
    })),
    members: up.map((node): NodeDescription => {
      return {
        node,
        incarnation: `i${node.slice(1)}`,
        store: `d-${node}`,
        directory: `d-${node}`,
        version: '0',
      }
    }),
    segments: [segment(0, ['n1@d-n1', 'n2@d-n2', 'n3@d-n3'])],
    possible: [up.length],
    voters: all.map(node => `${node}@d-${node}`),
    outcast: undefined,
    ...change,
  }
}

const healthOf = (seen: ClusterView) => judge(clusterFindings(seen))

it('a whole cluster is ok', () => {
  expect(healthOf(view(all))).toEqual({ status: 'ok', problems: [] })
})

it('a node that is away degrades it, and is named with what to do', () => {
  const { status, problems } = healthOf(view(['n1', 'n2']))
  expect(status).toBe('degraded')
  expect(problems).toEqual([expect.stringMatching(/node n3 .* away.*cluster remove n3/)])
})

it('a node with a new disk that has no vote yet degrades it: nobody else may go now', () => {
  const voters = ['n1@d-n1', 'n2@d-old', 'n3@d-n3']
  const { status, problems } = healthOf(view(all, { voters }))
  expect(status).toBe('degraded')
  expect(problems).toEqual([expect.stringMatching(/node n2 .* no vote .* take no other node down/)])
})

it('sealed segments that could have more copies degrade it', () => {
  const segments = [segment(0, ['n1@d-n1', 'n2@d-n2'], true), ...view(all).segments]
  const { status, problems } = healthOf(view(all, { segments }))
  expect(status).toBe('degraded')
  expect(problems).toEqual([expect.stringMatching(/1 sealed segments .* fewer copies/)])
})

it('a node that may join and is not up is only noted', () => {
  const { nodes } = view(all)
  const joining = {
    node: 'n4',
    up: false,
    self: false,
    joining: true,
    peerUrl: 'ws://n4:1',
  }
  const { status, problems } = healthOf(view(all, { nodes: [...nodes, joining] }))
  expect([status, problems]).toEqual(['ok', [expect.stringContaining('--join')]])
})

it('without a majority of the log servers nothing can be appended', () => {
  const { status, problems } = healthOf(view(['n1']))
  expect(status).toBe('unavailable')
  expect(problems[0]).toContain('1 of 3 log servers')
  expect(problems.join()).toContain('the register needs 2')
})

it('without its sequencer, and without a majority to move it, neither', () => {
  const segments = [segment(0, ['n2@d-n2'])]
  const nodes = view(['n2']).nodes
  const { status, problems } = healthOf(view(['n2'], { self: 'n2', segments, nodes }))
  expect([status, problems[0]]).toEqual(['unavailable', expect.stringContaining('sequencer')])
})

it('an open segment that could have more copies degrades it', () => {
  const { status, problems } = healthOf(view(all, { segments: [segment(1, ['n1@d-n1'])] }))
  expect([status, problems]).toEqual([
    'degraded',
    [expect.stringContaining('has 1 copies and could have 3')],
  ])
})

it('sealed segments whose copies are gone are named, with what is left', () => {
  const open = segment(2, ['n1@d-n1', 'n2@d-n2', 'n3@d-n3'])
  const lost = segment(0, ['n1@d-n1', 'n2@d-n2', 'n3@OLD'], true)
  const removed = segment(1, ['n1@d-n1', 'n9@d-n9'], true)
  const { status, problems } = healthOf(view(all, { segments: [lost, removed, open] }))
  expect(status).toBe('degraded')
  expect(problems).toEqual([
    expect.stringMatching(/segment 0 has 2 of 3 copies, those of n3 are gone: it is being copied/),
    expect.stringMatching(/segment 1 has 1 of 2 copies, those of n9 are gone: it is being copied/),
  ])
})

it('a copy on a node that is away is not gone', () => {
  const open = segment(1, ['n1@d-n1', 'n2@d-n2'])
  const sealed = segment(0, ['n1@d-n1', 'n2@d-n2', 'n3@d-n3'], true)
  const { problems } = healthOf(view(['n1', 'n2'], { segments: [sealed, open] }))
  expect(problems).toEqual([expect.stringContaining('node n3')])
})

it('a node that was removed says only that, and one that was never added something else', () => {
  const removed = healthOf(view(['n1'], { outcast: outcastError('n1', ['n2', 'n3'], true) }))
  expect(removed).toEqual({
    status: 'unavailable',
    problems: [expect.stringMatching(/n1 was removed .*n2, n3.*stop it.*cluster add/)],
  })
  expect(outcastError('n4', ['n1'], false)).toMatchObject({
    code: 'PEER_UNKNOWN',
    hint: expect.stringContaining('logloom cluster add n4'),
  })
})
