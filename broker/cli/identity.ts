// Who the command line is and whom it trusts: a token and a certificate authority, from options or the environment.
//
// Guarantees: a token is never printed; a token file is read anew for each connection, so a long `consume` goes on with a renewed one.

import { readFileSync, statSync } from 'node:fs'
import { Option, type Command } from 'commander'
import { UsageError } from './exit-codes.ts'
import { type Format, formatWarning } from './failure.ts'
import { note } from './output.ts'

export interface IdentityOptions {
  readonly token?: string
  readonly tokenFile?: string
  readonly caFile?: string
}

/** What the SDK's `connect` takes. */
export interface Identity {
  readonly token?: string | (() => string)
  readonly tls?: { readonly ca: string }
}

let current: Identity = {}

/** Of the command that runs. */
export function identity(): Identity {
  return current
}

/** The token to be sent now. */
export function tokenNow(): string | undefined {
  const { token } = current
  return typeof token === 'function' ? token() : token
}

/** Adds the options that every command takes. */
export function addIdentityOptions(program: Command, format: Format): void {
  program
    .addOption(
      new Option('--token-file <file>', 'file with the token that says who you are').env(
        'LOGLOOM_TOKEN_FILE',
      ),
    )
    .addOption(
      new Option(
        '--token <token>',
        'the token itself; others can see it in the list of processes',
      ).env('LOGLOOM_TOKEN'),
    )
    .addOption(
      new Option(
        '--ca-file <file>',
        "PEM certificates of the authority that signed the broker's, for wss://",
      ).env('LOGLOOM_CA_FILE'),
    )
    .hook('preAction', (_, command) => {
      current = identityOf(command.optsWithGlobals<IdentityOptions>(), format)
    })
}

/** @throws UsageError for files that cannot be read */
export function identityOf(
  { token, tokenFile, caFile }: IdentityOptions,
  format: Format,
): Identity {
  const tls = caFile === undefined ? {} : { tls: { ca: read('--ca-file', caFile) } }
  if (caFile !== undefined)
    warnIfMode(caFile, 0o022, 'others here can change whom this command trusts', format)
  // What was typed wins over what is in the environment.
  if (tokenFile === undefined || (token !== undefined && process.env['LOGLOOM_TOKEN'] !== token))
    return { ...tls, ...(token === undefined ? {} : { token: token.trim() }) }
  // Secrets that a container mounts are often readable for a group.
  warnIfMode(tokenFile, 0o007, 'everybody here can read it', format)
  read('--token-file', tokenFile)
  return { ...tls, token: () => read('--token-file', tokenFile) }
}

function read(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new UsageError(
      `${option}: cannot read ${file}: ${(error as Error).message}`,
      'give a file that this user may read',
    )
  }
}

function warnIfMode(file: string, bits: number, why: string, format: Format): void {
  let mode: number
  try {
    mode = statSync(file).mode & 0o777
  } catch {
    // Told by whoever reads it.
    return
  }
  if ((mode & bits) !== 0 && process.platform !== 'win32')
    note(formatWarning(`${file} has the mode ${mode.toString(8)}: ${why}`, format))
}
