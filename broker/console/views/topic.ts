// One topic: records as they come, or from some place on; search in key, value and headers; a form to write.

import type { ReadFrom, ReadRecord } from '../../../client/index.ts'
import { field, fill, form, h, refill, tiles } from '../dom.ts'
import { bytes, count, cut, pretty, shown, time } from '../format.ts'
import { type Place, placeholders, placeOf } from '../place.ts'
import { repeat, showError, type View, type ViewContext } from '../view.ts'
import { topicSettings } from './topic-settings.ts'

/** Records that the page keeps, the newest. */
const rowsMax = 500
/** Of a value in the table; all of it shows when the row is opened. */
const valueShown = 300
/** Of a value that is opened. */
const valueOpened = 200_000

type Found = ReadRecord<Uint8Array, Uint8Array>

/** How often what came is shown: a page that moves with each record cannot be read. */
const showEveryMs = 250

interface Row {
  readonly element: HTMLElement
  /** What is searched in. */
  readonly text: string
}

export const topicView: View = (context, topic) => {
  const { client, main } = context
  const errors = h('div')
  const facts = h('div')
  const partition = h('select', { name: 'partition' }, h('option', { value: '' }, 'all'))
  const tail = new Tail(context, topic, partition)
  fill(
    main,
    h('h1', {}, 'Topic ', h('code', {}, topic)),
    errors,
    facts,
    tail.element,
    h('section', { class: 'card' }, h('h2', {}, 'Write a record'), produceForm(context, topic)),
    topicSettings(context, topic),
  )
  repeat(context, 2000, errors, async () => {
    const found = await client.admin().describeTopic(topic)
    const records = found.partitions.reduce((sum, p) => sum + p.endOffset - p.startOffset, 0)
    const stored = found.partitions.reduce((sum, p) => sum + p.bytes, 0)
    refill(
      facts,
      tiles([
        ['Partitions', count(found.partitions.length)],
        ['Offsets kept', count(records)],
        ['Stored', bytes(stored)],
        ['Created', time(found.createdAt).slice(0, 19)],
        ...Object.entries(found.config),
        ...(found.owner === undefined ? [] : [['Made by', found.owner] as const]),
      ]),
    )
    for (let p = partition.options.length - 1; p < found.partitions.length; p++)
      partition.append(h('option', { value: p }, p))
  })
}

class Tail {
  readonly element: HTMLElement
  private readonly context: ViewContext
  private readonly topic: string
  private readonly partition: HTMLSelectElement
  private readonly from = h(
    'select',
    { name: 'from' },
    h('option', { value: 'end' }, 'now'),
    h('option', { value: 'beginning' }, 'the beginning'),
    h('option', { value: 'last' }, 'the last … records'),
    h('option', { value: 'offset' }, 'offset …'),
    h('option', { value: 'time' }, 'time …'),
  )
  private readonly where = h('input', { name: 'where', disabled: true, size: 20 })
  private readonly search = h('input', { type: 'search', name: 'search' })
  private readonly pauseButton = h('button', { type: 'button' }, 'Pause')
  private readonly state = h('span', { class: 'dim', 'aria-live': 'polite' })
  private readonly outcome = h('div')
  private readonly body = h('tbody')
  /** The newest first. */
  private rows: Row[] = []
  /** Came, and do not show yet. */
  private pending: Found[] = []
  private seen = 0
  private reading = new AbortController()
  private isPaused = false
  private resume: () => void = () => {}
  private isDue = false

  constructor(context: ViewContext, topic: string, partition: HTMLSelectElement) {
    this.context = context
    this.topic = topic
    this.partition = partition
    this.from.addEventListener('change', () => this.chooseWhere())
    this.search.addEventListener('input', () => this.find())
    this.pauseButton.addEventListener('click', () => this.setPaused(!this.isPaused))
    const columns = ['Place', 'Time', 'Key', 'Value', 'Headers']
    const controls = form(
      () => this.read(),
      field('From', this.from),
      field('Where', this.where),
      field('Partition', partition),
      h('button', { class: 'main' }, 'Read'),
      this.pauseButton,
      field('Search in key, value and headers', this.search, true),
    )
    this.element = h(
      'section',
      { class: 'card' },
      h('h2', {}, 'Records'),
      controls,
      this.outcome,
      h('p', {}, this.state),
      h(
        'div',
        { class: 'scroll records' },
        h(
          'table',
          { 'aria-label': 'Records' },
          h('thead', {}, h('tr', {}, ...columns.map(title => h('th', { scope: 'col' }, title)))),
          this.body,
        ),
      ),
    )
    context.signal.addEventListener('abort', () => this.reading.abort())
    void this.read()
  }

  private chooseWhere(): void {
    const { value } = this.from
    this.where.disabled = value === 'end' || value === 'beginning'
    this.where.placeholder = placeholders[value] ?? ''
    if (!this.where.disabled) this.where.focus()
  }

  private async read(): Promise<void> {
    this.reading.abort()
    const reading = new AbortController()
    this.reading = reading
    const { signal } = reading
    this.rows = []
    this.pending = []
    this.seen = 0
    fill(this.body)
    fill(this.outcome)
    this.setPaused(false)
    this.tell()
    try {
      const from: ReadFrom = placeOf(this.from.value as Place, this.where.value)
      const { value } = this.partition
      const reader = this.context.client.read(this.topic, {
        from,
        as: 'bytes',
        signal,
        onTrimmed: 'skip',
        ...(value === '' ? {} : { partition: Number(value) }),
      })
      for await (const record of reader) {
        this.add(record)
        // Who asks for the past wants to see it go by, page by page.
        if (from !== 'end' && this.seen % rowsMax === 0) this.setPaused(true)
        while (this.isPaused && !signal.aborted)
          await new Promise<void>(resolve => {
            this.resume = resolve
            signal.addEventListener('abort', () => resolve(), { once: true })
          })
      }
    } catch (error) {
      if (!signal.aborted) showError(this.outcome, error)
    }
  }

  private setPaused(isPaused: boolean): void {
    if (isPaused === this.isPaused) return
    // What came until now; then nothing moves any more.
    this.show()
    this.isPaused = isPaused
    this.pauseButton.setAttribute('aria-pressed', String(isPaused))
    fill(this.pauseButton, isPaused ? 'Resume' : 'Pause')
    if (!isPaused) this.resume()
    this.tell()
  }

  private add(record: Found): void {
    this.seen++
    this.pending.push(record)
    // More than is kept need not be shown first.
    if (this.pending.length > rowsMax) this.pending.shift()
    if (this.isDue) return
    this.isDue = true
    setTimeout(() => {
      this.isDue = false
      if (!this.isPaused) this.show()
    }, showEveryMs)
  }

  private show(): void {
    const rows = this.pending.map(record => rowOf(record, () => this.setPaused(true))).reverse()
    this.pending = []
    for (const row of rows) row.element.hidden = !this.isWanted(row)
    this.body.prepend(...rows.map(({ element }) => element))
    this.rows.unshift(...rows)
    for (const { element } of this.rows.splice(rowsMax)) element.remove()
    this.tell()
  }

  private isWanted({ text }: Row): boolean {
    return text.includes(this.search.value.toLowerCase())
  }

  private find(): void {
    for (const row of this.rows) row.element.hidden = !this.isWanted(row)
    this.tell()
  }

  private get nothingYet(): string {
    return this.from.value === 'end'
      ? 'Nothing came yet: this shows what is written from now on. For what is there, choose “the beginning” and Read.'
      : 'Reading: nothing came yet.'
  }

  private tell(): void {
    const found = this.rows.filter(({ element }) => !element.hidden).length
    const kept = this.rows.length < this.seen ? `, the last ${count(this.rows.length)} kept` : ''
    const what = this.isPaused ? 'Paused' : 'Reading'
    if (this.seen === 0 && !this.isPaused) return fill(this.state, this.nothingYet)
    fill(this.state, `${what}: ${count(this.seen)} records came${kept}, ${count(found)} shown.`)
  }
}

/** `onOpen`: somebody wants to read it. */
function rowOf(record: Found, onOpen: () => void): Row {
  const { partition, offset, timestamp } = record
  const key = record.key === null ? '' : shown(record.key)
  const value = shown(record.value)
  const headers = record.headers.map(([name, of]) => `${name}: ${shown(of)}`).join('\n')
  const content = h('td', { class: 'value' }, cut(value, valueShown))
  const open = (): void => {
    const isOpen = element.classList.toggle('opened')
    button.setAttribute('aria-expanded', String(isOpen))
    fill(content, isOpen ? h('pre', {}, cut(pretty(value), valueOpened)) : cut(value, valueShown))
    if (isOpen) onOpen()
  }
  const button = h(
    'button',
    {
      type: 'button',
      class: 'row',
      'aria-expanded': 'false',
      title: 'Show all of it',
      onclick: open,
    },
    `${partition}:${offset}`,
  )
  const element = h(
    'tr',
    {},
    h('td', {}, button),
    h('td', { class: 'dim' }, time(timestamp)),
    h('td', { class: 'value' }, cut(key, valueShown)),
    content,
    h('td', { class: 'value' }, cut(headers, valueShown)),
  )
  return { element, text: `${key}\n${value}\n${headers}`.toLowerCase() }
}

function produceForm({ client, signal }: ViewContext, topic: string): HTMLElement {
  const key = h('input', { name: 'key', autocomplete: 'off' })
  const headers = h('input', { name: 'headers', autocomplete: 'off', placeholder: 'name=value, …' })
  const value = h('textarea', { name: 'value', rows: 2 })
  const outcome = h('div', { 'aria-live': 'polite' })
  const producer = client.producer()
  signal.addEventListener('abort', () => void producer.close().catch(() => {}))
  const send = async (): Promise<void> => {
    try {
      const { partition, offset } = await producer.send(topic, {
        ...(key.value === '' ? {} : { key: key.value }),
        value: value.value,
        headers: headersOf(headers.value),
      })
      fill(outcome, h('p', { class: 'good' }, `Acked at ${partition}:${offset}.`))
    } catch (error) {
      showError(outcome, error)
    }
  }
  return h(
    'div',
    {},
    form(
      send,
      field('Key', key),
      field('Headers', headers),
      field('Value', value, true),
      h('button', { class: 'main' }, 'Send'),
    ),
    outcome,
  )
}

function headersOf(textOf: string): Readonly<Record<string, string>> {
  const pairs = textOf
    .split(',')
    .map(pair => pair.trim())
    .filter(pair => pair !== '')
  return Object.fromEntries(
    pairs.map(pair => {
      const at = pair.indexOf('=')
      return at < 0 ? [pair, ''] : [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]
    }),
  )
}
