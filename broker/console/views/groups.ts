// Consumer groups and queues: who is behind, and by how much.

import type {
  GroupDescription,
  GroupListing,
  GroupPartition,
  ShareGroupDescription,
  SharePartitionDescription,
} from '../../../client/index.ts'
import { fill, h, refill, table, tiles } from '../dom.ts'
import { count, seconds } from '../format.ts'
import { repeat, type View } from '../view.ts'
import { groupActions } from './group-actions.ts'

export const groupsView: View = (context, name) => {
  const { client, main } = context
  const errors = h('div')
  const body = h('div')
  const title = h('h1', {}, name === '' ? 'Groups' : `Group ${name}`)
  fill(main, title, errors, body, name !== '' && groupActions(context, name))
  repeat(context, 2000, errors, async () => {
    const admin = client.admin()
    const groups = await admin.listGroups()
    if (name === '') {
      refill(body, h('section', { class: 'card' }, listOf(groups)))
      return
    }
    const isShare = groups.find(({ group }) => group === name)?.type === 'share'
    const shown = isShare
      ? shareGroup(await admin.describeShareGroup(name))
      : consumerGroup(await admin.describeGroup(name))
    refill(body, ...shown)
  })
}

function listOf(groups: readonly GroupListing[]): HTMLElement {
  return table<GroupListing>(
    'Groups',
    [
      {
        title: 'Group',
        cell: g => h('a', { href: `#/groups/${encodeURIComponent(g.group)}` }, g.group),
      },
      { title: 'Kind', cell: g => (g.type === 'share' ? 'queue' : 'group') },
      { title: 'State', cell: g => g.state },
      { title: 'Members', isNumber: true, cell: g => count(g.members) },
      { title: 'Lag', isNumber: true, cell: g => count(g.lag) },
    ],
    groups,
    'No group yet: a consumer or a queue makes its group when it joins.',
  )
}

function consumerGroup(group: GroupDescription): readonly HTMLElement[] {
  const lag = group.partitions.reduce((sum, p) => sum + (p.lag ?? 0), 0)
  const behind = Math.max(0, ...group.partitions.map(p => p.lagMs ?? 0))
  return [
    tiles([
      ['State', group.state],
      ['Members', count(group.members.length)],
      ['Lag', count(lag)],
      ['Behind', seconds(behind / 1000)],
      ['Assignor', group.assignor],
      ['Generation', count(group.generation)],
    ]),
    h(
      'section',
      { class: 'card' },
      h('h2', {}, 'Partitions'),
      table<GroupPartition>(
        'Partitions',
        [
          { title: 'Topic', cell: p => p.topic },
          { title: 'Partition', isNumber: true, cell: p => p.partition },
          {
            title: 'Committed',
            isNumber: true,
            cell: p => (p.offset === null ? '–' : count(p.offset)),
          },
          { title: 'End', isNumber: true, cell: p => count(p.endOffset) },
          { title: 'Lag', isNumber: true, cell: p => (p.lag === null ? '–' : count(p.lag)) },
          {
            title: 'Behind',
            isNumber: true,
            cell: p => (p.lagMs === null ? '–' : seconds(p.lagMs / 1000)),
          },
          {
            title: 'Member',
            cell: p => `${p.memberId ?? '–'}${p.revoking ? ' (asked back)' : ''}`,
          },
        ],
        group.partitions,
      ),
    ),
    h(
      'section',
      { class: 'card' },
      h('h2', {}, 'Members'),
      table<GroupDescription['members'][number]>(
        'Members',
        [
          { title: 'Member', cell: m => m.memberId },
          { title: 'Instance', cell: m => m.groupInstanceId ?? '–' },
          {
            title: 'Connected',
            cell: m => (m.attached ? `to ${m.node ?? '?'}` : 'no: grace period'),
          },
          { title: 'Topics', cell: m => [...m.topics, m.pattern ?? ''].filter(Boolean).join(', ') },
          { title: 'Partitions', isNumber: true, cell: m => m.partitions },
        ],
        group.members,
        'Nobody is in this group now; what it committed is kept.',
      ),
    ),
  ]
}

function shareGroup(group: ShareGroupDescription): readonly HTMLElement[] {
  const sum = (pick: (p: SharePartitionDescription) => number): string =>
    count(group.partitions.reduce((total, p) => total + pick(p), 0))
  return [
    tiles([
      ['State', group.state],
      ['Not finished', sum(p => p.lag)],
      ['Held', sum(p => p.held)],
      ['Delivered', sum(p => p.delivered)],
      ['Delivered again', sum(p => p.redelivered)],
      ['Given up', sum(p => p.archived)],
    ]),
    h(
      'section',
      { class: 'card' },
      h('h2', {}, 'Partitions'),
      table<SharePartitionDescription>(
        'Partitions',
        [
          { title: 'Topic', cell: p => p.topic },
          { title: 'Partition', isNumber: true, cell: p => p.partition },
          { title: 'Finished below', isNumber: true, cell: p => count(p.startOffset) },
          { title: 'Next', isNumber: true, cell: p => count(p.nextOffset) },
          { title: 'End', isNumber: true, cell: p => count(p.endOffset) },
          { title: 'Held', isNumber: true, cell: p => count(p.held) },
          { title: 'Waiting', isNumber: true, cell: p => count(p.waiting) },
          { title: 'Not finished', isNumber: true, cell: p => count(p.lag) },
        ],
        group.partitions,
      ),
    ),
    h(
      'section',
      { class: 'card' },
      h('h2', {}, 'Members that hold records'),
      table<ShareGroupDescription['members'][number]>(
        'Members',
        [
          { title: 'Member', cell: m => m.memberId },
          { title: 'Records', isNumber: true, cell: m => m.records },
        ],
        group.members,
        'Nobody holds a record now.',
      ),
    ),
  ]
}
