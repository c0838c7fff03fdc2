// Parsers and types shared by the commands: what `--url` and `--format` hold, whole numbers, `key=value` pairs.

import { type Command, InvalidArgumentError } from 'commander'
import type { Format } from './failure.ts'

/** Options that every command takes. */
export interface GlobalOptions {
  readonly url: string
  readonly format: Format
}

/** The options that every command takes. */
export function globalsOf(command: Command): GlobalOptions {
  return command.optsWithGlobals<GlobalOptions>()
}

/** Parses `--url`: one address or several with commas between them. `http` is understood as what the same port speaks to clients, `ws`. */
export function brokerUrls(text: string): string {
  return text
    .split(',')
    .map(each => {
      const url = each.trim().replace(/^http(s?):\/\//, 'ws$1://')
      if (/^wss?:\/\/[^/]/.test(url) && URL.canParse(url)) return url
      throw new InvalidArgumentError(
        `${JSON.stringify(each.trim())} is not an address of a broker: use ws://HOST:5640.`,
      )
    })
    .join(',')
}

/** A parser of whole numbers in `[least, most]`. */
export function whole(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return text => {
    const value = Number(text)
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least && value <= most) {
      return value
    }
    const upper = most === Number.MAX_SAFE_INTEGER ? '' : ` and at most ${most}`
    throw new InvalidArgumentError(`It must be a whole number, at least ${least}${upper}.`)
  }
}

/** A parser of seconds, fractions allowed. */
export function seconds(text: string): number {
  const value = Number(text)
  if (/^\d+(\.\d+)?$/.test(text) && value <= 1e6) return value
  throw new InvalidArgumentError('It must be a number of seconds.')
}

/** Collects repeated `key=value`. */
export function keyValue(
  text: string,
  earlier: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('It must have the form key=value.')
  return { ...earlier, [text.slice(0, at)]: text.slice(at + 1) }
}

/** Examples below the help of a command. */
export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map(line => `  $ ${line}`).join('\n')}`
}
