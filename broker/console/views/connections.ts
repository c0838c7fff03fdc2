// Who is connected to this broker, and the way to end a connection.

import type { ConnectionDescription } from '../../../client/index.ts'
import { confirm, fill, h, refill, table } from '../dom.ts'
import { bytes, count, seconds } from '../format.ts'
import { repeat, showError, type View, type ViewContext } from '../view.ts'

export const connectionsView: View = context => {
  const { client, main } = context
  const errors = h('div')
  const outcome = h('div', { 'aria-live': 'polite' })
  const list = h('div', { class: 'card' })
  fill(main, h('h1', {}, 'Connections of this broker'), errors, outcome, list)
  repeat(context, 2000, errors, async () => {
    const { total, connections } = await client.admin().listConnections()
    refill(
      list,
      h('p', { class: 'dim' }, `${count(total)} open, ${count(connections.length)} shown`),
      table<ConnectionDescription>(
        'Connections',
        [
          { title: 'Number', isNumber: true, cell: c => c.id },
          { title: 'Client', cell: c => c.client || '–' },
          { title: 'Principal', cell: c => c.principal },
          { title: 'Address', cell: c => c.remoteAddress },
          { title: 'Open for', cell: c => seconds((Date.now() - c.openedAt) / 1000) },
          { title: 'Requests', isNumber: true, cell: c => c.requestsInFlight },
          { title: 'Subscriptions', isNumber: true, cell: c => c.subscriptions },
          { title: 'Groups', isNumber: true, cell: c => c.memberships },
          { title: 'Output', isNumber: true, cell: c => bytes(c.bufferedBytes) },
          { title: 'Read', cell: c => (c.paused ? 'paused' : 'yes') },
          { title: 'End it', cell: c => disconnectButton(context, c, outcome) },
        ],
        connections,
      ),
    )
  })
}

function disconnectButton(
  { client }: ViewContext,
  { id, client: name, remoteAddress }: ConnectionDescription,
  outcome: HTMLElement,
): HTMLElement {
  const disconnect = async (): Promise<void> => {
    const isAsked = await confirm(
      { title: `Disconnect ${name || remoteAddress}?`, action: 'Disconnect' },
      h('p', {}, `Connection ${id} from ${remoteAddress} is closed.`),
      h(
        'p',
        {},
        'A client of the SDK connects again at once, and loses nothing: this is for one that hangs or is in the way. To keep it out, stop it where it runs.',
      ),
    )
    if (!isAsked) return
    try {
      const isClosed = await client.admin().closeConnection(id)
      const said = isClosed ? `Closed connection ${id}.` : `Connection ${id} had ended already.`
      fill(outcome, h('p', { class: 'good' }, said))
    } catch (error) {
      showError(outcome, error)
    }
  }
  return h(
    'button',
    { type: 'button', 'aria-label': `Disconnect ${id}`, onclick: () => void disconnect() },
    'Disconnect…',
  )
}
