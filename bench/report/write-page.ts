// Puts the page and its plots where they belong; plots that nothing shows any more go.

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { StoredResult } from '../results.ts'
import type { Scenario } from '../scenario.ts'
import { benchmarksPage } from './page.ts'

/** Writes `docs/benchmarks.md` and `docs/benchmarks/*.svg`. */
export function writePage(
  scenarios: readonly Scenario[],
  results: ReadonlyMap<string, StoredResult>,
  docs: string,
): void {
  const { markdown, plots } = benchmarksPage(scenarios, results)
  const directory = join(docs, 'benchmarks')
  mkdirSync(directory, { recursive: true })
  for (const name of readdirSync(directory))
    if (name.endsWith('.svg') && !plots.has(name)) rmSync(join(directory, name))
  for (const [name, svg] of plots) writeFileSync(join(directory, name), svg)
  writeFileSync(join(docs, 'benchmarks.md'), markdown)
}
