// Operations on API keys, ACLs and quotas (protocol.md 12). Requests become commands here; what is listed is what holds now.

import { apiKeyHashBytes, apiKeyIdPattern } from '../../wire/api-key.ts'
import { LogloomError } from '../../wire/errors.ts'
import { array, bin, map, optBool, optMap, optStr, optUint, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { readBinding, readFilter } from '../security/check-binding.ts'
import { checkPrincipal } from '../security/principal-name.ts'
import { type Quota, quotaKinds } from '../security/quota.ts'
import { matches } from '../security/acl.ts'
import { aclsPerCommandMax } from '../state/security/commands.ts'
import type { Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import { acceptedOrThrow } from './produce.ts'
import { resultOf } from './repeated.ts'
import { asCommand } from './topics.ts'

/** Characters. */
const tokenDescriptionLengthMax = 200
/** API keys in one reply. */
const tokensListedMax = 5000

export async function createToken(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const id = tokenId(frame)
  const principal = checkPrincipal(str(frame, 'principal'))
  const hash = bin(frame, 'hash')
  if (hash.length !== apiKeyHashBytes)
    throw invalid('hash', `must be the SHA-256 of the secret, ${apiKeyHashBytes} bytes`, {
      limit: apiKeyHashBytes,
      actual: hash.length,
    })
  const description = optStr(frame, 'description') ?? ''
  if (description.length > tokenDescriptionLengthMax)
    throw invalid(
      'description',
      `has ${description.length} characters, at most ${tokenDescriptionLengthMax} (tokenDescriptionLengthMax)`,
      { limit: tokenDescriptionLengthMax, actual: description.length },
    )
  const expiresAt = expiryOf(context, frame)
  return asCommand(context, frame, connection, async producer => {
    const decision = await context.broker.propose({
      type: 'createToken',
      ...producer,
      id,
      principal,
      // A copy: the view pins the frame that it came in.
      hash: hash.slice(),
      description,
      ...(expiresAt === undefined ? {} : { expiresAt }),
    })
    return resultOf(acceptedOrThrow(decision), {
      about: { tokenId: id, principal, description },
      names: ['createdAt'],
      optional: ['expiresAt'],
    })
  })
}

export async function revokeToken(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const id = tokenId(frame)
  return asCommand(context, frame, connection, async producer => {
    const decision = await context.broker.propose({ type: 'revokeToken', ...producer, id })
    return resultOf(acceptedOrThrow(decision), { about: { tokenId: id }, names: ['principal'] })
  })
}

/** By id, from behind `after`. Hashes are not told: nobody has a use for them but the broker. */
export async function listTokens({ broker }: GatewayContext, frame: Frame): Promise<Frame> {
  const after = optStr(frame, 'after') ?? ''
  const limit = optUint(frame, 'limit') ?? tokensListedMax
  if (limit < 1 || limit > tokensListedMax)
    throw invalid('limit', `${limit}: use 1 to ${tokensListedMax} (tokensListedMax)`, {
      limit: tokensListedMax,
      actual: limit,
    })
  await broker.fresh()
  const keys = [...broker.security.apiKeys()].filter(key => key.id > after)
  keys.sort((a, b) => (a.id < b.id ? -1 : 1))
  const tokens = keys
    .slice(0, limit)
    .map(({ id, principal, description, createdAt, expiresAt }) => ({
      tokenId: id,
      principal,
      description,
      createdAt,
      expiresAt: expiresAt ?? null,
    }))
  return { tokens, more: keys.length > tokens.length }
}

export async function createAcls(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const rows = array(frame, 'bindings')
  if (rows.length === 0 || rows.length > aclsPerCommandMax)
    throw invalid(
      'bindings',
      `has ${rows.length}: use 1 to ${aclsPerCommandMax} (aclsPerCommandMax)`,
      {
        limit: aclsPerCommandMax,
        actual: rows.length,
      },
    )
  const bindings = rows.map(binding => readBinding(map({ op: 'createAcls', binding }, 'binding')))
  return asCommand(context, frame, connection, async producer => {
    const decision = await context.broker.propose({ type: 'createAcls', ...producer, bindings })
    return resultOf(acceptedOrThrow(decision), { names: ['created'] })
  })
}

export async function deleteAcls(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const filter = readFilter(map(frame, 'filter'))
  if (optBool(frame, 'dryRun') === true) {
    await context.broker.fresh()
    const found = [...context.broker.security.acls()].filter(each => matches(filter, each))
    const deleted = found.slice(0, aclsPerCommandMax)
    return { deleted, more: found.length > deleted.length }
  }
  return asCommand(context, frame, connection, async producer => {
    const decision = await context.broker.propose({ type: 'deleteAcls', ...producer, filter })
    return resultOf(acceptedOrThrow(decision), { names: ['deleted', 'more'] })
  })
}

export async function listAcls({ broker }: GatewayContext, frame: Frame): Promise<Frame> {
  const filter = readFilter(optMap(frame, 'filter') ?? {})
  await broker.fresh()
  return { bindings: [...broker.security.acls()].filter(each => matches(filter, each)) }
}

export async function setQuota(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
): Promise<Frame> {
  const principal = checkPrincipal(str(frame, 'principal'), true)
  const quota = frame.quota === null ? undefined : quotaOf(map(frame, 'quota'))
  return asCommand(context, frame, connection, async producer => {
    const decision = await context.broker.propose({
      type: 'setQuota',
      ...producer,
      principal,
      ...(quota === undefined ? {} : { quota }),
    })
    return resultOf(acceptedOrThrow(decision), { about: { principal }, names: ['quota'] })
  })
}

export async function listQuotas({ broker }: GatewayContext): Promise<Frame> {
  await broker.fresh()
  const quotas = [...broker.security.quotas()].map(([principal, quota]) => ({ principal, quota }))
  return { quotas: quotas.sort((a, b) => (a.principal < b.principal ? -1 : 1)) }
}

function tokenId(frame: Frame): string {
  const id = str(frame, 'tokenId')
  if (apiKeyIdPattern.test(id)) return id
  throw invalid('tokenId', 'must be 16 characters a-z0-9')
}

function expiryOf({ broker }: GatewayContext, frame: Frame): number | undefined {
  const ttlMs = optUint(frame, 'ttlMs')
  const expiresAt = optUint(frame, 'expiresAt')
  if (ttlMs === undefined && expiresAt === undefined) return undefined
  if (ttlMs !== undefined && expiresAt !== undefined)
    throw invalid('ttlMs', 'give either this or expiresAt')
  const { now } = broker
  // Beyond what a number can say it is as if it never ended.
  const at = Math.min(expiresAt ?? now + (ttlMs ?? 0), Number.MAX_SAFE_INTEGER)
  if (at > now) return at
  throw invalid(ttlMs === undefined ? 'expiresAt' : 'ttlMs', 'the key would be expired already')
}

/** @throws INVALID_REQUEST when it limits nothing, or a kind is not known: a typing error must not lift a limit */
function quotaOf(fields: Frame): Quota {
  const quota: { [kind: string]: number } = {}
  for (const key of Object.keys(fields)) {
    const kind = quotaKinds.find(each => each === key)
    if (kind === undefined)
      throw invalid('quota', `${key.slice(0, 60)} is none of ${quotaKinds.join(', ')}`)
    quota[kind] = uint(fields, kind)
    if (quota[kind] === 0) throw invalid('quota', `${kind} must be at least 1`)
  }
  if (Object.keys(quota).length === 0)
    throw invalid('quota', 'limits nothing: use nil to remove it')
  return quota
}

function invalid(field: string, why: string, details: Frame = {}): LogloomError {
  return new LogloomError('INVALID_REQUEST', `field ${field}: ${why}`, { field, ...details })
}
