// The source files of the projects and what they import, for tests about the repository's own rules.

import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const rootDirectory = fileURLToPath(new URL('../../', import.meta.url))

export interface Import {
  /** The importing file, relative to the root. */
  readonly file: string
  /** A package, a `node:` module, or a file relative to the root. */
  readonly target: string
  readonly isOurs: boolean
}

const statement = /(?:\bfrom|\bimport)\s*\(?\s*'([^'\n]+)'/g

/** All TypeScript files below a folder, relative to the root. */
export function sourceFiles(folder: string): readonly string[] {
  const found = readdirSync(join(rootDirectory, folder), { recursive: true, encoding: 'utf8' })
  return found
    .filter(name => /\.(ts|cjs)$/.test(name) && !name.includes('node_modules'))
    .map(name => join(folder, name))
    .sort()
}

/** The text of a file without its comments. */
export function codeOf(file: string): string {
  const text = readFileSync(join(rootDirectory, file), 'utf8')
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1')
}

/** Every import of every file below a folder. */
export function importsOf(folder: string): readonly Import[] {
  return sourceFiles(folder).flatMap(file => {
    return [...codeOf(file).matchAll(statement)].map(([, target = '']) => {
      if (!target.startsWith('.')) return { file, target, isOurs: false }
      const path = resolve(rootDirectory, dirname(file), target)
      return { file, target: relative(rootDirectory, path), isOurs: true }
    })
  })
}

/** `@scope/name/file` and `name/file` without the file. */
export function packageOf(target: string): string {
  const parts = target.split('/')
  return target.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? '')
}
