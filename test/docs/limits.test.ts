// docs/limits.md lists every bound that the code fixes, and every one that it lists is there: constants by name, file and value, options of
// the SDK by name and default. Settings and protocol bounds are compared in test/gateway/docs.test.ts.

import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))
const page = readFileSync(`${root}docs/limits.md`, 'utf8')

interface Bound {
  readonly name: string
  readonly file: string
  readonly value: number
}

function sources(folder: string): { file: string; text: string }[] {
  return readdirSync(root + folder, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.ts'))
    .map(path => `${folder}/${path}`)
    .map(file => ({ file, text: readFileSync(root + file, 'utf8') }))
}

/** The value of `4 << 20`, `2 ** 31`, `16 * 1024 * 1024` or `10_000`. */
function valueOf(expression: string): number {
  if (expression === 'Number.MAX_SAFE_INTEGER') return Number.MAX_SAFE_INTEGER
  const text = expression.replaceAll('_', '')
  const [power, exponent] = text.split('**')
  if (exponent !== undefined) return Number(power) ** Number(exponent)
  const [base = '', shift = '0'] = text.split('<<')
  return base.split('*').reduce((value, factor) => value * Number(factor), 2 ** Number(shift))
}

/** `1 MiB`, `250 ms`, `64`, as the page has them. */
function amount(cell: string): number {
  const units: Record<string, number> = { GiB: 2 ** 30, MiB: 2 ** 20, KiB: 2 ** 10, ms: 1 }
  const [number, unit] = cell.split(' ')
  return Number(number) * (unit === undefined ? 1 : (units[unit] ?? Number.NaN))
}

/** Rows of the tables below the headings that `belongs` names. */
function rows(belongs: (heading: string) => boolean): string[][] {
  return page
    .split(/^## /m)
    .slice(1)
    .filter(section => belongs(section.split('\n')[0] ?? ''))
    .flatMap(section => [...section.matchAll(/^\| (`.*) \|$/gm)])
    .map(([, row = '']) => row.split('|').map(cell => cell.trim().replace(/^`|`$/g, '')))
}

const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1)
const key = ({ name, file }: Bound): string => `${name} in ${file}`

describe('fixed bounds in docs/limits.md', () => {
  const documented = rows(heading => heading.endsWith(' inside')).map(
    ([name = '', file = '', value = '']) => ({ name, file, value: amount(value) }),
  )
  const constant = /^(?:export )?const (\w+) = ([\d_]+(?: (?:\*\*?|<<) [\d_]+)*)$/gm
  const fixed = ['broker', 'loglets', 'client', 'wire']
    .flatMap(sources)
    .flatMap(({ file, text }): Bound[] =>
      [...text.matchAll(constant)].map(([, name = '', value = '']) => ({
        name,
        file,
        value: valueOf(value),
      })),
    )

  it('are all that the code has', () => {
    // What a number can hold at all is no bound of ours.
    const bounds = fixed.filter(({ name }) => /(Max|Limit)$/.test(name) && name !== 'u32Max')
    expect(bounds.length).toBeGreaterThan(30)
    const names = new Set(documented.map(key))
    expect(bounds.map(key).filter(name => !names.has(name))).toEqual([])
  })

  it('have the values of the code', () => {
    const values = new Map(fixed.map(bound => [key(bound), bound.value]))
    expect(documented.map(bound => [key(bound), values.get(key(bound))])).toEqual(
      documented.map(bound => [key(bound), bound.value]),
    )
  })

  it('say what happens', () => {
    for (const [name, , , what, then] of rows(heading => heading.endsWith(' inside'))) {
      expect(what?.length, name).toBeGreaterThan(5)
      expect(then?.length, name).toBeGreaterThan(5)
    }
  })
})

describe('options of the SDK in docs/limits.md', () => {
  it('are those of the code, with their defaults', () => {
    const option = /amount\(\s*'(\w+)',\s*[\w.]+,\s*([^,]+),/g
    const options = sources('client')
      .flatMap(({ text }) => [...text.matchAll(option)])
      // A producer takes over its client's delivery timeout.
      .filter(([, name, value]) => name !== value)
      .map(([, name = '', value = '']) => ({ name, value: valueOf(value) }))
    const documented = rows(heading => heading === 'The SDK').map(([name = '', value = '']) => ({
      name,
      value: amount(value),
    }))
    expect(documented.sort(byName)).toEqual(options.sort(byName))
  })
})
