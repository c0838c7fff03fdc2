// API keys: `llk_<id>_<secret>`; the state of the log has the SHA-256 of each secret (state/security).

import { parseApiKey } from '../../wire/api-key.ts'
import type { Principal } from './principal.ts'
import { hashOf, sameHash } from './secret-text.ts'

export interface KnownKey {
  readonly id: string
  readonly principal: string
  readonly hash: Uint8Array
  /** Wall clock, ms; absent: never. */
  readonly expiresAt?: number | undefined
}

export interface KnownKeys {
  apiKey(id: string): KnownKey | undefined
}

/** Compared with when there is no such key, so that this takes as long. */
const nobody = hashOf('')

/** Who presents this key; a text that says why not is for the broker's log only. */
export function checkApiKey(keys: KnownKeys, token: string, now: number): Principal | string {
  const { id = '', secret = '' } = parseApiKey(token) ?? {}
  const key = keys.apiKey(id)
  const isRight = sameHash(key?.hash ?? nobody, hashOf(secret))
  if (key === undefined) return `there is no API key ${id}`
  if (!isRight) return `the secret of API key ${id} is wrong`
  if (key.expiresAt !== undefined && key.expiresAt <= now) return `API key ${id} has expired`
  return {
    name: key.principal,
    mechanism: 'api-key',
    superUser: false,
    tokenId: id,
    ...(key.expiresAt === undefined ? {} : { expiresAt: key.expiresAt }),
  }
}
