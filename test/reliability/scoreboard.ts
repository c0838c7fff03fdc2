// Writes docs/reliability.md from the rows and the stored results. Decides nothing: a row has passed when all its programs have.

import { commandOf, type Program } from './programs.ts'
import type { Row } from './rows.ts'
import type { SuiteResult } from './suite.ts'

/** A result as it lies in test/reliability/results/NAME.json. */
export interface StoredResult extends SuiteResult {
  /** Day of the run, `2026-11-30`. */
  readonly date: string
  /** The commit it ran on; `+` behind it: with changes that were not committed. */
  readonly commit: string
  readonly node: string
  readonly machine: string
}

export type Verdict = 'passed' | 'passed in part' | 'FAILED' | 'not run'

/** Of a row: one failure fails it; without any result it was not run; when something is missing, it passed in part. */
export function verdictOf(
  row: number,
  programs: readonly Program[],
  results: ReadonlyMap<string, StoredResult>,
): Verdict {
  const ran = programs.flatMap(program => results.get(program.name) ?? [])
  if (ran.some(result => !result.passed)) return 'FAILED'
  if (ran.length === 0) return 'not run'
  const isWhole = programs.every(program => {
    const result = results.get(program.name)
    return result !== undefined && shortfalls(program, result, row).length === 0
  })
  return isWhole ? 'passed' : 'passed in part'
}

/** The page. */
export function scoreboard(
  rows: readonly Row[],
  programs: readonly Program[],
  results: ReadonlyMap<string, StoredResult>,
): string {
  const ofRow = (row: number): readonly Program[] =>
    programs.filter(each => each.rows.includes(row))
  const table = rows.map(({ row, trouble, demand, amount, ci }) => {
    const verdict = verdictOf(row, ofRow(row), results)
    const cells = [row, trouble, demand, amount, verdict, ci ?? 'nothing']
    return `| ${cells.join(' | ')} |`
  })
  const details = programs.flatMap(program => detail(program, results.get(program.name)))
  return [...head, ...table, '', '## Runs', '', ...details].join('\n').concat('\n')
}

const head = [
  '# Reliability',
  '',
  'What was done to Logloom, what it counted, and what was not run. `npm run test:soak` writes this page: all programs one after the other, or those',
  'named (`npm run test:soak -- chaos hostile-frames`; `--list` names them, `--page` only writes the page). Results lie in `test/reliability/results/`.',
  'CI runs short forms of most of them at every change; the last column says which. `passed in part` means that everything that ran passed, and that',
  'less ran than the row demands: the note at the run says what. `not run` is a result.',
  '',
  '## The scoreboard',
  '',
  '| row | what happens | what has to hold | how much | verdict | short form in CI |',
  '|---|---|---|---|---|---|',
]

function detail(program: Program, result: StoredResult | undefined): readonly string[] {
  const command = commandOf(program)
  const title = `- **${program.name}** (row ${program.rows.join(', ')})`
  if (result === undefined) return [`${title}: not run. \`${command}\``]
  const { date, commit, node, machine, seconds, counts, figures, passed } = result
  return [
    `${title}: ${passed ? 'passed' : 'FAILED'}, ${date}, commit ${commit}, ${node}, ${machine}, ${amount(seconds)} s. \`${result.command}\``,
    ...list('counts', counts),
    ...list('figures', figures),
    ...shortfalls(program, result).map(note => `  - falls short: ${note}`),
  ]
}

/** What is missing: for one row, or for all of the program's. */
function shortfalls(program: Program, result: StoredResult, row?: number): readonly string[] {
  const { short, read } = program
  const found: string[] = []
  if (short !== undefined && (row === undefined || (short.rows?.includes(row) ?? true)))
    found.push(
      short.rows === undefined ? short.what : `${short.what} (row ${short.rows.join(', ')})`,
    )
  // Suites name a command of their own.
  if (read !== undefined && result.command !== commandOf(program))
    found.push(`the long form is \`${commandOf(program)}\``)
  if (result.notes !== undefined) found.push(result.notes)
  return found
}

function list(title: string, numbers: Readonly<Record<string, number>>): readonly string[] {
  const words = Object.entries(numbers).map(([name, value]) => `${name} ${amount(value)}`)
  return words.length === 0 ? [] : [`  - ${title}: ${words.join(', ')}`]
}

/** Thousands apart, at most two decimals. */
function amount(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 2 })
}
