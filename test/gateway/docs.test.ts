// docs/limits.md and docs/metrics.md say what the code says, in both directions.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { GatewayStats } from '../../broker/gateway/stats.ts'
import { CanaryStats } from '../../broker/canary.ts'
import { LogStats } from '../../broker/metrics/log-stats.ts'
import { createMetrics } from '../../broker/metrics/metrics.ts'
import { settingsTable } from '../../broker/settings.ts'
import { wireLimits } from '../../wire/limits.ts'

const root = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(fileURLToPath(new URL(path, root)), 'utf8')

/** Cells of the table rows below a heading, whose first cell is code. */
function rows(page: string, heading: string): string[][] {
  const section = page.split(/^## /m).find(part => part.startsWith(heading)) ?? ''
  return [...section.matchAll(/^\| (`.*) \|$/gm)].map(([, row = '']) =>
    row.split(/ *\| */).map(cell => cell.trim()),
  )
}

/** `1 MiB + 64`, `256 KiB`, `10000 ms`, `8` */
function amount(cell: string): number {
  const unit: Record<string, number> = { MiB: 2 ** 20, KiB: 2 ** 10, ms: 1 }
  return cell
    .split(' + ')
    .map(part => part.split(' '))
    .reduce(
      (sum, [number, name]) =>
        sum + Number(number) * (name === undefined ? 1 : (unit[name] ?? Number.NaN)),
      0,
    )
}

const bare = (cell = ''): string => cell.replaceAll('`', '')

describe('docs/limits.md', () => {
  const page = read('docs/limits.md')

  it('lists every setting that is a limit, with its default', () => {
    const documented = rows(page, 'Settings').map(
      ([name, value = '']) => `${bare(name)} ${amount(value)}`,
    )
    const limits = Object.entries(settingsTable)
      .filter(([, setting]) => 'limit' in setting)
      .map(([name, setting]) => `${name} ${String(setting.default)}`)
    expect(documented.sort()).toEqual(limits.sort())
  })

  it('says what happens when a limit is reached', () => {
    for (const [name, , what, then] of rows(page, 'Settings')) {
      expect(what?.length, name).toBeGreaterThan(5)
      expect(then?.length, name).toBeGreaterThan(5)
    }
  })

  it('lists every bound of the protocol, with its value', () => {
    const documented = rows(page, 'Bounds').map(
      ([name, value = '']) => `${bare(name)} ${amount(value)}`,
    )
    const limits = Object.entries(wireLimits).map(([name, value]) => `${name} ${value}`)
    expect(documented.sort()).toEqual(limits.sort())
  })

  it('gives the fixed bounds as the files have them', () => {
    const fixed = rows(page, 'Fixed')
    expect(fixed.length).toBeGreaterThan(10)
    for (const [name, file = '', value = ''] of fixed) {
      const constant = new RegExp(`^(?:export )?const ${bare(name)} = ([0-9_ *<]+)$`, 'm').exec(
        read(file),
      )
      expect(constant, `${name} in ${file}`).not.toBeNull()
      expect(valueOf(constant?.[1] ?? ''), `${name} in ${file}`).toBe(amount(value))
    }
  })
})

describe('docs/metrics.md', () => {
  it('lists every metric of ours with its type and labels, and no others', async () => {
    const metrics = createMetrics({
      version: '0',
      commit: 'c',
      nodeId: 'n',
      role: 'broker',
      perPartition: true,
      canary: new CanaryStats(),
      broker: () => undefined,
      gateway: new GatewayStats(1),
      log: new LogStats(),
      dataPath: '/',
    })
    const exported = (await metrics.list())
      .filter(({ name }) => name.startsWith('logloom_'))
      .map(({ name, type, labels }) => `${name} ${type} ${labels.join(', ')}`)
    const page = read('docs/metrics.md')
    const documented = ['Traffic', 'The log', 'Connections', 'The node'].flatMap(heading =>
      rows(page, heading).map(([name, type, labels]) => `${bare(name)} ${type} ${bare(labels)}`),
    )
    expect(documented.sort()).toEqual(exported.sort())
  })
})

/** The value of `4 << 20`, `16 * 1024 * 1024` or `1_000`. */
function valueOf(expression: string): number {
  const text = expression.replaceAll('_', '')
  const [base = '', shift] = text.split('<<')
  const product = base.split('*').reduce((value, factor) => value * Number(factor), 1)
  return shift === undefined ? product : product * 2 ** Number(shift)
}
