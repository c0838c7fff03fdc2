// From a URL and options to a connection that dials: shared by the clients that read and write and those that only read.
//
// It checks what the caller gave and fills in defaults; it does not know what the connection is for.

import { LogloomError } from '../wire/index.ts'
import { type ClientClock, systemClock } from './clock.ts'
import { Connection } from './connection.ts'
import { amount } from './amount.ts'
import type { TokenSource } from './credential.ts'
import type { TracingOptions } from './tracing/api.ts'
import { Tracing } from './tracing/tracing.ts'

export interface ClientOptions {
  /** Appears in the broker's logs; default `logloom-client`. */
  readonly clientId?: string
  /**
   * Who this client is, for a broker that asks: an API key, a JWT, a scoped token. A function is asked for each connection, and before the token
   * that it gave ends; one that throws is asked again at the next attempt.
   */
  readonly token?: TokenSource
  /** For `wss://`, in Node: `ca` is PEM certificates of the authority that signed the broker's, in place of those that the system trusts. */
  readonly tls?: { readonly ca?: string | readonly string[] }
  /** Gives up connecting; an open client is closed by {@link Client.close}. */
  readonly signal?: AbortSignal
  /** How long `connect` waits for the first connection, and the bound of each dial, milliseconds; default 10000. */
  readonly connectTimeoutMs?: number
  /** How long one request waits for its answer, milliseconds; default 30000. */
  readonly requestTimeoutMs?: number
  /** From when `send` has room for a record until its outcome must be known, retries included, milliseconds; default 120000. */
  readonly deliveryTimeoutMs?: number
  /** First upper bound of the pause between attempts, doubled each time, milliseconds; default 50. */
  readonly retryBackoffMs?: number
  /** Last upper bound of that pause, milliseconds; default 2000. */
  readonly retryBackoffMaxMs?: number
  /** A broker from which nothing comes for this long, although something is asked of it, is left for another, milliseconds; default 2000. */
  readonly brokerTimeoutMs?: number
  /** How often a silent connection is tried with a ping, milliseconds; default 20000. */
  readonly keepAliveMs?: number
  /** Return at once, connected or not. Default false. */
  readonly lazy?: boolean
  /** Spans for what is sent and handled, and `traceparent` headers; see {@link TracingOptions}. Default: none. */
  readonly tracing?: TracingOptions
  readonly clock?: ClientClock
}

/** A connection that dials `url`, one, several, or several with commas between them; resolves when it is open, at once if `lazy`. @throws TIMEOUT, INVALID_REQUEST, the signal's reason */
export async function openConnection(
  url: string | readonly string[],
  o: ClientOptions,
): Promise<Connection> {
  const urls = typeof url === 'string' ? url.split(',').map(each => each.trim()) : [...url]
  if (urls.length === 0) throw new LogloomError('INVALID_REQUEST', 'connect needs a URL')
  for (const each of urls) {
    if (!/^wss?:\/\//.test(each)) {
      const message = `not a WebSocket URL: ${JSON.stringify(each)}`
      throw new LogloomError('INVALID_REQUEST', message, {}, { hint: 'use ws://HOST:5640' })
    }
  }
  for (const each of urls) refuseSecret(each)
  o.signal?.throwIfAborted()
  const connectTimeoutMs = amount('connectTimeoutMs', o.connectTimeoutMs, 10_000, 1)
  const clock = o.clock ?? systemClock
  const connection = new Connection({
    urls,
    clientId: o.clientId ?? 'logloom-client',
    token: o.token,
    ca: o.tls?.ca,
    dialTimeoutMs: connectTimeoutMs,
    requestTimeoutMs: amount('requestTimeoutMs', o.requestTimeoutMs, 30_000, 1),
    brokerTimeoutMs: amount('brokerTimeoutMs', o.brokerTimeoutMs, 2000, 1),
    keepAliveMs: amount('keepAliveMs', o.keepAliveMs, 20_000, 1),
    backoff: {
      baseMs: amount('retryBackoffMs', o.retryBackoffMs, 50, 0),
      maxMs: amount('retryBackoffMaxMs', o.retryBackoffMaxMs, 2000, 0),
    },
    clock,
    tracing: o.tracing && new Tracing(o.tracing, o.clientId ?? 'logloom-client', clock),
  })
  if (o.lazy) return connection
  try {
    await connection.waitForLink({ timeoutMs: connectTimeoutMs, signal: o.signal })
  } catch (error) {
    await connection.close()
    throw error
  }
  return connection
}

/** URLs are written to logs, errors and histories. @throws INVALID_REQUEST, which does not repeat the URL */
function refuseSecret(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) return
  const hasToken = [...url.searchParams.keys()].some(name => /token|auth|secret|passw/i.test(name))
  if (url.username === '' && url.password === '' && !hasToken) return
  throw new LogloomError(
    'INVALID_REQUEST',
    'the URL carries a user name, a password or a token: they do not belong there',
    { field: 'url' },
    { hint: 'use connect(url, { token })' },
  )
}
