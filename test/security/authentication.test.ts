// Who gets in: every kind of token, right and wrong, at every door (protocol.md 12.1; docs/reliability.md, row 22).

import { chmodSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type Admin, connect } from '../../client/index.ts'
import { RawClient } from '../gateway/raw-client.ts'
import { JwtIssuer } from './jwt-issuer.ts'
import { SecureBroker } from './secure-broker.ts'
import { wrongTokens } from './wrong-tokens.ts'

const base64 = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const soon = { timeout: 10_000 }

let issuer: JwtIssuer
let broker: SecureBroker

beforeAll(async () => {
  issuer = await JwtIssuer.start()
  broker = await SecureBroker.start({
    jwtJwksUrl: issuer.url,
    jwtIssuer: issuer.name,
    jwtAudience: [issuer.audience],
    jwtClockToleranceMs: 0,
  })
})

afterAll(async () => {
  await broker.close()
  await issuer.close()
})

/** An API key of somebody. */
async function keyFor(
  principal: string,
  ttlMs?: number,
): Promise<{ token: string; tokenId: string }> {
  const admin = (await broker.connect()).admin()
  return admin.createToken({ principal, ...(ttlMs === undefined ? {} : { ttlMs }) })
}

async function helloWith(token: string | undefined): Promise<{ reply: unknown; code?: number }> {
  const client = await RawClient.dial(broker.url)
  const reply = await client.request('hello', {
    protocol: 1,
    client: 'test',
    ...(token === undefined ? {} : { auth: { token } }),
  })
  if (reply['error'] === undefined) {
    await client.close()
    return { reply }
  }
  return { reply: reply['error'], code: (await client.closed).code }
}

describe('a right token', () => {
  const cases: readonly (readonly [string, () => Promise<string> | string, string])[] = [
    ['the admin token', () => broker.adminToken, 'User:admin'],
    ['an API key', async () => (await keyFor('User:alice')).token, 'User:alice'],
    ['a JWT', () => issuer.token({ subject: 'carol@example.org' }), 'User:carol@example.org'],
    [
      'a scoped token',
      async () => {
        const client = await broker.connect((await keyFor('User:bob')).token)
        const grants = [
          { resource: 'topic', pattern: 'literal', name: 'chat', operations: ['read'] },
        ] as const
        return (await client.admin().mintToken({ grants })).token
      },
      'User:bob',
    ],
  ]
  it.each(cases)('%s says who it is', async (_name, make, principal) => {
    const { reply } = await helloWith(await make())
    expect(reply).toMatchObject({ auth: { principal } })
  })

  it('may come in the subprotocol, and is not sent back', async () => {
    const { token } = await keyFor('User:alice')
    const ws = new WebSocket(broker.url, ['logloom', `logloom.auth.${base64(token)}`])
    await new Promise(resolve => ws.once('open', resolve))
    expect(ws.protocol).toBe('logloom')
    ws.terminate()
  })

  it('ends when it says so, at the broker by wall clock', async () => {
    const { reply } = await helloWith(await issuer.token({ expiresIn: 60 }))
    const { expiresInMs } = (reply as { auth: { expiresInMs: number } }).auth
    expect(expiresInMs).toBeGreaterThan(50_000)
    expect(expiresInMs).toBeLessThanOrEqual(60_000)
  })
})

describe('without a right token', () => {
  const admin = async (): Promise<Admin> => (await broker.connect()).admin()
  const names = wrongTokens(issuer, admin).map(({ name }) => name)
  const cases: readonly (readonly [
    string,
    () => Promise<string | undefined> | string | undefined,
  ])[] = [
    ['no token', () => undefined],
    ['an empty token', () => ''],
    ...names.map((name, i) => [name, () => wrongTokens(issuer, admin)[i]?.make()] as const),
  ]

  it.each(cases)('%s is refused, with the same words', async (_name, make) => {
    const token = await make()
    const { reply, code } = await helloWith(token)
    expect(code).toBe(1008)
    const isMissing = token === undefined || token === ''
    expect(reply).toMatchObject(
      isMissing
        ? { code: 'AUTHENTICATION_REQUIRED', retriable: false }
        : {
            code: 'AUTHENTICATION_FAILED',
            message: 'the token was not accepted',
            retriable: false,
          },
    )
  })

  it('the SDK ends with the error and does not try for ever', async () => {
    await expect(connect(broker.url, { token: 'nonsense' })).rejects.toMatchObject({
      code: 'AUTHENTICATION_FAILED',
    })
    await expect(connect(broker.url)).rejects.toMatchObject({ code: 'AUTHENTICATION_REQUIRED' })
    const asked: number[] = []
    const token = (): string => {
      asked.push(1)
      return 'nonsense'
    }
    await expect(connect(broker.url, { token })).rejects.toMatchObject({
      code: 'AUTHENTICATION_FAILED',
    })
    expect(asked).toHaveLength(2)
  })

  it('an operation before the hello is refused', async () => {
    const client = await RawClient.dial(broker.url)
    expect(await client.refusal('listTopics')).toMatchObject({ code: 'HELLO_REQUIRED' })
    expect((await client.closed).code).toBe(1008)
  })

  it('a large first frame is not even decoded', async () => {
    const client = await RawClient.dial(broker.url)
    client.send({ op: 'hello', id: 1, protocol: 1, client: 'x'.repeat(70_000) })
    expect((await client.closed).reason).toMatch(/^BAD_FRAME.*helloBytesMax/)
  })

  it('what comes right behind the hello waits for its answer', async () => {
    const client = await RawClient.dial(broker.url)
    const auth = { token: (await keyFor('User:alice')).token }
    const [hello, ping] = await Promise.all(
      client.inOnePiece(() => [
        client.request('hello', { protocol: 1, client: 't', auth }),
        client.request('ping'),
      ]),
    )
    expect([hello?.['error'], ping?.['error']]).toEqual([undefined, undefined])
    await client.close()
  })
})

describe('a URL with a token', () => {
  it.each([
    '/?token=abc',
    '/?access_token=abc',
    '/?a=1&api_key=x',
    '/?x=llk_abc',
    '/metrics?Authorization=Bearer',
    '/llt_abc',
  ])('%s is refused', async path => {
    const url = broker.httpUrl + path
    const response = await fetch(url)
    expect(response.status).toBe(400)
    expect(await response.text()).toContain('TOKEN_IN_URL')
    await expect(connect(broker.url + path, { token: broker.adminToken })).rejects.toMatchObject({
      code: /\?(token|access_token|metrics)|Auth/.test(path) ? 'INVALID_REQUEST' : 'TOKEN_IN_URL',
    })
  })

  it('is not repeated in the error of the SDK', async () => {
    const error = await connect('ws://alice:sesame@127.0.0.1:1').catch((e: unknown) => e)
    expect(String(error)).not.toContain('sesame')
  })
})

describe('HTTP', () => {
  const get = (path: string, token?: string): Promise<Response> =>
    fetch(broker.httpUrl + path, {
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    })

  it('/metrics asks for a token', async () => {
    const stranger = await get('/metrics')
    expect([stranger.status, stranger.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    expect((await get('/metrics', 'wrong')).status).toBe(401)
    const page = await get('/metrics', broker.adminToken)
    expect(page.status).toBe(200)
    expect(await page.text()).toMatch(/logloom_auth_failures_total\{mechanism="api-key"\} [1-9]/)
  })

  it('/health tells strangers the status and nothing else', async () => {
    const status = { status: expect.stringMatching(/^(ok|degraded)$/) as string }
    expect(await (await get('/health')).json()).toEqual(status)
    expect(await (await get('/health', 'wrong')).json()).toEqual(status)
    expect(await (await get('/health', broker.adminToken)).json()).toHaveProperty('tail')
    expect(await (await get('/')).text()).not.toContain('tail')
  })

  it('the files of the console are open, an upgrade from another origin is not', async () => {
    expect((await get('/console/')).status).not.toBe(401)
    const upgrade = RawClient.dial(broker.url, { origin: 'https://evil.example' })
    await expect(upgrade).rejects.toThrow(/403/)
  })
})

describe('the admin token', () => {
  it('is a file that only its owner can read', () => {
    const { mode } = statSync(join(broker.root, 'data', 'admin.token'))
    expect(mode & 0o777).toBe(0o600)
    expect(broker.adminToken).toMatch(/^lla_[A-Za-z0-9_-]{43}$/)
  })

  it('is not taken from a file that others can read', async () => {
    const other = new SecureBroker()
    const file = join(other.root, 'token')
    writeFileSync(file, `lla_${'a'.repeat(43)}\n`)
    chmodSync(file, 0o644)
    await expect(other.start({ adminTokenFile: file })).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('644'),
    })
    chmodSync(file, 0o600)
    await other.start({ adminTokenFile: file })
    await other.close()
  })
})

describe('a revoked API key', () => {
  it('ends its connections, and those of what was minted with it, at once', async () => {
    const { token, tokenId } = await keyFor('User:dora')
    const client = await RawClient.dial(broker.url)
    await client.call('hello', { protocol: 1, client: 't', auth: { token } })
    const minted = await client.call('mintToken', {
      grants: [{ resource: 'topic', pattern: 'literal', name: 'x', operations: ['read'] }],
    })
    const page = await RawClient.dial(broker.url)
    await page.call('hello', { protocol: 1, client: 't', auth: { token: minted['token'] } })
    await (await broker.connect()).admin().revokeToken(tokenId)
    expect([(await client.closed).code, (await page.closed).code]).toEqual([3005, 3005])
    expect((await helloWith(minted['token'] as string)).reply).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
    })
  })
})

describe('a JWT with a scope', () => {
  it('may do at most what its claim says, and nothing without the claim', async () => {
    const other = await SecureBroker.start({
      jwtJwksUrl: issuer.url,
      jwtIssuer: issuer.name,
      jwtAudience: [issuer.audience],
      jwtScopeClaim: 'scope',
      superUsers: ['User:alice'],
    })
    const may = async (op: string, fields: object, scope?: string): Promise<unknown> => {
      const client = await RawClient.dial(other.url)
      const claims = scope === undefined ? {} : { scope }
      const auth = { token: await issuer.token({ claims }) }
      await client.call('hello', { protocol: 1, client: 't', auth })
      const reply = await client.request(op, { ...fields })
      await client.close()
      return (reply['error'] as { code?: string } | undefined)?.code
    }
    const write = { records: [{ topic: 'chat-1', value: 'x' }] }
    const scope = 'openid topic:chat-*:create,write email'
    expect(await may('publish', write, scope)).toBeUndefined()
    expect(await may('publish', { records: [{ topic: 'other', value: 'x' }] }, scope)).toBe(
      'AUTHORIZATION_FAILED',
    )
    expect(await may('publish', write)).toBe('AUTHORIZATION_FAILED')
    const grants = [{ resource: 'topic', pattern: 'literal', name: 'other', operations: ['write'] }]
    expect(await may('mintToken', { grants }, scope)).toBe('AUTHORIZATION_FAILED')
    await other.close()
  })

  it('is named in an audit line with its issuer', async () => {
    const other = await SecureBroker.start({
      jwtJwksUrl: issuer.url,
      jwtIssuer: issuer.name,
      jwtAudience: [issuer.audience],
      superUsers: ['User:alice'],
    })
    const token = await issuer.token({ subject: 'alice' })
    await (await other.connect(token)).admin().createTopic({ topic: 'by-jwt' })
    expect(other.logged.find(line => line.includes('by-jwt'))).toContain(
      `"principal":"User:alice","mechanism":"jwt","issuer":"${issuer.name}"`,
    )
    expect(other.logged.join('\n')).not.toContain(token)
    await other.close()
  })
})

describe('authenticate', () => {
  it('takes another token of the same principal, and no other', async () => {
    const client = await RawClient.dial(broker.url)
    const auth = { token: await issuer.token({ subject: 'erin', expiresIn: 30 }) }
    await client.call('hello', { protocol: 1, client: 't', auth })
    const longer = { token: await issuer.token({ subject: 'erin', expiresIn: 300 }) }
    const reply = await client.call('authenticate', { auth: longer })
    expect(reply).toMatchObject({ principal: 'User:erin' })
    expect(reply['expiresInMs']).toBeGreaterThan(200_000)
    const other = { token: await issuer.token({ subject: 'mallory' }) }
    expect(await client.refusal('authenticate', { auth: other })).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
    })
    await client.call('ping')
    await client.close()
  })

  it('is not a way to try many tokens', async () => {
    const client = await RawClient.dial(broker.url)
    await client.call('hello', { protocol: 1, client: 't', auth: { token: broker.adminToken } })
    for (let i = 0; i < 5; i++)
      client.send({ op: 'authenticate', id: 100 + i, auth: { token: 'x' } })
    expect((await client.closed).code).toBe(1008)
  })
})

describe('a token that expires', () => {
  it('ends its connection with 3005', async () => {
    const client = await RawClient.dial(broker.url)
    const auth = { token: await issuer.token({ expiresIn: 2 }) }
    await client.call('hello', { protocol: 1, client: 't', auth })
    expect((await client.closed).code).toBe(3005)
  })

  it('is renewed in time by the SDK: a subscription goes on over the same connection', async () => {
    const asked = { times: 0 }
    const token = (): Promise<string> => {
      asked.times++
      return issuer.token({ subject: 'fay', expiresIn: 6 })
    }
    const right = { principal: 'User:fay', resource: 'topic', name: 'renewed' } as const
    await (await broker.connect())
      .admin()
      .createAcls((['create', 'read', 'write'] as const).map(op => ({ ...right, operation: op })))
    const client = await connect(broker.url, { token })
    const states: string[] = []
    void (async () => {
      for await (const status of client.status()) states.push(status.type)
    })()
    const producer = client.producer({ lingerMs: 0 })
    const values: unknown[] = []
    const reading = (async () => {
      await client.admin().createTopic({ topic: 'renewed' }, { ifNotExists: true })
      for await (const { value } of client.read('renewed', { from: 'beginning' })) {
        values.push(value)
        if (asked.times >= 3) return
      }
    })()
    while (asked.times < 3) await producer.send('renewed', { value: 'x' })
    await producer.send('renewed', { value: 'last' })
    await reading
    expect(states.filter(state => state === 'recovering')).toEqual([])
    await client.close()
  })

  it('and cannot be renewed ends the client with the error', async () => {
    const token = await issuer.token({ expiresIn: 2 })
    const client = await connect(broker.url, { token })
    for await (const status of client.status())
      if (status.type === 'closed') expect(status.error?.code).toBe('AUTHENTICATION_FAILED')
    await client.close()
  })
})

describe('the keys of the issuer', () => {
  it('are asked for again when one is unknown, but not by everybody who invents one', async () => {
    const before = issuer.asked
    const other = await JwtIssuer.start()
    for (let i = 0; i < 4; i++) await helloWith(await other.token())
    await other.close()
    expect(issuer.asked - before).toBeLessThanOrEqual(1)
  })

  it('that cannot be had end nothing: the refusal may be tried again', async () => {
    const down = await JwtIssuer.start()
    down.isDown = true
    const other = await SecureBroker.start({
      jwtJwksUrl: down.url,
      jwtIssuer: down.name,
      jwtAudience: [down.audience],
    })
    const client = await RawClient.dial(other.url)
    const auth = { token: await down.token() }
    expect(await client.refusal('hello', { protocol: 1, client: 't', auth })).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
      retriable: true,
    })
    // The SDK goes on trying, and gets in once the issuer answers.
    const connecting = connect(other.url, { token: () => down.token() })
    down.isDown = false
    await (await connecting).close()
    await other.close()
    await down.close()
  })
})

describe('logs', () => {
  it('say why somebody was not let in, and hold no token', async () => {
    const secrets = [broker.adminToken, (await keyFor('User:alice')).token, await issuer.token()]
    for (const secret of secrets) await helloWith(`${secret.slice(0, -2)}xx`)
    const text = broker.logged.join('\n')
    await expect.poll(() => text, soon).toContain('authentication failed')
    for (const secret of secrets) expect(text).not.toContain(secret.slice(-30, -2))
  })
})
