// The version of this package, as its manifest has it.

import { readFileSync } from 'node:fs'

/** `unknown` when there is no manifest beside the code, as in a bundle. */
export function packageVersion(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const text = readFileSync(new URL(path, import.meta.url), 'utf8')
      return (JSON.parse(text) as { version: string }).version
    } catch {
      // Sources and build lie at different depths.
    }
  }
  return 'unknown'
}
