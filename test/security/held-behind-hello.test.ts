// While it is found out who said hello nothing more of them is read, also when the turn was over meanwhile; once it is known, reading goes on by itself.

import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Connection } from '../../broker/gateway/connection.ts'
import { isTurnOver } from '../../broker/gateway/turn.ts'
import { Authenticator } from '../../broker/security/authenticator.ts'
import { RawClient } from '../gateway/raw-client.ts'
import { SecureBroker } from './secure-broker.ts'

let broker: SecureBroker
/** Lets the check of the hello end. */
let release: () => void
let asked: Promise<void>

beforeEach(async () => {
  broker = await SecureBroker.start({ drainMs: 100 })
  // The sweep would mend, half a second later, what stays paused.
  vi.spyOn(Connection.prototype, 'checkOutput').mockImplementation(() => {})
  asked = new Promise(isAsked => {
    const spy = vi.spyOn(Authenticator.prototype, 'authenticate')
    spy.mockImplementation(async function (this: Authenticator, ...args) {
      while (!isTurnOver());
      const released = new Promise<void>(resolve => {
        release = resolve
      })
      isAsked()
      await released
      spy.mockRestore()
      return this.authenticate(...args)
    })
  })
})

afterEach(async () => {
  vi.restoreAllMocks()
  await broker.close()
})

const rounds = async (): Promise<void> => {
  for (let i = 0; i < 50; i++) await new Promise(setImmediate)
}

const hello = (): Record<string, unknown> => ({
  protocol: 1,
  client: 'hasty',
  auth: { token: broker.adminToken },
})

it('more than may wait, sent piece by piece, stays in the socket', async () => {
  const client = await RawClient.dial(broker.url)
  const replies = [client.request('hello', hello())]
  await asked
  await rounds()
  for (let piece = 0; piece < 20; piece++) {
    replies.push(
      ...client.inOnePiece(() => Array.from({ length: 10 }, () => client.request('ping'))),
    )
    await rounds()
  }
  release()
  expect((await Promise.all(replies)).filter(reply => reply['error'] !== undefined)).toEqual([])
  expect(client.answered).toEqual(Array.from({ length: 201 }, (_, i) => i + 1))
  await client.close()
})

it('what comes after it is known is read without anything else happening', async () => {
  const client = await RawClient.dial(broker.url)
  const greeting = client.request('hello', hello())
  await asked
  await rounds()
  release()
  expect((await greeting)['error']).toBeUndefined()
  await rounds()
  expect((await client.request('ping'))['error']).toBeUndefined()
  await client.close()
})
