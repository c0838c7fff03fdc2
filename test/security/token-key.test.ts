// The key of scoped tokens is a secret of 32 bytes, whatever became of its file: with a short one anybody could sign a token that may do everything.

import { createHmac } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { ownTokenKey, ScopedTokens } from '../../broker/security/scoped-tokens.ts'

const directories: string[] = []

afterEach(() => {
  for (const path of directories.splice(0)) rmSync(path, { recursive: true, force: true })
})

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'logloom-token-key-'))
  directories.push(path)
  return path
}

/** What whoever guesses the key can make. */
function forged(key: Uint8Array): string {
  const claims = { p: 'User:admin', s: true, e: Date.now() + 60_000, n: '', g: [] }
  const text = Buffer.from(JSON.stringify(claims)).toString('base64url')
  return `llt_${text}.${createHmac('sha256', key).update(text).digest('base64url')}`
}

describe('the key of scoped tokens', () => {
  it.each([
    ['empty, as a full disk or a power cut leaves it', ''],
    ['only a line end', '\n'],
    ['cut', Buffer.alloc(20).toString('base64url')],
    ['of a byte less', Buffer.alloc(31).toString('base64url')],
    ['no base64url', '!'.repeat(43)],
  ])('is not read from a file that is %s', (_, content) => {
    const path = directory()
    const file = join(path, 'token.key')
    writeFileSync(file, content, { mode: 0o600 })
    const open = (): Uint8Array => ownTokenKey(path)
    expect(open).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG' }))
    expect(open).toThrow(file)
    if (content.length > 1) expect(open).not.toThrow(content)
  })

  it('signs nothing when it is missing', () => {
    expect(() => new ScopedTokens(new Uint8Array(0))).toThrow(RangeError)
  })

  it('is whole in its file, mode 0600, and the same at the next start', () => {
    const path = directory()
    const key = ownTokenKey(path)
    expect(key.length).toBe(32)
    expect(readdirSync(path)).toEqual(['token.key'])
    expect(statSync(join(path, 'token.key')).mode & 0o777).toBe(0o600)
    expect(Buffer.from(readFileSync(join(path, 'token.key'), 'utf8').trim(), 'base64url')).toEqual(
      Buffer.from(key),
    )
    expect(Buffer.from(ownTokenKey(path))).toEqual(Buffer.from(key))
  })

  it('of no bytes opens no door', () => {
    const tokens = new ScopedTokens(ownTokenKey(directory()))
    expect(tokens.check(forged(new Uint8Array(0)), Date.now())).toEqual(expect.any(String))
  })
})
