// API keys, ACLs and quotas, as an operator handles them (protocol.md 12).
//
// Guarantees: changes take effect once through retries. The secret of an API key is made here and never sent: the broker gets its hash.

import { formatApiKey } from '../wire/api-key.ts'
import { type Frame, LogloomError } from '../wire/index.ts'
import type { AdminOptions } from './admin.ts'

export interface NewToken {
  /** `User:alice` */
  readonly principal: string
  readonly description?: string
  /** Milliseconds since 1970; or `ttlMs` from now. Default: it does not expire. */
  readonly expiresAt?: number
  readonly ttlMs?: number
}

/** One thing that a scoped token may do. */
export interface ScopeGrant {
  readonly resource: 'topic' | 'group' | 'cluster'
  readonly pattern: 'literal' | 'prefixed'
  readonly name: string
  readonly operations: readonly AclBinding['operation'][]
}

export interface NewScopedToken {
  readonly grants: readonly ScopeGrant[]
  /** Default 15 minutes, at most 24 hours. */
  readonly ttlMs?: number
}

export interface TokenListing {
  readonly tokenId: string
  readonly principal: string
  readonly description: string
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly expiresAt: number | null
}

export interface CreatedToken extends TokenListing {
  /** The API key. Nobody can show it again. */
  readonly token: string
}

export interface AclBinding {
  /** `User:alice`, or `User:*` for everybody. */
  readonly principal: string
  /** `deny` wins. */
  readonly permission: 'allow' | 'deny'
  readonly resource: 'topic' | 'group' | 'cluster'
  readonly pattern: 'literal' | 'prefixed'
  /** The literal name `*` is every name; the cluster's is `logloom`. */
  readonly name: string
  readonly operation: 'read' | 'write' | 'create' | 'delete' | 'alter' | 'describe'
}

/** `permission` is `allow` by default, `pattern` `literal`; the cluster needs no name. */
export type NewAclBinding = Pick<AclBinding, 'principal' | 'resource' | 'operation'> &
  Partial<AclBinding>

/** What is absent is any. `pattern: 'match'`: those that cover `name`. */
export type AclFilter = Partial<Omit<AclBinding, 'pattern'>> & {
  readonly pattern?: AclBinding['pattern'] | 'match'
}

/** What a principal may use at most: rates per second, the others at one time. */
export interface Quota {
  readonly producerByteRate?: number
  readonly consumerByteRate?: number
  readonly requestRate?: number
  readonly connections?: number
  readonly inFlightBytes?: number
  readonly topics?: number
  readonly partitions?: number
}

/** How {@link Admin} asks: `ask` may be repeated, `change` takes effect once. */
export interface AdminCalls {
  ask(op: string, fields: Frame, o: AdminOptions): Promise<Frame>
  change(op: string, fields: Frame, o: AdminOptions): Promise<Frame>
}

const idAlphabet = 'abcdefghijklmnopqrstuvwxyz0123456789'
const idLength = 16
const secretBytes = 32
/** Bindings in one request; the broker takes no more (aclsPerCommandMax). */
const bindingsPerRequest = 500

export async function createToken(
  calls: AdminCalls,
  token: NewToken,
  o: AdminOptions,
): Promise<CreatedToken> {
  const tokenId = randomId()
  const secret = base64url(crypto.getRandomValues(new Uint8Array(secretBytes)))
  const hash = await sha256(new TextEncoder().encode(secret))
  const { principal, description, expiresAt, ttlMs } = token
  const fields: Frame = { tokenId, hash, principal }
  if (description !== undefined) fields['description'] = description
  if (expiresAt !== undefined) fields['expiresAt'] = expiresAt
  if (ttlMs !== undefined) fields['ttlMs'] = ttlMs
  const made = (await calls.change('createToken', fields, o)) as unknown as TokenListing
  return {
    ...made,
    expiresAt: made.expiresAt ?? null,
    token: formatApiKey({ id: tokenId, secret }),
  }
}

export async function listTokens(
  calls: AdminCalls,
  o: AdminOptions,
): Promise<readonly TokenListing[]> {
  const all: TokenListing[] = []
  for (;;) {
    const after = all.at(-1)?.tokenId
    const reply = await calls.ask('listTokens', after === undefined ? {} : { after }, o)
    const tokens = reply['tokens'] as readonly TokenListing[]
    all.push(...tokens)
    if (reply['more'] !== true || tokens.length === 0) return all
  }
}

export async function createAcls(
  calls: AdminCalls,
  bindings: readonly NewAclBinding[],
  o: AdminOptions,
): Promise<{ readonly created: number }> {
  let created = 0
  for (let at = 0; at < bindings.length; at += bindingsPerRequest) {
    const some = bindings.slice(at, at + bindingsPerRequest)
    created += Number((await calls.change('createAcls', { bindings: some }, o))['created'])
  }
  return { created }
}

export async function deleteAcls(
  calls: AdminCalls,
  filter: AclFilter,
  o: AdminOptions & { readonly dryRun?: boolean },
): Promise<readonly AclBinding[]> {
  const { dryRun = false, ...options } = o
  if (dryRun) {
    // What one request may delete is not all of what many would.
    const reply = await calls.ask('listAcls', { filter }, options)
    return reply['bindings'] as readonly AclBinding[]
  }
  const all: AclBinding[] = []
  for (;;) {
    const reply = await calls.change('deleteAcls', { filter }, options)
    all.push(...(reply['deleted'] as readonly AclBinding[]))
    if (reply['more'] !== true) return all
  }
}

function randomId(): string {
  let id = ''
  while (id.length < idLength)
    // 252 = 7 × 36: bytes above would favour the first letters.
    for (const byte of crypto.getRandomValues(new Uint8Array(idLength)))
      if (byte < 252 && id.length < idLength) id += idAlphabet[byte % idAlphabet.length]
  return id
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  // Browsers have it on secure pages only.
  if (globalThis.crypto?.subtle === undefined)
    throw new LogloomError(
      'INVALID_REQUEST',
      'API keys can be made on secure pages only (https or localhost): this one has no SHA-256',
    )
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
}
