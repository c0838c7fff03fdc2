// What the manifest of this package says of it.

import { readFileSync } from 'node:fs'

/** `unknown` when there is no manifest beside the code, as in a bundle. */
export function packageVersion(): string {
  return manifest().version ?? 'unknown'
}

/** The commit that the package was published from; `unknown` for what was never published. */
export function packageCommit(): string {
  return manifest().gitHead ?? 'unknown'
}

function manifest(): { readonly version?: string; readonly gitHead?: string } {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as object
    } catch {
      // Sources and build lie at different depths.
    }
  }
  return {}
}
