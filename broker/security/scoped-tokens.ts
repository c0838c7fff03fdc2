// Short-lived tokens with a scope, for browsers: `llt_<claims>.<mac>`, claims as base64url JSON, HMAC-SHA256 over them.
//
// Guarantees: a token names its principal and the API key that it was minted with, so that revoking the key ends it; it ends no later than
// what it was minted with, and can do no more. The key of the MAC is never in the log: all brokers of a cluster derive it from the
// cluster's secret (HKDF, RFC 5869), a broker alone keeps it in its data directory.

import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import { LogloomError } from '../../wire/errors.ts'
import type { Grant } from './grant.ts'
import type { Principal } from './principal.ts'
import { secretFile } from './secret-file.ts'

const prefix = 'llt_'
const keyBytes = 32
const keyPattern = /^[A-Za-z0-9_-]{43}$/

/** Short names: the token travels in headers. */
interface Claims {
  /** Name of the principal. */
  readonly p: string
  /** API key, or admin token. */
  readonly k?: string
  /** Of somebody who may do everything. */
  readonly s?: true
  /** When it ends, ms. */
  readonly e: number
  readonly g: readonly Grant[]
  /** Makes each one different. */
  readonly n: string
}

export class ScopedTokens {
  private readonly key: Uint8Array

  /** @throws RangeError for a key of another length: who signs with a short one signs for everybody */
  constructor(key: Uint8Array) {
    if (key.length !== keyBytes) throw new RangeError(`a key of ${key.length} bytes`)
    this.key = key
  }

  /** A token for `by` within `scope`, which has to lie within the scope of `by`. */
  mint(by: Principal, scope: readonly Grant[], expiresAt: number): string {
    const claims: Claims = {
      p: by.name,
      ...(by.tokenId === undefined ? {} : { k: by.tokenId }),
      ...(by.superUser ? { s: true } : {}),
      e: expiresAt,
      g: scope,
      n: randomBytes(6).toString('base64url'),
    }
    const text = Buffer.from(JSON.stringify(claims)).toString('base64url')
    return `${prefix}${text}.${this.mac(text).toString('base64url')}`
  }

  /** Who presents it; a text that says why not is for the broker's log only. */
  check(token: string, now: number): Principal | string {
    const [text = '', mac = '', ...rest] = token.slice(prefix.length).split('.')
    const theirs = Buffer.from(mac, 'base64url')
    const ours = this.mac(text)
    if (rest.length > 0 || theirs.length !== ours.length || !timingSafeEqual(theirs, ours))
      return 'a scoped token that no broker of this log has minted'
    const claims = JSON.parse(Buffer.from(text, 'base64url').toString()) as Claims
    // Nothing could end it.
    if (claims.s === true && claims.k === undefined) return 'a scoped token of no admin token'
    if (claims.e <= now) return `a scoped token of ${claims.p} has expired`
    return {
      name: claims.p,
      mechanism: 'scoped-token',
      superUser: claims.s === true,
      ...(claims.k === undefined ? {} : { tokenId: claims.k }),
      expiresAt: claims.e,
      scope: claims.g,
    }
  }

  private mac(text: string): Buffer {
    return createHmac('sha256', this.key).update(text).digest()
  }
}

/** The key that all brokers of a cluster have. */
export function clusterTokenKey(clusterSecret: string, clusterId: string): Uint8Array {
  return new Uint8Array(
    hkdfSync('sha256', clusterSecret, clusterId, 'logloom scoped tokens 1', keyBytes),
  )
}

/** The key of a broker alone: kept in its directory, else forgotten at its end. @throws INVALID_CONFIG */
export function ownTokenKey(directory: string | undefined): Uint8Array {
  if (directory === undefined) return randomBytes(keyBytes)
  const path = `${directory}/token.key`
  const { text } = secretFile('data', path, () => randomBytes(keyBytes).toString('base64url'))
  const key = Buffer.from(text, 'base64url')
  if (keyPattern.test(text) && key.length === keyBytes) return key
  throw new LogloomError(
    'INVALID_CONFIG',
    `data: ${path} does not hold a key: ${keyBytes} bytes as base64url`,
    { key: 'data' },
    { hint: `delete ${path} and start again: a new one is made, and scoped tokens end` },
  )
}
