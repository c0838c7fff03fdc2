// Certificate authorities and certificates made in code (X.509 v3, ECDSA on P-256), so that no key lies in the repository and no tool is needed.

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Issued {
  readonly cert: string
  readonly key: string
}

export interface CertificateWishes {
  /** DNS names, and IPv4 addresses. */
  readonly names: readonly string[]
  readonly notBefore?: Date
  readonly notAfter?: Date
}

const day = 86_400_000

export class Authority {
  /** Its own certificate, PEM. */
  readonly cert: string
  private readonly name: string
  private readonly privateKey: KeyObject

  constructor(name = 'Logloom tests') {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.name = name
    this.privateKey = privateKey
    this.cert = pem(
      this.certificate(name, publicKey, [extension('2.5.29.19', seq(bool(true)))], {}),
    )
  }

  issue({ names, ...times }: CertificateWishes): Issued {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const alternatives = seq(...names.map(generalName))
    const der = this.certificate(
      names[0] ?? '',
      publicKey,
      [extension('2.5.29.17', alternatives)],
      times,
    )
    return { cert: pem(der), key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string }
  }

  private certificate(
    subject: string,
    publicKey: KeyObject,
    extensions: readonly Buffer[],
    times: { readonly notBefore?: Date; readonly notAfter?: Date },
  ): Buffer {
    const { notBefore = new Date(Date.now() - day), notAfter = new Date(Date.now() + 30 * day) } =
      times
    const algorithm = seq(oid('1.2.840.10045.4.3.2'))
    const body = seq(
      tagged(0xa0, integer(Buffer.from([2]))),
      integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
      algorithm,
      distinguishedName(this.name),
      seq(time(notBefore), time(notAfter)),
      distinguishedName(subject),
      publicKey.export({ type: 'spki', format: 'der' }),
      tagged(0xa3, seq(...extensions)),
    )
    return seq(body, algorithm, bitString(sign('sha256', body, this.privateKey)))
  }
}

/** Writes certificate and key into a directory. */
export function writeCertificate(
  directory: string,
  name: string,
  { cert, key }: Issued,
): { readonly certFile: string; readonly keyFile: string } {
  const certFile = join(directory, `${name}.crt`)
  const keyFile = join(directory, `${name}.key`)
  writeFileSync(certFile, cert)
  writeFileSync(keyFile, key, { mode: 0o600 })
  return { certFile, keyFile }
}

function tagged(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const size =
    length < 0x80
      ? [length]
      : length < 0x100
        ? [0x81, length]
        : [0x82, Math.floor(length / 0x100), length % 0x100]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

const seq = (...parts: readonly Uint8Array[]): Buffer => tagged(0x30, ...parts)
const integer = (bytes: Uint8Array): Buffer => tagged(0x02, bytes)
const bool = (value: boolean): Buffer => tagged(0x01, Buffer.from([value ? 0xff : 0]))
const bitString = (bytes: Uint8Array): Buffer => tagged(0x03, Buffer.from([0]), bytes)

function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number)
  const bytes = [first * 40 + second]
  for (const part of rest) {
    const groups = [part % 128]
    for (let left = Math.floor(part / 128); left > 0; left = Math.floor(left / 128))
      groups.unshift((left % 128) + 128)
    bytes.push(...groups)
  }
  return tagged(0x06, Buffer.from(bytes))
}

function distinguishedName(commonName: string): Buffer {
  return seq(tagged(0x31, seq(oid('2.5.4.3'), tagged(0x0c, Buffer.from(commonName)))))
}

function generalName(name: string): Buffer {
  return /^\d+\.\d+\.\d+\.\d+$/.test(name)
    ? tagged(0x87, Buffer.from(name.split('.').map(Number)))
    : tagged(0x82, Buffer.from(name))
}

function time(date: Date): Buffer {
  return tagged(0x18, Buffer.from(date.toISOString().replace(/[-:T]|\.\d+/g, '')))
}

function extension(id: string, value: Buffer): Buffer {
  return seq(oid(id), tagged(0x04, value))
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
