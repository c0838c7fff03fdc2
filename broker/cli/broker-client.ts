// One connection for one command.
//
// Guarantees: a command finds out at once that no broker listens, instead of dialling until a timeout; the connection is closed
// whatever happens. Once connected, the SDK's own patience applies.

import type { Connection } from '../../client/connection.ts'
import type { Client, ClientStatus } from '../../client/index.ts'
import { LogloomError } from '../../wire/errors.ts'
import { identity } from './identity.ts'

const options = { clientId: 'logloom-cli', lazy: true } as const

/** Connects, runs `work` and closes. @throws CONNECTION_CLOSED when there is no broker */
export async function withBroker<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  // Loaded here, so that help and `start` do without it.
  const { connect } = await import('../../client/index.ts')
  const client = await connect(url, { ...options, ...identity() })
  try {
    await reached(client.status(), url)
    return await work(client)
  } finally {
    await client.close()
  }
}

/** As {@link withBroker}, for requests that the SDK has no words for. */
export async function withConnection<T>(
  url: string,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const { openConnection } = await import('../../client/open-connection.ts')
  const connection = await openConnection(url, { ...options, ...identity() })
  try {
    await reached(connection.status.read(), url)
    return await work(connection)
  } finally {
    await connection.close()
  }
}

/** Resolves when the client is connected. @throws CONNECTION_CLOSED when no URL can be dialled */
async function reached(statuses: AsyncIterable<ClientStatus>, url: string): Promise<void> {
  // Several brokers are tried in turn: one that does not answer is no reason to give up.
  let left = url.split(',').length
  for await (const status of statuses) {
    if (status.type === 'open') return
    if (status.type === 'closed') throw status.error ?? unreachable(url, undefined)
    if (status.type === 'recovering' && status.error.code === 'AUTHENTICATION_FAILED')
      throw status.error
    if (status.type === 'recovering' && --left <= 0) throw unreachable(url, status.error)
  }
}

function unreachable(url: string, cause: LogloomError | undefined): LogloomError {
  const why = cause ? `: ${causeText(cause)}` : ''
  const hint =
    cause?.details['tls'] === true
      ? cause.hint
      : 'start a broker with `logloom start`, or name its address with --url'
  return new LogloomError('CONNECTION_CLOSED', `no broker at ${url}${why}`, {}, { cause, hint })
}

/** The innermost reason, such as `connect ECONNREFUSED 127.0.0.1:5640`. */
export function causeText(error: Error): string {
  let inner = error
  while (inner.cause instanceof Error) inner = inner.cause
  return inner.message || error.message
}
