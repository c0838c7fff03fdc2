// The texts that prove who somebody is, and how they are told apart, made and compared.
//
//   lla_<secret>          the administrator of one broker      (admin-token.ts)
//   llk_<id>_<secret>     an API key, kept in the log as a hash (api-keys.ts)
//   llt_<claims>.<mac>    short-lived, with a scope            (scoped-tokens.ts)
//   a.b.c                 anything else: a JSON Web Token      (jwt.ts)
//
// A secret is 32 random bytes: nobody guesses it, so one SHA-256 is enough and no slow hash is needed. What is compared is compared in
// constant time. No function here puts a text into an error.

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Mechanism } from './principal.ts'

/** Longest token that is looked at, characters. */
export const tokenCharactersMax = 8192
const secretBytes = 32

/** A fresh secret: 43 characters. */
export function newSecret(): string {
  return randomBytes(secretBytes).toString('base64url')
}

/** The form in which secrets are kept. */
export function hashOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** Whether two hashes are the same, in a time that does not depend on where they differ. */
export function sameHash(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}

export type TokenKind = Exclude<Mechanism, 'none'>

/** What a token claims to be, by its beginning. */
export function kindOf(token: string): TokenKind {
  if (token.startsWith('lla_')) return 'admin-token'
  if (token.startsWith('llk_')) return 'api-key'
  return token.startsWith('llt_') ? 'scoped-token' : 'jwt'
}
