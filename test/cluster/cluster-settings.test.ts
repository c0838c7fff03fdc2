// What settings of a cluster are refused, before anything is opened, and that the refusal says what to do.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clusterConfigOf } from '../../broker/cluster/cluster-settings.ts'
import { PeerListener } from '../../broker/cluster/peer-listener.ts'
import { resolveSettings } from '../../broker/settings.ts'
import type { LogloomError } from '../../wire/errors.ts'
import { freePort } from './free-port.ts'

const secret = 'a secret that the tests share'
const cluster = { node: 'n1', peers: ['n1=ws://127.0.0.1:5740'], clusterSecret: secret }
let directory: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'logloom-settings-'))
})

afterAll(() => rmSync(directory, { recursive: true, force: true }))

function refused(flags: Readonly<Record<string, unknown>>): LogloomError {
  try {
    clusterConfigOf(resolveSettings({ flags }))
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_CONFIG' })
    return error as LogloomError
  }
  throw new Error(`${JSON.stringify(flags)} was not refused`)
}

describe('settings of a cluster', () => {
  it('are taken when they are whole', () => {
    const advertisedUrl = 'wss://logs.example:443'
    expect(
      clusterConfigOf(resolveSettings({ flags: { ...cluster, advertisedUrl } })),
    ).toMatchObject({ self: 'n1', clusterSecret: secret, warnings: [] })
    expect(clusterConfigOf(resolveSettings())).toBeUndefined()
  })

  it.each([
    ['metastore', { metastore: 'file' }, /leave it out/],
    ['advertisedUrl', { advertisedUrl: 'foo' }, /ws:\/\/HOST:PORT/],
    ['advertisedUrl', { advertisedUrl: 'http://a:1' }, /ws:\/\/HOST:PORT/],
    ['clusterSecret', { clusterSecret: secret, clusterSecretFile: '/tmp/x' }, /leave one out/],
  ])('with a wrong %s are refused: %j', (key, flags, hint) => {
    const { details, hint: said } = refused({ ...cluster, ...flags })
    expect(details).toMatchObject({ key })
    expect(said).toMatch(hint)
  })

  it.each([
    ['peers', ['n1=ws://a:1']],
    ['join', true],
    ['peerHost', '10.0.0.1'],
    ['clusterId', 'other'],
    ['clusterSecret', secret],
    ['clusterSecretFile', '/nowhere'],
    ['roles', ['broker']],
    ['advertisedUrl', 'ws://a:1'],
    ['metastore', 'paxos'],
  ])('are refused without a node: %s', (key, value) => {
    const { details, hint } = refused({ [key]: value })
    expect(details).toMatchObject({ key })
    expect(hint).toContain('--node')
  })
})

describe('a file with the secret', () => {
  const file = (name: string, content?: string, mode = 0o600): string => {
    const path = join(directory, name)
    if (content !== undefined) writeFileSync(path, content)
    if (content !== undefined) chmodSync(path, mode)
    return path
  }
  const withFile = (path: string): Record<string, unknown> => ({
    ...cluster,
    clusterSecret: '',
    clusterSecretFile: path,
  })

  it.each([
    ['missing', undefined, /there is no file/],
    ['empty', '\n', /is empty/],
    ['short', 'short\n', /5 bytes.*at least 16 \(secretBytesMin\)/],
  ])('that is %s is refused, naming it, the limit and the remedy', (name, content, message) => {
    const path = file(name, content)
    const error = refused(withFile(path))
    expect(error.message).toContain(path)
    expect(error.message).toMatch(message)
    expect(error.hint).toContain(`> ${path}`)
  })

  it('that others may read is taken with a warning', () => {
    const path = file('open', secret, 0o644)
    const found = clusterConfigOf(resolveSettings({ flags: withFile(path) }))
    expect(found?.warnings).toEqual([expect.stringMatching(/open .*mode 644.*chmod 600/)])
    const closed = file('closed', secret)
    expect(clusterConfigOf(resolveSettings({ flags: withFile(closed) }))?.warnings).toEqual([])
  })

  it('is as good as the secret itself, which is too short alike', () => {
    expect(refused({ ...cluster, clusterSecret: 'short' }).message).toContain('secretBytesMin')
  })
})

it('a peer port that is in use is told as one, with its own remedy', async () => {
  const open = (): PeerListener =>
    new PeerListener({
      me: {
        clusterId: 'c',
        secret,
        node: 'n1',
        incarnation: 'i',
        protocols: { min: 1, max: 1 },
        version: '0',
        birth: () => undefined,
      },
      certificate: undefined,
      peerTimeoutMs: 1000,
      now: () => 0,
      admit: () => undefined,
      onConnection: () => {},
      onRefusal: () => {},
    })
  const port = await freePort()
  const [first, second] = [open(), open()]
  await first.listen('127.0.0.1', port)
  await expect(second.listen('127.0.0.1', port)).rejects.toMatchObject({
    code: 'PORT_IN_USE',
    hint: expect.stringMatching(/--peers/),
  })
  await first.close()
  await expect(second.listen('192.0.2.1', port)).rejects.toMatchObject({
    code: 'INVALID_CONFIG',
    hint: expect.stringMatching(/--peer-host/),
  })
}, 20_000)
