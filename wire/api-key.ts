// The text of an API key: `llk_<id>_<secret>` (protocol.md 12.2). The client makes it; the broker is told the id and the SHA-256 of the secret's text,
// so the secret itself is never in the broker's log, state or snapshots.

/** What an id is made of: 16 characters. */
export const apiKeyIdPattern = /^[a-z0-9]{16}$/
/** 32 random bytes in base64url. */
const secretPattern = /^[A-Za-z0-9_-]{43}$/
const prefix = 'llk_'
const idLength = 16
/** SHA-256 of the secret's 43 characters, bytes. */
export const apiKeyHashBytes = 32

export interface ApiKeyText {
  readonly id: string
  readonly secret: string
}

export function formatApiKey({ id, secret }: ApiKeyText): string {
  return `${prefix}${id}_${secret}`
}

/** Its parts; undefined when the text has another form. */
export function parseApiKey(text: string): ApiKeyText | undefined {
  if (!text.startsWith(prefix) || text[prefix.length + idLength] !== '_') return undefined
  const id = text.slice(prefix.length, prefix.length + idLength)
  const secret = text.slice(prefix.length + idLength + 1)
  return apiKeyIdPattern.test(id) && secretPattern.test(secret) ? { id, secret } : undefined
}
