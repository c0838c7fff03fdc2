// The kept inputs: test/fuzz/corpus/TARGET/*. An input that failed once is there for ever, named `found-` and the hash of its bytes.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('./corpus/', import.meta.url)).replace(
  '/dist/test/fuzz/',
  '/test/fuzz/',
)

export interface KeptInput {
  readonly file: string
  readonly bytes: Uint8Array
}

export function keptInputs(target: string): readonly KeptInput[] {
  const own = join(folder, target)
  if (!existsSync(own)) return []
  return readdirSync(own)
    .sort()
    .map(file => ({ file, bytes: Uint8Array.from(readFileSync(join(own, file))) }))
}

/** @returns the path of the file */
export function keepInput(target: string, bytes: Uint8Array): string {
  const own = join(folder, target)
  mkdirSync(own, { recursive: true })
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
  const path = join(own, `found-${hash}`)
  writeFileSync(path, bytes)
  return path
}
