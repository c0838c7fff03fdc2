// A certificate and its key from files, looked at again and again: a new one is used without a restart.
//
// Guarantees: what does not fit together, cannot be read, ends earlier than what it would replace, or has a key that another user owns or an
// authority that another user can change, is reported and not used; the old one stays. Both files are read at each look: a replacement by rename, by a symbolic link or in place is seen alike.

import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContext } from 'node:tls'
import { LogloomError } from '../../wire/errors.ts'
import type { BrokerLogger } from '../broker-options.ts'
import { degraded, type Finding, noted } from '../health.ts'
import { readOwnedFile } from './file-owner.ts'
import { readTrustAnchor } from './trust-anchor.ts'

export interface CertificateFiles {
  /** Settings that name the files. */
  readonly certSetting: string
  readonly certFile: string
  readonly keyFile: string
  /** Whose certificates are taken from the other side. */
  readonly caFile?: string
}

export interface TlsMaterial {
  readonly cert: string
  readonly key: string
  readonly ca?: string
}

/** TLS 1.0 and 1.1 are broken (RFC 8996). */
export const minVersion = 'TLSv1.2'
const warnMs = 7 * 86_400_000

export class Certificate {
  /** `clients` or `nodes`. */
  readonly listener: string
  private readonly files: CertificateFiles
  private readonly logger: BrokerLogger
  private readonly changed = new Set<() => void>()
  private material: TlsMaterial
  private secureContext: SecureContext
  private endsAt: number
  private problem: string | undefined
  /** What was refused at the last look: told once, and only if it stays. */
  private refused: string | undefined
  private timer: ReturnType<typeof setInterval> | undefined

  private constructor(listener: string, files: CertificateFiles, logger: BrokerLogger) {
    this.listener = listener
    this.files = files
    this.logger = logger
    const { material, context, endsAt } = load(files)
    this.material = material
    this.secureContext = context
    this.endsAt = endsAt
  }

  /** Reads the files and looks at them every `reloadMs`. @throws INVALID_CONFIG */
  static open(
    listener: string,
    files: CertificateFiles,
    reloadMs: number,
    logger: BrokerLogger,
  ): Certificate {
    try {
      const certificate = new Certificate(listener, files, logger)
      certificate.timer = setInterval(() => certificate.look(false), reloadMs).unref()
      return certificate
    } catch (error) {
      throw new LogloomError(
        'INVALID_CONFIG',
        `${files.certSetting}: ${(error as Error).message}`,
        { key: files.certSetting },
        {
          cause: error,
          hint:
            (error instanceof LogloomError ? error.hint : undefined) ??
            'give a PEM certificate (the chain behind it) and its PEM key',
        },
      )
    }
  }

  get current(): TlsMaterial {
    return this.material
  }

  /** For connections that this side opens. */
  get context(): SecureContext {
    return this.secureContext
  }

  /** ms since 1970. */
  get expiresAt(): number {
    return this.endsAt
  }

  /** Calls `fn` when there is a new one. */
  onChange(fn: () => void): void {
    this.changed.add(fn)
  }

  /** Looks at the files now; what is wrong with them is told at once. */
  reload(): void {
    this.look(true)
  }

  findings(now: number): readonly Finding[] {
    const { certFile } = this.files
    const left = this.endsAt - now
    const day = new Date(this.endsAt).toISOString()
    return [
      ...(this.problem === undefined
        ? []
        : [degraded(`${this.problem}; the certificate in use is the one before`)]),
      ...(left <= 0
        ? [degraded(`the certificate ${certFile} has expired at ${day}: replace the file`)]
        : left < warnMs
          ? [noted(`the certificate ${certFile} expires at ${day}: replace the file`)]
          : []),
    ]
  }

  close(): void {
    clearInterval(this.timer)
  }

  private look(isAsked: boolean): void {
    try {
      const { material, context, endsAt } = load(this.files)
      if (endsAt <= Date.now() && endsAt < this.endsAt)
        throw new Error(`${this.files.certFile} holds a certificate that has expired already`)
      this.refused = undefined
      this.problem = undefined
      const { cert, key, ca } = this.material
      if (material.cert === cert && material.key === key && material.ca === ca) return
      this.material = material
      this.secureContext = context
      this.endsAt = endsAt
      this.logger.info(
        { listener: this.listener, expiresAt: new Date(endsAt).toISOString() },
        'a new certificate is in use',
      )
      for (const fn of this.changed) fn()
    } catch (error) {
      const why = `${this.files.certSetting}: ${(error as Error).message}`
      // Certificate and key are two files: one look may come between them.
      const isNews = this.problem !== why
      if (isNews && (isAsked || this.refused === why)) {
        this.problem = why
        this.logger.error(
          { listener: this.listener, error: why },
          'the new certificate is not used',
        )
      }
      this.refused = why
    }
  }
}

/** @throws when the files cannot be read or do not fit together; never with their content in the message */
function load(files: CertificateFiles): {
  readonly material: TlsMaterial
  readonly context: SecureContext
  readonly endsAt: number
} {
  const cert = readFileSync(files.certFile, 'utf8')
  const key = readKey(files.keyFile)
  const ca = files.caFile === undefined ? undefined : readTrustAnchor(files.caFile)
  const material = { cert, key, ...(ca === undefined ? {} : { ca }) }
  const parsed = inFile(files.certFile, () => new X509Certificate(cert))
  const context = inFile(`${files.certFile} with ${files.keyFile}`, () =>
    createSecureContext({ ...material, minVersion }),
  )
  return { material, context, endsAt: new Date(parsed.validTo).getTime() }
}

function readKey(file: string): string {
  const { text, foreign } = readOwnedFile(file)
  if (foreign === undefined) return text
  throw new LogloomError('INVALID_CONFIG', foreign.message, {}, { hint: foreign.hint })
}

function inFile<T>(file: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`, { cause: error })
  }
}
