// `logloom connection …`: who is connected to a broker, and the way to end a connection. Numbers of connections are the broker's own: of several addresses in
// `--url` the one that answers is meant.

import { type Command, InvalidArgumentError } from 'commander'
import { LogloomError } from '../../wire/errors.ts'
import { withBroker } from './broker-client.ts'
import { examples, type GlobalOptions, globalsOf } from './options.ts'
import { note, writeJson, writeText } from './output.ts'
import { formatBytes, formatTable } from './table.ts'

interface ListOptions {
  readonly limit?: number
}

/** Adds the command and its verbs. */
export function addConnectionCommand(program: Command): void {
  const connection = program
    .command('connection')
    .description('list and close the connections of a broker')
  connection
    .command('list')
    .description('list who is connected to the broker at --url, the oldest first')
    .option('--limit <count>', 'at most so many, up to 1000 (default: 1000)', number)
    .addHelpText(
      'after',
      examples('logloom connection list', 'logloom connection list --format json'),
    )
    .action((o: ListOptions, command: Command) => list({ ...o, ...globalsOf(command) }))
  connection
    .command('close')
    .description('end a connection; a client of the SDK connects again at once and loses nothing')
    .argument('<id>', 'as in `logloom connection list` of the same broker', number)
    .addHelpText('after', examples('logloom connection close 42'))
    .action((id: number, _, command: Command) => close(id, globalsOf(command)))
}

function list({ limit, url, format }: ListOptions & GlobalOptions): Promise<void> {
  return withBroker(url, async client => {
    const { total, connections } = await client
      .admin()
      .listConnections(limit === undefined ? {} : { limit })
    if (format === 'json') return writeJson({ total, connections })
    const rows = connections.map(each => [
      each.id,
      each.client || null,
      each.principal,
      each.remoteAddress,
      new Date(each.openedAt).toISOString(),
      each.requestsInFlight,
      each.subscriptions,
      each.memberships,
      formatBytes(each.bufferedBytes),
      each.paused ? 'paused' : 'yes',
    ])
    const head = ['ID', 'CLIENT', 'PRINCIPAL', 'ADDRESS', 'OPENED', 'REQUESTS', 'SUBSCRIPTIONS']
    await writeText(formatTable([...head, 'GROUPS', 'OUTPUT', 'READ'], rows))
    if (total > connections.length) note(`${connections.length} of ${total} connections\n`)
  })
}

/** @throws INVALID_REQUEST when there is none */
function close(id: number, { url, format }: GlobalOptions): Promise<void> {
  return withBroker(url, async client => {
    const closed = await client.admin().closeConnection(id)
    if (!closed)
      throw new LogloomError(
        'INVALID_REQUEST',
        `this broker has no connection ${id}: it has ended, or is another broker's`,
        { connection: id },
        { hint: 'logloom connection list shows those that are open' },
      )
    if (format === 'json') return writeJson({ connection: id, closed })
    return writeText(`closed connection ${id}\n`)
  })
}

function number(text: string): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= 1) return value
  throw new InvalidArgumentError('It must be a whole number, at least 1.')
}
