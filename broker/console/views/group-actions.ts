// What can be done to a group: its offsets moved, after a look at what that would do; all of it forgotten.

import type { OffsetReset, ResetOffsetsOptions } from '../../../client/index.ts'
import { buttons, confirm, field, fill, form, h, modal, table } from '../dom.ts'
import { count } from '../format.ts'
import { type Place, placeholders, placeOf } from '../place.ts'
import { showError, type ViewContext } from '../view.ts'

type Target = ResetOffsetsOptions['to']

export function groupActions(context: ViewContext, group: string): HTMLElement {
  const outcome = h('div', { 'aria-live': 'polite' })
  const say = (text: string): void => fill(outcome, h('p', { class: 'good' }, text))
  const reset = async (): Promise<void> => {
    const moved = await resetDialog(context, group)
    if (moved !== undefined) say(`Moved the offsets of ${count(moved)} partitions.`)
  }
  const remove = async (): Promise<void> => {
    const isAsked = await confirm(
      { title: 'Delete the group?', action: 'Delete', typed: group },
      h('p', {}, `${group} and its offsets are forgotten. Records stay. This cannot be undone.`),
    )
    if (!isAsked) return
    try {
      await context.client.admin().deleteGroup(group)
      location.hash = '#/groups'
    } catch (error) {
      showError(outcome, error)
    }
  }
  return h(
    'section',
    { class: 'card' },
    h('h2', {}, 'Change this group'),
    h('p', { class: 'dim' }, 'Both need a group without members: stop them first.'),
    h(
      'div',
      { class: 'controls' },
      h('button', { type: 'button', onclick: () => void reset() }, 'Reset offsets…'),
      h('button', { type: 'button', onclick: () => void remove() }, 'Delete group…'),
    ),
    outcome,
  )
}

/** Shows first what would be done. @returns of how many partitions offsets were moved, if any */
function resetDialog({ client }: ViewContext, group: string): Promise<number | undefined> {
  const to = h(
    'select',
    { name: 'to' },
    h('option', { value: 'beginning' }, 'the beginning'),
    h('option', { value: 'end' }, 'the end'),
    h('option', { value: 'offset' }, 'offset …'),
    h('option', { value: 'time' }, 'time …'),
    h('option', { value: 'last' }, 'the last … records'),
    h('option', { value: 'shift' }, 'by … records, + or -'),
  )
  const where = h('input', { name: 'where', disabled: true, autocomplete: 'off' })
  const topics = h('input', { name: 'topics', autocomplete: 'off', placeholder: 'all of its own' })
  const found = h('div', { 'aria-live': 'polite' })
  return modal<number | undefined>(`Reset offsets of ${group}`, undefined, end => {
    const go = h('button', { type: 'button', class: 'main', disabled: true }, 'Move offsets')
    let looked: ResetOffsetsOptions | undefined
    const forget = (): void => {
      looked = undefined
      go.disabled = true
      fill(found)
    }
    to.addEventListener('change', () => {
      where.disabled = to.value === 'beginning' || to.value === 'end'
      where.placeholder = placeholders[to.value] ?? ''
      forget()
    })
    where.addEventListener('input', forget)
    topics.addEventListener('input', forget)
    const look = async (): Promise<void> => {
      forget()
      try {
        const asked = { to: targetOf(to.value, where.value), ...topicsOf(topics.value) }
        const { offsets } = await client.admin().resetOffsets(group, { ...asked, dryRun: true })
        fill(found, resetsTable(offsets))
        looked = asked
        go.disabled = offsets.length === 0
      } catch (error) {
        showError(found, error)
      }
    }
    const move = async (): Promise<void> => {
      if (looked === undefined) return
      go.disabled = true
      try {
        end((await client.admin().resetOffsets(group, looked)).offsets.length)
      } catch (error) {
        showError(found, error)
      }
    }
    go.addEventListener('click', () => void move())
    return [
      form(
        look,
        field('To', to),
        field('Where', where),
        field('Topics, a,b', topics),
        h('button', {}, 'Show what it would do'),
      ),
      found,
      buttons(() => end(undefined), go),
    ]
  })
}

function resetsTable(offsets: readonly OffsetReset[]): HTMLElement {
  return table<OffsetReset>(
    'What would be done',
    [
      { title: 'Topic', cell: o => o.topic },
      { title: 'Partition', isNumber: true, cell: o => o.partition },
      { title: 'From', isNumber: true, cell: o => (o.from === null ? '–' : count(o.from)) },
      { title: 'To', isNumber: true, cell: o => count(o.to) },
      { title: 'Moves by', isNumber: true, cell: o => difference(o) },
    ],
    offsets,
  )
}

/** How many records are read again (-), or never (+). */
function difference({ from, to }: OffsetReset): string {
  if (from === null) return '–'
  return to > from ? `+${count(to - from)}` : count(to - from)
}

/** @throws Error what is wrong with it */
function targetOf(kind: string, where: string): Target {
  if (kind !== 'shift') return placeOf(kind as Place, where)
  const shift = Number(where.trim())
  if (where.trim() === '' || !Number.isSafeInteger(shift))
    throw new Error(`${where || 'nothing'} is no number of records: use 10 or -10`)
  return { shift }
}

function topicsOf(text: string): { readonly topics?: readonly string[] } {
  const topics = text
    .split(',')
    .map(topic => topic.trim())
    .filter(topic => topic !== '')
  return topics.length === 0 ? {} : { topics }
}
