// Requests with a wrong token are answered late. Whoever sends many on one connection without waiting must not make the broker hold them all.

import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { pipelinedRequestsMax } from '../../broker/gateway/pipelining.ts'
import { SecureBroker } from './secure-broker.ts'

let broker: SecureBroker
let port = 0

beforeAll(async () => {
  broker = await SecureBroker.start({ drainMs: 100 })
  port = Number(new URL(broker.url).port)
})

afterAll(() => broker.close())

const request = (path: string, token: string): string =>
  `GET ${path} HTTP/1.1\r\nhost: localhost:${port}\r\nauthorization: Bearer ${token}\r\n\r\n`

/** What the broker answered until the connection ended, or to `enough` requests. */
async function answers(text: string, enough: number): Promise<number[]> {
  const socket: Socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  let received = ''
  const statuses = (): number[] =>
    [...received.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status))
  const over = new Promise<void>(resolve => {
    socket.on('close', () => resolve())
    socket.on('data', bytes => {
      received += bytes.toString('latin1')
      if (statuses().length >= enough) resolve()
    })
  })
  socket.write(text)
  await over
  socket.destroy()
  return statuses()
}

const wrong = `llk_${'a'.repeat(16)}_${'b'.repeat(43)}`

it.each(['/metrics', '/health'])('a flood of %s on one connection is cut', async path => {
  const failed = async (): Promise<number> => {
    const text = await (
      await fetch(`${broker.httpUrl}/metrics`, {
        headers: { authorization: `Bearer ${broker.adminToken}` },
      })
    ).text()
    return Number(/^logloom_auth_failures_total\{[^}]*api-key[^}]*\} (\d+)/m.exec(text)?.[1] ?? 0)
  }
  const before = await failed()
  expect((await answers(request(path, wrong).repeat(5000), 5000)).length).toBeLessThan(5000)
  expect((await failed()) - before).toBeLessThanOrEqual(pipelinedRequestsMax)
})

it('a few that come together are all answered, in turn', async () => {
  const text = request('/metrics', wrong) + request('/metrics', broker.adminToken).repeat(3)
  expect(await answers(text, 4)).toEqual([401, 200, 200, 200])
})
