// bench/results/NAME.json: what a scenario found out last, and where. The report is made of these files alone.

import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Machine } from './machine.ts'
import type { Mode } from './scenario.ts'

export interface Run {
  /** ISO time at which the command began: the same for all that it ran. */
  readonly begun: string
  readonly command: string
  readonly commit: string
  readonly machine: Machine
}

/** What came of the newest try. */
export type Outcome =
  | { readonly kind: 'ok' }
  | { readonly kind: 'failed' | 'not run'; readonly reason: string; readonly run: Run }

export interface StoredResult {
  readonly scenario: string
  readonly outcome: Outcome
  /** The newest figures, also when a later try failed; absent when there never were any. */
  readonly measured?: {
    readonly run: Run
    readonly mode: Mode
    readonly seconds: number
    readonly params: unknown
    readonly result: unknown
  }
}

export function writeResult(directory: string, result: StoredResult): void {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, `${result.scenario}.json`)
  writeFileSync(`${path}.new`, `${JSON.stringify(result, roundedNumbers, 1)}\n`)
  renameSync(`${path}.new`, path)
}

/** @throws when a file is no JSON: it names it */
export function readResults(directory: string): ReadonlyMap<string, StoredResult> {
  const found = new Map<string, StoredResult>()
  for (const name of namesIn(directory)) {
    const path = join(directory, name)
    try {
      const result = JSON.parse(readFileSync(path, 'utf8')) as StoredResult
      found.set(result.scenario, result)
    } catch (cause) {
      throw new Error(`${path} is no result: delete it, and run its scenario again`, { cause })
    }
  }
  return found
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
      .filter(name => name.endsWith('.json'))
      .sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** Six digits are more than any of this can be known to. */
function roundedNumbers(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isSafeInteger(value)
    ? Number(value.toPrecision(6))
    : value
}
