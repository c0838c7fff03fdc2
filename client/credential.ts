// The token with which a client says who it is: fixed, or asked for whenever one is needed.
//
// Guarantees: a function is asked anew for each connection, and before what it gave ends, at about 80 % of its life; while it fails, the
// connection goes on with what it has. It does not look into tokens: the broker says how long one holds.

import { LogloomError } from '../wire/index.ts'
import type { ClientClock } from './clock.ts'

export type TokenSource = string | (() => string | Promise<string>)

/** What a link offers for it. */
export interface Authenticated {
  readonly credentialMs: number | undefined
  authenticate(token: string, timeoutMs: number): Promise<number | undefined>
}

/** Longest that a timer is set for; refreshing earlier does no harm. */
const refreshMsMax = 86_400_000
/** Below it the link is left to its end: the next one begins with a new token. */
const refreshMsMin = 50

/** The token to begin a connection with. @throws AUTHENTICATION_REQUIRED when the source gives none, or the signal's reason */
export async function tokenFrom(
  source: TokenSource | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (source === undefined || typeof source === 'string') return source
  let token: unknown
  try {
    token = await unlessAborted(signal, source)
  } catch (cause) {
    signal.throwIfAborted()
    const message = cause instanceof Error ? cause.message : 'it threw'
    throw new LogloomError(
      'CONNECTION_CLOSED',
      `the token function failed: ${message}`,
      {},
      { cause, hint: 'see the cause; it is asked again at the next attempt' },
    )
  }
  if (typeof token === 'string' && token !== '') return token
  throw new LogloomError('AUTHENTICATION_REQUIRED', 'the token function returned no token')
}

/** Nobody can be made to answer, but nobody has to be waited for either. */
function unlessAborted<T>(signal: AbortSignal, work: () => T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    const done = (): void => signal.removeEventListener('abort', abort)
    Promise.resolve().then(work).finally(done).then(resolve, reject)
  })
}

/** Keeps a link's credential fresh for as long as the source can. Returns the way to stop. */
export function keepFresh(
  link: Authenticated,
  source: TokenSource | undefined,
  timeoutMs: number,
  clock: ClientClock,
): () => void {
  const stopping = new AbortController()
  let cancel = (): void => {}
  const arm = (lifeMs: number | undefined, share: number): void => {
    if (stopping.signal.aborted || lifeMs === undefined || lifeMs * share < refreshMsMin) return
    const jitter = 1 - clock.random() / 10
    const waitMs = Math.min(lifeMs * share * jitter, refreshMsMax)
    cancel = clock.schedule(waitMs, () => void refresh(lifeMs - waitMs))
  }
  const refresh = async (leftMs: number): Promise<void> => {
    try {
      const token = await tokenFrom(source, stopping.signal)
      if (token !== undefined) arm(await link.authenticate(token, timeoutMs), 0.85)
    } catch {
      // Once more before the end, and again; the end itself is a reconnect.
      arm(leftMs, 0.5)
    }
  }
  if (typeof source === 'function') arm(link.credentialMs, 0.85)
  return () => {
    stopping.abort(new Error('the link has ended'))
    cancel()
  }
}
