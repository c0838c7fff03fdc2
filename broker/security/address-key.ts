// Whose an address is, for limits and delays that count by address.

/** Whose address it is: an IPv4 address, or the 64 bits of an IPv6 address that one customer has at least. */
export function addressKey(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  if (!address.includes(':') || address === '::1') return address
  const [head = ''] = address.split('%')
  const [left = '', right] = head.split('::')
  const groups = left === '' ? [] : left.split(':')
  const tail = right === undefined || right === '' ? [] : right.split(':')
  const filled =
    right === undefined
      ? groups
      : [...groups, ...Array<string>(8 - groups.length - tail.length).fill('0'), ...tail]
  return `${filled.slice(0, 4).join(':')}::/64`
}
