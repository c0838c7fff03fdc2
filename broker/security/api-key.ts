// An API key as the broker knows it: whose it is and what its secret hashes to, never the secret.

export interface ApiKey {
  /** 16 characters a-z0-9; no secret. */
  readonly id: string
  /** `User:alice` */
  readonly principal: string
  /** SHA-256 of the secret's text, 32 bytes. */
  readonly hash: Uint8Array
  readonly description: string
  /** Log time, ms. */
  readonly createdAt: number
  /** Log time, ms; absent: never. From then on it is not accepted, {@link expiredKeyGraceMs} later it is forgotten. */
  readonly expiresAt?: number
}

/** For how long an expired key is still listed, so that its owner can see why it is refused. */
export const expiredKeyGraceMs = 24 * 3_600_000
