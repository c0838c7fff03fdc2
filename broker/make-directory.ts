// Makes a directory and its parents, or says why not. Node's own recursive mkdir tries for ever where the system answers ENOENT below a
// directory that exists, as /proc does, and no signal is heard meanwhile.

import { existsSync, mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { LogloomError } from '../wire/errors.ts'

/** The absolute path of a directory that exists now. @throws DATA_DIR_UNWRITABLE */
export function makeDirectory(directory: string): string {
  const path = absolute(directory)
  try {
    const missing: string[] = []
    for (let at = path; !existsSync(at) && at !== dirname(at); at = dirname(at)) missing.push(at)
    for (const each of missing.reverse()) makeOne(each)
    return path
  } catch (error) {
    throw new LogloomError(
      'DATA_DIR_UNWRITABLE',
      `cannot make ${path}: ${(error as Error).message}`,
      { path },
      { cause: error },
    )
  }
}

function absolute(directory: string): string {
  try {
    return resolve(directory)
  } catch (error) {
    throw new LogloomError(
      'DATA_DIR_UNWRITABLE',
      `${directory} lies below a working directory that was deleted: ${(error as Error).message}`,
      { path: directory },
      { cause: error, hint: 'go to a directory that exists, or give an absolute --data' },
    )
  }
}

function makeOne(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    // Somebody else was faster.
    if ((error as { code?: string }).code !== 'EEXIST') throw error
  }
}
