// A stolen admin token is replaced by deleting its file. Whoever had it must not go on with what was minted with it.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { RawClient } from '../gateway/raw-client.ts'
import { SecureBroker } from './secure-broker.ts'

let broker: SecureBroker

afterEach(() => broker.close())

async function hello(token: string): Promise<RawClient> {
  const raw = await RawClient.dial(broker.url)
  await raw.call('hello', { protocol: 1, client: 'rotation', auth: { token } })
  return raw
}

async function minted(by: string): Promise<string> {
  const raw = await hello(by)
  const grants = [{ resource: 'cluster', pattern: 'literal', name: '*', operations: ['alter'] }]
  const { token } = await raw.call('mintToken', { grants, ttlMs: 86_400_000 })
  raw.ws.terminate()
  return String(token)
}

it('what was minted with an admin token goes on over a restart, and ends with it', async () => {
  broker = await SecureBroker.start({ drainMs: 100, loglet: 'file' })
  const token = await minted(broker.adminToken)
  const again = await minted(token)
  await broker.running?.close()
  await broker.start({ drainMs: 100, loglet: 'file' })
  for (const each of [token, again]) (await hello(each)).ws.terminate()
  await broker.running?.close()
  rmSync(join(broker.root, 'data', 'admin.token'))
  await broker.start({ drainMs: 100, loglet: 'file' })
  for (const each of [token, again])
    await expect(hello(each)).rejects.toMatchObject({ code: 'AUTHENTICATION_FAILED' })
  ;(await hello(await minted(broker.adminToken))).ws.terminate()
})
