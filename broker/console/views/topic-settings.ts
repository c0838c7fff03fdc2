// What can be changed of a topic: its configuration, its number of partitions, and whether there is one.

import { confirm, field, fill, form, h } from '../dom.ts'
import { showError, type ViewContext } from '../view.ts'

/** Those that have an effect (docs/operations.md); the broker refuses others. */
const keys = [
  'cleanup.policy',
  'delete.retention.ms',
  'max.message.bytes',
  'min.cleanable.dirty.ratio',
  'min.compaction.lag.ms',
  'retention.bytes',
  'retention.ms',
]

export function topicSettings({ client }: ViewContext, topic: string): HTMLElement {
  const outcome = h('div', { 'aria-live': 'polite' })
  const doing = async (work: () => Promise<string>): Promise<void> => {
    try {
      fill(outcome, h('p', { class: 'good' }, await work()))
    } catch (error) {
      showError(outcome, error)
    }
  }
  const key = h('select', { name: 'config' }, ...keys.map(name => h('option', {}, name)))
  const value = h('input', { name: 'config-value', required: true, autocomplete: 'off' })
  const set = (): Promise<void> =>
    doing(async () => {
      await client.admin().alterTopic(topic, { [key.value]: value.value.trim() })
      return `Set ${key.value} to ${value.value.trim()}.`
    })
  const partitions = h('input', { name: 'in-all', type: 'number', min: 2, required: true })
  const add = (): Promise<void> =>
    doing(async () => {
      const made = await client.admin().createPartitions(topic, Number(partitions.value))
      return `${topic} has ${made.partitions} partitions now; the records of each key stay in order.`
    })
  const remove = async (): Promise<void> => {
    const isAsked = await confirm(
      { title: 'Delete the topic?', action: 'Delete', typed: topic },
      h('p', {}, `${topic} and all its records are deleted. This cannot be undone.`),
    )
    if (!isAsked) return
    await doing(async () => {
      await client.admin().deleteTopic(topic)
      location.hash = '#/topics'
      return `Deleted ${topic}.`
    })
  }
  return h(
    'section',
    { class: 'card' },
    h('h2', {}, 'Change this topic'),
    form(set, field('Setting', key), field('Set to', value), h('button', {}, 'Set')),
    form(add, field('Partitions in all', partitions), h('button', {}, 'Add partitions')),
    h('button', { type: 'button', onclick: () => void remove() }, 'Delete topic…'),
    outcome,
  )
}
