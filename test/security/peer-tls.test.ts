// TLS between nodes: both sides show a certificate of the cluster's authority with the name of their node, on top of the shared secret.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import type { PeerNet } from '../../broker/cluster/peer-net.ts'
import { startBroker } from '../../broker/index.ts'
import { silentLogger } from '../../broker/logger.ts'
import { Certificate } from '../../broker/security/certificate.ts'
import { connect } from '../../client/index.ts'
import { freePort } from '../cluster/free-port.ts'
import { openNode } from '../cluster/nodes.ts'
import { Authority, writeCertificate } from './certificates.ts'

const authority = new Authority('cluster')
const directory = mkdtempSync(join(tmpdir(), 'logloom-peer-tls-'))
const open: { close(): unknown }[] = []
const timeoutMs = 5000

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close()
})

afterAll(() => rmSync(directory, { recursive: true, force: true }))

function filesOf(name: string, by: Authority = authority, file = name) {
  const { certFile, keyFile } = writeCertificate(directory, file, by.issue({ names: [name] }))
  const { certFile: caFile } = writeCertificate(directory, 'ca', { cert: authority.cert, key: '' })
  return { certFile, keyFile, caFile }
}

function certificateOf(name: string, by: Authority = authority, file = name): Certificate {
  const files = { certSetting: 'peerTlsCertFile', ...filesOf(name, by, file) }
  const certificate = Certificate.open('nodes', files, 60_000, silentLogger)
  open.push(certificate)
  return certificate
}

async function node(self: string, certificate: Certificate): Promise<PeerNet> {
  const net = await openNode(self, { certificate })
  net.handle('test.echo', async (_from, request) => request)
  open.push(net)
  return net
}

const urlOf = ({ port }: PeerNet): string => `wss://127.0.0.1:${port}`
const call = (from: PeerNet, to: string): Promise<unknown> =>
  from.call(to, 'test.echo', { hello: 1 }, { timeoutMs })

describe('nodes with certificates', () => {
  it('talk to each other, before and after they got new ones', async () => {
    const [a, b] = [await node('n1', certificateOf('n1')), await node('n2', certificateOf('n2'))]
    a.addPeer('n2', urlOf(b))
    b.addPeer('n1', urlOf(a))
    expect([await call(a, 'n2'), await call(b, 'n1')]).toEqual([{ hello: 1 }, { hello: 1 }])
    filesOf('n1')
    filesOf('n2')
    for (const each of open) if (each instanceof Certificate) each.reload()
    expect(await call(a, 'n2')).toEqual({ hello: 1 })
    const c = await node('n3', certificateOf('n3'))
    a.addPeer('n3', urlOf(c))
    c.addPeer('n1', urlOf(a))
    expect([await call(a, 'n3'), await call(c, 'n1')]).toEqual([{ hello: 1 }, { hello: 1 }])
  })

  const strangers: readonly (readonly [string, () => Certificate])[] = [
    ['of another authority', () => certificateOf('n2', new Authority('another'), 'foreign')],
    ['with the name of another node', () => certificateOf('n9', authority, 'wrong-name')],
  ]
  it.each(strangers)(
    'do not talk to one with a certificate %s, in either direction',
    async (_name, make) => {
      const [a, b] = [await node('n1', certificateOf('n1')), await node('n2', make())]
      a.addPeer('n2', urlOf(b))
      b.addPeer('n1', urlOf(a))
      await expect(call(a, 'n2')).rejects.toMatchObject({ code: 'UNREACHABLE' })
      await expect(call(b, 'n1')).rejects.toMatchObject({ code: 'UNREACHABLE' })
      expect(a.peers().some(({ connected }) => connected)).toBe(false)
    },
  )

  it('hear nothing from who has no certificate', async () => {
    const a = await node('n1', certificateOf('n1'))
    let heard = ''
    const socket = connectTls({
      port: a.port,
      host: '127.0.0.1',
      ca: authority.cert,
      servername: 'n1',
    })
    socket.on('data', (bytes: Buffer) => {
      heard += bytes.toString()
    })
    socket.on('secureConnect', () => socket.write('GET / HTTP/1.1\r\nhost: n1\r\n\r\n'))
    socket.on('error', () => {})
    await new Promise(resolve => socket.on('close', resolve))
    expect(heard).toBe('')
  })
})

describe('a cluster with certificates', () => {
  it('serves, and does not take addresses that are not wss://', async () => {
    const names = ['n1', 'n2', 'n3']
    const peers = await Promise.all(
      names.map(async name => `${name}=wss://127.0.0.1:${await freePort()}`),
    )
    const brokers = await Promise.all(
      names.map(name => {
        const { certFile, keyFile, caFile } = filesOf(name)
        return startBroker({
          node: name,
          peers,
          clusterSecret: 'a secret that the tests share',
          data: join(directory, `data-${name}`),
          port: 0,
          peerTlsCertFile: certFile,
          peerTlsKeyFile: keyFile,
          peerTlsCaFile: caFile,
        })
      }),
    )
    open.push(...brokers)
    const client = await connect(brokers.map(({ url }) => url))
    const producer = client.producer()
    for (let i = 0; i < 20; i++) await producer.send('t', { value: `${i}` })
    const { nodes } = await client.admin().describeCluster()
    expect(nodes.filter(({ up }) => up)).toHaveLength(3)
    await expect(client.admin().addNode('n4', 'ws://127.0.0.1:1')).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
    })
    await client.close()
  })

  it('is refused when some addresses are not wss://, or certificates are missing', async () => {
    const { certFile, keyFile, caFile } = filesOf('n1')
    const common = {
      node: 'n1',
      clusterSecret: 'a secret that the tests share',
      data: join(directory, 'x'),
    }
    const tls = { peerTlsCertFile: certFile, peerTlsKeyFile: keyFile, peerTlsCaFile: caFile }
    const plain = ['n1=ws://127.0.0.1:1']
    const secure = ['n1=wss://127.0.0.1:1']
    for (const options of [
      { ...common, peers: plain, ...tls },
      { ...common, peers: secure },
      { ...common, peers: secure, ...tls, peerTlsCaFile: '' },
    ])
      await expect(startBroker(options)).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
  })
})
