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

/** As `fill`, for what is made anew all the time: what has not changed stays as it is, and the focus stays where it was. */
export function refill(element: Element, ...children: readonly Child[]): void {
  const next = element.cloneNode() as Element
  fill(next, ...children)
  if (next.isEqualNode(element)) return
  const { activeElement: focused } = document
  element.replaceChildren(...next.childNodes)
  if (focused === null || focused.isConnected) return
  for (const candidate of element.querySelectorAll<HTMLElement>('a, button, input, select'))
    if (nameOf(candidate) === nameOf(focused)) return candidate.focus({ preventScroll: true })
}

const nameOf = (element: Element): string =>
  `${element.tagName} ${element.getAttribute('aria-label') ?? element.textContent}`

export interface Column<T> {
  readonly title: string
  readonly isNumber?: boolean
  readonly cell: (row: T) => Child
}

/** `empty`: what is said when there are no rows. */
export function table<T>(
  caption: string,
  columns: readonly Column<T>[],
  rows: readonly T[],
  empty = 'Nothing here yet.',
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
  const none = rows.length === 0 && h('p', { class: 'dim' }, empty)
  return h('div', { class: 'scroll' }, element, none)
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

/** A dialog over the page, until `end` is called in it. @returns what that was called with, or `cancelled` */
export function modal<T>(
  title: string,
  cancelled: T,
  make: (end: (answer: T) => void) => readonly Child[],
): Promise<T> {
  return new Promise(resolve => {
    const leave = (): void => end(cancelled)
    const end = (answer: T): void => {
      removeEventListener('hashchange', leave)
      // Gives the focus back to where it was.
      dialog.close()
      dialog.remove()
      resolve(answer)
    }
    const dialog = h('dialog', { 'aria-label': title, oncancel: leave })
    fill(dialog, h('h2', {}, title), ...make(end))
    document.body.append(dialog)
    dialog.showModal()
    // Another view, by the browser's own buttons.
    addEventListener('hashchange', leave)
  })
}

export interface Question {
  readonly title: string
  /** What the button says. */
  readonly action: string
  /** For what cannot be undone: has to be typed first. */
  readonly typed?: string
}

/** Asks before something is done. @returns whether it is to be done */
export function confirm(
  { title, action, typed }: Question,
  ...body: readonly Child[]
): Promise<boolean> {
  return modal(title, false, end => {
    const main = h(
      'button',
      { type: 'button', class: 'main', disabled: typed !== undefined, onclick: () => end(true) },
      action,
    )
    const word = h('input', { name: 'typed', autocomplete: 'off', spellcheck: 'false' })
    word.addEventListener('input', () => {
      main.disabled = word.value !== typed
    })
    return [
      ...body,
      typed !== undefined && field(`Type ${typed} to confirm`, word),
      buttons(() => end(false), main),
    ]
  })
}

/** At the end of a dialog: the way out, and the way on. */
export function buttons(onCancel: () => void, ...others: readonly Child[]): HTMLElement {
  const cancel = h('button', { type: 'button', onclick: onCancel }, 'Cancel')
  return h('div', { class: 'buttons' }, cancel, ...others)
}
