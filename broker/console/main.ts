// The console: one page over the SDK's own WebSocket to the broker that serves it. Views follow the address behind `#/`.

import type { Client } from '../../client/index.ts'
import { fill, h } from './dom.ts'
import { isSignedIn, signIn, signOut, startAgain } from './sign-in.ts'
import { Stats } from './stats.ts'
import { showError, type View } from './view.ts'
import { connectionsView } from './views/connections.ts'
import { groupsView } from './views/groups.ts'
import { logView } from './views/log.ts'
import { overviewView } from './views/overview.ts'
import { topicsView } from './views/topics.ts'

const views: Readonly<Record<string, { readonly title: string; readonly show: View }>> = {
  overview: { title: 'Overview', show: overviewView },
  topics: { title: 'Topics', show: topicsView },
  groups: { title: 'Groups', show: groupsView },
  log: { title: 'Log', show: logView },
  connections: { title: 'Connections', show: connectionsView },
}

const main = element('main')
const nav = element('nav')
const status = element('status')
const account = element('account')
let shown = new AbortController()

function element(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no ${id}`)
  return found
}

function show(client: Client, stats: Stats): void {
  const [, name = '', ...rest] = location.hash.split('/')
  const key = name in views ? name : 'overview'
  const view = views[key]
  if (view === undefined) return
  shown.abort()
  shown = new AbortController()
  fill(main)
  fill(
    nav,
    ...Object.entries(views).map(([id, { title }]) =>
      h('a', { href: `#/${id}`, ...(id === key ? { 'aria-current': 'page' } : {}) }, title),
    ),
  )
  const detail = decodeURIComponent(rest.join('/'))
  document.title = `${detail === '' ? view.title : detail} – Logloom`
  view.show({ client, stats, main, signal: shown.signal }, detail)
}

/** In the corner: which broker, or why none. */
async function tellStatus(client: Client, stats: Stats): Promise<void> {
  let state = 'open'
  const tell = (): void => {
    status.classList.toggle('bad', state !== 'open')
    fill(status, state === 'open' ? (stats.latest?.serverId ?? 'connected') : state)
  }
  stats.on(tell)
  for await (const now of client.status()) {
    state = now.type
    tell()
    if (now.type === 'closed') startAgain(now.error)
  }
}

async function start(): Promise<void> {
  const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}`
  const client = await signIn(url, main, state => fill(status, state))
  if (isSignedIn()) account.append(h('button', { type: 'button', onclick: signOut }, 'Sign out'))
  const stats = new Stats(client)
  void tellStatus(client, stats)
  addEventListener('hashchange', () => {
    show(client, stats)
    // Another view begins at its top.
    scrollTo(0, 0)
    main.focus({ preventScroll: true })
  })
  show(client, stats)
}

start().catch((error: unknown) => {
  status.classList.add('bad')
  fill(status, 'not connected')
  showError(main, error)
})
