// The console's files: made by `npm run build` into one folder, read once, served from memory. No path of a request reaches the file system.

import { readdirSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'

export interface ConsoleFile {
  readonly contentType: string
  readonly content: Buffer
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** Nothing but what the broker serves, and no frame around it. A WebSocket to this origin is `'self'`. */
export const consoleHeaders = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
} as const

/** By name; empty when the console was not built. */
export function readConsoleFiles(): ReadonlyMap<string, ConsoleFile> {
  const files = new Map<string, ConsoleFile>()
  // Sources and build lie at different depths.
  for (const path of ['../console-files/', '../../dist/broker/console-files/'])
    try {
      const directory = new URL(path, import.meta.url)
      for (const name of readdirSync(directory)) {
        const contentType = types[extname(name)]
        if (contentType !== undefined)
          files.set(name, { contentType, content: readFileSync(new URL(name, directory)) })
      }
      if (files.size > 0) return files
    } catch {
      // Not there.
    }
  return files
}
