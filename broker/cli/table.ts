// Plain text tables: columns padded to their widest cell, numbers to the right, no colours anywhere.

import { printableLine } from './printable.ts'

export type Cell = string | number | null

/** A header and rows as text, newline included. A null is shown as `-`. */
export function formatTable(header: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const widths = header.map((title, i) => {
    return Math.max(title.length, ...rows.map(row => text(row[i] ?? null).length))
  })
  const isRight = header.map((_, i) => rows.some(row => typeof row[i] === 'number'))
  const line = (cells: readonly Cell[]): string => {
    const padded = cells.map((cell, i) => {
      const width = widths[i] ?? 0
      return isRight[i] ? text(cell).padStart(width) : text(cell).padEnd(width)
    })
    return padded.join('  ').trimEnd()
  }
  return `${[header, ...rows].map(line).join('\n')}\n`
}

/** `NAME  value` lines. */
export function formatFields(fields: Readonly<Record<string, Cell>>): string {
  const width = Math.max(...Object.keys(fields).map(name => name.length))
  const lines = Object.entries(fields).map(([name, value]) => {
    return `${name.padEnd(width)}  ${text(value)}`.trimEnd()
  })
  return `${lines.join('\n')}\n`
}

/** Bytes in the largest unit that keeps them readable: `212.0 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

function text(cell: Cell): string {
  return cell === null ? '-' : printableLine(String(cell))
}
