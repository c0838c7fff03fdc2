// Who can change a file of trusted keys or authorities can sign in as whom he likes: such a file is refused at the start, and not taken later.

import { chmodSync, chownSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Certificate } from '../../broker/security/certificate.ts'
import { KeySet } from '../../broker/security/jwks.ts'
import { run } from '../cli/cli-process.ts'
import { Authority, writeCertificate } from './certificates.ts'
import { JwtIssuer } from './jwt-issuer.ts'
import { SecureBroker } from './secure-broker.ts'

const nobody = 65_534
const isRoot = process.geteuid?.() === 0
const directory = mkdtempSync(join(tmpdir(), 'logloom-anchor-'))
const jwks = join(directory, 'jwks.json')
const authority = new Authority('cluster')
let issuer: JwtIssuer

beforeAll(async () => {
  issuer = await JwtIssuer.start()
  writeFileSync(jwks, JSON.stringify(issuer.keySet), { mode: 0o644 })
})

afterEach(() => {
  chmodSync(jwks, 0o644)
  if (isRoot) chownSync(jwks, 0, 0)
})

afterAll(async () => {
  await issuer.close()
  rmSync(directory, { recursive: true, force: true })
})

/** Ways to leave a file to others, and what is said of each. */
const ways: readonly (readonly [string, (file: string) => void, RegExp, RegExp])[] = [
  [
    'writable for its group',
    file => chmodSync(file, 0o664),
    /has the mode 664: others can/,
    /go-w/,
  ],
  ['writable for all', file => chmodSync(file, 0o646), /has the mode 646: others can/, /go-w/],
  [
    'of another user',
    file => chownSync(file, nobody, nobody),
    /belongs to the user 65534/,
    /chown/,
  ],
]
const possible = ways.filter(([name]) => isRoot || !name.includes('user'))

describe.each(possible)('a file %s', (_name, spoil, message, hint) => {
  it('is refused at the start as the keys of an issuer, behind a symbolic link too', async () => {
    const link = join(directory, 'link.json')
    rmSync(link, { force: true })
    symlinkSync(jwks, link)
    const options = { jwtIssuer: issuer.name, jwtAudience: [issuer.audience] }
    const start = async (jwtJwksFile: string): Promise<SecureBroker> =>
      SecureBroker.start({ ...options, jwtJwksFile })
    spoil(jwks)
    for (const file of [jwks, link])
      await expect(start(file)).rejects.toMatchObject({
        code: 'INVALID_CONFIG',
        message: expect.stringMatching(new RegExp(`^jwtJwksFile: .*${message.source}`)),
        hint: expect.stringMatching(hint),
      })
    chmodSync(jwks, 0o644)
    if (isRoot) chownSync(jwks, 0, 0)
    const broker = await start(link)
    const client = await broker.connect(await issuer.token({ subject: 'alice' }))
    expect(client).toBeDefined()
    await broker.close()
  })

  it('is not taken later, and the keys from before stay in use', async () => {
    let now = 0
    const told: string[] = []
    const keys = new KeySet(
      { file: jwks },
      () => now,
      why => void told.push(why),
    )
    const before = await keys.keys()
    expect(before?.keys).toHaveLength(1)
    spoil(jwks)
    now += 3_600_000
    expect(await keys.keys(true)).toBe(before)
    expect(told).toEqual([expect.stringMatching(message)])
  })

  it('is refused as the authority between nodes, at the start and later', () => {
    const issued = authority.issue({ names: ['n1'] })
    const { certFile, keyFile } = writeCertificate(directory, 'n1', issued)
    const caFile = join(directory, 'ca.pem')
    rmSync(caFile, { force: true })
    writeFileSync(caFile, authority.cert, { mode: 0o644 })
    const told: string[] = []
    const log = (fields: object): void => void told.push(JSON.stringify(fields))
    const files = { certSetting: 'peerTlsCertFile', certFile, keyFile, caFile }
    const open = (): Certificate =>
      Certificate.open('nodes', files, 1_000_000, { info: log, warn: log, error: log })
    const certificate = open()
    spoil(caFile)
    expect(open).toThrow(
      expect.objectContaining({
        code: 'INVALID_CONFIG',
        message: expect.stringMatching(message),
        hint: expect.stringMatching(hint),
      }),
    )
    writeFileSync(caFile, new Authority('another').cert)
    certificate.reload()
    expect(told.join()).toMatch(message)
    expect(certificate.current.ca).toBe(authority.cert)
    certificate.close()
  })
})

it('a command warns of an authority that others can change', async () => {
  const caFile = join(directory, 'cli-ca.pem')
  writeFileSync(caFile, authority.cert)
  chmodSync(caFile, 0o664)
  const args = ['topic', 'list', '--url', 'ws://127.0.0.1:1', '--ca-file', caFile]
  expect((await run(args)).stderr).toContain(
    `${caFile} has the mode 664: others here can change whom this command trusts`,
  )
  chmodSync(caFile, 0o644)
  expect((await run(args)).stderr).not.toContain('has the mode')
})
