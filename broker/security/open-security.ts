// What the settings say about who gets in, put together: the administrator's token, the key of scoped tokens, the certificate.

import { join } from 'node:path'
import type { BrokerLogger } from '../broker-options.ts'
import type { ClusterConfig } from '../cluster/cluster-settings.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { Settings } from '../settings.ts'
import { type AdminToken, openAdminToken } from './admin-token.ts'
import type { KnownKeys } from './api-keys.ts'
import { Authenticator } from './authenticator.ts'
import { Certificate } from './certificate.ts'
import { clusterTokenKey, ownTokenKey, ScopedTokens } from './scoped-tokens.ts'
import { checkTrustAnchor } from './trust-anchor.ts'

export interface SecurityOptions {
  readonly settings: Settings
  readonly cluster: ClusterConfig | undefined
  /** Data directory; undefined for a broker in memory. */
  readonly directory: string | undefined
  readonly keys: KnownKeys
  readonly fresh: () => Promise<void>
  readonly logger: BrokerLogger
}

/** Makes the files of secrets that are not there yet. @throws INVALID_CONFIG */
export function openAuthenticator(options: SecurityOptions): Authenticator {
  const { settings, keys, fresh, logger } = options
  const isRequired = settings.authentication === 'required'
  if (isRequired && settings.jwtJwksFile !== '')
    checkTrustAnchor('jwtJwksFile', settings.jwtJwksFile)
  return new Authenticator({
    settings,
    adminToken: isRequired ? adminToken(options) : undefined,
    scopedTokens: new ScopedTokens(isRequired ? tokenKey(options) : new Uint8Array(32)),
    keys,
    fresh,
    logger,
  })
}

/** Undefined without TLS. @throws INVALID_CONFIG */
export function openCertificate(settings: Settings, logger: BrokerLogger): Certificate | undefined {
  const { tlsCertFile: certFile, tlsKeyFile: keyFile, tlsReloadIntervalMs } = settings
  if (certFile === '') return undefined
  const files = { certSetting: 'tlsCertFile', certFile, keyFile }
  return Certificate.open('clients', files, tlsReloadIntervalMs, logger)
}

function adminToken({ settings, directory, logger }: SecurityOptions): AdminToken {
  const file = settings.adminTokenFile || (directory && join(directory, 'admin.token'))
  if (file === undefined)
    throw new LogloomError(
      'INVALID_CONFIG',
      'authentication=required needs adminTokenFile: a broker in memory has no directory to keep the token in',
      { key: 'adminTokenFile' },
      { hint: 'give --admin-token-file FILE, or --data DIR' },
    )
  const token = openAdminToken(file)
  if (token.made) logger.info({ file }, "the administrator's token was made: see the file")
  return token
}

function tokenKey({ cluster, directory }: SecurityOptions): Uint8Array {
  return cluster === undefined
    ? ownTokenKey(directory)
    : clusterTokenKey(cluster.clusterSecret, cluster.clusterId)
}
