// A second, plain decoder for the protocol's subset of msgpack, to compare with: slow, recursive, and written from the specification only.

export type Plain = null | boolean | number | string | Uint8Array | Plain[] | Map<string, Plain>

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

/** Decodes one value that fills `bytes`. @throws Error when it is not of the subset */
export function referenceDecode(bytes: Uint8Array): Plain {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  const number = (size: 1 | 2 | 4): number => {
    at += size
    return size === 1
      ? view.getUint8(at - 1)
      : size === 2
        ? view.getUint16(at - 2)
        : view.getUint32(at - 4)
  }
  const take = (length: number): Uint8Array => {
    if (at + length > bytes.length) throw new Error('past the end')
    at += length
    return bytes.subarray(at - length, at)
  }
  const text = (length: number): string => utf8.decode(take(length))
  const items = (count: number): Plain[] => {
    const list: Plain[] = []
    for (let i = 0; i < count; i++) list.push(value())
    return list
  }
  const pairs = (count: number): Map<string, Plain> => {
    const found = new Map<string, Plain>()
    for (let i = 0; i < count; i++) {
      const key = value()
      if (typeof key !== 'string') throw new Error('a key is no string')
      found.set(key, value())
    }
    return found
  }
  const value = (): Plain => {
    const token = number(1)
    if (token < 0x80) return token
    if (token < 0x90) return pairs(token & 15)
    if (token < 0xa0) return items(token & 15)
    if (token < 0xc0) return text(token & 31)
    if (token >= 0xe0) return token - 256
    switch (token) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xc4:
        return take(number(1))
      case 0xc5:
        return take(number(2))
      case 0xc6:
        return take(number(4))
      case 0xcb:
        at += 8
        return view.getFloat64(at - 8)
      case 0xcc:
        return number(1)
      case 0xcd:
        return number(2)
      case 0xce:
        return number(4)
      case 0xcf:
        at += 8
        return Number(view.getBigUint64(at - 8))
      case 0xd0:
        return (number(1) << 24) >> 24
      case 0xd1:
        return (number(2) << 16) >> 16
      case 0xd2:
        return number(4) | 0
      case 0xd3:
        at += 8
        return Number(view.getBigInt64(at - 8))
      case 0xd9:
        return text(number(1))
      case 0xda:
        return text(number(2))
      case 0xdb:
        return text(number(4))
      case 0xdc:
        return items(number(2))
      case 0xdd:
        return items(number(4))
      case 0xde:
        return pairs(number(2))
      case 0xdf:
        return pairs(number(4))
      default:
        throw new Error(`token ${token}`)
    }
  }
  const result = value()
  if (at !== bytes.length) throw new Error('bytes after the end')
  return result
}

/** Names the first place where the two decodings differ; undefined when they are the same. `renamed` is what the decoder makes of `__proto__`. */
export function difference(plain: Plain, other: unknown, path = ''): string | undefined {
  if (plain instanceof Uint8Array)
    return other instanceof Uint8Array && Buffer.compare(plain, other) === 0
      ? undefined
      : `${path}: bytes`
  if (Array.isArray(plain)) {
    if (!Array.isArray(other) || other.length !== plain.length) return `${path}: array`
    for (let i = 0; i < plain.length; i++) {
      const found = difference(plain[i] as Plain, other[i], `${path}[${i}]`)
      if (found !== undefined) return found
    }
    return undefined
  }
  if (plain instanceof Map) {
    if (
      typeof other !== 'object' ||
      other === null ||
      Object.getPrototypeOf(other) !== Object.prototype
    )
      return `${path}: map`
    const keys = new Set([...plain.keys()].map(renamed))
    const found = Object.keys(other)
    if (keys.size !== found.length) return `${path}: ${found.length} keys instead of ${keys.size}`
    // The last of several equal keys counts.
    const byName = new Map([...plain].map(([key, value]) => [renamed(key), value]))
    for (const [key, value] of byName) {
      if (!Object.hasOwn(other, key)) return `${path}: no key ${JSON.stringify(key)}`
      const inner = difference(value, (other as Record<string, unknown>)[key], `${path}.${key}`)
      if (inner !== undefined) return inner
    }
    return undefined
  }
  return Object.is(plain, other) ? undefined : `${path}: ${String(plain)} and ${String(other)}`
}

const renamed = (key: string): string => (key === '__proto__' ? '__proto_' : key)
