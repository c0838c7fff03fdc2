// An issuer may let its users choose their names: none of them becomes the administrator in the audit log, in quotas, or as the owner of producers.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { JwtChecker } from '../../broker/security/jwt.ts'
import { JwtIssuer } from './jwt-issuer.ts'

let issuer: JwtIssuer
let checker: JwtChecker

beforeAll(async () => {
  issuer = await JwtIssuer.start()
  const settings = {
    jwtJwksUrl: issuer.url,
    jwtJwksFile: '',
    jwtIssuer: issuer.name,
    jwtAudience: [issuer.audience],
    jwtPrincipalClaim: 'sub',
    jwtScopeClaim: '',
    jwtAlgorithms: ['RS256'],
    jwtClockToleranceMs: 0,
  }
  checker = new JwtChecker(
    settings,
    () => Date.now(),
    () => {},
  )
})

afterAll(() => issuer.close())

it.each(['admin', 'ANONYMOUS', '*', '', ' admin', 'admin ', 'admin\u200b', 'a\nb'])(
  'nobody is %j',
  async subject => {
    expect(await checker.check(await issuer.token({ subject }))).toEqual(
      expect.stringContaining('JWT: claim sub is no name'),
    )
  },
)

it('others are who they are', async () => {
  const found = await checker.check(await issuer.token({ subject: 'administrator' }))
  expect(found).toMatchObject({ name: 'User:administrator', superUser: false })
})
