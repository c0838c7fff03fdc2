// Numbers, tables and spreads as the report writes them.

import type { Spread } from '../stats.ts'

/** Three digits that mean something, with thousands separated: 12,300 · 123 · 12.3 · 1.23 · 0.012. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 1000) return Number(value.toPrecision(3)).toLocaleString('en-US')
  if (size >= 100) return value.toFixed(0)
  if (size >= 10) return value.toFixed(1)
  if (size >= 1 || size === 0) return value.toFixed(2)
  return String(Number(value.toPrecision(2)))
}

/** `median (least–most)`, each made smaller by `scale`. */
export function spread({ median, min, max }: Spread, scale = 1): string {
  return `${number(median / scale)} (${number(min / scale)}–${number(max / scale)})`
}

export function times(value: number): string {
  return `${number(value)}×`
}

/** Times with the range of the rounds. */
export function timesSpread({ median, min, max }: Spread): string {
  return `${number(median)}× (${number(min)}–${number(max)})`
}

/** Of an axis: no more digits than it takes. */
export function tickText(value: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: 3 })
}

/** A whole number, with thousands separated. */
export function count(value: number): string {
  return value.toLocaleString('en-US')
}

/** In powers of two where they fit, else in powers of ten. */
export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${Math.round(bytes)} B`
  if (bytes < 2 ** 30 && bytes % (1 << 20) === 0) return `${bytes / (1 << 20)} MiB`
  if (bytes < 1 << 20 && bytes % 1024 === 0) return `${bytes / 1024} KiB`
  if (bytes >= 1e9) return `${short(bytes / 1e9)} GB`
  return bytes >= 1e6 ? `${short(bytes / 1e6)} MB` : `${short(bytes / 1e3)} KB`
}

const short = (value: number): string => String(Number(value.toPrecision(3)))

export function table(
  heads: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string {
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`
  const rule = heads.map((_, i) => (i === 0 ? '---' : '---:'))
  return [line(heads), line(rule), ...rows.map(line)].join('\n')
}
