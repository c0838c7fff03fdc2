// The report: the same results give the same page, and it says what is missing, failed or old.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { benchmarksPage } from '../../bench/report/page.ts'
import { readResults, type Run, type StoredResult } from '../../bench/results.ts'
import { scenario } from '../../bench/scenario.ts'
import { scenarios } from '../../bench/scenarios.ts'
import { rootDirectory } from '../repo/sources.ts'

const fake = (name: string) =>
  scenario<{ n: number }, { value: number }>({
    name,
    group: 'limits',
    title: `Title of ${name}`,
    shows: `What ${name} shows.`,
    params: { tiny: { n: 1 }, short: { n: 2 }, full: { n: 3 } },
    seconds: () => 1,
    run: async () => ({ value: 1 }),
    section: ({ value }, { n }) => ({
      body: `value ${value} of ${n}\n\n{plot:one}`,
      plots: [{ name: 'one', alt: 'a plot', svg: `<svg>${value}</svg>` }],
      headlines: [{ what: name, value: String(value), beside: '1' }],
    }),
  })

const runAt = (begun: string, commit = 'abc'): Run => ({
  begun,
  command: 'npm run bench',
  commit,
  machine: { cpu: '2 × x', memoryGb: 4, system: 'linux', node: 'v20', fileSystem: 'ext4' },
})
const early = runAt('2026-01-01T10:00:00.000Z', 'early')
const late = runAt('2026-02-01T10:00:00.000Z', 'late')

const measuredAt = (run: Run): NonNullable<StoredResult['measured']> => ({
  run,
  mode: 'short',
  seconds: 1,
  params: { n: 2 },
  result: { value: 42 },
})
const ok = (name: string, run: Run): [string, StoredResult] => [
  name,
  { scenario: name, outcome: { kind: 'ok' }, measured: measuredAt(run) },
]

describe('the page', () => {
  it('is the same for the same results', () => {
    const make = () =>
      benchmarksPage([fake('a'), fake('b')], new Map([ok('a', early), ok('b', early)]))
    expect(make()).toEqual(make())
    expect(make().markdown).toContain('value 42 of 2')
    expect([...make().plots.keys()]).toEqual(['a-one.svg', 'b-one.svg'])
    expect(make().markdown).toContain('![a plot](benchmarks/a-one.svg)')
    expect(make().markdown).not.toContain('{plot:')
  })

  it('names machine, Node, commit and command', () => {
    const { markdown } = benchmarksPage([fake('a')], new Map([ok('a', late)]))
    for (const words of ['2 × x', 'v20', 'late', '`npm run bench`', '2026-02-01 10:00 UTC'])
      expect(markdown).toContain(words)
  })

  it('says what was not run, and how to run it', () => {
    const { markdown } = benchmarksPage([fake('a'), fake('b')], new Map([ok('a', late)]))
    expect(markdown).toContain('**Not run.** `npm run bench -- --only b` measures it.')
  })

  it('marks what is older than the newest run, and only that', () => {
    const results = new Map([ok('a', early), ok('b', late)])
    const { markdown } = benchmarksPage([fake('a'), fake('b')], results)
    expect(markdown.match(/Measured earlier than the rest/g)).toHaveLength(1)
    expect(markdown).toContain('2026-01-01 10:00 UTC at early')
  })

  it('says why a scenario failed, beside the figures that there were before', () => {
    const outcome = { kind: 'failed', reason: 'no\nroom', run: late } as const
    const results = new Map<string, StoredResult>([
      ['a', { scenario: 'a', outcome, measured: measuredAt(early) }],
      ['b', { scenario: 'b', outcome }],
    ])
    const { markdown } = benchmarksPage([fake('a'), fake('b')], results)
    expect(markdown.match(/\*\*Failed\*\* \(2026-02-01 10:00 UTC, late\): no room/g)).toHaveLength(
      2,
    )
    expect(markdown).toContain('value 42')
  })

  it('leaves out what another version wrote, and says so', () => {
    const [name, stored] = ok('a', late)
    const old: StoredResult = { ...stored, measured: { ...measuredAt(late), result: null } }
    const { markdown } = benchmarksPage(
      [fake('a'), fake('b')],
      new Map([[name, old], ok('b', late)]),
    )
    expect(markdown).toContain('**Not shown:**')
    expect(markdown).toContain('value 42')
  })

  it('warns of figures made for tests', () => {
    const measured = { ...measuredAt(late), mode: 'tiny' as const }
    const results = new Map<string, StoredResult>([
      ['a', { scenario: 'a', outcome: { kind: 'ok' }, measured }],
    ])
    expect(benchmarksPage([fake('a')], results).markdown).toContain('these figures mean nothing')
  })

  it('can be made of nothing', () => {
    const { markdown, plots } = benchmarksPage(scenarios, new Map())
    expect(markdown).toContain('Nothing has been measured yet')
    for (const { title } of scenarios) expect(markdown).toContain(`### ${title}`)
    expect(plots.size).toBe(0)
  })
})

describe('docs/benchmarks.md', () => {
  const docs = join(rootDirectory, 'docs')
  const { markdown, plots } = benchmarksPage(
    scenarios,
    readResults(join(rootDirectory, 'bench/results')),
  )

  it('is what bench/results give: `npm run bench -- --page` makes it', () => {
    expect(readFileSync(join(docs, 'benchmarks.md'), 'utf8')).toBe(markdown)
  })

  it('has its plots, and no others', () => {
    const directory = join(docs, 'benchmarks')
    const found = existsSync(directory)
      ? readdirSync(directory).filter(name => name.endsWith('.svg'))
      : []
    expect(found.sort()).toEqual([...plots.keys()].sort())
    for (const [name, svg] of plots) expect(readFileSync(join(directory, name), 'utf8')).toBe(svg)
  })
})

describe('scenarios', () => {
  it('have names of their own', () => {
    expect(new Set(scenarios.map(s => s.name)).size).toBe(scenarios.length)
  })

  it('measure every figure at least five times, and all of them in less than 15 minutes', () => {
    for (const { params } of scenarios)
      for (const mode of ['short', 'full'] as const) {
        const { rounds } = params[mode] as { rounds?: number }
        if (rounds !== undefined) expect(rounds).toBeGreaterThanOrEqual(5)
      }
    const total = scenarios.reduce((sum, s) => sum + s.seconds(s.params.short), 0)
    expect(total).toBeLessThan(14 * 60)
  })
})
