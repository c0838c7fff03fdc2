// Row 22, the half about who gets in: every wrong token at every door of a broker, tokens in URLs, pages of other origins; then everything that the
// broker logged and answered is searched for the tokens. The other half, what each principal may do, is the ACL matrix (test/security/).

import { WebSocket } from 'ws'
import { RawClient } from '../gateway/raw-client.ts'
import { JwtIssuer } from '../security/jwt-issuer.ts'
import { SecureBroker } from '../security/secure-broker.ts'
import { wrongTokens } from '../security/wrong-tokens.ts'
import { type Suite, suiteMain, type SuiteResult } from './suite.ts'

/** Whether somebody was let in, and all that was answered. */
interface Outcome {
  readonly letIn: boolean
  readonly heard: string
}

const foreignOrigins = [
  'https://evil.example',
  'null',
  'http://localhost.evil.example',
  'file://',
  'https://127.0.0.1.evil.example',
]
const queries = (token: string): readonly string[] => [
  `/?token=${token}`,
  `/?access_token=${token}`,
  `/?a=b&api_key=${token}`,
  `/metrics?authorization=${token}`,
]

export const run: Suite = async ({ form, seed }): Promise<SuiteResult> => {
  const startedMs = performance.now()
  const issuer = await JwtIssuer.start()
  const broker = await SecureBroker.start({
    jwtJwksUrl: issuer.url,
    jwtIssuer: issuer.name,
    jwtAudience: [issuer.audience],
    jwtClockToleranceMs: 0,
  })
  const counts = { attempted: 0, refused: 0, letIn: 0, leaks: 0 }
  const heard: string[] = []
  const secrets = new Set([broker.adminToken])
  const note = ({ letIn, heard: text }: Outcome): void => {
    counts.attempted++
    counts[letIn ? 'letIn' : 'refused']++
    heard.push(text)
  }
  const wrong = wrongTokens(issuer, async () => (await broker.connect()).admin())
  for (let round = 0; round < (form === 'short' ? 1 : 10); round++) {
    const attempts = wrong.map(async ({ make }) => {
      const token = await make()
      secrets.add(token)
      const doors = [byHello, bySubprotocol, byHttp].map(async door =>
        note(await door(broker, token)),
      )
      await Promise.all(doors)
    })
    await Promise.all(attempts)
    for (const origin of foreignOrigins) note(await byOrigin(broker, origin))
    for (const path of queries(broker.adminToken)) note(await byUrl(broker, path))
    note(await byHello(broker, undefined))
    note(await byAuthenticate(broker, await issuer.token({ subject: 'mallory' })))
  }
  // The same doors, with a token that is right: a suite that could not get in would prove nothing.
  const right = [await byHello(broker, broker.adminToken), await byHttp(broker, broker.adminToken)]
  const everything = [...heard, ...broker.logged].join('\n')
  for (const secret of secrets)
    if (secret.length > 20 && everything.includes(secret)) counts.leaks++
  await broker.close()
  await issuer.close()
  const canGetIn = right.every(({ letIn }) => letIn)
  return {
    row: 22,
    name: 'strangers',
    command: `node dist/test/reliability/strangers.js --seed ${seed}`,
    seconds: Math.round((performance.now() - startedMs) / 1000),
    counts: {
      ...counts,
      kinds: wrong.length,
      rightLetIn: right.filter(({ letIn }) => letIn).length,
    },
    figures: {},
    passed: counts.letIn === 0 && counts.leaks === 0 && counts.attempted > 60 && canGetIn,
  }
}

async function byHello({ url }: SecureBroker, token: string | undefined): Promise<Outcome> {
  const client = await RawClient.dial(url)
  return greet(client, token === undefined ? {} : { auth: { token } })
}

async function bySubprotocol({ url }: SecureBroker, token: string): Promise<Outcome> {
  const encoded = Buffer.from(token).toString('base64url')
  const ws = new WebSocket(url, ['logloom', `logloom.auth.${encoded}`])
  const opened = new Promise<boolean>(resolve => {
    ws.once('open', () => resolve(true))
    ws.once('error', () => resolve(false))
  })
  if (!(await opened)) return { letIn: false, heard: '' }
  const client = RawClient.over(ws)
  const { letIn, heard } = await greet(client, {})
  return { letIn, heard: `${ws.protocol} ${heard}` }
}

async function greet(client: RawClient, fields: Record<string, unknown>): Promise<Outcome> {
  const reply = await client
    .request('hello', { protocol: 1, client: 'stranger', ...fields })
    .catch((error: Error) => ({ error: error.message }))
  const letIn = reply['error'] === undefined
  if (letIn) await client.close()
  return { letIn, heard: JSON.stringify([reply, letIn ? '' : await client.closed]) }
}

async function byAuthenticate({ url, adminToken }: SecureBroker, token: string): Promise<Outcome> {
  const client = await RawClient.dial(url)
  await client.call('hello', { protocol: 1, client: 'stranger', auth: { token: adminToken } })
  const reply = await client.request('authenticate', { auth: { token } })
  await client.close()
  return { letIn: reply['error'] === undefined, heard: JSON.stringify(reply) }
}

function byHttp(broker: SecureBroker, token: string): Promise<Outcome> {
  return byUrl(broker, '/metrics', { authorization: `Bearer ${token}` })
}

async function byUrl(
  { httpUrl }: SecureBroker,
  path: string,
  headers: Record<string, string> = {},
): Promise<Outcome> {
  const response = await fetch(httpUrl + path, { headers })
  const heard = `${JSON.stringify([...response.headers])} ${await response.text()}`
  return { letIn: response.status === 200, heard }
}

async function byOrigin({ url, adminToken }: SecureBroker, origin: string): Promise<Outcome> {
  try {
    const client = await RawClient.dial(url, { origin })
    return await greet(client, { auth: { token: adminToken } })
  } catch (error) {
    return { letIn: false, heard: String(error) }
  }
}

await suiteMain(import.meta.url, run)
