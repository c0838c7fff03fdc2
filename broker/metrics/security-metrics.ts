// Who was not let in, and until when the certificates hold.

import type { AuthFailures } from '../security/authenticator.ts'
import type { Certificate } from '../security/certificate.ts'
import type { Families } from './families.ts'

export interface SecuritySources {
  readonly authFailures?: AuthFailures
  readonly certificates?: () => readonly Certificate[]
}

export function securityMetrics(
  families: Families,
  { authFailures = new Map(), certificates = () => [] }: SecuritySources,
): void {
  families.counter(
    'logloom_auth_failures_total',
    'Authentications that failed, by what was presented',
    ['mechanism'],
    function* () {
      for (const [mechanism, n] of authFailures) yield [{ mechanism }, n]
    },
  )
  families.gauge(
    'logloom_tls_cert_expiry_timestamp_seconds',
    'When the certificate of a listener ends, in seconds since 1970',
    ['listener'],
    function* () {
      for (const { listener, expiresAt } of certificates())
        yield [{ listener }, Math.floor(expiresAt / 1000)]
    },
  )
}
