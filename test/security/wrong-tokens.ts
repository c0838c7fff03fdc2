// Every kind of token that must not let anybody in, each made as somebody would who tries.

import { createHmac } from 'node:crypto'
import type { Admin } from '../../client/index.ts'
import { formatApiKey } from '../../wire/api-key.ts'
import { JwtIssuer } from './jwt-issuer.ts'

export interface WrongToken {
  readonly name: string
  readonly make: () => Promise<string> | string
}

const base64 = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** For a broker that takes the tokens of `issuer`, and an administrator of it. */
export function wrongTokens(issuer: JwtIssuer, admin: () => Promise<Admin>): readonly WrongToken[] {
  const keyFor = async (ttlMs?: number): Promise<{ token: string; tokenId: string }> =>
    (await admin()).createToken({ principal: 'User:a', ...(ttlMs === undefined ? {} : { ttlMs }) })
  const secret = 'b'.repeat(43)
  return [
    { name: 'another admin token', make: () => `lla_${'a'.repeat(43)}` },
    {
      name: 'an API key that nobody made',
      make: () => formatApiKey({ id: 'a'.repeat(16), secret }),
    },
    {
      name: 'an API key with another secret',
      make: async () => formatApiKey({ id: (await keyFor()).tokenId, secret }),
    },
    { name: 'an API key of another form', make: () => 'llk_short' },
    {
      name: 'an API key that was revoked',
      make: async () => {
        const { token, tokenId } = await keyFor()
        await (await admin()).revokeToken(tokenId)
        return token
      },
    },
    {
      name: 'an API key that has expired',
      make: async () => {
        const { token } = await keyFor(1)
        const later = Date.now() + 5
        while (Date.now() < later) await new Promise(resolve => setImmediate(resolve))
        return token
      },
    },
    { name: 'a JWT that has expired', make: () => issuer.token({ expiresIn: -1 }) },
    {
      name: 'a JWT of another issuer',
      make: () => issuer.token({ issuer: 'https://other.example' }),
    },
    { name: 'a JWT for another audience', make: () => issuer.token({ audience: 'another app' }) },
    { name: 'a JWT without a name', make: () => issuer.token({ subject: '' }) },
    { name: 'a JWT that says it is everybody', make: () => issuer.token({ subject: '*' }) },
    {
      name: 'a JWT signed by somebody else',
      make: async () => {
        const other = await JwtIssuer.start()
        const token = await other.token()
        await other.close()
        return token
      },
    },
    {
      name: 'a JWT with alg none',
      make: async () => `${base64({ alg: 'none' })}.${(await issuer.token()).split('.')[1]}.`,
    },
    {
      name: 'a JWT signed HS256 with the public key',
      make: async () => {
        const [key] = issuer.keySet.keys
        const payload = (await issuer.token()).split('.')[1]
        const head = `${base64({ alg: 'HS256', kid: key?.kid })}.${payload}`
        const mac = createHmac('sha256', JSON.stringify(key)).update(head).digest('base64url')
        return `${head}.${mac}`
      },
    },
    {
      name: 'a JWT with a changed claim',
      make: async () => {
        const [head, payload = '', signature] = (await issuer.token()).split('.')
        const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object
        return `${head}.${base64({ ...claims, sub: 'admin' })}.${signature}`
      },
    },
    {
      name: 'a scoped token that nobody minted',
      make: () => `llt_${base64({ p: 'User:admin', s: true, e: 9e15, g: [] })}.${base64('x')}`,
    },
    { name: 'something else', make: () => 'password' },
    { name: '8193 characters', make: () => 'x'.repeat(8193) },
  ]
}
