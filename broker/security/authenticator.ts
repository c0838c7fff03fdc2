// Who presents a token (protocol.md 12.1).
//
// Guarantees: one error for every cause, with the cause in the broker's log only, and never the token; failures are counted, and answered the
// later the more of them an address has; a principal says with what it came, so that what ends it can be noticed (`isCurrent`). Knows
// nothing of sockets, and nothing of what a principal may do.

import { LogloomError } from '../../wire/errors.ts'
import type { BrokerLogger } from '../broker-options.ts'
import type { AdminToken } from './admin-token.ts'
import { administrator } from './admin-token.ts'
import { checkApiKey, type KnownKeys } from './api-keys.ts'
import { FailureLog } from './failure-log.ts'
import type { Grant } from './grant.ts'
import { GuessBrake } from './guess-brake.ts'
import type { JwtChecker, JwtSettings } from './jwt.ts'
import { anonymous, type Mechanism, type Principal } from './principal.ts'
import { isWithin } from './scope.ts'
import type { ScopedTokens } from './scoped-tokens.ts'
import { kindOf, type TokenKind, tokenCharactersMax } from './secret-text.ts'

export interface AuthenticatorOptions {
  readonly settings: JwtSettings & {
    readonly authentication: string
    readonly mintedTokenLifetimeMaxMs: number
  }
  readonly adminToken: AdminToken | undefined
  readonly scopedTokens: ScopedTokens
  readonly keys: KnownKeys
  /** Applies what the log has: a key made on another broker is known after it. */
  readonly fresh: () => Promise<void>
  readonly logger: BrokerLogger
}

/** Attempts that failed. */
export type AuthFailures = Map<Mechanism | 'missing', number>

const mintTtlMsDefault = 900_000
const keysProblemEveryMs = 30_000

export class Authenticator {
  /** Nobody gets in without a token. */
  readonly required: boolean
  readonly failures: AuthFailures = new Map(
    (['missing', 'admin-token', 'api-key', 'jwt', 'scoped-token'] as const).map(key => [key, 0]),
  )
  private readonly options: AuthenticatorOptions
  private readonly brake = new GuessBrake(() => performance.now(), Math.random)
  private readonly log: FailureLog
  private jwt: Promise<JwtChecker> | undefined
  private problemAt = Number.NEGATIVE_INFINITY

  constructor(options: AuthenticatorOptions) {
    this.options = options
    this.required = options.settings.authentication === 'required'
    this.log = new FailureLog(options.logger, () => performance.now())
  }

  /**
   * Who presents this token; {@link anonymous} while authentication is off. `address` is where it came from.
   * @throws AUTHENTICATION_REQUIRED, AUTHENTICATION_FAILED
   */
  async authenticate(token: string | undefined, address: string): Promise<Principal> {
    if (!this.required) return anonymous
    if (token === undefined || token === '') {
      this.count('missing')
      throw new LogloomError('AUTHENTICATION_REQUIRED', 'this broker asks who you are')
    }
    const kind = kindOf(token)
    const found = await this.check(kind, token)
    if (typeof found !== 'string' && typeof found !== 'symbol') return found
    this.count(kind)
    const cause = typeof found === 'string' ? found : 'the keys of the JWT issuer cannot be had'
    this.log.add({ mechanism: kind, address, cause })
    await pause(this.brake.failed(address))
    throw authenticationFailed(typeof found === 'symbol')
  }

  /** Whether a connection of this principal may go on: it has not ended, and nobody revoked its key. */
  isCurrent(principal: Principal): boolean {
    const { tokenId, expiresAt } = principal
    const now = Date.now()
    if (expiresAt !== undefined && expiresAt <= now) return false
    if (tokenId === undefined) return true
    if (principal.superUser) return tokenId === this.options.adminToken?.id
    const key = this.options.keys.apiKey(tokenId)
    return (
      key !== undefined &&
      key.principal === principal.name &&
      (key.expiresAt === undefined || key.expiresAt > now)
    )
  }

  /**
   * A token for `by` that can do what `scope` says at most, for `ttlMs` (15 minutes, if that is not too long), and no longer than what `by` came with.
   * @throws INVALID_REQUEST, LIMIT_EXCEEDED, AUTHORIZATION_FAILED for a scope that is wider than its own
   */
  mint(
    by: Principal,
    scope: readonly Grant[],
    wantedMs?: number,
  ): { readonly token: string; readonly expiresAt: number } {
    if (!this.required)
      throw new LogloomError(
        'INVALID_REQUEST',
        'mintToken: authentication is off, so there is nobody to mint for',
        {},
        { hint: 'start the broker with --authentication required' },
      )
    const { mintedTokenLifetimeMaxMs: limit } = this.options.settings
    const ttlMs = wantedMs ?? Math.min(mintTtlMsDefault, limit)
    if (limit === 0)
      throw new LogloomError(
        'LIMIT_EXCEEDED',
        'mintToken: this broker makes no tokens: mintedTokenLifetimeMaxMs is 0',
        { limit, actual: ttlMs },
        { hint: 'use an API key, or let the operator raise mintedTokenLifetimeMaxMs' },
      )
    if (ttlMs < 1 || ttlMs > limit)
      throw new LogloomError(
        'LIMIT_EXCEEDED',
        `mintToken: ttlMs=${ttlMs} is not within 1 to ${limit} (mintedTokenLifetimeMaxMs)`,
        { limit, actual: ttlMs },
      )
    if (by.scope !== undefined && !isWithin(scope, by.scope))
      throw new LogloomError(
        'AUTHORIZATION_FAILED',
        'mintToken: the token that was presented allows less than what is asked for',
        {},
        { hint: 'ask for less, or mint with an API key' },
      )
    const expiresAt = Math.min(Date.now() + ttlMs, by.expiresAt ?? Number.POSITIVE_INFINITY)
    const token = this.options.scopedTokens.mint(by, scope, expiresAt)
    if (token.length > tokenCharactersMax)
      throw new LogloomError(
        'LIMIT_EXCEEDED',
        `mintToken: a token of ${token.length} characters, the limit is ${tokenCharactersMax} (tokenCharactersMax)`,
        { limit: tokenCharactersMax, actual: token.length },
      )
    return { token, expiresAt }
  }

  private async check(kind: TokenKind, token: string): Promise<Principal | string | symbol> {
    if (token.length > tokenCharactersMax)
      return `${token.length} characters, the limit is ${tokenCharactersMax} (tokenCharactersMax)`
    const { adminToken, scopedTokens } = this.options
    if (kind === 'jwt') return this.checkJwt(token)
    if (kind === 'admin-token')
      return adminToken?.matches(token) === true
        ? { ...administrator, tokenId: adminToken.id }
        : 'not the admin token'
    if (kind === 'api-key')
      return this.withFreshKeys(() => checkApiKey(this.options.keys, token, Date.now()))
    if (this.options.settings.mintedTokenLifetimeMaxMs === 0)
      return 'a scoped token: none are taken, mintedTokenLifetimeMaxMs is 0'
    return this.withFreshKeys(() => {
      const found = scopedTokens.check(token, Date.now())
      if (typeof found === 'string' || this.isCurrent(found)) return found
      if (found.superUser) return "a scoped token of an admin token that is not this broker's"
      return `the API key ${found.tokenId} of a scoped token was revoked or has expired`
    })
  }

  /** No answer is no before all that the log has is known, whatever the reason: so all reasons take as long. */
  private async withFreshKeys(check: () => Principal | string): Promise<Principal | string> {
    const found = check()
    if (typeof found !== 'string') return found
    await this.options.fresh().catch(() => {})
    return check()
  }

  private async checkJwt(token: string): Promise<Principal | string | symbol> {
    const { settings } = this.options
    if (settings.jwtJwksUrl === '' && settings.jwtJwksFile === '')
      return 'no token of a known kind; JWTs are not taken: jwtJwksUrl is not set'
    // Loaded with the first one: most brokers have no use for it.
    this.jwt ??= import('./jwt.ts').then(
      ({ JwtChecker: Checker }) =>
        new Checker(
          settings,
          () => Date.now(),
          why => this.keysProblem(why),
        ),
    )
    return (await this.jwt).check(token)
  }

  private keysProblem(error: string): void {
    const now = performance.now()
    if (now - this.problemAt < keysProblemEveryMs) return
    this.problemAt = now
    const { jwtJwksUrl, jwtJwksFile } = this.options.settings
    const from = jwtJwksUrl === '' ? jwtJwksFile : jwtJwksUrl
    this.options.logger.warn({ from, error }, 'cannot load the keys of the JWT issuer')
  }

  private count(kind: Mechanism | 'missing'): void {
    this.failures.set(kind, (this.failures.get(kind) ?? 0) + 1)
  }
}

/** The same for all causes. `retriable`: nobody can tell now. */
function authenticationFailed(retriable: boolean): LogloomError {
  return new LogloomError(
    'AUTHENTICATION_FAILED',
    'the token was not accepted',
    {},
    retriable ? { retriable } : {},
  )
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => {
    setTimeout(resolve, ms).unref()
  })
}
