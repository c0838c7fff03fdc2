// Who may ask over HTTP what only some may know: `Authorization: Bearer TOKEN` (protocol.md 1.3, RFC 6750).

import type { IncomingMessage } from 'node:http'
import type { LogloomError } from '../../wire/errors.ts'
import type { GatewayContext } from './context.ts'

export interface Denied {
  readonly status: 401 | 403
  readonly error: LogloomError
}

/** Why this request may not see the figures of the broker; undefined when it may. */
export async function httpAccess(
  context: GatewayContext,
  request: IncomingMessage,
): Promise<Denied | undefined> {
  const { authenticator } = context
  if (!authenticator.required) return undefined
  try {
    await authenticator.authenticate(bearerOf(request), request.socket.remoteAddress ?? '')
  } catch (error) {
    return { status: 401, error: error as LogloomError }
  }
  return undefined
}

/** The token of a request. */
export function bearerOf({ headers }: IncomingMessage): string | undefined {
  return /^Bearer +([\x21-\x7e]+) *$/i.exec(headers.authorization ?? '')?.[1]
}
