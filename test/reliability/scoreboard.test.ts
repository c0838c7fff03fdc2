// The scoreboard: its page is what the stored results say, and the readers of other programs' output read it.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { rootDirectory } from '../repo/sources.ts'
import { programs, readReport, readSeeds } from './programs.ts'
import { rows } from './rows.ts'
import { scoreboard, type StoredResult, verdictOf } from './scoreboard.ts'

const folder = join(rootDirectory, 'test/reliability/results')
const results = new Map(
  (existsSync(folder) ? readdirSync(folder) : []).map(file => [
    file.replace(/\.json$/, ''),
    JSON.parse(readFileSync(join(folder, file), 'utf8')) as StoredResult,
  ]),
)

describe('docs/reliability.md', () => {
  it('says what the stored results say: npm run test:soak -- --page writes it', () => {
    const page = readFileSync(join(rootDirectory, 'docs/reliability.md'), 'utf8')
    expect(page).toBe(scoreboard(rows, programs, results))
  })

  it('has rows 1 to 24, and every program shows one of them', () => {
    expect(rows.map(({ row }) => row)).toEqual(Array.from({ length: 24 }, (_, i) => i + 1))
    expect(programs.filter(each => each.rows.some(row => row < 1 || row > 24))).toEqual([])
    expect(new Set(programs.map(({ name }) => name)).size).toBe(programs.length)
    const sources = programs.map(({ command: [module] }) => module.replace(/\.js$/, '.ts'))
    expect(sources.filter(file => !existsSync(join(rootDirectory, 'test', file)))).toEqual([])
  })

  it('keeps no results of programs that are gone', () => {
    const names = programs.map(({ name }) => name)
    expect([...results.keys()].filter(name => !names.includes(name))).toEqual([])
  })

  it('says that a row was not run, failed, or passed in part', () => {
    const program = (name: string) => ({
      name,
      rows: [1] as [number],
      command: ['x.js'] as [string],
    })
    const result = (passed: boolean) => ({ passed }) as StoredResult
    const both = [program('a'), program('b')]
    expect(verdictOf(1, both, new Map())).toBe('not run')
    expect(verdictOf(1, both, new Map([['a', result(true)]]))).toBe('passed in part')
    const whole = new Map([
      ['a', result(true)],
      ['b', result(true)],
    ])
    expect(verdictOf(1, both, whole)).toBe('passed')
    expect(verdictOf(1, both, whole.set('b', result(false)))).toBe('FAILED')
    const partly = [{ ...program('a'), short: { what: 'less than demanded' } }]
    const ofOne = [{ ...program('a'), short: { what: 'less than demanded', rows: [2] } }]
    whole.set('b', result(true))
    expect(verdictOf(1, partly, whole)).toBe('passed in part')
    expect(verdictOf(1, ofOne, whole)).toBe('passed')
    expect(verdictOf(2, ofOne, whole)).toBe('passed in part')
    const read = () => ({ counts: {}, figures: {} })
    const asRun = (command: string) => new Map([['a', { ...result(true), command }]])
    const long = [{ ...program('a'), read }]
    expect(verdictOf(1, long, asRun('node dist/test/x.js'))).toBe('passed')
    expect(verdictOf(1, long, asRun('node dist/test/x.js 5'))).toBe('passed in part')
  })
})

describe('programs that print no result of a suite', () => {
  it('are read: seeds of a simulation', () => {
    const text = 'log: 12 seeds in 3.0 s (4.0 seeds/s, 99 events)\n  crash: 7\n  torn tail: 2\n'
    expect(readSeeds(text)).toEqual({
      counts: { seeds: 12, events: 99, crash: 7, 'torn tail': 2 },
      figures: { seedsPerSecond: 4 },
    })
    expect(() => readSeeds('nothing')).toThrow('no count of seeds')
  })

  it('are read: a report', () => {
    const report = { lost: 0, faults: { kill: 3 }, gapMs: { p99: 12 }, share: 0.5, names: ['a'] }
    expect(readReport(`warming up\n${JSON.stringify(report, undefined, 1)}`)).toEqual({
      counts: { lost: 0, 'faults.kill': 3 },
      figures: { 'gapMs.p99': 12, share: 0.5 },
    })
  })
})
