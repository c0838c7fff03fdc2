// The keys with which JSON Web Tokens are checked: from a URL or a file, kept while they cannot be had anew.
//
// Guarantees: one fetch at a time, bounded in time and size, at most one every `retryMs` whatever tokens come; keys that were had once stay
// usable when the issuer does not answer, or the file is one that others can change (trust-anchor.ts). An unknown key id asks again: issuers rotate their keys.

import type { JSONWebKeySet } from 'jose'
import { readTrustAnchor } from './trust-anchor.ts'

const fetchTimeoutMs = 3000
const keySetBytesMax = 262_144
const refreshMs = 600_000
const retryMs = 30_000

export class KeySet {
  private readonly source: { readonly url: string } | { readonly file: string }
  private readonly now: () => number
  private readonly onProblem: (why: string) => void
  private current: JSONWebKeySet | undefined
  private triedAt = Number.NEGATIVE_INFINITY
  private gotAt = Number.NEGATIVE_INFINITY
  private fetching: Promise<void> | undefined

  constructor(
    source: { readonly url: string } | { readonly file: string },
    now: () => number,
    onProblem: (why: string) => void,
  ) {
    this.source = source
    this.now = now
    this.onProblem = onProblem
  }

  /** The keys; undefined when there were never any. `unknownKey`: those at hand lack the one that is needed. */
  async keys(unknownKey = false): Promise<JSONWebKeySet | undefined> {
    const now = this.now()
    const isOld = unknownKey || now - this.gotAt >= refreshMs
    // Whoever has no keys at all waits; nobody else does for a refresh that only age asks for.
    if (isOld && now - this.triedAt >= (this.current === undefined ? retryMs / 30 : retryMs)) {
      this.triedAt = now
      this.fetching = this.load().finally(() => {
        this.fetching = undefined
      })
    }
    if (this.current === undefined || unknownKey) await this.fetching
    return this.current
  }

  private async load(): Promise<void> {
    try {
      const text =
        'file' in this.source ? readTrustAnchor(this.source.file) : await fetchText(this.source.url)
      this.current = parse(text)
      this.gotAt = this.now()
    } catch (error) {
      this.onProblem((error as Error).message)
    }
  }
}

function parse(text: string): JSONWebKeySet {
  const value = JSON.parse(text) as { keys?: unknown }
  if (!Array.isArray(value.keys)) throw new Error('it is no JSON Web Key Set: it has no keys')
  return value as JSONWebKeySet
}

async function fetchText(url: string): Promise<string> {
  const signal = AbortSignal.timeout(fetchTimeoutMs)
  const response = await fetch(url, {
    signal,
    redirect: 'error',
    headers: { accept: 'application/json' },
  })
  if (!response.ok) {
    await response.body?.cancel()
    throw new Error(`HTTP ${response.status}`)
  }
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of response.body ?? []) {
    bytes += (piece as Uint8Array).length
    if (bytes > keySetBytesMax)
      throw new Error(`it has more than ${keySetBytesMax} bytes (keySetBytesMax)`)
    pieces.push(piece as Uint8Array)
  }
  return Buffer.concat(pieces).toString()
}
