// All topics, and how to make one; one topic: its tail, its past, and a form to write to it.

import type { TopicListing } from '../../../client/index.ts'
import { field, fill, form, h, refill, table } from '../dom.ts'
import { bytes, count } from '../format.ts'
import { repeat, showError, type View, type ViewContext } from '../view.ts'
import { topicView } from './topic.ts'

export const topicsView: View = (context, name) => {
  if (name === '') list(context)
  else topicView(context, name)
}

function list(context: ViewContext): void {
  const { client, main } = context
  const errors = h('div')
  const rows = h('div')
  const filter = h('input', { type: 'search', name: 'filter' })
  let topics: readonly TopicListing[] = []
  const show = (): void => {
    const wanted = topics.filter(({ topic }) => topic.includes(filter.value))
    const empty =
      topics.length === 0
        ? 'No topic yet: make one below, or write to one and it is made.'
        : `No name contains ${filter.value}.`
    refill(rows, topicsTable(wanted, empty))
  }
  filter.addEventListener('input', show)
  fill(
    main,
    h('h1', {}, 'Topics'),
    errors,
    h(
      'section',
      { class: 'card' },
      h('div', { class: 'controls' }, field('Name contains', filter)),
      rows,
    ),
    h('section', { class: 'card' }, h('h2', {}, 'New topic'), createForm(context)),
  )
  repeat(context, 2000, errors, async () => {
    topics = [...(await client.admin().listTopics())].sort((a, b) => (a.topic < b.topic ? -1 : 1))
    show()
  })
}

function topicsTable(topics: readonly TopicListing[], empty: string): HTMLElement {
  return table<TopicListing>(
    'Topics',
    [
      {
        title: 'Topic',
        cell: t => h('a', { href: `#/topics/${encodeURIComponent(t.topic)}` }, t.topic),
      },
      { title: 'Partitions', isNumber: true, cell: t => count(t.partitions) },
      { title: 'Records', isNumber: true, cell: t => count(t.records) },
      { title: 'Stored', isNumber: true, cell: t => bytes(t.bytes) },
    ],
    topics,
    empty,
  )
}

function createForm({ client }: ViewContext): HTMLElement {
  const name = h('input', { name: 'topic', required: true, autocomplete: 'off' })
  const partitions = h('input', { name: 'partitions', type: 'number', min: 1, value: 1 })
  const outcome = h('div', { 'aria-live': 'polite' })
  const create = async (): Promise<void> => {
    try {
      const made = await client
        .admin()
        .createTopic(name.value.trim(), { partitions: Number(partitions.value) })
      fill(outcome, h('p', { class: 'good' }, `Created ${made.topic}.`))
      name.value = ''
    } catch (error) {
      showError(outcome, error)
    }
  }
  return h(
    'div',
    {},
    form(
      create,
      field('Name', name),
      field('Partitions', partitions),
      h('button', { class: 'main' }, 'Create'),
    ),
    outcome,
  )
}
