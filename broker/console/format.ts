// Numbers, times and bytes as people read them.

const plain = new Intl.NumberFormat('en')
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

export const count = (n: number): string => plain.format(n)
export const rough = (n: number): string => short.format(n)

export function bytes(n: number): string {
  let value = n
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (value < 1024)
      return `${value < 10 && unit !== 'B' ? value.toFixed(1) : Math.round(value)} ${unit}`
    value /= 1024
  }
  return `${value.toFixed(1)} TiB`
}

/** Of seconds; a dash when there is nothing to tell. */
export function seconds(s: number | undefined): string {
  if (s === undefined || Number.isNaN(s)) return '–'
  if (s === 0) return '0 ms'
  if (s < 1) return `${(s * 1000).toFixed(s < 0.01 ? 1 : 0)} ms`
  if (s < 120) return `${s.toFixed(1)} s`
  if (s < 7200) return `${Math.round(s / 60)} min`
  return s < 172_800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86_400)} d`
}

/** Of milliseconds since 1970. */
export function time(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').slice(0, 23)
}

const text = new TextDecoder('utf-8', { fatal: true })
/** Tab, line feed and carriage return are text. */
const isControl = (byte: number): boolean => byte < 32 && ![9, 10, 13].includes(byte)

/** As text if it is text, else in hexadecimal. */
export function shown(value: Uint8Array | null): string {
  if (value === null) return 'null'
  try {
    if (!value.some(isControl)) return text.decode(value)
  } catch {
    // Not UTF-8.
  }
  return `0x${Array.from(value, byte => byte.toString(16).padStart(2, '0')).join('')}`
}

/** JSON with line breaks, other text as it is. */
export function pretty(value: string): string {
  try {
    const parsed: unknown = JSON.parse(value)
    return typeof parsed === 'object' ? JSON.stringify(parsed, null, 2) : value
  } catch {
    return value
  }
}

export const cut = (value: string, length: number): string =>
  value.length > length ? `${value.slice(0, length)}…` : value
