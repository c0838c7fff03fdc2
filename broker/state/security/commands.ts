// What an entry of the log can ask of API keys, ACLs and quotas. No command holds a secret: of an API key only its hash.

import type { AclBinding, AclFilter } from '../../security/acl.ts'
import type { Quota } from '../../security/quota.ts'
import type { ProducerIdentity } from '../commands.ts'

export type SecurityCommand =
  /**
   * The id and the hash come from whoever made the secret. So a retry under the same producer identity gets the recorded decision and the key works, although
   * no broker ever knew the secret; a retry without one is told that the id is taken.
   */
  | {
      readonly type: 'createToken'
      readonly producer?: ProducerIdentity
      readonly id: string
      readonly principal: string
      readonly hash: Uint8Array
      readonly description: string
      readonly expiresAt?: number
    }
  | { readonly type: 'revokeToken'; readonly producer?: ProducerIdentity; readonly id: string }
  /** Forgets those of the keys that have been expired for long enough. */
  | { readonly type: 'sweepTokens'; readonly ids: readonly string[] }
  /** Those that are there already are left as they are. All or none. */
  | {
      readonly type: 'createAcls'
      readonly producer?: ProducerIdentity
      readonly bindings: readonly AclBinding[]
    }
  /** Deletes what matches, {@link aclsPerCommandMax} at a time. */
  | {
      readonly type: 'deleteAcls'
      readonly producer?: ProducerIdentity
      readonly filter: AclFilter
    }
  /** In place of what the principal had; `quota` absent: it has none of its own any more. */
  | {
      readonly type: 'setQuota'
      readonly producer?: ProducerIdentity
      readonly principal: string
      readonly quota?: Quota
    }

/** Bindings that one command makes or deletes: its decision, which names them, is kept for retries. */
export const aclsPerCommandMax = 500
