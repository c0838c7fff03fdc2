// The way from arguments to an exit code.
//
// Guarantees: one coded error on stderr for whatever fails; the exit codes of exit-codes.ts; a closed stdout ends the command
// quietly with 0. It does not know the commands.

import { readFileSync } from 'node:fs'
import { CommanderError } from 'commander'
import { exitCodeOf, exitCodes, UsageError } from './exit-codes.ts'
import { type Format, formatFailure } from './failure.ts'
import { BrokenPipe, note } from './output.ts'
import { buildProgram } from './program.ts'

/** Runs the command line and ends the process. `args` are those after `logloom`. */
export async function main(args: readonly string[]): Promise<never> {
  const format = formatOf(args)
  try {
    await buildProgram(packageVersion(), format).parseAsync(args, { from: 'user' })
  } catch (error) {
    process.exitCode = report(error, format)
  }
  process.exit()
}

function report(error: unknown, format: Format): number {
  if (error instanceof BrokenPipe) return exitCodes.ok
  const shown = error instanceof CommanderError ? usageOf(error) : error
  if (shown === undefined) return exitCodes.ok
  note(formatFailure(shown, format))
  return exitCodeOf(shown)
}

/** What commander complains about, in our words; undefined when it only printed help or the version. */
function usageOf(error: CommanderError): UsageError | undefined {
  if (error.exitCode === 0) return undefined
  if (error.code === 'commander.help') return new UsageError('a command is missing')
  return new UsageError(error.message.replace(/^error: /, ''))
}

/** The format asked for, also when the arguments cannot be parsed. */
function formatOf(args: readonly string[]): Format {
  const at = args.lastIndexOf('--format')
  const isJson = args.includes('--format=json') || (at >= 0 && args[at + 1] === 'json')
  return isJson ? 'json' : 'table'
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return String((JSON.parse(text) as { version: unknown }).version)
}
