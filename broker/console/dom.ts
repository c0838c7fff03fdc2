// Elements made by hand. Text is set as text, never as HTML, and no style is written into the page: the content security policy allows neither.

type Child = Node | string | number | undefined | false
type Attributes = Readonly<Record<string, string | number | boolean | ((event: Event) => void)>>

/** `on…` attributes are listeners; `true` sets an attribute without a value, `false` leaves it out. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes))
    if (typeof value === 'function') element.addEventListener(name.slice(2), value)
    else if (value !== false) element.setAttribute(name, value === true ? '' : String(value))
  fill(element, ...children)
  return element
}

/** Replaces what is in the element. */
export function fill(element: Element, ...children: readonly Child[]): void {
  const nodes = children.filter(child => child !== undefined && child !== false)
  element.replaceChildren(...nodes.map(node => (node instanceof Node ? node : String(node))))
}

export interface Column<T> {
  readonly title: string
  readonly isNumber?: boolean
  readonly cell: (row: T) => Child
}

export function table<T>(
  caption: string,
  columns: readonly Column<T>[],
  rows: readonly T[],
): HTMLElement {
  const side = (column: Column<T>): string => (column.isNumber === true ? 'number' : '')
  const head = columns.map(column => h('th', { scope: 'col', class: side(column) }, column.title))
  const body = rows.map(row =>
    h('tr', {}, ...columns.map(column => h('td', { class: side(column) }, column.cell(row)))),
  )
  const element = h(
    'table',
    { 'aria-label': caption },
    h('thead', {}, h('tr', {}, ...head)),
    h('tbody', {}, ...body),
  )
  const empty = rows.length === 0 && h('p', { class: 'dim' }, 'Nothing here yet.')
  return h('div', { class: 'scroll' }, element, empty)
}

export function field(text: string, control: HTMLElement, isWide = false): HTMLLabelElement {
  return h('label', isWide ? { class: 'wide' } : {}, text, control)
}

/** A form that does something here, and is sent nowhere. */
export function form(work: () => Promise<void>, ...children: readonly Child[]): HTMLFormElement {
  const onsubmit = (event: Event): void => {
    event.preventDefault()
    void work()
  }
  return h('form', { onsubmit }, ...children)
}

export function tiles(rows: readonly (readonly [name: string, value: string])[]): HTMLElement {
  return h(
    'dl',
    { class: 'tiles' },
    ...rows.map(([name, value]) =>
      h(
        'div',
        { class: 'tile' },
        h('dt', {}, name),
        h('dd', value.length > 14 ? { class: 'small' } : {}, value),
      ),
    ),
  )
}

/** Asks before something is done. @returns whether it is to be done */
export function confirm(
  title: string,
  action: string,
  ...body: readonly Child[]
): Promise<boolean> {
  return new Promise(resolve => {
    const end = (answer: boolean): void => {
      dialog.remove()
      resolve(answer)
    }
    const dialog = h(
      'dialog',
      { 'aria-label': title, oncancel: () => end(false) },
      h('h2', {}, title),
      ...body,
      h(
        'div',
        { class: 'buttons' },
        h('button', { type: 'button', onclick: () => end(false) }, 'Cancel'),
        h('button', { type: 'button', class: 'main', onclick: () => end(true) }, action),
      ),
    )
    document.body.append(dialog)
    dialog.showModal()
  })
}
