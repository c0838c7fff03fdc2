// The administrator's token: whoever can read its file may do everything, on this broker. It is how the first API key is made.

import { LogloomError } from '../../wire/errors.ts'
import type { Principal } from './principal.ts'
import { secretFile } from './secret-file.ts'
import { hashOf, newSecret, sameHash } from './secret-text.ts'

export const administrator: Principal = {
  name: 'User:admin',
  mechanism: 'admin-token',
  superUser: true,
}

const pattern = /^lla_[A-Za-z0-9_-]{43,}$/

export interface AdminToken {
  /** It was made by this start. */
  readonly made: boolean
  /** Tells it from those before and after it, and is no secret. */
  readonly id: string
  matches(token: string): boolean
}

/** Reads the file, or makes it. Only the hash is kept. @throws INVALID_CONFIG */
export function openAdminToken(path: string): AdminToken {
  const { text, made } = secretFile('adminTokenFile', path, () => `lla_${newSecret()}`)
  if (!pattern.test(text))
    throw new LogloomError(
      'INVALID_CONFIG',
      `adminTokenFile: ${path} does not hold a token: lla_ and at least 43 of A-Z a-z 0-9 - _`,
      { key: 'adminTokenFile' },
      { hint: `delete ${path} and start again: a new one is made` },
    )
  const hash = hashOf(text)
  const id = `admin-${hashOf(`logloom admin token ${text}`).toString('hex').slice(0, 16)}`
  return { made, id, matches: token => sameHash(hash, hashOf(token)) }
}
