// `logloom health`: what it asks, what it says, and its exit codes.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { freePort, linesOf, run, start, startBroker } from './cli-process.ts'

const servers: ReturnType<typeof createServer>[] = []

afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

/** Something that answers `GET /health` with this; a body that is text is sent as it is. */
async function answering(status: number, body: object | string): Promise<string> {
  const server = createServer((_, reply) => {
    reply.writeHead(status)
    reply.end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  servers.push(server)
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const degraded = { status: 'degraded', problems: ['node n2 is away'] }

describe('logloom health', () => {
  it('ends with 0 and says what it saw', async () => {
    const broker = await startBroker()
    const { code, stdout } = await broker.run(['health', '--format', 'json'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      status: 'ok',
      loglet: 'striped:2:file',
      problems: [],
    })
    expect((await broker.run(['health'])).stdout).toContain('STATUS    ok')
  })

  it('ends with 10 when nobody answers', async () => {
    const url = `ws://127.0.0.1:${await freePort()}`
    const { code, stdout } = await run(['health', '--url', url, '--format', 'json'])
    expect(code).toBe(10)
    expect(JSON.parse(stdout)).toMatchObject({ status: 'unreachable' })
  })

  it('ends with 10 when degraded, with 0 for whom serving is enough', async () => {
    const url = await answering(200, degraded)
    const plain = await run(['health', '--url', url])
    expect([plain.code, plain.stdout]).toEqual([10, expect.stringContaining('node n2 is away')])
    expect((await run(['health', '--url', url, '--serving'])).code).toBe(0)
    expect((await run(['health', '--url', url, '--serving', '--wait', '30'])).code).toBe(0)
  })

  it('ends with 10 when unavailable, whatever is enough', async () => {
    const url = await answering(503, { status: 'unavailable', problems: ['full'] })
    for (const args of [[], ['--serving']])
      expect((await run(['health', '--url', url, ...args])).code).toBe(10)
  })

  it('asks every node of a list; the worst decides', async () => {
    const broker = await startBroker()
    const away = `ws://127.0.0.1:${await freePort()}`
    const url = `${broker.url}, ${away}`
    const table = await run(['health', '--url', url])
    expect(table.code).toBe(10)
    const lines = linesOf(table.stdout)
    expect(lines).toHaveLength(3)
    expect(lines[1]).toMatch(new RegExp(`^${broker.url} +ok `))
    expect(lines[2]).toMatch(new RegExp(`^${away} +unreachable `))
    const { stdout } = await run(['health', '--url', url, '--format', 'json'])
    expect(linesOf(stdout).map(line => JSON.parse(line) as object)).toMatchObject([
      { url: broker.url, status: 'ok' },
      { url: away, status: 'unreachable' },
    ])
    expect((await run(['health', '--url', `${broker.url},${broker.url}`])).code).toBe(0)
  })

  it('waits for a broker that is about to come', async () => {
    const port = await freePort()
    const waiting = start(['health', '--wait', '50', '--url', `ws://127.0.0.1:${port}`], {
      input: '',
    })
    await startBroker({ port })
    expect((await waiting.exited).code).toBe(0)
  })

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('ends its wait at %s with %d, telling what it last saw', async (signal, code) => {
    let isAsked: () => void = () => {}
    const asked = new Promise<void>(resolve => {
      isAsked = resolve
    })
    const url = await answering(200, degraded)
    servers.at(-1)?.on('request', () => isAsked())
    const waiting = start(['health', '--wait', '500', '--url', url], { input: '' })
    await asked
    process.kill(waiting.pid, signal)
    const result = await waiting.exited
    expect([result.code, result.stdout]).toEqual([code, expect.stringContaining('STATUS')])
  })

  it('says when something else answers', async () => {
    const url = await answering(426, 'this port is for the nodes of the cluster\n')
    const { code, stdout } = await run(['health', '--url', url])
    expect(code).toBe(10)
    expect(stdout).toContain('this port is for the nodes of the cluster')
  })
})

describe('--url', () => {
  it('may begin with http, in every command', async () => {
    const broker = await startBroker()
    const url = broker.url.replace('ws:', 'http:')
    for (const args of [['health'], ['topic', 'list'], ['log', 'describe']])
      expect((await run([...args, '--url', url])).code, args.join(' ')).toBe(0)
  })

  it.each(['localhost:5640', 'ftp://localhost', 'ws://', 'ws://a,,ws://b'])(
    'is refused alike by every command when it is no address: %s',
    async url => {
      for (const args of [['health'], ['topic', 'list']]) {
        const { code, stderr } = await run([...args, '--url', url])
        expect(code, args.join(' ')).toBe(2)
        expect(stderr).toContain('use ws://HOST:5640')
      }
    },
  )
})
