// Who is connected to this broker.

import type { ConnectionDescription } from '../../../client/index.ts'
import { fill, h, table } from '../dom.ts'
import { bytes, count, seconds } from '../format.ts'
import { repeat, type View } from '../view.ts'

export const connectionsView: View = context => {
  const { client, main } = context
  const errors = h('div')
  const list = h('div', { class: 'card' })
  fill(main, h('h1', {}, 'Connections of this broker'), errors, list)
  repeat(context, 2000, errors, async () => {
    const { total, connections } = await client.admin().listConnections()
    fill(
      list,
      h('p', { class: 'dim' }, `${count(total)} open, ${count(connections.length)} shown`),
      table<ConnectionDescription>(
        'Connections',
        [
          { title: 'Client', cell: c => c.client || '–' },
          { title: 'Address', cell: c => c.remoteAddress },
          { title: 'Open for', cell: c => seconds((Date.now() - c.openedAt) / 1000) },
          { title: 'Requests', isNumber: true, cell: c => c.requestsInFlight },
          { title: 'Subscriptions', isNumber: true, cell: c => c.subscriptions },
          { title: 'Groups', isNumber: true, cell: c => c.memberships },
          { title: 'Output', isNumber: true, cell: c => bytes(c.bufferedBytes) },
          { title: 'Read', cell: c => (c.paused ? 'paused' : 'yes') },
        ],
        connections,
      ),
    )
  })
}
