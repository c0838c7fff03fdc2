// Secrets in files of their own: made with mode 0600, refused when others could have read or written them, or own them.

import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { LogloomError } from '../../wire/errors.ts'
import { readOwnedFile } from './file-owner.ts'

/**
 * The secret in a file, which is made with what `make` returns if it is not there.
 * @throws INVALID_CONFIG when others than its owner may read or write it, it is another user's, or it cannot be read or made; never with the secret in the message
 */
export function secretFile(
  setting: string,
  path: string,
  make: () => string,
): { readonly text: string; readonly made: boolean } {
  try {
    const made = create(path, make)
    if (made !== undefined) return { text: made, made: true }
    const { text, mode, foreign } = readOwnedFile(path)
    if (foreign !== undefined)
      throw new LogloomError(
        'INVALID_CONFIG',
        `${setting}: ${foreign.message}`,
        { key: setting },
        { hint: foreign.hint },
      )
    // Where there are no modes, there is nothing to check.
    if ((mode & 0o077) !== 0 && process.platform !== 'win32')
      throw new LogloomError(
        'INVALID_CONFIG',
        `${setting}: ${path} has the mode ${mode.toString(8)}: others can read or change it`,
        { key: setting },
        {
          hint: `chmod 600 ${path}; if somebody may have read it, delete it and start again: a new one is made`,
        },
      )
    return { text: text.trim(), made: false }
  } catch (error) {
    if (error instanceof LogloomError) throw error
    throw new LogloomError(
      'INVALID_CONFIG',
      `${setting}: cannot use ${path}: ${(error as Error).message}`,
      { key: setting },
      { cause: error, hint: `make ${path} readable for the user that runs the broker` },
    )
  }
}

/** What was written; undefined when the file was there already. It is there whole or not at all, and one of several that start makes it. */
function create(path: string, make: () => string): string | undefined {
  if (existsSync(path)) return undefined
  const unfinished = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
  const file = openSync(unfinished, 'wx', 0o600)
  const text = make()
  try {
    writeSync(file, `${text}\n`)
    fsyncSync(file)
    linkSync(unfinished, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined
    throw error
  } finally {
    closeSync(file)
    unlinkSync(unfinished)
  }
  syncDirectory(dirname(path))
  return text
}

function syncDirectory(path: string): void {
  const directory = openSync(path, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}
