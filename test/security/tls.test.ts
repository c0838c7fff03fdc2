// TLS for clients: who can connect, what happens to those who do not speak it, and new certificates while clients work.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, type PeerCertificate } from 'node:tls'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../broker/index.ts'
import { connect } from '../../client/index.ts'
import { start as startCommand } from '../cli/cli-process.ts'
import { Authority, type Issued, writeCertificate } from './certificates.ts'

const authority = new Authority()
const names = ['localhost', '127.0.0.1']
const directory = mkdtempSync(join(tmpdir(), 'logloom-tls-'))
const running: RunningBroker[] = []
const tls = { ca: authority.cert }

afterEach(async () => {
  for (const broker of running.splice(0)) await broker.close()
})

afterAll(() => rmSync(directory, { recursive: true, force: true }))

async function start(
  issued: Issued = authority.issue({ names }),
  options: StartBrokerOptions = {},
): Promise<RunningBroker> {
  const { certFile, keyFile } = writeCertificate(directory, 'broker', issued)
  const broker = await startBroker({
    loglet: 'memory',
    port: 0,
    tlsCertFile: certFile,
    tlsKeyFile: keyFile,
    ...options,
  })
  running.push(broker)
  return broker
}

/** The certificate that the broker shows now. */
function shown(port: number): Promise<PeerCertificate> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: '127.0.0.1', ca: authority.cert }, () => {
      resolve(socket.getPeerCertificate())
      socket.destroy()
    })
    socket.on('error', reject)
  })
}

/** The text at an https:// address. */
function page(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { ca: authority.cert, agent: false }, response => {
      let text = ''
      response.on('data', (piece: Buffer) => {
        text += piece.toString()
      })
      response.on('end', () => resolve(text))
    }).on('error', reject)
  })
}

/** What comes back from the port until it hangs up. */
function hangUp(port: number, say: string): Promise<string> {
  return new Promise(resolve => {
    let heard = ''
    const socket = connectTcp(port, '127.0.0.1', () => socket.write(say))
    socket.on('data', (bytes: Buffer) => {
      heard += bytes.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(heard))
  })
}

describe('a broker with a certificate', () => {
  it('says wss://, and serves those who trust its authority', async () => {
    const { url } = await start()
    expect(url).toMatch(/^wss:\/\/127\.0\.0\.1:\d+$/)
    const client = await connect(url, { tls })
    const producer = client.producer()
    await producer.send('t', { value: 'over TLS' })
    await client.close()
  })

  it('is not trusted by others, who are told what to do', async () => {
    const { url, port } = await start()
    const error = await connect(url, { connectTimeoutMs: 300 }).catch((e: unknown) => e)
    expect(error).toMatchObject({
      code: 'TIMEOUT',
      cause: { hint: expect.stringMatching(/--ca-file/) },
    })
    const otherName = await start(authority.issue({ names: ['other.example'] }))
    const wrong = connect(otherName.url, { tls, connectTimeoutMs: 300 })
    await expect(wrong).rejects.toMatchObject({
      cause: { hint: expect.stringMatching(/dial a name/) },
    })
    const plain = await startBroker({ loglet: 'memory', port: 0 })
    running.push(plain)
    const tooMuch = connect(plain.url.replace('ws:', 'wss:'), { connectTimeoutMs: 300 })
    await expect(tooMuch).rejects.toMatchObject({
      cause: { hint: expect.stringMatching(/use ws:/) },
    })
    await expect(
      connect(`ws://127.0.0.1:${port}`, { connectTimeoutMs: 300 }),
    ).rejects.toMatchObject({
      code: 'TIMEOUT',
    })
  })

  it('cuts whoever does not speak TLS, or says nothing', async () => {
    const { port, url } = await start()
    expect(await hangUp(port, 'GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')).not.toContain('HTTP')
    expect(await hangUp(port, '')).toBe('')
    await (await connect(url, { tls })).close()
  })

  it('speaks TLS 1.2 and 1.3, and nothing older', async () => {
    const { port } = await start()
    const versionWith = (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3'): Promise<string | null> =>
      new Promise(resolve => {
        const socket = connectTls(
          {
            port,
            host: '127.0.0.1',
            ca: authority.cert,
            minVersion: version,
            maxVersion: version,
            ciphers: 'DEFAULT@SECLEVEL=0',
          },
          () => {
            resolve(socket.getProtocol())
            socket.destroy()
          },
        )
        socket.on('error', () => resolve(null))
      })
    expect([
      await versionWith('TLSv1.1'),
      await versionWith('TLSv1.2'),
      await versionWith('TLSv1.3'),
    ]).toEqual([null, 'TLSv1.2', 'TLSv1.3'])
  })
})

describe('a new certificate', () => {
  it('is used without a restart, while clients work and see nothing of it', async () => {
    const broker = await start(undefined, { tlsReloadIntervalMs: 50 })
    const before = (await shown(broker.port)).serialNumber
    const client = await connect(broker.url, { tls })
    const states: string[] = []
    void (async () => {
      for await (const { type } of client.status()) states.push(type)
    })()
    const producer = client.producer({ lingerMs: 0 })
    const load = { goesOn: true, acked: 0 }
    const loading = (async () => {
      while (load.goesOn) {
        await producer.send('t', { value: 'x' })
        load.acked++
      }
    })()
    for (let i = 0; i < 3; i++) {
      const was = (await shown(broker.port)).serialNumber
      writeCertificate(directory, 'broker', authority.issue({ names }))
      await expect.poll(async () => (await shown(broker.port)).serialNumber).not.toBe(was)
      const late = await connect(broker.url, { tls })
      await late.close()
    }
    load.goesOn = false
    await loading
    expect(load.acked).toBeGreaterThan(10)
    expect((await shown(broker.port)).serialNumber).not.toBe(before)
    expect(states.filter(state => state === 'recovering')).toEqual([])
    await client.close()
  })

  const broken: readonly (readonly [string, (files: { cert: string; key: string }) => void])[] = [
    ['that is no certificate', ({ cert }) => writeFileSync(cert, 'nonsense')],
    ['with the key of another', ({ key }) => writeFileSync(key, authority.issue({ names }).key)],
    ['that is not there', ({ cert }) => rmSync(cert)],
    [
      'that has expired already',
      () => {
        const notAfter = new Date(Date.now() - 1000)
        writeCertificate(directory, 'broker', authority.issue({ names, notAfter }))
      },
    ],
  ]
  it.each(broken)('%s is reported, and the old one stays in use', async (_name, damage) => {
    const logged: string[] = []
    const log = (fields: object, message: string): void => {
      logged.push(`${message} ${JSON.stringify(fields)}`)
    }
    const broker = await start(undefined, {
      logger: { info: log, warn: log, error: log },
    })
    const before = await shown(broker.port)
    damage({ cert: join(directory, 'broker.crt'), key: join(directory, 'broker.key') })
    broker.reloadCertificates()
    broker.reloadCertificates()
    expect((await shown(broker.port)).serialNumber).toBe(before.serialNumber)
    const { status, problems } = broker.broker.health()
    expect(status).toBe('degraded')
    expect(problems.join()).toMatch(/tlsCertFile.*the certificate in use is the one before/)
    expect(logged.filter(line => line.includes('is not used'))).toHaveLength(1)
    expect(logged.join()).not.toContain('PRIVATE KEY')
    writeCertificate(directory, 'broker', authority.issue({ names }))
    broker.reloadCertificates()
    expect(broker.broker.health().problems.join()).not.toContain('tlsCertFile')
    expect((await shown(broker.port)).serialNumber).not.toBe(before.serialNumber)
  })

  it('is looked for at once on SIGHUP', async () => {
    const { certFile, keyFile } = writeCertificate(directory, 'hup', authority.issue({ names }))
    const files = ['--tls-cert-file', certFile, '--tls-key-file', keyFile]
    const args = [
      'start',
      '--loglet',
      'memory',
      '--port',
      '0',
      '--tls-reload-interval-ms',
      '600000',
    ]
    const command = startCommand([...args, ...files])
    await command.until(stdout => stdout.includes('ready'))
    const port = Number(new URL(/ready (\S+)/.exec(command.stdout())?.[1] ?? '').port)
    const before = (await shown(port)).serialNumber
    writeCertificate(directory, 'hup', authority.issue({ names }))
    process.kill(command.pid, 'SIGHUP')
    await expect.poll(async () => (await shown(port)).serialNumber).not.toBe(before)
    process.kill(command.pid, 'SIGTERM')
    expect((await command.exited).code).toBe(0)
  })

  it('is seen at /metrics, and in health before it ends', async () => {
    const notAfter = new Date(Math.floor(Date.now() / 1000) * 1000 + 3 * 86_400_000)
    const broker = await start(authority.issue({ names, notAfter }))
    expect(broker.broker.health().problems.join()).toContain('expires at')
    writeCertificate(
      directory,
      'broker',
      authority.issue({ names, notAfter: new Date(notAfter.getTime() + 1e9) }),
    )
    broker.reloadCertificates()
    const { certFile, keyFile } = writeCertificate(
      directory,
      'plain',
      authority.issue({ names, notAfter }),
    )
    const other = await startBroker({
      loglet: 'memory',
      port: 0,
      tlsCertFile: certFile,
      tlsKeyFile: keyFile,
    })
    running.push(other)
    expect(await page(`${other.url.replace('wss:', 'https:')}/metrics`)).toContain(
      `logloom_tls_cert_expiry_timestamp_seconds{listener="clients"} ${notAfter.getTime() / 1000}`,
    )
  })
})

describe('a start', () => {
  const { certFile, keyFile } = writeCertificate(directory, 'good', authority.issue({ names }))
  const cases: readonly (readonly [string, StartBrokerOptions, string])[] = [
    ['with a certificate and no key', { tlsCertFile: certFile }, 'INVALID_CONFIG'],
    [
      'with a file that is not there',
      { tlsCertFile: '/nowhere', tlsKeyFile: keyFile },
      'INVALID_CONFIG',
    ],
    [
      'with the key as certificate',
      { tlsCertFile: keyFile, tlsKeyFile: keyFile },
      'INVALID_CONFIG',
    ],
    ['on a public address without authentication', { host: '0.0.0.0' }, 'INSECURE_PUBLIC_BIND'],
    [
      'on a public address with TLS and without authentication',
      { host: '0.0.0.0', tlsCertFile: certFile, tlsKeyFile: keyFile },
      'INSECURE_PUBLIC_BIND',
    ],
    [
      'on a public address with tokens in plain text',
      { host: '0.0.0.0', authentication: 'required' },
      'INSECURE_PUBLIC_BIND',
    ],
    [
      'with TLS here and in a proxy',
      { tlsCertFile: certFile, tlsKeyFile: keyFile, tlsTerminatedUpstream: true },
      'INVALID_CONFIG',
    ],
    ['with another kind of authentication', { authentication: 'maybe' }, 'INVALID_CONFIG'],
    [
      'in memory without a place for the admin token',
      { authentication: 'required' },
      'INVALID_CONFIG',
    ],
    [
      'with the keys of an issuer from a place that anybody could answer for',
      {
        authentication: 'required',
        jwtJwksUrl: 'http://issuer.example/jwks',
        jwtIssuer: 'i',
        jwtAudience: ['a'],
      },
      'INVALID_CONFIG',
    ],
    [
      'with an issuer whose tokens may be for anything',
      { authentication: 'required', jwtJwksUrl: 'https://issuer.example/jwks', jwtIssuer: 'i' },
      'INVALID_CONFIG',
    ],
    [
      'with signatures that the public key can make',
      {
        authentication: 'required',
        jwtJwksUrl: 'https://issuer.example/jwks',
        jwtIssuer: 'i',
        jwtAudience: ['a'],
        jwtAlgorithms: ['HS256'],
      },
      'INVALID_CONFIG',
    ],
    [
      'with an issuer and nobody asked who they are',
      { jwtJwksUrl: 'https://issuer.example/jwks' },
      'INVALID_CONFIG',
    ],
  ]
  it.each(cases)('%s is refused', async (_name, options, code) => {
    await expect(startBroker({ loglet: 'memory', port: 0, ...options })).rejects.toMatchObject({
      code,
      hint: expect.stringMatching(/.{10}/),
    })
  })

  const fine: readonly (readonly [string, StartBrokerOptions])[] = [
    ['nobody asks who one is, and that is meant', { insecurePublic: true }],
    [
      'TLS and authentication',
      { tlsCertFile: certFile, tlsKeyFile: keyFile, authentication: 'required' },
    ],
    ['authentication behind a proxy', { tlsTerminatedUpstream: true, authentication: 'required' }],
  ]
  it.each(fine)('on a public address goes on with: %s', async (_name, options) => {
    const adminTokenFile = join(directory, 'admin.token')
    const broker = await startBroker({
      loglet: 'memory',
      port: 0,
      host: '0.0.0.0',
      adminTokenFile,
      ...options,
    })
    running.push(broker)
  })
})
