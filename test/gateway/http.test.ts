// The HTTP half of the port: pages, and who may talk to it at all. Any web page can dial loopback, so foreign names and origins are refused
// before anything else happens.

import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { connect as tcpConnect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { RawClient } from './raw-client.ts'
import { httpUrl, metric, scrape } from '../metrics-page.ts'
import { untilMetric } from './scrape.ts'

interface Answer {
  readonly status: number
  readonly statusText: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A request with exactly these headers; an upgrade that is accepted resolves with 101. */
function ask(
  broker: RunningBroker,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(httpUrl(broker, path), { method, headers })
    request.on('upgrade', (response, socket) => {
      socket.destroy()
      resolve({ status: 101, statusText: '', headers: response.headers, body: '' })
    })
    request.on('response', response => {
      let body = ''
      response.on('data', chunk => {
        body += String(chunk)
      })
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          statusText: response.statusMessage ?? '',
          headers: response.headers,
          body,
        }),
      )
    })
    request.on('error', reject)
    request.end()
  })
}

const upgrade = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': Buffer.from('sixteen bytes ab').toString('base64'),
}

describe('the HTTP port', () => {
  let broker: RunningBroker

  beforeAll(async () => {
    broker = await startBroker({
      loglet: 'memory',
      port: 0,
      allowedHosts: ['logs.example', 'other.example:81'],
      allowedOrigins: ['https://console.example'],
    })
  })

  afterAll(async () => {
    await broker.close()
  })

  it('tells its health', async () => {
    const { status, headers, body } = await ask(broker, '/health')
    expect(status).toBe(200)
    expect(headers['content-type']).toBe('application/json')
    const health = JSON.parse(body) as Record<string, unknown>
    expect(health).toMatchObject({ status: 'ok', loglet: 'memory', tail: health['applied'] })
    expect(health['problems']).toEqual([expect.stringContaining('volatile')])
    expect(Object.keys(health).sort()).toEqual([
      'applied',
      'loglet',
      'problems',
      'status',
      'tail',
      'version',
    ])
  })

  it('tells what went through it', async () => {
    const client = await RawClient.connect(broker.url)
    await client.call('publish', { records: [{ topic: 'counted', value: 'v' }] })
    await client.call('publish', { records: [{ topic: 'counted', value: 'v' }] })
    await client.call('fetch', { topic: 'counted', partition: 0, from: 0 })
    await client.refusal('fetch', { topic: 'missing', partition: 0, from: 0 })
    const { status, headers } = await ask(broker, '/metrics')
    expect(status).toBe(200)
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/)
    const series: readonly (readonly [string, number])[] = [
      ['logloom_produce_records_total{topic="counted"}', 2],
      ['logloom_fetch_records_total{topic="counted"}', 2],
      ['logloom_requests_total{api="produce",code="ok"}', 2],
      ['logloom_requests_total{api="fetch",code="ok"}', 1],
      ['logloom_requests_total{api="fetch",code="UNKNOWN_TOPIC"}', 1],
      ['logloom_request_duration_seconds_count{api="fetch"}', 2],
      ['logloom_ws_connections', 1],
      ['logloom_topics', 1],
      ['logloom_log_segments{loglet_kind="memory",state="open"}', 1],
      ['logloom_log_damaged_ranges', 0],
    ]
    for (const [name, value] of series) expect(await metric(broker, name), name).toBe(value)
    await client.call('deleteTopic', { topic: 'counted' })
    expect(await scrape(broker)).not.toContain('topic="counted"')
    await client.close()
  })

  it('counts no wait of a long poll as duration', async () => {
    const client = await RawClient.connect(broker.url)
    await client.call('createTopic', { topic: 'parked' })
    const name = 'logloom_request_duration_seconds_sum{api="fetch"}'
    const before = await metric(broker, name)
    const start = performance.now()
    await client.call('fetch', { topic: 'parked', partition: 0, from: 0, maxWaitMs: 400 })
    const seconds = (performance.now() - start) / 1000
    expect((await metric(broker, name)) - before).toBeLessThan(seconds / 2)
    await client.close()
  })

  it('has a page, and nothing else', async () => {
    const page = await ask(broker, '/')
    expect(page.status).toBe(200)
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    expect(page.headers['content-security-policy']).toContain("default-src 'none'")
    expect((await ask(broker, '/../../etc/passwd')).status).toBe(404)
    expect((await ask(broker, '/health', {}, 'POST')).status).toBe(405)
  })

  const hosts: readonly (readonly [string, boolean])[] = [
    ['localhost', true],
    ['LOCALHOST:1234', true],
    ['127.0.0.1:5640', true],
    ['127.9.9.9', true],
    ['[::1]:5640', true],
    ['logs.example', true],
    ['logs.example:5640', true],
    ['other.example:81', true],
    ['other.example', false],
    ['evil.example', false],
    ['localhost.evil.example', false],
    ['127.0.0.1.evil.example', false],
    ['evil.example:80@localhost', false],
    ['10.0.0.1', false],
  ]
  it.each(hosts)('with Host %j: allowed is %s, for pages and upgrades alike', async (host, ok) => {
    for (const path of ['/health', '/metrics', '/']) {
      const answer = await ask(broker, path, { host })
      expect(answer.status, path).toBe(ok ? 200 : 421)
      if (!ok) expect(JSON.parse(answer.body)).toMatchObject({ error: { code: 'FORBIDDEN_HOST' } })
    }
    const answer = await ask(broker, '/', { ...upgrade, host })
    expect(answer.status).toBe(ok ? 101 : 421)
    if (!ok) {
      expect(answer.statusText).toBe('FORBIDDEN_HOST')
      expect(JSON.parse(answer.body)).toMatchObject({ error: { code: 'FORBIDDEN_HOST' } })
    }
  })

  const origins: readonly (readonly [string, boolean])[] = [
    ['http://localhost:3000', true],
    ['https://127.0.0.1', true],
    ['https://console.example', true],
    ['https://logs.example', true],
    ['https://console.example:8443', false],
    ['http://console.example', false],
    ['http://evil.example', false],
    ['http://localhost.evil.example', false],
    ['null', false],
    ['file://', false],
    ['nonsense', false],
  ]
  it.each(origins)('with Origin %j: allowed is %s', async (origin, ok) => {
    for (const headers of [{ origin }, { origin, ...upgrade }]) {
      const answer = await ask(broker, '/health', { host: 'logs.example', ...headers })
      expect(answer.status).toBe(ok ? ('upgrade' in headers ? 101 : 200) : 403)
      if (!ok)
        expect(JSON.parse(answer.body)).toMatchObject({ error: { code: 'FORBIDDEN_ORIGIN' } })
    }
  })

  it('counts what it refused', async () => {
    const name = 'logloom_ws_rejected_total{reason="FORBIDDEN_ORIGIN"}'
    const before = await metric(broker, name)
    await ask(broker, '/', { ...upgrade, origin: 'http://evil.example' })
    expect(await metric(broker, name)).toBe(before + 1)
  })

  /** Everything that comes back for these bytes. */
  function raw(bytes: string): Promise<string> {
    const socket = tcpConnect(broker.port, '127.0.0.1')
    socket.on('error', () => {})
    return new Promise(resolve => {
      let text = ''
      socket.on('data', chunk => {
        text += String(chunk)
      })
      socket.on('close', () => resolve(text))
      socket.end(bytes)
    })
  }

  it('without a Host refuses', async () => {
    expect(await raw('GET /health HTTP/1.1\r\nHost:\r\n\r\n')).toMatch(/^HTTP\/1\.1 421 /)
    expect(await raw('GET /health HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 421 /)
    expect(await raw('GET /health HTTP/1.1\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /)
  })

  it('survives bytes that are no HTTP', async () => {
    for (const bytes of ['\0\0\0\0', 'GET', 'GET / HTTP/9.9\r\n\r\n', `GET /${'x'.repeat(1e5)}`])
      expect(await raw(bytes)).not.toMatch(/^HTTP\/1\.1 200/)
    expect((await ask(broker, '/health')).status).toBe(200)
  })
})

describe('connections', () => {
  it('beyond connectionsMax are refused with 503, and pages are not', async () => {
    const broker = await startBroker({ loglet: 'memory', port: 0, connectionsMax: 2 })
    const first = await RawClient.connect(broker.url)
    const second = await RawClient.connect(broker.url)
    const refused = await ask(broker, '/', upgrade)
    expect(refused).toMatchObject({ status: 503, statusText: 'LIMIT_EXCEEDED' })
    expect((await ask(broker, '/health')).status).toBe(200)
    await first.call('ping')
    await second.close()
    await untilMetric(broker, 'logloom_ws_connections', n => n === 1)
    const third = await RawClient.connect(broker.url)
    await Promise.all([first.close(), third.close()])
    await broker.close()
  })
})
