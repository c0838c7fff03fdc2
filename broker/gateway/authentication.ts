// Operations about who one is: `authenticate` and `mintToken` (protocol.md 12.1). What manages API keys is in security.ts.

import { optUint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { readScope } from '../security/scope.ts'
import type { Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import { credentialOf, principalReply } from './hello.ts'

/** Another credential for this connection, before the one that it has ends. */
export async function authenticate(
  _context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  return principalReply(await connection.authenticate(credentialOf(frame)))
}

/** A short-lived token that can do at most what is asked for, of what its principal may. */
export function mintToken(context: GatewayContext, frame: Frame, connection: Connection): Frame {
  const scope = readScope(frame)
  return { ...context.authenticator.mint(connection.principal, scope, optUint(frame, 'ttlMs')) }
}
