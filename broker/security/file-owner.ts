// Whose a file with a secret, or with what is trusted, is. Whoever owns a file can read and replace it whatever its mode says, so a secret is taken only from a file of the
// user that runs this process, or of root, who can do that anyway (as sshd does it). Knows nothing of modes.

import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'

export interface OwnedFile {
  readonly text: string
  /** Permission bits. */
  readonly mode: number
  /** Why it must not be used; absent: it may. */
  readonly foreign?: ForeignOwner
}

export interface ForeignOwner {
  readonly message: string
  readonly hint: string
}

/** Content, mode and owner of one and the same file, whatever is put in its place meanwhile. @throws the error of the system */
export function readOwnedFile(path: string): OwnedFile {
  const file = openSync(path, 'r')
  try {
    const { mode, uid } = fstatSync(file)
    const foreign = foreignOwner(path, uid)
    return {
      // A foreign one is not even looked at.
      text: foreign === undefined ? readFileSync(file, 'utf8') : '',
      mode: mode & 0o777,
      ...(foreign === undefined ? {} : { foreign }),
    }
  } finally {
    closeSync(file)
  }
}

/** Undefined when `owner` may have a secret of a process of the user `user`; where there are no users, there is nothing to check. */
export function foreignOwner(
  path: string,
  owner: number,
  user = process.geteuid?.(),
): ForeignOwner | undefined {
  if (user === undefined || owner === user || owner === 0) return undefined
  return {
    message: `${path} belongs to the user ${owner}, who can read and replace it; this process runs as the user ${user}`,
    hint: `chown ${user} ${path}, or run this process as the user ${owner}; if ${owner} is no user that you trust, make what is in it anew`,
  }
}
