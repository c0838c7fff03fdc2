// Who may ask over HTTP what only some may know: `Authorization: Bearer TOKEN` (protocol.md 1.3, RFC 6750).

import type { IncomingMessage } from 'node:http'
import type { LogloomError } from '../../wire/errors.ts'
import type { Access } from '../security/authorizer.ts'
import { clusterName } from '../security/grant.ts'
import { identityOf } from '../security/principal.ts'
import type { GatewayContext } from './context.ts'

export interface Denied {
  readonly status: 401 | 403
  readonly error: LogloomError
}

/** Why this request may not see the figures of the broker; undefined when it may. With `describe` it needs that right on the cluster. */
export async function httpAccess(
  context: GatewayContext,
  request: IncomingMessage,
  describe = false,
): Promise<Denied | undefined> {
  const { authenticator, authorizer } = context
  if (!authenticator.required) return undefined
  const address = request.socket.remoteAddress ?? ''
  let access: Access | undefined
  try {
    access = authorizer.accessOf(await authenticator.authenticate(bearerOf(request), address))
  } catch (error) {
    return { status: 401, error: error as LogloomError }
  }
  if (!describe || access?.may('cluster', clusterName, 'describe') !== false) return undefined
  const right = { operation: 'describe', resource: 'cluster', name: clusterName }
  const who = identityOf(access.principal)
  context.onDenied({ ...who, address, client: 'http', op: 'metrics', audit: false, ...right })
  return { status: 403, error: access.denial('cluster', clusterName, 'describe') }
}

/** The token of a request. */
export function bearerOf({ headers }: IncomingMessage): string | undefined {
  return /^Bearer +([\x21-\x7e]+) *$/i.exec(headers.authorization ?? '')?.[1]
}
