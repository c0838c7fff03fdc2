// Who is on the other side of a connection, once that is known.

import type { Grant } from './grant.ts'

/** How somebody proved who they are; `none` while authentication is off. */
export const mechanisms = ['none', 'admin-token', 'api-key', 'jwt', 'scoped-token'] as const
export type Mechanism = (typeof mechanisms)[number]

export interface Principal {
  /** As Kafka writes it: `User:alice`. */
  readonly name: string
  readonly mechanism: Mechanism
  /** Everything is allowed. */
  readonly superUser: boolean
  /** The API key or admin token that it came with, or that its scoped token was minted with: what ends that ends it. */
  readonly tokenId?: string
  /** Of a JWT: who signed it. */
  readonly issuer?: string
  /** Wall clock, ms; absent: never. */
  readonly expiresAt?: number
  /** What a scoped token may do at most, of what its principal may. */
  readonly scope?: readonly Grant[]
}

/** Everybody, while authentication is off. */
export const anonymous: Principal = {
  name: 'User:ANONYMOUS',
  mechanism: 'none',
  superUser: true,
}

/** Who it is and with what it came, for a line in the log: names and ids, nothing secret. */
export interface Identity {
  readonly principal: string
  readonly mechanism: Mechanism
  readonly tokenId?: string
  readonly issuer?: string
}

export function identityOf({ name, mechanism, tokenId, issuer }: Principal): Identity {
  return {
    principal: name,
    mechanism,
    ...(tokenId === undefined ? {} : { tokenId }),
    ...(issuer === undefined ? {} : { issuer }),
  }
}
