// Files that say whom this process trusts: the keys of an issuer of tokens, the certificates of an authority. Nothing in them is secret, but who can change
// one lets in whom he likes: so each is taken only from the user of this process or from root, and only if no other user may write it. Looks at the file
// that is read, at the end of all symbolic links (containers mount files as links to links): who may change links or directories is the operator's care.

import { LogloomError } from '../../wire/errors.ts'
import { readOwnedFile } from './file-owner.ts'

const writableForOthers = 0o022

/** The text of such a file; of one that must not be used nothing is taken. @throws INVALID_CONFIG for an owner or a mode, else the error of the system */
export function readTrustAnchor(path: string): string {
  const { text, mode, foreign } = readOwnedFile(path)
  if (foreign !== undefined)
    throw new LogloomError('INVALID_CONFIG', foreign.message, {}, { hint: foreign.hint })
  // Where there are no modes, there is nothing to check.
  if ((mode & writableForOthers) !== 0 && process.platform !== 'win32')
    throw new LogloomError(
      'INVALID_CONFIG',
      `${path} has the mode ${mode.toString(8)}: others can change it, and with it whom this process trusts`,
      {},
      {
        hint: `chmod go-w ${path}, once you have looked at what is in it: somebody else may have written it`,
      },
    )
  return text
}

/**
 * That a start may use the file: one that is not there, or cannot be read, is told of when it is needed, since it may come later.
 * @throws INVALID_CONFIG
 */
export function checkTrustAnchor(setting: string, path: string): void {
  try {
    readTrustAnchor(path)
  } catch (error) {
    if (!(error instanceof LogloomError)) return
    throw new LogloomError(
      'INVALID_CONFIG',
      `${setting}: ${error.message}`,
      { key: setting },
      { cause: error, hint: error.hint },
    )
  }
}
