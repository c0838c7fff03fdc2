// How a failed command speaks: one coded error on stderr, as a line with its hint or as `{ error: { code, message, hint } }`.
//
// Guarantees: always exactly one error object in json mode, whatever was thrown. It does not choose exit codes.

import { LogloomError } from '../../wire/errors.ts'
import { UsageError } from './exit-codes.ts'
import { printable, printableJson } from './printable.ts'

export type Format = 'table' | 'json'

export interface Failure {
  readonly code: string
  readonly message: string
  readonly hint: string
}

/** Sorts anything thrown into code, message and hint. */
export function failureOf(error: unknown): Failure {
  if (error instanceof UsageError) {
    return { code: 'USAGE', message: error.message, hint: error.hint }
  }
  if (error instanceof LogloomError) {
    const { code, hint } = error
    return { code, message: error.message, hint }
  }
  const message = error instanceof Error ? error.message : String(error)
  const { code, hint } = (error ?? {}) as { code?: unknown; hint?: unknown }
  return {
    code: typeof code === 'string' ? code : 'INTERNAL',
    message,
    hint: typeof hint === 'string' ? hint : '',
  }
}

/** The text for stderr, newline included. */
export function formatFailure(error: unknown, format: Format): string {
  const failure = failureOf(error)
  if (format === 'json') return `${printableJson({ error: failure })}\n`
  return formatFailureOf(failure, 'logloom')
}

/** The lines for a person, beginning with who failed. */
export function formatFailureOf({ code, message, hint }: Failure, who: string): string {
  const first = `${who}: ${code}: ${printable(message)}\n`
  return hint === '' ? first : `${first}  hint: ${printable(hint)}\n`
}

/** A note for stderr that fails nothing, newline included. */
export function formatWarning(warning: string, format: Format): string {
  if (format === 'json') return `${printableJson({ warning })}\n`
  return `logloom: warning: ${printable(warning)}\n`
}
