// JSON Web Tokens (RFC 7519), checked by jose against the issuer's keys: the only door to that package.
//
// Guarantees: only signatures with a public key are taken, never `none` or an HMAC; issuer, audience and expiry are always checked; a token
// without an expiry is refused. An issuer that does not answer ends no connection: see jwks.ts.

import { createLocalJWKSet, errors, jwtVerify, type JWTPayload } from 'jose'
import { everyone } from './acl.ts'
import { administrator } from './admin-token.ts'
import type { Grant } from './grant.ts'
import { KeySet } from './jwks.ts'
import { anonymous, type Principal } from './principal.ts'
import { parseGrant, scopeGrantsMax } from './scope.ts'

export interface JwtSettings {
  readonly jwtJwksUrl: string
  readonly jwtJwksFile: string
  readonly jwtIssuer: string
  readonly jwtAudience: readonly string[]
  readonly jwtPrincipalClaim: string
  readonly jwtScopeClaim: string
  readonly jwtAlgorithms: readonly string[]
  readonly jwtClockToleranceMs: number
}

/** Keys could not be had: nobody can tell whether the token is right. */
export const keysMissing = Symbol('keys missing')

const principalPattern = /^[^\p{C}\s]{1,200}$/u
/** Principals that are something else: an issuer that lets its users choose their names must not make one of these. */
const reserved = new Set([everyone, anonymous.name, administrator.name])

export class JwtChecker {
  private readonly settings: JwtSettings
  private readonly keySet: KeySet
  private readonly now: () => number

  constructor(settings: JwtSettings, now: () => number, onProblem: (why: string) => void) {
    this.settings = settings
    this.now = now
    const source =
      settings.jwtJwksUrl === '' ? { file: settings.jwtJwksFile } : { url: settings.jwtJwksUrl }
    this.keySet = new KeySet(source, now, onProblem)
  }

  /** Who presents it; a text that says why not is for the broker's log only. */
  async check(token: string): Promise<Principal | string | typeof keysMissing> {
    try {
      return this.principalOf(await this.verify(token))
    } catch (error) {
      if (error === keysMissing) return keysMissing
      return `JWT: ${(error as Error).message}`
    }
  }

  private async verify(token: string): Promise<JWTPayload> {
    try {
      return await this.verifyWith(token, false)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      return this.verifyWith(token, true)
    }
  }

  private async verifyWith(token: string, unknownKey: boolean): Promise<JWTPayload> {
    const keys = await this.keySet.keys(unknownKey)
    if (keys === undefined) throw keysMissing
    const { jwtIssuer, jwtAudience, jwtAlgorithms, jwtClockToleranceMs } = this.settings
    const { payload } = await jwtVerify(token, createLocalJWKSet(keys), {
      issuer: jwtIssuer,
      audience: [...jwtAudience],
      algorithms: [...jwtAlgorithms],
      requiredClaims: ['exp'],
      clockTolerance: jwtClockToleranceMs / 1000,
      currentDate: new Date(this.now()),
    })
    return payload
  }

  private principalOf(payload: JWTPayload): Principal {
    const { jwtIssuer, jwtPrincipalClaim, jwtScopeClaim, jwtClockToleranceMs } = this.settings
    const name = payload[jwtPrincipalClaim]
    if (typeof name !== 'string' || !principalPattern.test(name) || reserved.has(`User:${name}`))
      throw new Error(
        `claim ${jwtPrincipalClaim} is no name of 1 to 200 visible characters, or one that means something else here`,
      )
    return {
      name: `User:${name}`,
      mechanism: 'jwt',
      superUser: false,
      issuer: jwtIssuer,
      expiresAt: Number(payload.exp) * 1000 + jwtClockToleranceMs,
      ...(jwtScopeClaim === '' ? {} : { scope: scopeOf(payload[jwtScopeClaim]) }),
    }
  }
}

/** What is no grant of ours (`openid`, `email`) means nothing here; a token without the claim may do nothing. */
function scopeOf(claim: unknown): readonly Grant[] {
  const texts = typeof claim === 'string' ? claim.split(' ') : Array.isArray(claim) ? claim : []
  const grants = texts.flatMap(text => parseGrant(String(text)) ?? [])
  if (grants.length > scopeGrantsMax)
    throw new Error(`the scope has ${grants.length} grants, the limit is ${scopeGrantsMax}`)
  return grants
}
