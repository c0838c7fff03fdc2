// The checksum of everything that is stored: it must not depend on how the bytes are cut or where they lie.

import { describe, expect, it } from 'vitest'
import { crc32 } from '../../wire/crc32.ts'
import { crc32 as inBrowsers } from '../../wire/platform.browser.ts'

describe.each([
  ['in Node', crc32],
  ['in browsers', inBrowsers],
] as const)('CRC-32 %s', (_, crc) => {
  it('is the one of the standard', () => {
    expect(crc(new TextEncoder().encode('123456789'))).toBe(0xcbf43926)
  })

  it('goes on where it was, over no bytes too', () => {
    const seed = crc(Uint8Array.of(1, 2, 3))
    expect(crc(new Uint8Array(0), seed)).toBe(seed)
    // Without memory behind it: zlib takes it for the beginning and answers 0.
    expect(crc(new Uint8Array(new ArrayBuffer(0)), seed)).toBe(seed)
    const touched = new Uint8Array(0)
    expect(touched.buffer.byteLength).toBe(0)
    expect(crc(touched, seed)).toBe(seed)
    expect(crc(Uint8Array.of(4, 5), seed)).toBe(crc(Uint8Array.of(1, 2, 3, 4, 5)))
  })
})
