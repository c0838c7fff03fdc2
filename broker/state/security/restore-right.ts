// Rights that come with a snapshot: each is added where there is none of the kind, and changes nothing that there is.

import { bindingKey } from '../../security/acl.ts'
import { quotaKinds } from '../../security/quota.ts'
import type { RestoredRight } from '../restore/commands.ts'
import {
  aclBindingsMax,
  apiKeysMax,
  quotasMax,
  type SecurityRegistry,
} from './security-registry.ts'

/** What there is no room for is left out. @returns what is to be mixed into the state's hash */
export function restoreRight(registry: SecurityRegistry, right: RestoredRight): readonly string[] {
  if (right.kind === 'key') {
    const { key } = right
    if (registry.apiKey(key.id) !== undefined || registry.apiKeyCount >= apiKeysMax) return []
    // A copy: the bytes are a view of the entry.
    registry.addKey({ ...key, hash: key.hash.slice() })
    return [key.id, key.principal, String(key.hash), String(key.expiresAt ?? 0)]
  }
  if (right.kind === 'acl') {
    const { binding } = right
    if (registry.hasAcl(binding) || registry.aclCount >= aclBindingsMax) return []
    registry.addAcl(binding)
    return [bindingKey(binding)]
  }
  const { principal, quota } = right
  if (registry.ownQuota(principal) !== undefined || registry.quotaCount >= quotasMax) return []
  registry.setQuota(principal, quota)
  return [principal, ...quotaKinds.map(kind => String(quota[kind] ?? -1))]
}
