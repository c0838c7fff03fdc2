// A file with a secret is its reader's own, or root's. Only root can give a file to somebody else, so what needs that is skipped for others.

import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clusterConfigOf } from '../../broker/cluster/cluster-settings.ts'
import { Certificate } from '../../broker/security/certificate.ts'
import { foreignOwner } from '../../broker/security/file-owner.ts'
import { ownTokenKey } from '../../broker/security/scoped-tokens.ts'
import { resolveSettings } from '../../broker/settings.ts'
import { Authority } from './certificates.ts'
import { SecureBroker } from './secure-broker.ts'

const nobody = 65_534
const isRoot = process.geteuid?.() === 0
let root: string

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'logloom-owner-'))
})

afterAll(() => {
  rmSync(root, { recursive: true, force: true })
})

it('an owner who is neither root nor the user of the process is named, with both ways out', () => {
  expect(foreignOwner('/s', 1000, 1000)).toBeUndefined()
  expect(foreignOwner('/s', 0, 1000)).toBeUndefined()
  expect(foreignOwner('/s', 1000, undefined)).toEqual(
    process.geteuid?.() === 1000 ? undefined : foreignOwner('/s', 1000, process.geteuid?.()),
  )
  expect(foreignOwner('/s', 1001, 1000)).toEqual({
    message:
      '/s belongs to the user 1001, who can read and replace it; this process runs as the user 1000',
    hint: expect.stringMatching(/^chown 1000 \/s, or run this process as the user 1001/),
  })
  expect(foreignOwner('/s', 1000, 0)).toBeDefined()
})

/** A file of somebody else. */
function foreign(name: string, content: string): string {
  const file = join(root, name)
  writeFileSync(file, content, { mode: 0o600 })
  chownSync(file, nobody, nobody)
  return file
}

const refused = (file: string): object => ({
  code: 'INVALID_CONFIG',
  message: expect.stringContaining(`${file} belongs to the user ${nobody}`),
  hint: expect.stringContaining(`chown 0 ${file}`),
})

describe.skipIf(!isRoot)('a file of another user is refused (needs root to make one)', () => {
  it('as the admin token, and taken once it was given to the user of the broker', async () => {
    const secret = `lla_${'s'.repeat(43)}`
    const file = foreign('admin.token', `${secret}\n`)
    const broker = new SecureBroker()
    const start = (): Promise<void> => broker.start({ adminTokenFile: file })
    await expect(start()).rejects.toMatchObject(refused(file))
    await expect(start()).rejects.not.toThrow(secret)
    chownSync(file, 0, 0)
    await start()
    await broker.close()
  })

  it('as the key of minted tokens', () => {
    const file = foreign('token.key', `${Buffer.alloc(32, 7).toString('base64url')}\n`)
    expect(() => ownTokenKey(root)).toThrow(expect.objectContaining(refused(file)))
    chownSync(file, 0, 0)
    expect(Buffer.from(ownTokenKey(root))).toEqual(Buffer.alloc(32, 7))
  })

  it('as the secret of a cluster', () => {
    const file = foreign('cluster.secret', 'c'.repeat(64))
    const config = (): unknown =>
      clusterConfigOf(
        resolveSettings({
          flags: { node: 'n1', peers: 'n1=ws://127.0.0.1:5', clusterSecretFile: file },
        }),
      )
    expect(config).toThrow(expect.objectContaining(refused(file)))
    chownSync(file, 0, 0)
    expect(config).not.toThrow(/belongs to/)
  })

  it('as the key of a certificate, at the start and when it is put in place later', () => {
    const { cert, key } = new Authority().issue({ names: ['localhost'] })
    const certFile = join(root, 'tls.crt')
    writeFileSync(certFile, cert)
    const keyFile = foreign('tls.key', key)
    const told: string[] = []
    const log = (fields: object): void => void told.push(JSON.stringify(fields))
    const open = (): Certificate =>
      Certificate.open('clients', { certSetting: 'tlsCertFile', certFile, keyFile }, 1_000_000, {
        info: log,
        warn: log,
        error: log,
      })
    expect(open).toThrow(expect.objectContaining(refused(keyFile)))
    chownSync(keyFile, 0, 0)
    const certificate = open()
    chownSync(keyFile, nobody, nobody)
    certificate.reload()
    expect(told.join()).toContain(`belongs to the user ${nobody}`)
    expect(certificate.current.key).toBe(key)
    certificate.close()
  })
})
