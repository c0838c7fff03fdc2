// What commands do to API keys, ACLs and quotas. Part of the state machine: deterministic, its clock is log time.
//
// Guarantees: each is bounded; what a command does, it does whole or not at all; what was made or deleted is told, so that a retry under a producer
// identity hears it again.

import type { AclBinding } from '../../security/acl.ts'
import { expiredKeyGraceMs, type ApiKey } from '../../security/api-key.ts'
import { quotaKinds } from '../../security/quota.ts'
import type { ErrorCode } from '../../../wire/errors.ts'
import type { Decision } from '../commands.ts'
import type { StateHash } from '../state-hash.ts'
import { aclsPerCommandMax, type SecurityCommand } from './commands.ts'
import {
  aclBindingsMax,
  apiKeysMax,
  quotasMax,
  type SecurityRegistry,
} from './security-registry.ts'

type Outcome =
  | { readonly ok: true; readonly result: Readonly<Record<string, unknown>> }
  | (Decision & { readonly ok: false })

type Of<T extends SecurityCommand['type']> = SecurityCommand & { readonly type: T }

export class SecurityMachine {
  readonly registry: SecurityRegistry
  private readonly hash: StateHash

  constructor(registry: SecurityRegistry, hash: StateHash) {
    this.registry = registry
    this.hash = hash
  }

  /** `time`: log time, ms. */
  apply(command: SecurityCommand, time: number): Outcome {
    switch (command.type) {
      case 'createToken':
        return this.createToken(command, time)
      case 'revokeToken':
        return this.revokeToken(command)
      case 'sweepTokens':
        return this.sweep(command, time)
      case 'createAcls':
        return this.createAcls(command)
      case 'deleteAcls':
        return this.deleteAcls(command)
      case 'setQuota':
        break
    }
    return this.setQuota(command)
  }

  private createToken(command: Of<'createToken'>, createdAt: number): Outcome {
    const { id, principal, hash, description, expiresAt } = command
    if (this.registry.apiKey(id) !== undefined)
      return refused('TOKEN_EXISTS', `there is an API key ${id} already`, { tokenId: id })
    const { apiKeyCount } = this.registry
    if (apiKeyCount >= apiKeysMax)
      return refused('LIMIT_EXCEEDED', `there are ${apiKeyCount} API keys (apiKeysMax)`, {
        limit: apiKeysMax,
        actual: apiKeyCount + 1,
      })
    const expires = expiresAt === undefined ? {} : { expiresAt }
    // A copy: the command's bytes are a view of its entry.
    const key: ApiKey = { id, principal, hash: hash.slice(), description, createdAt, ...expires }
    this.registry.addKey(key)
    this.hash.string(id)
    this.hash.string(principal)
    for (const byte of key.hash) this.hash.number(byte)
    this.hash.number(expiresAt ?? 0)
    return { ok: true, result: { tokenId: id, principal, description, createdAt, ...expires } }
  }

  private revokeToken({ id }: Of<'revokeToken'>): Outcome {
    const key = this.registry.apiKey(id)
    if (key === undefined)
      return refused('UNKNOWN_TOKEN', `there is no API key ${id}`, { tokenId: id })
    this.forget(key)
    return { ok: true, result: { tokenId: id, principal: key.principal } }
  }

  private sweep({ ids }: Of<'sweepTokens'>, time: number): Outcome {
    for (const id of ids) {
      const key = this.registry.apiKey(id)
      if (key !== undefined && isForgotten(key, time)) this.forget(key)
    }
    return { ok: true, result: {} }
  }

  private forget({ id }: ApiKey): void {
    this.registry.removeKey(id)
    this.hash.string(id)
  }

  private createAcls({ bindings }: Of<'createAcls'>): Outcome {
    const { registry } = this
    const actual = registry.aclCount + bindings.filter(each => !registry.hasAcl(each)).length
    if (actual > aclBindingsMax)
      return refused(
        'LIMIT_EXCEEDED',
        `there are ${registry.aclCount} ACL bindings, ${actual} would be too many (aclBindingsMax)`,
        { limit: aclBindingsMax, actual },
      )
    let created = 0
    for (const binding of bindings) {
      // Also when the command names one twice.
      if (registry.hasAcl(binding)) continue
      registry.addAcl(binding)
      this.mix(binding)
      created++
    }
    return { ok: true, result: { created } }
  }

  private deleteAcls({ filter }: Of<'deleteAcls'>): Outcome {
    const found = this.registry.aclsMatching(filter)
    const deleted = found.slice(0, aclsPerCommandMax)
    for (const binding of deleted) {
      this.registry.removeAcl(binding)
      this.mix(binding)
    }
    return { ok: true, result: { deleted, more: found.length > deleted.length } }
  }

  private setQuota({ principal, quota }: Of<'setQuota'>): Outcome {
    const { registry } = this
    const own = registry.ownQuota(principal)
    if (quota !== undefined && own === undefined && registry.quotaCount >= quotasMax)
      return refused('LIMIT_EXCEEDED', `${quotasMax} principals have a quota (quotasMax)`, {
        limit: quotasMax,
        actual: quotasMax + 1,
      })
    if (quota !== undefined || own !== undefined) registry.setQuota(principal, quota)
    this.hash.string(principal)
    for (const kind of quotaKinds) this.hash.number(quota?.[kind] ?? -1)
    return { ok: true, result: { principal, quota: quota ?? null } }
  }

  private mix({ principal, permission, resource, pattern, name, operation }: AclBinding): void {
    for (const text of [principal, permission, resource, pattern, name, operation])
      this.hash.string(text)
  }
}

/** Whether the key has been expired for so long that it is forgotten. */
export function isForgotten({ expiresAt }: ApiKey, logTime: number): boolean {
  return expiresAt !== undefined && logTime - expiresAt >= expiredKeyGraceMs
}

function refused(
  code: ErrorCode,
  message: string,
  details: Readonly<Record<string, unknown>>,
): Outcome {
  return { ok: false, code, message, details, decided: true }
}
