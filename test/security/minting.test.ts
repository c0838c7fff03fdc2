// How long minted tokens may live is for the operator to say, and whether there are any (docs/limits.md: mintedTokenLifetimeMaxMs).

import { afterEach, expect, it } from 'vitest'
import { RawClient } from '../gateway/raw-client.ts'
import { SecureBroker } from './secure-broker.ts'

const grants = [{ resource: 'topic', pattern: 'literal', name: 'x', operations: ['read'] }] as const
const running: SecureBroker[] = []

afterEach(async () => {
  for (const broker of running.splice(0)) await broker.close()
})

async function start(mintedTokenLifetimeMaxMs: number): Promise<SecureBroker> {
  const broker = await SecureBroker.start({ mintedTokenLifetimeMaxMs })
  running.push(broker)
  return broker
}

it('a token lives as long as the operator lets it, also when nobody says how long', async () => {
  const broker = await start(60_000)
  const admin = (await broker.connect()).admin()
  const before = Date.now()
  const { expiresAt } = await admin.mintToken({ grants })
  expect(expiresAt).toBeGreaterThanOrEqual(before + 60_000)
  expect(expiresAt).toBeLessThanOrEqual(Date.now() + 60_000)
  await expect(admin.mintToken({ grants, ttlMs: 60_001 })).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
    retriable: false,
    message: expect.stringContaining('mintedTokenLifetimeMaxMs'),
    details: { limit: 60_000, actual: 60_001 },
  })
})

it('switched off, none is made, and the refusal says what to do', async () => {
  const broker = await start(0)
  const admin = (await broker.connect()).admin()
  for (const ttlMs of [1, 60_000])
    await expect(admin.mintToken({ grants, ttlMs })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      retriable: false,
      hint: expect.stringContaining('mintedTokenLifetimeMaxMs'),
      details: { limit: 0, actual: ttlMs },
    })
})

it('switched off, none is taken that was made before, and API keys go on', async () => {
  const broker = await start(86_400_000)
  const admin = (await broker.connect()).admin()
  const { token } = await admin.mintToken({ grants })
  await broker.running?.close()
  await broker.start({ loglet: 'file', mintedTokenLifetimeMaxMs: 0 })
  const page = await RawClient.dial(broker.url)
  expect(await page.refusal('hello', { protocol: 1, client: 't', auth: { token } })).toMatchObject({
    code: 'AUTHENTICATION_FAILED',
  })
  expect((await page.closed).code).toBe(1008)
  expect(broker.logged.join('\n')).toContain('mintedTokenLifetimeMaxMs is 0')
  expect(broker.logged.join('\n')).not.toContain(token)
  const key = await (await broker.connect()).admin().createToken({ principal: 'User:alice' })
  const alice = await RawClient.dial(broker.url)
  await alice.call('hello', { protocol: 1, client: 't', auth: { token: key.token } })
  await alice.close()
})
