// Nothing secret anywhere but where it belongs: a broker that logs everything, clients of every kind, right and wrong; then every text that came
// out of it, and every file that it wrote, is searched for every secret.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { RawClient } from '../gateway/raw-client.ts'
import { run, start, temporaryDirectory } from '../cli/cli-process.ts'
import { JwtIssuer } from './jwt-issuer.ts'

it('no token, key or secret is in a log, an answer, an output or a file', async () => {
  const directory = temporaryDirectory()
  const data = join(directory, 'data')
  const issuer = await JwtIssuer.start()
  const { url: keys, name, audience } = issuer
  const flags = `--authentication required --port 0 --log-level trace --jwt-jwks-url ${keys} --jwt-issuer ${name} --jwt-audience ${audience}`
  const broker = start(['start', '--data', data, ...flags.split(' ')])
  await broker.until(stdout => stdout.includes('ready'))
  const url = /ready (\S+)/.exec(broker.stdout())?.[1] ?? ''
  const http = url.replace('ws:', 'http:')
  const tokenFile = join(data, 'admin.token')
  const adminToken = readFileSync(tokenFile, 'utf8').trim()
  const signingKey = readFileSync(join(data, 'token.key'), 'utf8').trim()
  const texts: string[] = []
  const secrets = [adminToken, signingKey]

  /** Runs a command as somebody; all that it prints is searched later unless it is what was asked for. */
  const cli = async (token: string, args: readonly string[], isSecret = false): Promise<string> => {
    const env = { LOGLOOM_URL: url, LOGLOOM_TOKEN: token }
    const { stdout, stderr } = await run(args, { env, input: 'a value\n' })
    texts.push(stderr, ...(isSecret ? [] : [stdout]))
    return stdout.trim()
  }
  const mintArgs = ['token', 'mint', '--topic', 'chat', '--operation', 'read']
  const key = await cli(adminToken, ['token', 'create', '--principal', 'User:alice'], true)
  const minted = await cli(key, mintArgs, true)
  const jwt = await issuer.token({ subject: 'bob' })
  const wrong = [
    `${key.slice(0, -1)}x`,
    `${minted.slice(0, -2)}xx`,
    `${jwt.slice(0, -2)}xx`,
    'sesame-open-up',
  ]
  expect([key, minted]).toEqual([expect.stringMatching(/^llk_/), expect.stringMatching(/^llt_/)])
  secrets.push(key.split('_').slice(2).join('_'), minted, jwt, ...wrong)

  for (const token of [adminToken, key, minted, jwt, ...wrong]) {
    if (token !== wrong[1]) await cli(token, ['topic', 'list'])
    const client = await RawClient.dial(url)
    const hello = { protocol: 1, client: 'raw', auth: { token } }
    const greeting = await client.request('hello', hello)
    texts.push(JSON.stringify(greeting))
    const isIn = greeting['error'] === undefined
    for (const [op, fields] of [
      ['describeBroker', {}],
      ['listConnections', {}],
      ['listTokens', {}],
      ['health', {}],
      ['authenticate', { auth: { token: wrong[0] } }],
      ['nonsense', { auth: { token } }],
    ] as const)
      if (isIn) texts.push(JSON.stringify(await client.request(op, fields)))
    client.ws.terminate()
    texts.push(JSON.stringify(await client.closed))
    // Each failure is answered later than the one before: one of these is enough.
    const paths = isIn || token === wrong[0] ? ['/health', '/metrics', '/'] : []
    for (const path of [...paths, `/?token=${token}`, `/console/${token}`]) {
      const response = await fetch(http + path, { headers: { authorization: `Bearer ${token}` } })
      texts.push(JSON.stringify([...response.headers]), await response.text())
    }
    const protocol = `logloom.auth.${Buffer.from(token).toString('base64url')}`
    secrets.push(protocol)
    const ws = new WebSocket(url, ['logloom', protocol])
    ws.on('upgrade', response => texts.push(JSON.stringify(response.headers)))
    await new Promise(resolve => ws.once('open', resolve))
    ws.terminate()
  }
  await cli(key, ['produce', 'chat'])
  await cli(adminToken, ['token', 'list'])
  await cli(adminToken, ['health'])
  await cli(adminToken, ['token', 'revoke', key.split('_')[1] ?? ''])
  await cli(key, ['topic', 'list'])
  broker.child.kill('SIGTERM')
  const { stdout, stderr } = await broker.exited
  texts.push(stdout, stderr)
  await issuer.close()

  expect(stderr).toContain('authentication failed')
  const leaks = (text: string): readonly string[] => secrets.filter(secret => text.includes(secret))
  for (const text of texts) expect(leaks(text), text.slice(0, 300)).toEqual([])
  const files = readdirSync(data, { recursive: true, withFileTypes: true })
    .filter(file => file.isFile() && !['admin.token', 'token.key'].includes(file.name))
    .map(file => join(file.parentPath, file.name))
  expect(files.length).toBeGreaterThan(4)
  for (const file of files) expect(leaks(readFileSync(file, 'latin1')), file).toEqual([])
}, 120_000)
