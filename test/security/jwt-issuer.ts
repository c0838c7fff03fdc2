// An issuer of JSON Web Tokens with keys of its own, and a server for them that counts how often it is asked.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

type SigningKey = Awaited<ReturnType<typeof generateKeyPair>>['privateKey']

export interface TokenWishes {
  readonly issuer?: string
  readonly audience?: string
  readonly subject?: string
  /** Seconds from now. */
  readonly expiresIn?: number
  readonly claims?: Record<string, unknown>
}

export class JwtIssuer {
  readonly name = 'https://issuer.example'
  readonly audience = 'logloom'
  asked = 0
  /** Answers with 503. */
  isDown = false
  private readonly server: Server
  private keys: {
    readonly id: string
    readonly publicJwk: JWK
    readonly privateKey: SigningKey
  }[] = []

  private constructor() {
    this.server = createServer((_request, response) => {
      this.asked++
      response.writeHead(this.isDown ? 503 : 200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(this.keySet))
    })
  }

  static async start(): Promise<JwtIssuer> {
    const issuer = new JwtIssuer()
    await issuer.rotate()
    await new Promise<void>(resolve => {
      issuer.server.listen(0, '127.0.0.1', resolve)
    })
    return issuer
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/jwks.json`
  }

  get keySet(): { keys: JWK[] } {
    return { keys: this.keys.map(({ publicJwk }) => publicJwk) }
  }

  /** In place of the keys so far. */
  async rotate(): Promise<void> {
    const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true })
    const id = `key-${this.keys.length}-${Math.random()}`
    const publicJwk = { ...(await exportJWK(publicKey)), kid: id, alg: 'RS256' }
    this.keys = [{ id, publicJwk, privateKey }]
  }

  token({
    issuer,
    audience,
    subject,
    expiresIn = 60,
    claims = {},
  }: TokenWishes = {}): Promise<string> {
    const key = this.keys[0]
    if (key === undefined) throw new Error('no key')
    const token = new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: key.id })
      .setIssuer(issuer ?? this.name)
      .setAudience(audience ?? this.audience)
      .setSubject(subject ?? 'alice')
      .setExpirationTime(Math.floor(Date.now() / 1000) + expiresIn)
    return token.sign(key.privateKey)
  }

  async close(): Promise<void> {
    this.server.closeAllConnections()
    await new Promise(resolve => {
      this.server.close(resolve)
    })
  }
}
