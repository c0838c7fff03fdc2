// What may listen where. Strangers reach an address that is not loopback: there nobody gets in without a token, and no token crosses the
// network in plain text, unless somebody says in so many words that it is meant.

import { LogloomError } from '../../wire/errors.ts'
import { isLoopback } from '../gateway/origin.ts'
import type { Settings } from '../settings.ts'

/** Refuses to serve strangers by accident. @throws INSECURE_PUBLIC_BIND */
export function checkBind(settings: Settings): void {
  const { host, insecurePublic, authentication, tlsCertFile, tlsTerminatedUpstream } = settings
  if (isLoopback(host) || insecurePublic) return
  if (authentication !== 'required')
    throw new LogloomError(
      'INSECURE_PUBLIC_BIND',
      `${host} is reachable by others and nobody has to say who they are`,
      { host },
      {
        hint: 'bind to 127.0.0.1, or give --authentication required with --tls-cert-file and --tls-key-file, or pass --insecure-public to accept unauthenticated clients',
      },
    )
  if (tlsCertFile === '' && !tlsTerminatedUpstream)
    throw new LogloomError(
      'INSECURE_PUBLIC_BIND',
      `${host} is reachable by others and tokens would cross the network in plain text`,
      { host },
      {
        hint: 'give --tls-cert-file and --tls-key-file, or --tls-terminated-upstream if a proxy in front of the broker does TLS, or pass --insecure-public',
      },
    )
}
