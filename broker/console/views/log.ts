// The virtual log: its chain as coloured segments, the switch, and what it did to throughput and latency.

import type { LogDescription, LogSegment } from '../../../client/index.ts'
import { confirm, field, fill, form, h, table } from '../dom.ts'
import { count, seconds } from '../format.ts'
import { Plot } from '../plot.ts'
import { showError, type View, type ViewContext } from '../view.ts'
import { throughputPlot } from './overview.ts'

const colors = 6
/** Segments that are drawn; the table has all. */
const drawnMax = 40
const single = ['file', 'striped:2:file', 'striped:4:file', 'memory']
const cluster = ['native', 'striped:2,servers=shared:native', 'striped:3,servers=shared:native']

export const logView: View = context => {
  const { main, signal, stats } = context
  const chain = h('div')
  const segments = h('div', { class: 'card' })
  const throughput = throughputPlot(stats)
  const append = new Plot(
    stats,
    'p99 of an append and of a produce, of the last five minutes',
    [
      { name: 'append p99', color: '--purple', value: point => point.appendP99 },
      { name: 'produce p99', color: '--orange', value: point => point.p99 },
    ],
    { show: seconds, least: 0.002 },
  )
  fill(
    main,
    h('h1', {}, 'The log'),
    h('section', { class: 'card' }, h('h2', {}, 'Chain'), chain, switchForm(context)),
    h(
      'div',
      { class: 'columns' },
      h('section', { class: 'card' }, h('h2', {}, 'Records per second'), throughput.element),
      h('section', { class: 'card' }, h('h2', {}, 'Latency, p99'), append.element),
    ),
    segments,
  )
  let drawn = ''
  const show = (): void => {
    throughput.update()
    append.update()
    const { log } = stats
    if (log === undefined) return
    // What has not changed stays, so that a selection or focus in it does.
    const now = `${log.version}/${log.tail}/${log.trim}`
    if (now === drawn) return
    drawn = now
    fill(chain, ...chainOf(log))
    fill(segments, h('h2', {}, 'Segments'), segmentsTable(log))
  }
  const stop = stats.on(show)
  show()
  signal.addEventListener('abort', () => {
    stop()
    throughput.close()
    append.close()
  })
}

/** The same kind has the same colour everywhere. */
function colorsOf(log: LogDescription): (spec: string) => string {
  const kinds = [...new Set(log.segments.map(({ spec }) => spec))]
  return spec => `kind-${kinds.indexOf(spec) % colors}`
}

function chainOf(log: LogDescription): readonly HTMLElement[] {
  const color = colorsOf(log)
  const shown = log.segments.slice(-drawnMax)
  const left = log.segments.length - shown.length
  const widths = shown.map(({ start, end }) => Math.sqrt((end ?? log.tail) - start + 1))
  const bar = h('div', { class: 'chain', role: 'list', 'aria-label': 'Segments of the chain' })
  for (const [i, { index, spec, start, end, state }] of shown.entries()) {
    const range = `${count(start)} to ${end === null ? 'now' : count(end)}`
    const item = h(
      'div',
      {
        role: 'listitem',
        class: `segment ${color(spec)} ${state}`,
        title: `segment ${index}, ${spec}, ${range}, ${state}`,
      },
      spec,
      h('small', {}, range),
    )
    item.style.flex = `${widths[i] ?? 1} 1 0`
    bar.append(item)
  }
  const facts = `tail ${count(log.tail)} · applied ${count(log.applied)} · trimmed below ${count(log.trim)}`
  return [
    bar,
    h('p', { class: 'dim' }, left > 0 ? `${facts} · ${left} older segments are not drawn` : facts),
    ...(log.stale === undefined ? [] : [h('p', { class: 'bad' }, log.stale)]),
  ]
}

function segmentsTable(log: LogDescription): HTMLElement {
  const color = colorsOf(log)
  return table<LogSegment>(
    'Segments',
    [
      { title: 'Segment', isNumber: true, cell: s => s.index },
      {
        title: 'Protocol',
        cell: s => h('span', {}, h('span', { class: `swatch ${color(s.spec)}` }), s.spec),
      },
      { title: 'From', isNumber: true, cell: s => count(s.start) },
      { title: 'To', isNumber: true, cell: s => (s.end === null ? '' : count(s.end)) },
      { title: 'State', cell: s => (s.volatile ? `${s.state}, in memory` : s.state) },
      { title: 'Where', cell: s => (s.placement ?? []).map(leafText).join('; ') || 'this node' },
    ],
    [...log.segments].reverse(),
  )
}

/** `n1@incarnation;n1@store,n2@store` in words. */
function leafText(placement: string): string {
  const nodeOf = (id: string): string => id.split('@')[0] ?? id
  const [sequencer = '', servers = ''] = placement.split(';')
  return `${nodeOf(sequencer)} orders, ${servers.split(',').map(nodeOf).join(' ')} store`
}

function switchForm({ client, stats, signal }: ViewContext): HTMLElement {
  const spec = h('input', { name: 'spec', required: true, autocomplete: 'off', size: 32 })
  const choices = h('div', { class: 'controls', role: 'group', 'aria-label': 'Protocols' })
  const button = h('button', { class: 'main' }, 'Switch…')
  const outcome = h('div', { 'aria-live': 'polite' })
  const offer = (): void => {
    const open = stats.log?.segments.at(-1)
    const specs = open?.placement === undefined ? single : cluster
    if (choices.childElementCount > 0 || open === undefined) return
    const choose = (value: string): void => {
      spec.value = value
      button.focus()
    }
    fill(
      choices,
      ...specs.map(value => h('button', { type: 'button', onclick: () => choose(value) }, value)),
    )
  }
  const stop = stats.on(offer)
  signal.addEventListener('abort', stop)
  offer()
  const submit = async (): Promise<void> => {
    const open = stats.log?.segments.at(-1)
    const to = spec.value.trim()
    if (open === undefined || to === '') return
    const isMemory = to.split(',')[0] === 'memory'
    const isAsked = await confirm(
      { title: 'Switch the log?', action: `Switch to ${to}` },
      h(
        'p',
        {},
        `Segment ${open.index} (${open.spec}) is sealed, and a new one of `,
        h('code', {}, to),
        ' takes what comes next.',
      ),
      h('p', {}, 'Clients notice nothing but a short pause. What is stored stays where it is.'),
      isMemory &&
        h('p', { class: 'bad' }, 'Records in a memory segment are lost when the process ends.'),
    )
    if (!isAsked) return
    button.disabled = true
    try {
      const done = await client.admin().switchLog(to, { expectedIndex: open.index })
      fill(
        outcome,
        h(
          'p',
          { class: 'good' },
          `Sealed segment ${done.sealed.index} at ${count(done.sealed.end)}; ${done.opened.spec} is open since then. Longest gap without an ack: ${seconds(done.pauseMs / 1000)}.`,
        ),
      )
    } catch (error) {
      showError(outcome, error)
    } finally {
      button.disabled = false
    }
  }
  const controls = form(submit, field('Switch to', spec), button, choices)
  return h('div', {}, controls, outcome)
}
