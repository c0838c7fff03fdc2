// Tokens, and where they come in: what is presented as itself, in `Authorization`, as a subprotocol and in a URL.
//
// Rules: nobody gets in with what was not issued. A token that is taken is one of those issued here, byte for byte: only the base64 of a
// signature or MAC may be written otherwise, as long as its bytes are the same. It stands for the principal that it was issued to. Nothing throws.

import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { bearerOf } from '../../../broker/gateway/http-access.ts'
import { openAdminToken } from '../../../broker/security/admin-token.ts'
import { Authenticator } from '../../../broker/security/authenticator.ts'
import type { Principal } from '../../../broker/security/principal.ts'
import { parseGrant } from '../../../broker/security/scope.ts'
import { ScopedTokens } from '../../../broker/security/scoped-tokens.ts'
import {
  hashOf,
  kindOf,
  newSecret,
  tokenCharactersMax,
} from '../../../broker/security/secret-text.ts'
import { chosenProtocol, offeredToken } from '../../../broker/security/subprotocol.ts'
import { hasSecret } from '../../../broker/security/url-secrets.ts'
import { resolveSettings } from '../../../broker/settings.ts'
import { formatApiKey, parseApiKey } from '../../../wire/api-key.ts'
import { inTime } from '../in-time.ts'
import type { FuzzRandom } from '../random.ts'
import { must, type Target } from '../target.ts'

const decoder = new TextDecoder()
const encoder = new TextEncoder()
const lifeMs = 86_400_000
const issuer = 'https://issuer.example'

/** What `Authenticator` does before it counts a failure and lets its sender wait. */
type Check = (
  kind: ReturnType<typeof kindOf>,
  token: string,
) => Promise<Principal | string | symbol>

interface Issued {
  readonly token: string
  readonly principal: string
  /** Text that is signed, and the bytes of its signature; absent where the text itself is the secret. */
  readonly signed?: { readonly text: string; readonly signature: Buffer }
}

let world: World | undefined

export const tokens: Target = {
  name: 'tokens',
  bytesMax: 12_288,
  seeds: () => {
    world ??= new World()
    const texts = world.all.map(({ token }) => token)
    return [
      ...texts,
      ...world.refused,
      ...texts.map(carried),
      'GET',
      '/?token=x',
      '/x/eyJh.eyJb',
      'logloom, chat',
    ].map(each => encoder.encode(each))
  },
  generate: random => {
    world ??= new World()
    return encoder.encode(world.make(random))
  },
  run: input => {
    world ??= new World()
    const its = world
    return inTime(input, () => its.give(decoder.decode(input)))
  },
  close: () => {
    world?.close()
    world = undefined
    return Promise.resolve()
  },
}

/** As a page sends it. */
function carried(token: string): string {
  return `logloom, logloom.auth.${Buffer.from(token).toString('base64url')}`
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

class World {
  readonly all: readonly Issued[]
  /** Well made, and not to be taken. */
  readonly refused: readonly string[]
  private readonly directory = mkdtempSync(join(tmpdir(), 'logloom-fuzz-'))
  private readonly check: Check
  private readonly rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  private readonly stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  private readonly publicPem: string

  constructor() {
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const keys = [
      { ...this.rsa.publicKey.export({ format: 'jwk' }), kid: 'r', alg: 'RS256', use: 'sig' },
      { ...ec.publicKey.export({ format: 'jwk' }), kid: 'e', alg: 'ES256' },
    ]
    this.publicPem = this.rsa.publicKey.export({ format: 'pem', type: 'spki' }).toString()
    const jwtJwksFile = join(this.directory, 'jwks.json')
    writeFileSync(jwtJwksFile, JSON.stringify({ keys }))
    const admin = `lla_${newSecret()}`
    const adminFile = join(this.directory, 'admin.token')
    writeFileSync(adminFile, admin, { mode: 0o600 })
    const adminToken = openAdminToken(adminFile)
    const [id, secret] = ['a'.repeat(16), newSecret()]
    const key = { id, principal: 'User:alice', hash: hashOf(secret) }
    const old = { ...key, id: 'b'.repeat(16), expiresAt: 1000 }
    const known = new Map([key, old].map(each => [each.id, each]))
    const scopedTokens = new ScopedTokens(new Uint8Array(32).fill(7))
    const authenticator = new Authenticator({
      settings: resolveSettings({
        flags: {
          authentication: 'required',
          jwtJwksFile,
          jwtIssuer: issuer,
          jwtAudience: ['logloom'],
          jwtScopeClaim: 'scope',
        },
      }),
      adminToken,
      scopedTokens,
      keys: { apiKey: wanted => known.get(wanted) },
      fresh: () => Promise.resolve(),
      logger: { info: () => {}, warn: () => {}, error: () => {} },
    })
    this.check = (kind, token) => (authenticator as unknown as { check: Check }).check(kind, token)
    const alice = {
      name: 'User:alice',
      mechanism: 'api-key',
      superUser: false,
      tokenId: id,
    } as const
    const root = {
      name: 'User:admin',
      mechanism: 'admin-token',
      superUser: true,
      tokenId: adminToken.id,
    } as const
    const scope = [
      { resource: 'topic', pattern: 'literal', name: 't', operations: ['read'] },
    ] as const
    const end = Date.now() + lifeMs
    const scoped = (by: Principal, at: number): string => scopedTokens.mint(by, scope, at)
    const exp = Math.floor(end / 1000)
    const claims = { iss: issuer, aud: 'logloom', sub: 'bob', exp, scope: 'topic:t:read openid' }
    const rs = (more: object): string =>
      jwt({ alg: 'RS256', kid: 'r' }, { ...claims, ...more }, this.rsa.privateKey)
    this.all = [
      { token: admin, principal: 'User:admin' },
      { token: formatApiKey({ id, secret }), principal: 'User:alice' },
      ...[scoped(alice, end), scoped(root, end)].map((token, i) => ({
        token,
        principal: i === 0 ? 'User:alice' : 'User:admin',
        signed: partsOf(token.slice(4)),
      })),
      ...[rs({}), jwt({ alg: 'ES256', kid: 'e' }, claims, ec.privateKey)].map(token => ({
        token,
        principal: 'User:bob',
        signed: partsOf(token),
      })),
    ]
    this.refused = [
      formatApiKey({ id: old.id, secret }),
      formatApiKey({ id, secret: newSecret() }),
      `lla_${newSecret()}`,
      scoped(alice, 1000),
      scoped({ ...alice, tokenId: old.id }, end),
      scoped({ ...root, tokenId: 'admin-of-another' }, end),
      rs({ exp: 1000 }),
      rs({ exp: undefined }),
      rs({ aud: 'other' }),
      rs({ iss: 'other' }),
      rs({ sub: 'admin' }),
      rs({ sub: '*' }),
      rs({ sub: ['bob'] }),
      rs({ nbf: exp }),
      jwt({ alg: 'RS256', kid: 'r', crit: ['x'], x: 1 }, claims, this.rsa.privateKey),
      jwt({ alg: 'ES256', kid: 'e' }, claims, this.stranger.privateKey),
      `${encode({ alg: 'none' })}.${encode(claims)}.`,
      this.confused({ alg: 'HS256', kid: 'r' }, claims),
    ]
  }

  /** Presents a text in every way. True: somebody got in, and was allowed to. */
  async give(text: string): Promise<boolean> {
    const headers = { authorization: text }
    const bearer = bearerOf({ headers } as IncomingMessage)
    must(
      bearer === undefined || (text.includes(bearer) && /^[!-~]+$/.test(bearer)),
      'a bearer of its own',
    )
    const offered = offeredToken(text)
    const chosen = chosenProtocol(new Set(text.split(',').map(each => each.trim())))
    must(chosen === false || !chosen.startsWith('logloom.auth.'), 'a token would be sent back')
    hasSecret(text)
    const grant = parseGrant(text)
    must(
      grant === undefined || (grant.operations.length > 0 && grant.name !== ''),
      'a grant of nothing',
    )
    const key = parseApiKey(text)
    must(key === undefined || formatApiKey(key) === text, 'a key that is written otherwise')
    for (const { token } of this.all)
      if (text === `/?${token}` || text === `/${token}`) must(hasSecret(text), 'a token in a URL')
    let isIn = false
    for (const token of new Set([text, bearer, offered]))
      if (token !== undefined && token !== '' && (await this.present(token))) isIn = true
    return isIn
  }

  private async present(token: string): Promise<boolean> {
    const found = await this.check(kindOf(token), token)
    if (typeof found === 'symbol') throw new Error('the keys are there, and were not found')
    if (typeof found === 'string') {
      must(found.length < 1000, 'the log repeats what was sent')
      must(!this.all.some(each => each.token === token), `an issued token is refused: ${found}`)
      return false
    }
    must(token.length <= tokenCharactersMax, 'a token that is too long')
    const issued = this.all.find(each => isThat(token, each))
    must(issued !== undefined, `a token of ${found.name} that nobody has issued`)
    must(
      issued.principal === found.name,
      `a token of ${issued.principal} makes its bearer ${found.name}`,
    )
    must(found.superUser === (found.name === 'User:admin'), 'rights that were not given')
    const isScoped = found.mechanism === 'scoped-token' || found.mechanism === 'jwt'
    must(
      !isScoped ||
        isDeepStrictEqual(
          found.scope?.map(({ name }) => name),
          ['t'],
        ),
      'another scope',
    )
    return true
  }

  /** Something like a token. */
  make(random: FuzzRandom): string {
    const text = random.oneIn(3) ? random.pick(this.refused) : random.pick(this.all).token
    const other = random.pick(this.all).token
    const pieces = text.split('.')
    switch (random.below(10)) {
      case 0:
        return carried(text)
      case 1:
        return `${random.pick(['Bearer', 'bearer', 'Basic', 'Bearer  '])} ${text}`
      case 2:
        return `${random.pick(['/', '/?', '/?a=', '/?token=', '/a/b?x=1&access_token='])}${text}`
      case 3:
        return text
      case 4:
        // The beginning of one, the end of another.
        return [...pieces.slice(0, -1), other.split('.').at(-1)].join('.')
      case 5: {
        const padding = random.pick(['=', '==', '\n', ' ', '.', '%', '\u0000', 'A', '-', '+'])
        const at = random.below(text.length + 1)
        return text.slice(0, at) + padding.repeat(1 + random.size(3000)) + text.slice(at)
      }
      case 6:
        return this.confused(
          {
            alg: random.pick(['HS256', 'none', 'RS256', 'hs256', '']),
            kid: random.pick(['r', 'e', 'x']),
            ...this.baggage(random),
          },
          { iss: issuer, aud: 'logloom', sub: 'bob', exp: 4_000_000_000 },
        )
      case 7:
        return `llt_${encode({ p: 'User:alice', e: random.pick([1e15, '9', null]), g: [], n: 'x' })}.${pieces.at(-1)}`
      case 8:
        return random.pick([
          'topic:t:read',
          'topic:t*:read,write',
          'group:*:',
          `topic:${':'.repeat(random.size(9000))}!`,
          'a:'.repeat(random.size(4000)),
        ])
      default: {
        const claims = pieces.map(each =>
          Buffer.from(each, 'base64url')
            .toString()
            .replace('bob', 'admin')
            .replace('alice', 'admin'),
        )
        return claims.map(each => Buffer.from(each).toString('base64url')).join('.')
      }
    }
  }

  /** Keys that a token brings along. */
  private baggage(random: FuzzRandom): object {
    const jwk = this.stranger.publicKey.export({ format: 'jwk' })
    return random.pick([
      {},
      { jwk },
      { jku: 'http://127.0.0.1:1/' },
      { x5u: 'file:///etc/passwd' },
      { crit: ['exp'] },
      { b64: false, crit: ['b64'] },
      { zip: 'DEF' },
    ])
  }

  /** Signed with the public key as if it were a secret. */
  private confused(header: object, claims: object): string {
    const text = `${encode(header)}.${encode(claims)}`
    return `${text}.${createHmac('sha256', this.publicPem).update(text).digest('base64url')}`
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}

function jwt(header: Readonly<Record<string, unknown>>, claims: object, key: KeyObject): string {
  const text = `${encode(header)}.${encode(claims)}`
  const how = header['alg'] === 'ES256' ? { key, dsaEncoding: 'ieee-p1363' as const } : key
  return `${text}.${sign('sha256', Buffer.from(text), how).toString('base64url')}`
}

/** What is before the last dot, and the bytes of what is behind it. */
function partsOf(token: string): { readonly text: string; readonly signature: Buffer } {
  const dot = token.lastIndexOf('.')
  return { text: token.slice(0, dot), signature: Buffer.from(token.slice(dot + 1), 'base64url') }
}

function isThat(token: string, { token: issued, signed }: Issued): boolean {
  if (token === issued) return true
  if (signed === undefined) return false
  const isScoped = issued.startsWith('llt_')
  if (isScoped !== token.startsWith('llt_')) return false
  const { text, signature } = partsOf(isScoped ? token.slice(4) : token)
  return text === signed.text && signature.equals(signed.signature)
}
